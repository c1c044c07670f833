//! `d2v embed`.

use crate::Result;
use crate::config::DataConfig;
pub use crate::evaluate::args::EmbedArgs as Args;
use crate::evaluate::args::EmbedPooling;
use crate::evaluate::embedding_file::{EmbeddedSample, EmbeddingIndex, EmbeddingSource, EmbeddingWriter};
use crate::evaluate::extract::{Extracted, visit_batches};
use crate::evaluate::pooling::{Pooling, pool, real_tokens};
use crate::evaluate::trained::TrainedRun;
use crate::evaluate::{Error, FeatureName};
use crate::exit::Exit;
use crate::left_out::log_left_out;
use crate::sources::open_source;
use clap::ValueEnum;
use std::sync::Arc;
use tch::Tensor;

/// Writes features of a data set to a file.
///
/// # Errors
/// If the run or the data cannot be read, the network lacks what is asked for, or the disk refuses.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let EmbeddingIndex { rows, width, samples, .. } = embed(args)?;
    tracing::info!("{} samples, {rows} rows of {width} columns: {}", samples.len(), args.out.display());
    Ok(Exit::Done)
}

/// Inputs are prepared as for the run's training, without what is random in it.
fn embed(args: &Args) -> Result<EmbeddingIndex> {
    let device = d2v_torch::cuda::device(&args.device)?;
    d2v_torch::settings::set_deterministic(true)?;
    d2v_torch::settings::set_tf32(false)?;
    let run = TrainedRun::open(&args.run)?;
    let network = run.network(args.of, device)?;
    let config = DataConfig { path: Some(args.data.clone()), ..run.config.data.clone() };
    let data = open_source(&config, args.split.into(), run.tokenizer.clone())?.dataset;
    log_left_out(&*data);

    let pooling = args.pool.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let source = EmbeddingSource {
        run: run.name,
        step: run.step,
        network: args.of,
        features: args.layer,
        pooling,
        classes: data.classes().to_vec(),
    };
    let mut writer = EmbeddingWriter::create(&args.out, source)?;
    let transform = run.config.data.transform.for_evaluation();
    let encoder = &run.config.model.encoder;
    visit_batches(Arc::clone(&data), transform, encoder, device, |batch, input, padding_bl| {
        let (rows_nd, counts) = rows(&Extracted::of(&network, input, padding_bl)?, args.layer, args.pool)?;
        let samples = batch.samples.iter().zip(counts).map(|(sample, rows)| EmbeddedSample {
            id: sample.id,
            label: sample.label,
            name: data.name(sample.index),
            rows,
        });
        Ok(writer.push(&rows_nd, samples.collect())?)
    })?;
    Ok(writer.finish()?)
}

