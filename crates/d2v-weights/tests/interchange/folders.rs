//! Folders that transformers 4.57.1 wrote.

use crate::fixture::{config, fixture, reference};
use d2v_weights::description::Description;
use d2v_weights::{Error, HfModel, Tensors, read_safetensors, write_safetensors};
use std::fs;

/// Reads a folder and writes it again; gives the tensors before and after, and the notes of reading.
fn there_and_back(case: &str) -> (Tensors, Tensors, Vec<String>) {
    let (model, notes) = HfModel::read(&fixture(case)).unwrap();
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().join("exported");
    model.write(&folder).unwrap();
    assert_eq!(HfModel::read(&folder).unwrap().0, model, "read again as it was written");
    let weights = |folder: &std::path::Path| read_safetensors(&folder.join("model.safetensors")).unwrap();
    (weights(&fixture(case)), weights(&folder), notes)
}

#[track_caller]
fn check_same_file(case: &str, notes: &[&str]) {
    let (model, found) = HfModel::read(&fixture(case)).unwrap();
    assert_eq!(found, notes);
    let out = tempfile::tempdir().unwrap();
    model.write(out.path()).unwrap();
    let bytes = |folder: &std::path::Path| fs::read(folder.join("model.safetensors")).unwrap();
    assert!(bytes(out.path()) == bytes(&fixture(case)), "model.safetensors is not what transformers wrote");
}

#[test]
fn an_image_folder_is_written_as_transformers_did() {
    check_same_file("hf_vision_shared_bias", &[]);
}

#[test]
fn a_speech_folder_is_written_as_transformers_did() {
    check_same_file(
        "hf_audio",
        &["front_end.mask_token is not there: encoder only: masking needs a new mask vector"],
    );
}

#[test]
fn a_text_folder_but_for_pooler_and_token_type() {
    let (before, after, notes) = there_and_back("hf_text");
    assert_eq!(
        notes,
        ["pooler.dense.bias is ignored: not pretrained", "pooler.dense.weight is ignored: not pretrained"]
    );
    assert!(before.keys().eq(after.keys()));
    let changed: Vec<_> =
        before.keys().filter(|name| before[*name] != after[*name]).map(String::as_str).collect();
    // This network was given a token type that is not zero, so that it shows; ours is the sum.
    let sum = ["embeddings.position_embeddings.weight", "embeddings.token_type_embeddings.weight"];
    assert_eq!(changed, [&sum[..], &["pooler.dense.bias", "pooler.dense.weight"]].concat());
    let values = |tensors: &Tensors, name: &str| tensors[name].to_f32_values().unwrap();
    let (positions, types) = (values(&before, sum[0]), values(&before, sum[1]));
    for (i, value) in values(&after, sum[0]).into_iter().enumerate() {
        assert_eq!(value, positions[i] + types[i % 32]);
    }
    assert!(values(&after, sum[1]).iter().all(|&value| value == 0.0));
}

#[test]
fn an_image_folder_with_a_table_per_layer() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(fixture("hf_vision").join("config.json"), folder.path().join("config.json")).unwrap();
    let weights = folder.path().join("model.safetensors");
    let mut tensors = reference("hf_vision");
    write_safetensors(&weights, &tensors).unwrap();
    assert!(matches!(HfModel::read(folder.path()), Err(Error::LayersDiffer { .. })));

    let table = "attention.attention.relative_position_bias.relative_position_bias_table";
    let first = tensors[&format!("encoder.layer.0.{table}")].clone();
    (1..3).for_each(|layer| drop(tensors.insert(format!("encoder.layer.{layer}.{table}"), first.clone())));
    write_safetensors(&weights, &tensors).unwrap();
    let (model, _) = HfModel::read(folder.path()).unwrap();
    let Description::Vision(vision) = &model.description else { panic!("not images") };
    assert!(!vision.final_norm && !vision.mask_token);
    model.write(&folder.path().join("out")).unwrap();
    assert_eq!(read_safetensors(&folder.path().join("out/model.safetensors")).unwrap(), tensors);
}

#[test]
fn a_folder_from_before_safetensors() {
    let (folder, mut fields) = (tempfile::tempdir().unwrap(), config("hf_text"));
    let sizes =
        [("hidden_size", 4), ("num_attention_heads", 2), ("num_hidden_layers", 1), ("intermediate_size", 6)];
    for (field, value) in sizes.into_iter().chain([("vocab_size", 9), ("max_position_embeddings", 7)]) {
        fields.insert(field.into(), value.into());
    }
    fs::write(folder.path().join("config.json"), serde_json::to_vec(&fields).unwrap()).unwrap();
    fs::copy(fixture("hf_text.bin"), folder.path().join("pytorch_model.bin")).unwrap();
    let (older, notes) = HfModel::read(folder.path()).unwrap();
    assert_eq!(notes[0], "embeddings.position_ids is ignored: a buffer that only counts");
    // Safetensors come first where there are both.
    fs::write(folder.path().join("pytorch_model.bin"), "broken").unwrap();
    fs::copy(fixture("hf_text.safetensors"), folder.path().join("model.safetensors")).unwrap();
    assert_eq!(HfModel::read(folder.path()).unwrap().0, older);
}

#[test]
fn names_of_models_with_heads() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(fixture("hf_audio").join("config.json"), folder.path().join("config.json")).unwrap();
    let plain = read_safetensors(&fixture("hf_audio").join("model.safetensors")).unwrap();
    let mut tensors: Tensors =
        plain.iter().map(|(name, tensor)| (format!("data2vec_audio.{name}"), tensor.clone())).collect();
    tensors.insert("lm_head.weight".into(), plain["feature_projection.projection.weight"].clone());
    write_safetensors(&folder.path().join("model.safetensors"), &tensors).unwrap();
    let (model, notes) = HfModel::read(folder.path()).unwrap();
    assert_eq!(model, HfModel::read(&fixture("hf_audio")).unwrap().0);
    assert!(
        notes.contains(&"lm_head.weight is ignored: head of a fine-tuned recogniser".to_owned()),
        "{notes:?}"
    );
}
