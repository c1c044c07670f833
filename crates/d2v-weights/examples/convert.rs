//! Shows what weights are: `cargo run -p d2v-weights --example convert -- IN [OUT]`.
//!
//! `IN` is a folder of transformers or a `.pt` file of fairseq or of the original image code. With `OUT`, a folder is
//! written again, from our names to theirs; a `.pt` file is written as one safetensors file by our names. Without
//! arguments a small network is made, written and read.

use d2v_weights::description::{AudioDescription, Convolution, Description, TransformerDescription};
use d2v_weights::{AudioProcessor, Checkpoint, HfModel, Network, Tensor, Tensors, write_safetensors};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let Some(from) = arguments.next() else {
        let folder = std::env::temp_dir().join(format!("d2v-weights-example-{}", std::process::id()));
        let result =
            small_network().and_then(|model| Ok(model.write(&folder)?)).and_then(|_| show(&folder, None));
        std::fs::remove_dir_all(&folder)?;
        return result;
    };
    show(&from, arguments.next().as_deref())
}

fn show(from: &Path, to: Option<&Path>) -> Result<(), Box<dyn Error>> {
    if from.is_dir() {
        let (model, notes) = HfModel::read(from)?;
        report(&model.tensors, &notes);
        print(&model.description.to_config_json());
        if let Some(to) = to {
            report(&Tensors::new(), &model.write(to)?);
        }
    } else {
        let checkpoint = Checkpoint::read(from, Network::Student)?;
        print(checkpoint.source.describe());
        report(&checkpoint.tensors, &checkpoint.notes);
        if let Some(to) = to {
            write_safetensors(to, &checkpoint.tensors)?;
        }
    }
    Ok(())
}

fn report(tensors: &Tensors, notes: &[String]) {
    for (name, tensor) in tensors {
        print(&format!("{name:50} {:?}", tensor.shape()));
    }
    notes.iter().for_each(|note| print(&format!("note: {note}")));
}

#[expect(clippy::print_stdout, reason = "an example speaks to its user")]
fn print(text: &str) {
    println!("{text}");
}

/// A speech network of 8 channels, without any training.
fn small_network() -> Result<HfModel, Box<dyn Error>> {
    let description = Description::Audio(AudioDescription {
        transformer: TransformerDescription {
            width: 8,
            depth: 1,
            heads: 2,
            feed_forward: 16,
            norm_eps: 1e-5,
            dropout: 0.1,
            attention_dropout: 0.1,
        },
        convolutions: vec![Convolution { channels: 4, kernel: 10, stride: 5 }],
        positional_convs: 1,
        positional_kernel: 19,
        positional_groups: 4,
        mask_token: true,
        activation_dropout: 0.0,
        feature_dropout: 0.0,
        layer_drop: 0.05,
    });
    let filled = |shape: &Vec<usize>| Tensor::from_f32(shape.clone(), &vec![0.5; shape.iter().product()]);
    let tensors = description
        .shapes()
        .iter()
        .map(|(name, shape)| Ok((name.clone(), filled(shape)?)))
        .collect::<Result<_, d2v_weights::Error>>()?;
    let processor = AudioProcessor { sampling_rate_hz: 16_000, normalise: true };
    let companions =
        BTreeMap::from([("preprocessor_config.json".to_owned(), processor.to_json().into_bytes())]);
    Ok(HfModel { description, tensors, companions })
}
