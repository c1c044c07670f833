//! Which positions data2vec hides from the student.
//!
//! A mask is plain data: this crate knows positions, not tensors, images or sound, and needs no libtorch.
//! It has one polarity: **true = hidden from the student**. [`PaddingMask`] (true = not real) is another type, so
//! that the two cannot be mixed up.
//!
//! Every draw is a function of a [`MaskKey`] (seed, epoch or step, sample, clone): the same key gives the same mask,
//! whatever the number of threads or loader workers, and after a resume.
//!
//! | sampler | used by | positions |
//! |---|---|---|
//! | [`Blocks`]: BEiT blocks | images 1.0 | grid |
//! | [`Spans`]: wav2vec 2.0 spans | speech 1.0, fine-tuning, channels | line |
//! | [`Tokens`]: BERT and RoBERTa tokens | text 1.0 | line |
//! | [`Random`]: MAE | text 2.0 | line, grid |
//! | [`BlocksV2`]: data2vec 2.0 blocks | images 2.0, speech 2.0 | line, grid |
//!
//! ```
//! use d2v_masking::{MaskConfig, MaskKey, Positions};
//!
//! let sampler = MaskConfig::Blocks(Default::default()).build()?;
//! let keys: Vec<MaskKey> = (0..4).map(|sample_id| MaskKey { seed: 1, epoch: 0, sample_id, clone: 0 }).collect();
//! let mask = sampler.sample_batch(Positions::Grid { height: 14, width: 14 }, None, &keys)?;
//! assert_eq!((mask.rows(), mask.len()), (4, 196));
//! assert!((0..4).all(|row| mask.hidden_count(row) <= 120));
//! # Ok::<(), d2v_masking::Error>(())
//! ```
//!
//! The sources named in the documentation: "BEiT" is Bao et al. 2021; "wav2vec 2.0" is Baevski et al. 2020; "RoBERTa"
//! is Liu et al. 2019; "MAE" is He et al. 2021; "data2vec" and "data2vec 2.0" are Baevski et al. 2022. "The reference"
//! is their published code; where this crate departs from it, the item says so under "Differs from the reference".

mod key;
mod mask;
mod mask_text;
mod padding;
mod positions;

mod sampler;

mod blocks;
mod blocks_v2;
mod random;
mod spans;
mod spans_config;
mod spans_placement;
mod tokens;
mod tokens_config;

mod config;
mod corruption;
mod error;
mod selection;
mod visible;
mod vocabulary;

pub use blocks::{Blocks, BlocksConfig};
pub use blocks_v2::{BlockCount, BlockPlacement, BlocksV2, BlocksV2Config};
pub use config::MaskConfig;
pub use corruption::{Corrupted, CorruptedBatch, Fate, TokenCorruptor};
pub use error::{Error, Result};
pub use key::{MaskKey, MaskRng};
pub use mask::Mask;
pub use mask_text::draw_grid;
pub use padding::{PaddedPositions, PaddingMask};
pub use positions::Positions;
pub use random::{Random, RandomConfig};
pub use sampler::{MAX_CELLS, MaskSampler, RowRequest};
pub use spans::Spans;
pub use spans_config::{EqualCounts, Overlap, SpanLengths, SpanRounding, SpansConfig, StartRange};
pub use tokens::Tokens;
pub use tokens_config::{MaskRefresh, SpecialTokens, TokensConfig};
pub use visible::VisibleOrder;
pub use vocabulary::Vocabulary;

/// The README's example, compiled and run with the other documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
