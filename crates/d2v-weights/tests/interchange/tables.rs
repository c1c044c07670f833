//! The tables of names against what the reference implementations call their tensors, in both directions.

use crate::fixture::reference;
use d2v_weights::names::{BiasTable, Source, from_ours, to_ours};
use d2v_weights::{Error, Tensors};

/// All of theirs, mapped to ours and back; gives our names.
#[track_caller]
fn check_there_and_back(source: Source, theirs: &Tensors) -> Tensors {
    let ours = to_ours(source, None, theirs).unwrap();
    let blocks = |name: &&String| name.starts_with("transformer.blocks.") && name.ends_with(".norm1.bias");
    let counts = d2v_weights::names::Counts {
        layers: ours.tensors.keys().filter(blocks).count(),
        convs: ours.tensors.keys().filter(|name| name.ends_with(".conv.weight")).count(),
        positional_convs: ours
            .tensors
            .keys()
            .filter(|name| name.contains(".pos_conv.") && name.ends_with("bias"))
            .count(),
    };
    let back = from_ours(source, counts, &ours.tensors).unwrap();
    assert!(back.tensors == *theirs, "not what it was: {:?}", ours.notes);
    ours.tensors
}

/// The student's tensors with the teacher's in their place.
fn teacher(case: &str, prefix: &str) -> Tensors {
    let mut tensors = reference(&format!("{case}.student"));
    for (name, tensor) in reference(&format!("{case}.teacher")) {
        assert!(tensors.insert(format!("{prefix}{name}"), tensor).is_some(), "{name} is not the student's");
    }
    tensors
}

#[track_caller]
fn check_case(case: &str, source: Source, prefix: &str, count: usize, expected: &[&str]) {
    for tensors in [reference(&format!("{case}.student")), teacher(case, prefix)] {
        assert_eq!(Source::of_checkpoint(&tensors).unwrap(), source);
        let ours = check_there_and_back(source, &tensors);
        assert_eq!(ours.len(), count);
        for name in expected {
            assert!(ours.contains_key(*name), "{name}");
        }
    }
}

#[test]
fn fairseq_speech() {
    // Per block 12 tensors; convolutions 3, positional ones 2 each; 2 norms, projection, mask, head.
    let count = 3 * 12 + 7 * 3 + 5 * 2 + 2 * 2 + 2 + 1 + 2;
    let some =
        ["transformer.input_norm.bias", "front_end.norm.bias", "front_end.pos_conv.4.bias", "head.0.bias"];
    check_case("v1_audio", Source::FairseqAudio, "encoder.", count, &some);
}

#[test]
fn fairseq_text() {
    let some =
        ["front_end.tokens.weight", "head.0.weight", "head.1.bias", "transformer.blocks.2.attn.qkv.bias"];
    check_case("v1_text", Source::FairseqText, "encoder.sentence_encoder.", 3 * 12 + 4 + 4, &some);
}

#[test]
fn original_images() {
    let some =
        ["transformer.norm.bias", "head.0.weight", "front_end.mask_token", "transformer.blocks.3.gamma_2"];
    let source = Source::BeitFork { bias: BiasTable::Shared };
    check_case("v1_vision_official", source, "", 4 * 15 + 2 + 2 + 3 + 2, &some);
}

#[test]
fn fairseq_images() {
    // `final_proj` is defined there but never applied.
    let mut tensors = teacher("v1_vision", "encoder.");
    let notes = to_ours(Source::FairseqVision, None, &tensors).unwrap().notes;
    assert_eq!(notes.len(), 2, "{notes:?}");
    tensors.retain(|name, _| !name.starts_with("final_proj."));
    let ours = check_there_and_back(Source::FairseqVision, &tensors);
    assert_eq!(ours.len(), 4 * 15 + 2 + 2 + 3);
}

#[test]
fn a_table_per_layer_is_one_table_while_all_are_equal() {
    let source = Source::TransformersVision { bias: BiasTable::Copied, final_norm: false };
    let mut tensors = reference("hf_vision");
    let name = |layer: usize| {
        format!(
            "encoder.layer.{layer}.attention.attention.relative_position_bias.relative_position_bias_table"
        )
    };
    let error = to_ours(source, None, &tensors).unwrap_err();
    assert!(matches!(&error, Error::LayersDiffer { name: differing } if *differing == name(1)), "{error}");
    let first = tensors[&name(0)].clone();
    for layer in 1..3 {
        tensors.insert(name(layer), first.clone());
    }
    let ours = check_there_and_back(source, &tensors);
    assert_eq!(ours["front_end.rel_pos_bias.relative_position_bias_table"], first);
}

#[test]
fn query_key_and_value_stand_in_this_order() {
    let tensors = reference("v1_text.student");
    let ours = to_ours(Source::FairseqText, None, &tensors).unwrap().tensors;
    let qkv = ours["transformer.blocks.1.attn.qkv.weight"].bytes();
    let part = |part: &str| {
        tensors[&format!("encoder.sentence_encoder.layers.1.self_attn.{part}_proj.weight")].bytes().to_vec()
    };
    assert_eq!(qkv, [part("q"), part("k"), part("v")].concat());
}

#[test]
fn prefixes_of_models_with_heads_are_understood() {
    let source = Source::FairseqAudio;
    let tensors = reference("v1_audio.student");
    let mut prefixed: Tensors = tensors
        .iter()
        .map(|(name, tensor)| (format!("w2v_encoder.w2v_model.{name}"), tensor.clone()))
        .collect();
    prefixed.insert("w2v_encoder.proj.weight".into(), tensors["mask_emb"].clone());
    assert_eq!(Source::of_checkpoint(&prefixed).unwrap(), source);
    let mapped = to_ours(source, None, &prefixed).unwrap();
    assert_eq!(mapped.tensors, to_ours(source, None, &tensors).unwrap().tensors);
    assert_eq!(mapped.notes, ["w2v_encoder.proj.weight is ignored: head of a fine-tuned recogniser"]);
    prefixed.insert("mask_emb".into(), tensors["mask_emb"].clone());
    let error = to_ours(source, None, &prefixed).unwrap_err().to_string();
    assert!(error.contains("mask_emb (with and without a prefix)"), "{error}");
}

#[test]
fn every_missing_and_unexpected_name_is_listed() {
    let mut tensors = reference("v1_audio.student");
    tensors.remove("encoder.layers.1.fc1.bias").unwrap();
    let moved = tensors.remove("layer_norm.weight").unwrap();
    tensors.insert("layer_norm.wait".into(), moved);
    match to_ours(Source::FairseqAudio, None, &tensors).unwrap_err() {
        Error::Names { missing, unexpected, .. } => {
            assert_eq!(missing, ["layer_norm.weight", "encoder.layers.1.fc1.bias"]);
            assert_eq!(unexpected, ["layer_norm.wait"]);
        }
        other => panic!("{other}"),
    }
}
