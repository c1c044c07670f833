//! The known traps of the published weights (spec 7.5), by their numbers there, and every rule of `config.json`.

use crate::fixture::{config, fixture, model, reference, vision};
use d2v_weights::description::Description;
use d2v_weights::names::{BiasTable, Counts, Source, from_ours, to_ours};
use d2v_weights::{Checkpoint, DType, Error, HfModel, Network, Tensor, read_safetensors, write_safetensors};
use serde_json::{Value, json};
use std::path::Path;

fn read(fields: &serde_json::Map<String, Value>) -> Result<Description, Error> {
    Description::from_config_json(Path::new("config.json"), &serde_json::to_vec(fields).unwrap())
}

#[test]
fn p01_positions_begin_after_the_padding_row() {
    let mut fields = config("hf_text");
    fields.insert("max_position_embeddings".into(), json!(514));
    let Description::Text(text) = read(&fields).unwrap() else { panic!("not text") };
    assert_eq!((text.padding_id, text.longest()), (1, 512));
    fields.insert("max_position_embeddings".into(), json!(2));
    assert!(read(&fields).unwrap_err().to_string().contains("at least 3"));
}

#[test]
fn p02_images_have_no_key_bias_and_none_is_made_up() {
    let ours = HfModel::read(&fixture("hf_vision_shared_bias")).unwrap().0.tensors;
    assert!(ours.contains_key("transformer.blocks.0.attn.q_bias"));
    assert!(ours.contains_key("transformer.blocks.0.attn.v_bias"));
    assert!(!ours.keys().any(|name| name.ends_with("qkv.bias")));
    let mut theirs = read_safetensors(&fixture("hf_vision_shared_bias").join("model.safetensors")).unwrap();
    let bias = theirs["encoder.layer.0.attention.attention.query.bias"].clone();
    theirs.insert("encoder.layer.0.attention.attention.key.bias".into(), bias);
    let source = Source::TransformersVision { bias: BiasTable::Shared, final_norm: true };
    let error = to_ours(source, None, &theirs).unwrap_err().to_string();
    assert!(error.ends_with("unexpected: encoder.layer.0.attention.attention.key.bias"), "{error}");
}

#[test]
fn p03_index_buffers_are_passed_over_and_the_table_keeps_its_order() {
    let mut theirs = reference("v1_vision_official.student");
    let index = Tensor::new(DType::I64, vec![2, 2], vec![0; 32]).unwrap();
    theirs.insert("rel_pos_bias.relative_position_index".into(), index);
    let mapped = to_ours(Source::BeitFork { bias: BiasTable::Shared }, None, &theirs).unwrap();
    assert_eq!(mapped.notes.len(), 1, "{:?}", mapped.notes);
    let table = "relative_position_bias_table";
    assert_eq!(
        mapped.tensors[&format!("front_end.rel_pos_bias.{table}")],
        theirs[&format!("rel_pos_bias.{table}")]
    );
    let mut other_size = model(vision());
    let Description::Vision(vision) = &mut other_size.description else { panic!("not images") };
    assert_eq!(vision.bias_rows(), 28);
    vision.image_size = 16;
    let error = other_size.write(tempfile::tempdir().unwrap().path()).unwrap_err().to_string();
    assert!(error.contains("has shape [28, 2], but its configuration asks for [52, 2]"), "{error}");
}

#[test]
fn p04_where_the_bias_tables_stand_is_said() {
    let mut fields = config("hf_vision");
    assert!(
        matches!(read(&fields).unwrap(), Description::Vision(vision) if vision.bias_table == BiasTable::Copied)
    );
    for both in [true, false] {
        fields.insert("use_relative_position_bias".into(), json!(both));
        fields.insert("use_shared_relative_position_bias".into(), json!(both));
        assert!(read(&fields).unwrap_err().to_string().contains("the opposite of use_shared"));
    }
}

#[test]
fn p05_the_epsilon_is_the_files() {
    let mut fields = config("hf_vision_shared_bias");
    for eps in [1e-12, 1e-6] {
        fields.insert("layer_norm_eps".into(), json!(eps));
        let description = read(&fields).unwrap();
        assert_eq!(description.transformer().norm_eps, eps);
        let again = description.to_config_json();
        assert_eq!(Description::from_config_json(Path::new("c"), again.as_bytes()).unwrap(), description);
    }
}

