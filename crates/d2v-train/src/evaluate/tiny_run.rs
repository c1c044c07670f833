//! Real runs of a few updates of a very small network, for the tests of what reads runs.

use std::fs;
use std::path::{Path, PathBuf};

use image::RgbImage;

use crate::config::RunConfig;
use crate::progress::Console;
use crate::run::Run;
use crate::settings::{self, Source};

/// Test pictures of the built-in data set as these runs have it.
pub(crate) const TEST_PICTURES: usize = 120;

/// The tiny image recipe, smaller still: width 16, two blocks, pictures of 16 pixels, a checkpoint every other update.
pub(crate) fn config(steps: u64, seed: u64) -> RunConfig {
    let source = Source::built_in("image-tiny", include_str!("../../../../configs/image-tiny.toml"));
    let changes = [
        format!("seed={seed}"),
        format!("train.length={{ steps = {steps} }}"),
        format!("data.synthetic={{ size_px = 16, train_images = 400, test_images = {TEST_PICTURES} }}"),
        "data.transform.geometry={ kind = \"random-shift\", size_px = 16, max_shift_px = 1 }".into(),
        "train.batch_size=8".into(),
        "mask={ kind = \"random\", mask_prob = 0.6 }".into(),
        "model.encoder.image_size=16".into(),
        "model.transformer.width=16".into(),
        "model.transformer.heads=2".into(),
        "model.transformer.ffn_width=32".into(),
        "model.transformer.depth=2".into(),
        "targets.top_k=2".into(),
        "checkpoint.every_steps=2".into(),
    ];
    let overrides: Vec<_> = changes.iter().map(|change| change.parse().expect("a setting")).collect();
    settings::load(&source, &overrides).expect("a good configuration")
}

/// Trains in `folder` and returns the configuration.
pub(crate) fn train(folder: &Path, steps: u64, seed: u64) -> RunConfig {
    let config = config(steps, seed);
    train_with(folder, &config);
    config
}

/// Trains in `folder` as `config` says.
pub(crate) fn train_with(folder: &Path, config: &RunConfig) {
    let mut run = Run::open(config, folder, &Console::stderr()).expect("a good configuration");
    let _finish = run.train(None).expect("a run");
}

/// Small one-coloured PNGs, two classes of different colour.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PictureFolder {
    /// Whether there are a `train` and a `test` level.
    pub(crate) split: bool,
    /// Whether every class has its folder.
    pub(crate) labels: bool,
    /// Pictures per class, in each part.
    pub(crate) per_class: u8,
}

impl PictureFolder {
    /// Writes the pictures below `folder`.
    pub(crate) fn write(self, folder: &Path) {
        let parts: &[&str] = if self.split { &["train", "test"] } else { &[""] };
        for part in parts {
            for (class, shade) in [("dark", 40), ("light", 200)] {
                let levels = [Some(*part).filter(|_| self.split), Some(class).filter(|_| self.labels)];
                let place = folder.join(levels.into_iter().flatten().collect::<PathBuf>());
                fs::create_dir_all(&place).expect("a folder");
                for number in 0..self.per_class {
                    // Brightness varies within a class, so that pictures differ.
                    let picture = RgbImage::from_pixel(20, 16, image::Rgb([shade + number % 40; 3]));
                    picture.save(place.join(format!("{class}-{number}.png"))).expect("a picture");
                }
            }
        }
    }
}
