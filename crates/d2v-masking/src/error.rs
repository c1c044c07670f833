//! Everything that can go wrong, with the value, the rule and the way out.

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a mask could not be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is outside its range.
    #[error("{setting} is {value}, but must be {rule}")]
    Setting {
        /// The setting as it is called in a configuration file.
        setting: &'static str,
        /// Its value.
        value: f64,
        /// What it must be.
        rule: &'static str,
    },

    /// A mask's values do not fill its shape.
    #[error("a mask of {rows} rows of {len} positions needs {rows} x {len} values, got {got}")]
    MaskShape {
        /// Rows asked for.
        rows: usize,
        /// Positions per row asked for.
        len: usize,
        /// Values given.
        got: usize,
    },

    /// Rows of one batch differ in length.
    #[error("row {row} has {got} positions where {expected} are expected; pad the rows to one length")]
    RowLength {
        /// The offending row.
        row: usize,
        /// Positions expected.
        expected: usize,
        /// Positions found.
        got: usize,
    },

    /// An index or range beyond the mask.
    #[error("{what} {index} is beyond the mask's {limit}")]
    BeyondMask {
        /// What was asked for.
        what: &'static str,
        /// Its index.
        index: usize,
        /// How many there are.
        limit: usize,
    },

    /// There is no position to mask.
    #[error("there are no positions to mask; leave empty samples out")]
    NoPositions,

    /// The batch would be absurdly large.
    #[error("{rows} rows of {len} positions are more than the {limit} cells that a mask may have")]
    TooManyCells {
        /// Rows asked for.
        rows: usize,
        /// Positions per row asked for.
        len: usize,
        /// The largest product allowed, [`crate::MAX_CELLS`].
        limit: usize,
    },

    /// A row's real length is beyond the row.
    #[error("row {row} has a real length of {real_len}, longer than the row's {len} positions")]
    RealLength {
        /// The offending row.
        row: usize,
        /// Its real length.
        real_len: usize,
        /// Positions per row.
        len: usize,
    },

    /// A real position follows a padded one.
    #[error("row {row} is real at position {position} after padding; padding must stand at the end")]
    PaddingInside {
        /// The offending row.
        row: usize,
        /// The first real position after padding.
        position: usize,
    },

    /// The padding belongs to another batch.
    #[error("the padding is for {got_rows} rows of {got_len} positions, the masks for {rows} rows of {len}")]
    PaddingShape {
        /// Rows of masks.
        rows: usize,
        /// Positions per row of masks.
        len: usize,
        /// Rows of padding.
        got_rows: usize,
        /// Positions per row of padding.
        got_len: usize,
    },

    /// A grid has padding.
    #[error("sample {sample_id} has {real_len} real of {len} grid positions; only a line can be padded")]
    PaddedGrid {
        /// The sample.
        sample_id: u64,
        /// Its real positions.
        real_len: usize,
        /// All positions.
        len: usize,
    },

    /// The sampler works on grids only.
    #[error("{sampler} masks need a grid, got a line of {len} positions")]
    NeedsGrid {
        /// The sampler.
        sampler: &'static str,
        /// The line's length.
        len: usize,
    },

    /// The sampler works on lines only.
    #[error("{sampler} masks need a line, got a grid of {height} x {width}")]
    NeedsLine {
        /// The sampler.
        sampler: &'static str,
        /// The grid's height.
        height: usize,
        /// The grid's width.
        width: usize,
    },

    /// More is to be hidden than the grid has.
    #[error(
        "target_count is {target_count}, but a grid of {height} x {width} must keep a visible position: \
         at most {most}"
    )]
    TargetCount {
        /// Positions to hide.
        target_count: usize,
        /// The grid's height.
        height: usize,
        /// The grid's width.
        width: usize,
        /// The largest count allowed.
        most: usize,
    },

    /// No block of the allowed sizes fits into the grid.
    #[error(
        "no block of at least {min_block} positions was found for a grid of {height} x {width} in {attempts} attempts; \
         lower min_block or min_aspect"
    )]
    NoBlockFits {
        /// The smallest block's area.
        min_block: usize,
        /// The grid's height.
        height: usize,
        /// The grid's width.
        width: usize,
        /// Blocks tried.
        attempts: usize,
    },

    /// A row is too short to have both hidden and visible positions.
    #[error(
        "sample {sample_id} has {real_len} real positions, {sampler} masks need at least {need}; \
         leave shorter samples out"
    )]
    RowTooShort {
        /// The sampler.
        sampler: &'static str,
        /// The sample.
        sample_id: u64,
        /// Its real positions.
        real_len: usize,
        /// The fewest that work.
        need: usize,
    },

    /// The settings hide a whole row.
    #[error(
        "all {real_len} real positions of sample {sample_id} would be hidden; lower the share that is hidden"
    )]
    NothingVisible {
        /// The sample.
        sample_id: u64,
        /// Its real positions.
        real_len: usize,
    },

    /// A row cannot be filled up to the batch's count.
    #[error(
        "sample {sample_id} has {real_len} real positions and cannot hide {count}, the most in its batch; \
         cut to the fewest, let padding be hidden, or batch by length"
    )]
    CannotFill {
        /// The sample.
        sample_id: u64,
        /// Its real positions.
        real_len: usize,
        /// Positions to hide.
        count: usize,
    },

    /// Rows with different numbers of visible positions where one number is needed.
    #[error(
        "row {row} has {got} positions to keep, but the batch keeps {expected} per row; hide equal counts"
    )]
    UnequalVisible {
        /// The offending row.
        row: usize,
        /// What is kept of the others.
        expected: usize,
        /// What could be kept of it.
        got: usize,
    },

    /// A batch needs one key per row.
    #[error("{keys} keys were given for {rows} rows")]
    KeyCount {
        /// Keys given.
        keys: usize,
        /// Rows given.
        rows: usize,
    },

    /// The input shows the mask token before masking.
    #[error(
        "sample {sample_id} already holds the mask token {mask_id} at position {position}; mask a sample once"
    )]
    AlreadyMasked {
        /// The sample.
        sample_id: u64,
        /// The mask token's id.
        mask_id: u32,
        /// Where it stands.
        position: usize,
    },

    /// An id beyond the vocabulary.
    #[error("id {id} is beyond the vocabulary of {size}")]
    UnknownId {
        /// The id.
        id: u32,
        /// Ids from 0 to this, exclusive.
        size: u32,
    },

    /// No id is left to draw random replacements from.
    #[error(
        "no id of the vocabulary may stand in for a token; give one of positive weight that is not special"
    )]
    NoReplacements,

    /// Word weights that do not fit the vocabulary.
    #[error("{got} replacement weights were given for a vocabulary of {size}")]
    WeightCount {
        /// Ids in the vocabulary.
        size: u32,
        /// Weights given.
        got: usize,
    },

    /// A replacement weight that is no weight.
    #[error("the replacement weight of id {id} is {weight}, but must be finite and not negative")]
    Weight {
        /// The id.
        id: usize,
        /// Its weight.
        weight: f64,
    },

    /// Whole words are asked for and the words are unknown.
    #[error(
        "whole_words is set, but sample {sample_id} came without word starts; use TokenCorruptor with them"
    )]
    NeedsWordStarts {
        /// The sample.
        sample_id: u64,
    },

    /// Word starts of another length than the tokens.
    #[error("sample {sample_id} has {tokens} tokens but {starts} word-start flags")]
    WordStarts {
        /// The sample.
        sample_id: u64,
        /// Tokens of the sample.
        tokens: usize,
        /// Flags given.
        starts: usize,
    },
}

/// Accepts a share between 0 and 1, both allowed.
pub(crate) fn check_share(setting: &'static str, value: f64) -> Result<()> {
    check(setting, value, (0.0..=1.0).contains(&value), "between 0 and 1")
}

/// Accepts a share that leaves something: from 0 up to, but not, 1.
pub(crate) fn check_share_below_one(setting: &'static str, value: f64) -> Result<()> {
    check(setting, value, (0.0..1.0).contains(&value), "at least 0 and below 1")
}

/// Accepts a count of at least one.
pub(crate) fn check_positive(setting: &'static str, value: usize) -> Result<()> {
    check(setting, value as f64, value >= 1, "at least 1")
}

/// Turns a broken rule into the error that names it.
pub(crate) fn check(setting: &'static str, value: f64, holds: bool, rule: &'static str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Setting { setting, value, rule }) }
}

/// Expects a configuration to be refused for this setting.
#[cfg(test)]
#[track_caller]
pub(crate) fn check_setting(validated: Result<()>, setting: &str) {
    match validated {
        Err(Error::Setting { setting: named, .. }) => assert_eq!(named, setting),
        other => panic!("expected {setting} to be refused, got {other:?}"),
    }
}
