//! Text: from files to blocks of token ids, for any unit; specification 2.3.
//!
//! ```text
//! files      which files, of which part
//! lines      decompressed, one line in memory
//! pieces     where pieces and documents end
//! tokenizer  text to ids (train: learned from the text)
//! pack       pieces to blocks
//! cache      blocks on disk, read in place
//! blocks     the data set made of all this; labelled: rows of tables with classes
//! ```

mod blocks;
mod byte_ids;
mod cache;
mod error;
mod files;
mod json_fields;
mod labelled;
mod lines;
mod options;
mod pack;
mod pieces;
mod specials;
mod table;
mod tokenizer;
mod train;
mod unigram;
mod unit;
mod word_start;

pub use blocks::{TextBlocks, open_text, open_text_with};
pub use cache::default_cache_folder;
pub use error::TextError;
pub use labelled::{LabelledText, LabelledTextOptions, open_labelled_text};
pub use options::{Documents, InvalidUtf8, TextOptions};
pub use specials::{SpecialNames, Specials};
pub use tokenizer::Tokenizer;
pub(crate) use train::Learner;
pub use train::{MAX_TRAINING_BYTES, train_tokenizer};
pub use unit::TextUnit;