/// The rows that a batch adds to the file, `[Σ counts, D]`, and how many each sample has.
fn rows(extracted: &Extracted, layer: FeatureName, how: EmbedPooling) -> Result<(Tensor, Vec<usize>)> {
    let tokens_bld = extracted.layers().tokens(layer)?;
    let (padding_bl, extra_tokens) = (extracted.padding_bl.as_ref(), extracted.extra_tokens);
    let pooling = match how {
        EmbedPooling::Tokens => return Ok(real_tokens(&tokens_bld, extra_tokens, padding_bl)?),
        EmbedPooling::Mean => Pooling::TokenMean { extra_tokens },
        EmbedPooling::Class if extra_tokens == 0 => return Err(Error::NoClassToken.into()),
        EmbedPooling::Class => Pooling::ClassToken {},
    };
    let samples = tokens_bld.size()[0] as usize;
    Ok((pool(&tokens_bld, pooling, padding_bl)?, vec![1; samples]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::tiny_run::{self, PictureFolder};
    use clap::Parser;
    use std::fs;
    use std::path::Path;
    use tempfile::TempDir;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    /// A run and six pictures in each part of two.
    struct Given {
        folder: TempDir,
    }

    impl Given {
        fn new() -> Given {
            let folder = tempfile::tempdir().unwrap();
            tiny_run::train(&folder.path().join("run"), 2, 0);
            PictureFolder { split: true, labels: true, per_class: 3 }.write(&folder.path().join("data"));
            Given { folder }
        }

        /// Embeds with further arguments; gives the index, and the rows as they stand in the `.npy`.
        fn embed(&self, line: &[&str]) -> Result<(EmbeddingIndex, Vec<f32>)> {
            let out = self.folder.path().join("x.npy");
            let path = |name: &str| self.folder.path().join(name).display().to_string();
            let fixed = ["embed", "--run", &path("run"), "--data", &path("data"), "--out", &path("x.npy")];
            let index = embed(&Cli::try_parse_from(fixed.iter().chain(line)).unwrap().args)?;
            Ok((index, read_npy(&out)))
        }
    }

    fn read_npy(path: &Path) -> Vec<f32> {
        npyz::NpyFile::new(fs::File::open(path).unwrap()).unwrap().into_vec().unwrap()
    }

    #[test]
    fn every_picture_has_a_row_with_its_name_and_label() {
        let (index, rows) = Given::new().embed(&[]).unwrap();
        assert_eq!((index.rows, index.width, rows.len()), (12, 16, 12 * 16));
        assert_eq!((index.source.step, index.source.pooling.as_str()), (2, "mean"));
        assert_eq!(index.source.classes, ["dark", "light"]);
        for sample in &index.samples {
            let class = &index.source.classes[sample.label.unwrap() as usize];
            assert!(sample.name.contains(&format!("/{class}/")), "{sample:?}");
        }
    }

    #[test]
    fn the_mean_of_the_tokens_is_the_pooled_row() {
        let given = Given::new();
        let line = ["--split=test", "--layer=1", "--of=teacher"];
        let (pooled, mean) = given.embed(&line).unwrap();
        let (index, tokens) = given.embed(&[&line[..], &["--pool=tokens"]].concat()).unwrap();
        // Pictures of 16 pixels in patches of 4.
        assert_eq!((pooled.rows, index.rows), (6, 6 * 16));
        assert!(index.samples.iter().all(|sample| sample.rows == 16));
        for (row, expected) in mean.chunks(16).enumerate() {
            for (column, expected) in expected.iter().enumerate() {
                let of_token = |token: usize| tokens[(row * 16 + token) * 16 + column];
                let got = (0..16).map(of_token).sum::<f32>() / 16.0;
                assert!((got - expected).abs() < 1e-5, "row {row}, column {column}: {got}, not {expected}");
            }
        }
    }

    #[test]
    fn layers_and_networks_differ() {
        let given = Given::new();
        let rows = |line: &[&str]| given.embed(line).unwrap().1;
        let average = rows(&[]);
        assert_eq!(average, rows(&["--layer=average", "--of=student", "--split=all"]), "the defaults");
        for line in ["--layer=last", "--layer=embedding", "--layer=2", "--of=teacher", "--of=random"] {
            assert_ne!(average, rows(&[line]), "{line}");
        }
        let (first, second) = (rows(&["--layer=1"]), rows(&["--layer=2"]));
        for ((average, first), second) in average.iter().zip(first).zip(second) {
            assert!((average - (first + second) / 2.0).abs() < 1e-6);
        }
    }

    #[test]
    fn a_class_token_is_a_row_of_its_own() {
        let given = Given::new();
        let error = anyhow::Error::from(given.embed(&["--pool=class"]).unwrap_err());
        assert_eq!(Exit::of(&error), Exit::Usage, "{error:#}");

        let mut config = tiny_run::config(2, 0);
        let d2v_encoders::EncoderConfig::Image(image) = &mut config.model.encoder else {
            panic!("no pictures")
        };
        image.class_token = true;
        fs::remove_dir_all(given.folder.path().join("run")).unwrap();
        tiny_run::train_with(&given.folder.path().join("run"), &config);
        let (class, of_class) = given.embed(&["--pool=class", "--of=random", "--layer=embedding"]).unwrap();
        assert_eq!(class.rows, 12);
        // Before the first block the class token knows nothing of the picture.
        assert!(of_class.chunks(16).all(|row| *row == of_class[..16]));
        let (tokens, _) = given.embed(&["--pool=tokens"]).unwrap();
        assert_eq!(tokens.rows, 12 * 16, "the class token is among them");
    }

    #[test]
    fn what_cannot_be_embedded_says_why() {
        let given = Given::new();
        let check = |line: &[&str], exit, expected: &str| {
            let error = anyhow::Error::from(given.embed(line).unwrap_err());
            assert_eq!(Exit::of(&error), exit, "{error:#}");
            assert!(format!("{error:#}").contains(expected), "{error:#}");
        };
        check(&["--layer=3"], Exit::Usage, "the network has blocks 1 to 2");
        fs::remove_dir_all(given.folder.path().join("data").join("test")).unwrap();
        check(&["--split=test"], Exit::Data, "no 'test' part");
        fs::remove_dir_all(given.folder.path().join("run").join("checkpoints")).unwrap();
        check(&[], Exit::Usage, "no checkpoint in");
        assert!(!given.folder.path().join("x.npy").exists());
    }
}
