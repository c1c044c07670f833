//! From files to batches, without libtorch: what `--data PATH` holds, decoding, augmentation, order, worker threads.
//!
//! The way of a sample, in reading order of the modules:
//!
//! ```text
//! open(path, split)  ->  Dataset          pictures in folders, tar archives, IDX files; or SyntheticImages
//! open_audio(..)     ->  Dataset          recordings in folders, tar archives, lists; or SyntheticSounds
//! open_text, open_labelled_text           text in files and tables; or SyntheticText
//! Dataset::load      ->  RawSample        decoded, not augmented
//! Transform::apply   ->  Input            augmented, normalised
//! Loader             ->  Batch            shuffled, collated, in order, from any Cursor
//! Evaluation         ->  Batch            every sample once, in index order
//! ```
//!
//! Everything random is a function of `(seed, epoch, sample id)` and nothing else: batches are the same bits for any
//! number of threads and after any resume. Files are not trusted: sizes are checked before memory is taken
//! ([`Limits`]), archives are never unpacked to disk, links are not followed.
//!
//! ```
//! use std::sync::Arc;
//! use d2v_data::{BatchSize, Cursor, ImageTransform, Loader, LoaderConfig, Split, SyntheticConfig, SyntheticImages, Transform};
//!
//! let pictures = SyntheticImages::new(SyntheticConfig::default(), Split::Train)?;
//! let config = LoaderConfig {
//!     batch: BatchSize::Samples(8),
//!     transform: Transform::Image(ImageTransform::small(32, 4)),
//!     ..LoaderConfig::default()
//! };
//! let mut loader = Loader::new(Arc::new(pictures), config, Cursor::default())?;
//! let batch = loader.next().expect("a loader never ends by itself")?;
//! assert_eq!(batch.images().expect("pictures").dim(), (8, 3, 32, 32));
//! # Ok::<(), d2v_data::Error>(())
//! ```

mod dataset;
mod error;
mod panic_message;
mod picture;
mod waveform;

mod audio;
mod decode;
mod source;
mod subset;
mod synthetic;
mod text;

mod order;
mod random;
mod transform;

mod batch;
mod bucket;
mod collate;
mod evaluation;
mod loader;
mod pipeline;

pub use audio::{
    AudioError, AudioFiles, AudioLabels, AudioLimits, AudioOptions, SyntheticSounds, SyntheticSoundsConfig,
    TestWhen, open_audio,
};
pub use batch::{Batch, Cursor, Inputs, SampleInfo, Skipped};
pub use dataset::{Dataset, Ignored, Input, RawSample, Sample, Split, WhyIgnored};
pub use decode::{Limits, decode_picture};
pub use error::Error;
pub use evaluation::{Evaluation, EvaluationConfig};
pub use loader::{BatchSize, Loader, LoaderConfig, batches_per_epoch};
pub use order::order;
pub use picture::ImageRgb;
pub use random::AugmentKey;
pub use source::{IdxImages, OpenOptions, PictureFiles, open};
pub use subset::Subset;
pub use synthetic::{SyntheticConfig, SyntheticImages, SyntheticText, SyntheticTextConfig};
pub use text::{
    Documents, InvalidUtf8, LabelledText, LabelledTextOptions, MAX_TRAINING_BYTES, SpecialNames, Specials,
    TextBlocks, TextError, TextOptions, TextUnit, Tokenizer, default_cache_folder, open_labelled_text,
    open_text, open_text_with, train_tokenizer,
};
pub use transform::{
    AudioTransform, ColourJitter, CropRange, Geometry, ImageTransform, Normalisation, Ragged, TextTransform,
    Transform, resize,
};
pub use waveform::Waveform;

/// Compiles and runs the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExample;
