//! Where the fixtures lie, and small networks made here.

use d2v_weights::description::{
    AudioDescription, Convolution, Description, TextDescription, TransformerDescription, VisionDescription,
};
use d2v_weights::names::BiasTable;
use d2v_weights::{HfModel, Tensor, Tensors};
use std::collections::BTreeMap;
use std::path::PathBuf;

pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The config.json of a fixture, to be changed.
pub(crate) fn config(case: &str) -> serde_json::Map<String, serde_json::Value> {
    serde_json::from_slice(&std::fs::read(fixture(case).join("config.json")).unwrap()).unwrap()
}

/// Different numbers in every tensor.
pub(crate) fn filled<'a>(shapes: impl IntoIterator<Item = (&'a String, &'a Vec<usize>)>) -> Tensors {
    let tensor = |i: usize, shape: &Vec<usize>| {
        let values: Vec<f32> =
            (0..shape.iter().product()).map(|j| (1000 * i + j) as f32 / 7.0 - 3.0).collect();
        Tensor::from_f32(shape.clone(), &values).unwrap()
    };
    shapes.into_iter().enumerate().map(|(i, (name, shape))| (name.clone(), tensor(i, shape))).collect()
}

/// Names and shapes of the reference implementations' tensors, by case.
pub(crate) fn reference(case: &str) -> Tensors {
    let text = std::fs::read(fixture("names.json")).unwrap();
    let mut cases: BTreeMap<String, BTreeMap<String, Vec<usize>>> = serde_json::from_slice(&text).unwrap();
    filled(&cases.remove(case).unwrap())
}

fn transformer() -> TransformerDescription {
    TransformerDescription {
        width: 8,
        depth: 2,
        heads: 2,
        feed_forward: 12,
        norm_eps: 1e-6,
        dropout: 0.1,
        attention_dropout: 0.0,
    }
}

pub(crate) fn vision() -> Description {
    Description::Vision(VisionDescription {
        transformer: transformer(),
        image_size: 12,
        patch_size: 4,
        channels: 3,
        bias_table: BiasTable::Shared,
        mask_token: true,
        final_norm: true,
        drop_path: 0.1,
        layer_scale: 1e-4,
    })
}

pub(crate) fn audio() -> Description {
    Description::Audio(AudioDescription {
        transformer: transformer(),
        convolutions: vec![
            Convolution { channels: 5, kernel: 10, stride: 5 },
            Convolution { channels: 6, kernel: 3, stride: 2 },
        ],
        positional_convs: 2,
        positional_kernel: 19,
        positional_groups: 4,
        mask_token: true,
        activation_dropout: 0.0,
        feature_dropout: 0.0,
        layer_drop: 0.05,
    })
}

pub(crate) fn text() -> Description {
    Description::Text(TextDescription {
        transformer: transformer(),
        vocabulary: 40,
        position_rows: 20,
        padding_id: 1,
        begin_id: 0,
        end_id: 2,
    })
}

/// A network of this description.
pub(crate) fn model(description: Description) -> HfModel {
    let tensors = filled(&description.shapes());
    HfModel { description, tensors, companions: BTreeMap::new() }
}