#[test]
fn p06_what_transformers_lacks_is_said() {
    let (model, notes) = HfModel::read(&fixture("hf_audio")).unwrap();
    assert!(matches!(&model.description, Description::Audio(audio) if !audio.mask_token));
    assert!(notes[0].starts_with("front_end.mask_token is not there: encoder only"), "{notes:?}");
    let mut with_head = crate::fixture::model(vision());
    with_head.tensors.insert("head.0.bias".into(), Tensor::from_f32(vec![8], &[0.0; 8]).unwrap());
    let notes = with_head.write(tempfile::tempdir().unwrap().path()).unwrap();
    assert_eq!(notes, ["head.0.bias is left behind: transformers has no prediction head"]);
}

#[test]
fn p07_weight_norm_is_another_network() {
    let mut theirs = reference("v1_audio.student");
    for i in 0..5 {
        theirs.remove(&format!("encoder.pos_conv.{i}.0.weight"));
    }
    let one = Tensor::from_f32(vec![1, 1, 1], &[1.0]).unwrap();
    theirs.insert("encoder.pos_conv.0.weight_g".into(), one);
    let error = to_ours(Source::FairseqAudio, None, &theirs).unwrap_err().to_string();
    assert!(error.ends_with("unexpected: encoder.pos_conv.0.weight_g"), "{error}");
}

#[test]
fn p08_mean_pooling_means_no_final_norm() {
    let Description::Vision(pooled) = read(&config("hf_vision")).unwrap() else { panic!("not images") };
    let Description::Vision(plain) = read(&config("hf_vision_shared_bias")).unwrap() else {
        panic!("not images")
    };
    assert_eq!((pooled.final_norm, plain.final_norm), (false, true));
    let mut pooled = model(vision());
    let Description::Vision(vision) = &mut pooled.description else { panic!("not images") };
    vision.final_norm = false;
    let error = pooled.write(tempfile::tempdir().unwrap().path()).unwrap_err().to_string();
    assert!(error.contains("unexpected: transformer.norm.bias, transformer.norm.weight"), "{error}");
}

#[test]
fn p09_student_and_teacher_are_told_apart() {
    let read = |network| Checkpoint::read(&fixture("speech.pt"), network).unwrap();
    let (student, teacher) = (read(Network::Student), read(Network::Teacher));
    let differs = |name: &str| student.tensors[name] != teacher.tensors[name];
    assert!(differs("transformer.blocks.0.mlp.fc1.weight") && differs("front_end.pos_conv.0.weight"));
    assert!(!differs("front_end.proj.weight") && !differs("head.0.weight"), "these have no average");
    assert!(teacher.notes[0].ends_with("the student's"), "{:?}", teacher.notes);
}

#[test]
fn p10_only_the_exact_gelu() {
    for case in ["hf_vision", "hf_audio", "hf_text"] {
        let mut fields = config(case);
        fields.insert("hidden_act".into(), json!("gelu_new"));
        let error = read(&fields).unwrap_err().to_string();
        assert_eq!(error, "config.json: `hidden_act` is \"gelu_new\"; supported: \"gelu\"");
    }
}

