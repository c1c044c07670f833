//! What can go wrong with text; each message names the value, the rule and the way out.

use std::path::PathBuf;

/// Why text, a tokenizer or a table of labelled text could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The path is a file of a kind that is not read.
    #[error("{} is none of: {expected}; each may also end in .gz or .zst", path.display())]
    UnknownKind {
        /// The path given.
        path: PathBuf,
        /// The endings that are read.
        expected: &'static str,
    },

    /// Folder or pattern without a single file of text.
    #[error("no file of text ({expected}, also with .gz or .zst) found in {path}")]
    NoFiles {
        /// The path or pattern given.
        path: String,
        /// The endings that are read.
        expected: &'static str,
    },

    /// Files without a single token or row.
    #[error("the files of {path} hold no text")]
    Empty {
        /// The path or pattern given.
        path: String,
    },

    /// Bytes that are not UTF-8.
    #[error(
        "{file} is not valid UTF-8 at byte {byte} (line {line}); convert it, or set `invalid_utf8 = \"replace\"`"
    )]
    InvalidUtf8 {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u64,
        /// Position in the (decompressed) file of the first byte that does not fit.
        byte: u64,
    },

    /// A line, or a row of a table, longer than allowed.
    #[error("{file}, line {line} has more than {limit} bytes; raise `max_line_bytes` or break the line")]
    LineTooLong {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u64,
        /// The limit, `max_line_bytes`.
        limit: u64,
    },

    /// A line of a .jsonl file, or a row of a table, that cannot be understood.
    #[error("{file}, line {line}: {problem}")]
    Line {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        problem: String,
    },

    /// A table or object without the column or field asked for.
    #[error("{file}, line {line} has no {missing}; it has: {found}")]
    NoSuchField {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u64,
        /// The name or names looked for.
        missing: String,
        /// What there is.
        found: String,
    },

    /// A label that none of the files which define the classes has.
    #[error("{file}, line {line} has label '{label}', which no row of the train part has")]
    UnknownLabel {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u64,
        /// The label.
        label: String,
    },

    /// More labelled text than may be held in memory.
    #[error("{path} has more than {limit} tokens, the most that labelled text may have; give fewer rows")]
    TooManyTokens {
        /// The path or pattern given.
        path: String,
        /// The limit in tokens.
        limit: usize,
    },

    /// A tokenizer.json that is damaged or of an unknown kind.
    #[error("{name} is not a tokenizer.json that can be used: {problem}")]
    Tokenizer {
        /// The file, or what stands for one.
        name: String,
        /// What is wrong.
        problem: String,
    },

    /// A tokenizer without one of the tokens that training needs.
    #[error(
        "{name} lacks a token for {missing}: it has neither all of <s>, <pad>, </s>, <unk>, <mask> nor all of [CLS], [PAD], \
         [SEP], [UNK], [MASK]; say what it calls them, in `data.text.unit` beside `path`: specials = {{ {keys} }}; a mask or \
         pad that it lacks is added"
    )]
    MissingSpecials {
        /// The file, or what stands for one.
        name: String,
        /// The keys of [`SpecialNames`](crate::SpecialNames) for which there is no token, separated by commas.
        missing: String,
        /// What to write for them.
        keys: String,
    },

    /// A special token named that is not in the vocabulary.
    #[error(
        "{name} has no token '{token}', which `specials.{key}` names; only mask and pad may be new tokens"
    )]
    NoSuchSpecial {
        /// The file, or what stands for one.
        name: String,
        /// The key of [`SpecialNames`](crate::SpecialNames).
        key: &'static str,
        /// The name given.
        token: String,
    },

    /// A mask or padding that is another special token, too.
    #[error(
        "{name}: `specials.{key}` and `specials.{other}` are the same token; mask and pad must be tokens of their own, \
         and a name that the vocabulary lacks makes a new one"
    )]
    SameSpecial {
        /// The file, or what stands for one.
        name: String,
        /// The key of [`SpecialNames`](crate::SpecialNames).
        key: &'static str,
        /// The other key.
        other: &'static str,
    },

    /// The tokenizer refused a text.
    #[error("the tokenizer cannot encode {excerpt:?}: {problem}")]
    Encode {
        /// How the text begins.
        excerpt: String,
        /// Its reason.
        problem: String,
    },

    /// A tokenizer could not be trained.
    #[error("cannot train a tokenizer of {unit}: {problem}")]
    Train {
        /// The unit asked for.
        unit: &'static str,
        /// Why not.
        problem: String,
    },

    /// The test part of data whose unit is learned from the train part.
    #[error(
        "the unit '{unit}' is learned from the train part of {path}, which has none; \
         give the tokenizer of the training run"
    )]
    NeedsTokenizer {
        /// The path or pattern given.
        path: String,
        /// The unit asked for.
        unit: &'static str,
    },

    /// No folder for the token cache is known.
    #[error("neither D2V_CACHE, XDG_CACHE_HOME nor HOME is set; set one, or `cache`")]
    NoCacheFolder,

    /// A block of the token cache that no longer is what was written.
    #[error("block {block} of the token cache {} is damaged; delete that file and open the data again", path.display())]
    DamagedCache {
        /// The cache file.
        path: PathBuf,
        /// The block.
        block: usize,
    },
}
