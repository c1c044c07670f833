//! Law: what is exported and imported again is the same, description, bytes and companions, for all modalities.

use d2v_weights::description::{
    AudioDescription, Convolution, Description, TextDescription, TransformerDescription, VisionDescription,
};
use d2v_weights::names::BiasTable;
use d2v_weights::{HfModel, Tensor};
use proptest::prelude::*;

fn transformer() -> impl Strategy<Value = TransformerDescription> {
    let eps = prop_oneof![Just(1e-12), Just(1e-6), Just(1e-5)];
    let rates = (0.0..0.99, 0.0..0.99);
    (1..4usize, 1..4usize, 1..3usize, 1..9usize, eps, rates).prop_map(
        |(heads, head_width, depth, feed_forward, norm_eps, (dropout, attention_dropout))| {
            TransformerDescription {
                width: heads * head_width,
                depth,
                heads,
                feed_forward,
                norm_eps,
                dropout,
                attention_dropout,
            }
        },
    )
}

fn vision() -> impl Strategy<Value = Description> {
    let bias = prop_oneof![Just(BiasTable::Shared), Just(BiasTable::Copied)];
    (transformer(), 1..4usize, 1..4usize, 1..4usize, bias, any::<[bool; 2]>(), 0.0..0.99).prop_map(
        |(transformer, grid, patch_size, channels, bias_table, [mask_token, final_norm], drop_path)| {
            Description::Vision(VisionDescription {
                transformer,
                image_size: grid * patch_size,
                patch_size,
                channels,
                bias_table,
                mask_token,
                final_norm,
                drop_path,
                layer_scale: 1e-4,
            })
        },
    )
}

fn audio() -> impl Strategy<Value = Description> {
    let convolution = (1..5usize, 1..5usize, 1..5usize).prop_map(|(channels, kernel, stride)| Convolution {
        channels,
        kernel,
        stride,
    });
    let convolutions = proptest::collection::vec(convolution, 1..4);
    (transformer(), convolutions, 1..4usize, 1..6usize, any::<[bool; 2]>(), 0.0..0.99).prop_map(
        |(transformer, convolutions, positional_convs, positional_kernel, [grouped, mask_token], rate)| {
            Description::Audio(AudioDescription {
                positional_groups: if grouped { transformer.width } else { 1 },
                transformer,
                convolutions,
                positional_convs,
                positional_kernel,
                mask_token,
                activation_dropout: rate,
                feature_dropout: rate / 2.0,
                layer_drop: rate / 3.0,
            })
        },
    )
}

fn text() -> impl Strategy<Value = Description> {
    (transformer(), 4..20usize, 3..20usize).prop_map(|(transformer, vocabulary, position_rows)| {
        Description::Text(TextDescription {
            transformer,
            vocabulary,
            position_rows,
            padding_id: 1,
            begin_id: 0,
            end_id: vocabulary - 1,
        })
    })
}

/// Any bits at all, among them infinities and numbers that are none.
fn model(description: Description, seed: u32) -> HfModel {
    let mut state = seed;
    let mut bits = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from_bits(state)
    };
    let tensor = |shape: Vec<usize>| {
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| bits()).collect();
        Tensor::from_f32(shape, &values).unwrap()
    };
    let shapes = description.shapes().into_iter();
    let mut make = tensor;
    let tensors = shapes.map(|(name, shape)| (name, make(shape))).collect();
    let companions = [("tokenizer.json".to_owned(), seed.to_le_bytes().to_vec())].into();
    HfModel { description, tensors, companions }
}

/// 64 cases, or as many as the environment asks for.
fn cases() -> ProptestConfig {
    let cases =
        if std::env::var_os("PROPTEST_CASES").is_some() { ProptestConfig::default().cases } else { 64 };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn export_then_import_is_identity(
        description in prop_oneof![vision(), audio(), text()],
        seed: u32,
    ) {
        let written = model(description, seed);
        let folder = tempfile::tempdir().unwrap();
        let notes = written.write(folder.path()).unwrap();
        prop_assert_eq!(notes.len(), if matches!(written.description, Description::Text(_)) { 2 } else { 0 });
        let (read, _) = HfModel::read(folder.path()).unwrap();
        prop_assert_eq!(&read.description, &written.description);
        prop_assert!(read == written);
    }
}

#[test]
fn a_folder_is_not_overwritten_and_companions_are_known_files() {
    let mut written = crate::fixture::model(crate::fixture::audio());
    let folder = tempfile::tempdir().unwrap();
    written.companions.insert("../x".into(), vec![]);
    assert!(
        written.write(folder.path()).unwrap_err().to_string().contains("companion \"../x\" is not known")
    );
    written.companions.clear();
    written.write(folder.path()).unwrap();
    assert!(written.write(folder.path()).unwrap_err().to_string().contains("already there"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "weights and configuration");
}