#[test]
fn p11_halves_become_f32() {
    let halves = |tensor: &Tensor| {
        let bytes = tensor
            .to_f32_values()
            .unwrap()
            .iter()
            .flat_map(|v| half::f16::from_f32(*v).to_le_bytes())
            .collect();
        Tensor::new(DType::F16, tensor.shape().to_vec(), bytes).unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(fixture("hf_audio/config.json"), folder.path().join("config.json")).unwrap();
    let theirs = read_safetensors(&fixture("hf_audio/model.safetensors")).unwrap();
    let theirs = theirs.iter().map(|(name, tensor)| (name.clone(), halves(tensor))).collect();
    write_safetensors(&folder.path().join("model.safetensors"), &theirs).unwrap();
    let (model, _) = HfModel::read(folder.path()).unwrap();
    assert_eq!(model.tensors["front_end.proj.bias"].dtype(), DType::F32);
    let expected = theirs["feature_projection.projection.bias"].to_f32_values();
    assert_eq!(model.tensors["front_end.proj.bias"].to_f32_values(), expected);
}

#[test]
fn p12_nothing_in_a_pickle_runs() {
    // The namespace in this file would have to be made by Python; asking for it is an error that says so.
    let file = d2v_weights::torch_file::TorchFile::open(&fixture("image.pt")).unwrap();
    let error = file.keys(&["args"]).unwrap_err().to_string();
    assert!(
        error.contains("made by argparse.Namespace, which is not understood and was not called"),
        "{error}"
    );
}

#[test]
fn what_the_speech_class_ignores_is_ignored() {
    let mut fields = config("hf_audio");
    fields.insert("do_stable_layer_norm".into(), json!(true));
    fields.insert("feat_extract_norm".into(), json!("group"));
    assert_eq!(read(&fields).unwrap(), read(&config("hf_audio")).unwrap());
}

/// Every field that is read is refused by name when it is missing or means nothing.
#[track_caller]
fn check_needed(case: &str, needed: &[&str]) {
    for field in needed {
        let mut fields = config(case);
        fields.remove(*field).unwrap();
        let error = read(&fields).unwrap_err();
        assert!(
            matches!(&error, Error::FieldMissing { field: named, .. } if named == field),
            "{field}: {error}"
        );
        fields.insert((*field).into(), json!({ "not": "this" }));
        let error = read(&fields).unwrap_err();
        assert!(
            matches!(&error, Error::FieldValue { field: named, .. } if named == field),
            "{field}: {error}"
        );
    }
}

const COMMON: [&str; 6] = [
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "layer_norm_eps",
    "hidden_act",
];

#[test]
fn no_field_of_images_is_guessed() {
    check_needed("hf_vision", &COMMON);
    check_needed(
        "hf_vision",
        &[
            "hidden_dropout_prob",
            "attention_probs_dropout_prob",
            "drop_path_rate",
            "image_size",
            "patch_size",
            "num_channels",
            "layer_scale_init_value",
            "use_absolute_position_embeddings",
            "use_mask_token",
            "use_mean_pooling",
            "use_relative_position_bias",
            "use_shared_relative_position_bias",
        ],
    );
}

#[test]
fn no_field_of_speech_is_guessed() {
    check_needed("hf_audio", &COMMON);
    check_needed(
        "hf_audio",
        &[
            "hidden_dropout",
            "attention_dropout",
            "activation_dropout",
            "feat_proj_dropout",
            "layerdrop",
            "conv_dim",
            "conv_kernel",
            "conv_stride",
            "conv_bias",
            "feat_extract_activation",
            "num_conv_pos_embeddings",
            "conv_pos_kernel_size",
            "num_conv_pos_embedding_groups",
            "mask_time_prob",
            "mask_feature_prob",
        ],
    );
}

#[test]
fn no_field_of_text_is_guessed() {
    check_needed("hf_text", &COMMON);
    check_needed(
        "hf_text",
        &[
            "hidden_dropout_prob",
            "attention_probs_dropout_prob",
            "vocab_size",
            "max_position_embeddings",
            "type_vocab_size",
            "pad_token_id",
            "bos_token_id",
            "eos_token_id",
        ],
    );
}

#[test]
fn values_out_of_range_are_refused() {
    for (case, field, value) in [
        ("hf_text", "hidden_size", json!(1_000_000_000_000u64)),
        ("hf_text", "num_attention_heads", json!(5)),
        ("hf_text", "pad_token_id", json!(99)),
        ("hf_text", "type_vocab_size", json!(2)),
        ("hf_text", "position_embedding_type", json!("relative_key")),
        ("hf_text", "is_decoder", json!(true)),
        ("hf_text", "num_hidden_layers", json!(0)),
        ("hf_vision", "image_size", json!(49)),
        ("hf_vision", "drop_path_rate", json!(1.0)),
        ("hf_vision", "use_absolute_position_embeddings", json!(true)),
        ("hf_vision", "layer_scale_init_value", json!(0)),
        ("hf_vision", "layer_norm_eps", json!(-1e-6)),
        ("hf_audio", "conv_kernel", json!([10, 3])),
        ("hf_audio", "conv_bias", json!(true)),
        ("hf_audio", "add_adapter", json!(true)),
        ("hf_audio", "num_conv_pos_embedding_groups", json!(5)),
        ("hf_audio", "model_type", json!("wav2vec2")),
    ] {
        let mut fields = config(case);
        fields.insert(field.into(), value);
        let error = read(&fields).unwrap_err().to_string();
        assert!(error.contains(field) || field == "image_size" && error.contains("patch_size"), "{error}");
    }
}

#[test]
fn a_tensor_of_another_size_is_named() {
    let mut wrong = model(vision());
    wrong.tensors.insert("front_end.cls_token".into(), Tensor::from_f32(vec![8], &[0.0; 8]).unwrap());
    let error = wrong.write(tempfile::tempdir().unwrap().path()).unwrap_err().to_string();
    assert!(
        error.contains("\"front_end.cls_token\" has shape [8]") && error.contains("[1, 1, 8]"),
        "{error}"
    );
    let odd = Tensor::from_f32(vec![5, 1], &[0.0; 5]).unwrap();
    let mut ours = model(vision()).tensors;
    ours.insert("transformer.blocks.0.attn.qkv.weight".into(), odd);
    let source = Source::TransformersVision { bias: BiasTable::Shared, final_norm: true };
    let counts = Counts { layers: 2, ..Counts::default() };
    assert!(from_ours(source, counts, &ours).unwrap_err().to_string().contains("divide into 3 parts"));
}
