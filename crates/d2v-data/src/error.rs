//! Everything that can go wrong between a path and a batch; each message names the value, the rule and the way out.

use crate::audio::AudioError;
use crate::dataset::Split;
use std::path::PathBuf;

/// Why data could not be opened, read, decoded or batched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// What was read.
        path: PathBuf,
        /// The reason given by the system.
        #[source]
        source: std::io::Error,
    },

    /// The path is a file of a kind that is not read.
    #[error(
        "{} is none of: a folder of pictures, a .tar, .tar.gz or .tgz archive, an IDX image file (*-images-idx3-ubyte[.gz])",
        path.display()
    )]
    UnknownKind {
        /// The path given.
        path: PathBuf,
    },

    /// Folder or archive without a single picture.
    #[error(
        "no picture (.jpg, .jpeg, .png, .webp, .bmp) found in {path}{}; for tar shards give a pattern such as 'shards-*.tar'",
        if *ignored == 0 { String::new() } else { format!(" ({ignored} links or odd entries were ignored)") }
    )]
    NoPictures {
        /// The path or pattern given.
        path: String,
        /// How many entries were left out on purpose.
        ignored: u64,
    },

    /// The data has no such part.
    #[error("{path} has no '{split}' part: {found}")]
    NoSuchSplit {
        /// The path or pattern given.
        path: String,
        /// The part asked for.
        split: Split,
        /// What it has instead.
        found: String,
    },

    /// The pattern for shards is malformed.
    #[error("'{pattern}' is not a valid pattern: {source}")]
    Pattern {
        /// The pattern given.
        pattern: String,
        /// Where it is wrong.
        #[source]
        source: glob::PatternError,
    },

    /// Nothing matches the pattern for shards.
    #[error("no file matches '{pattern}'")]
    NothingMatches {
        /// The pattern given.
        pattern: String,
    },

    /// More than may be held in memory.
    #[error(
        "{} needs more than the limit of {limit_bytes} bytes in memory; unpack it, or store it as a plain .tar, \
         which is read in place; or raise `memory_limit_bytes`",
        path.display()
    )]
    MemoryLimit {
        /// The archive or IDX file.
        path: PathBuf,
        /// The limit, from [`OpenOptions`](crate::OpenOptions).
        limit_bytes: u64,
    },

    /// A tar archive whose structure is broken or hostile.
    #[error("archive {} is damaged at byte {position}: {problem}", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// Where in the (decompressed) archive.
        position: u64,
        /// What is wrong there.
        problem: &'static str,
    },

    /// An IDX file with another magic number.
    #[error("{} starts with magic number {got:#010x}, expected {expected}", path.display())]
    IdxMagic {
        /// The file.
        path: PathBuf,
        /// The number found.
        got: u32,
        /// The numbers that would have been right.
        expected: &'static str,
    },

    /// An IDX file with dimensions that cannot be.
    #[error("{} declares dimensions {dims:?}: {rule}", path.display())]
    IdxDimensions {
        /// The file.
        path: PathBuf,
        /// The dimensions declared.
        dims: Vec<u32>,
        /// The rule they break.
        rule: &'static str,
    },

    /// An IDX file that ends early, or goes on after its data.
    #[error("{} should hold exactly {expected} bytes of data but {found}", path.display())]
    IdxLength {
        /// The file.
        path: PathBuf,
        /// Bytes declared by the header.
        expected: u64,
        /// How it differs.
        found: &'static str,
    },

    /// Image and label files that do not belong together.
    #[error("{} has {labels} labels for {images} images", path.display())]
    IdxCounts {
        /// The label file.
        path: PathBuf,
        /// Number of labels.
        labels: usize,
        /// Number of images.
        images: usize,
    },

    /// An encoded picture that is larger than allowed.
    #[error("{name} has {bytes} bytes, more than the limit of {limit} for one picture")]
    FileTooLarge {
        /// The picture.
        name: String,
        /// Its size as far as known.
        bytes: u64,
        /// The limit, from [`Limits`](crate::Limits).
        limit: u64,
    },

    /// A picture whose declared size is larger than allowed.
    #[error(
        "{name} declares {width} x {height} pixels, more than the limit of {limit} pixels, or of 65535 a side"
    )]
    TooManyPixels {
        /// The picture.
        name: String,
        /// Declared width in pixels.
        width: u32,
        /// Declared height in pixels.
        height: u32,
        /// The limit, from [`Limits`](crate::Limits).
        limit: u64,
    },

    /// A picture without pixels, or with a number of bytes that does not fit its size.
    #[error(
        "a picture of {width} x {height} pixels cannot have {bytes} bytes; it needs 3 per pixel and at least one pixel"
    )]
    PictureShape {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Bytes given.
        bytes: usize,
    },

    /// The content is not of a known picture format, whatever the file is called.
    #[error("{name} is not a JPEG, PNG, WebP or BMP picture by its content")]
    UnknownFormat {
        /// The picture.
        name: String,
    },

    /// The file ends before the picture does.
    #[error("{name} is truncated: {what}")]
    Truncated {
        /// The picture.
        name: String,
        /// What is missing.
        what: &'static str,
    },

    /// The decoder refused the content.
    #[error("cannot decode {name}: {source}")]
    Decode {
        /// The picture.
        name: String,
        /// The decoder's reason.
        #[source]
        source: image::ImageError,
    },

    /// Sound that cannot be found, decoded or labelled.
    #[error(transparent)]
    Audio(#[from] AudioError),

    /// Sound without a channel, a sample or a rate.
    #[error(
        "sound of {channels} channels with {samples} samples each at {rate_hz} Hz: each must be at least 1"
    )]
    WaveformShape {
        /// Number of channels.
        channels: usize,
        /// Samples per channel.
        samples: usize,
        /// Samples per second.
        rate_hz: u32,
    },

    /// Sound with a sample that is no number.
    #[error("sample {at} of the sound is {value}; all must be finite")]
    WaveformValue {
        /// The first such sample.
        at: usize,
        /// Its value.
        value: f32,
    },

    /// A transform for another modality than the data's.
    #[error("the data set holds {data}, but the transform is for {transform}")]
    Modality {
        /// What was loaded.
        data: &'static str,
        /// What the transform takes.
        transform: &'static str,
    },

    /// Sounds of one batch with different numbers of channels.
    #[error(
        "a sound of {got} channels in a batch of sounds of {expected}; set the number of channels to mix to"
    )]
    Channels {
        /// Channels of the first sound.
        expected: usize,
        /// Channels of the other.
        got: usize,
    },

    /// A sample that alone is longer than a batch may be.
    #[error(
        "{name} has length {length}, more than the {limit} of a whole batch; raise the batch or lower the longest sample"
    )]
    LongerThanBatch {
        /// The sample.
        name: String,
        /// Its length, see [`Dataset::length`](crate::Dataset::length).
        length: usize,
        /// The total length of a batch.
        limit: usize,
    },

    /// A setting outside its range.
    #[error("`{setting}` is {value}, but {rule}")]
    Setting {
        /// The name of the setting.
        setting: &'static str,
        /// The value given.
        value: String,
        /// What is allowed.
        rule: &'static str,
    },

    /// Fewer samples than one batch.
    #[error(
        "a batch of {batch_size} cannot be made of {samples} samples, as each appears once an epoch; \
         lower the batch size or give more data"
    )]
    TooFewSamples {
        /// Samples per batch asked for.
        batch_size: usize,
        /// Samples there are.
        samples: usize,
    },

    /// A position beyond the end of its epoch: the data or the batch size is not that of the run being resumed.
    #[error(
        "cannot start at batch {batch} of epoch {epoch}: an epoch of this data has {batches} batches; \
         a resumed run needs the data and batch size it began with"
    )]
    CursorBeyondEpoch {
        /// The epoch asked for.
        epoch: u64,
        /// The batch asked for.
        batch: u64,
        /// Batches in an epoch.
        batches: u64,
    },

    /// An index that the data set does not have.
    #[error("sample {index} asked for, but there are {len}")]
    IndexOutOfRange {
        /// The index asked for.
        index: usize,
        /// The number of samples.
        len: usize,
    },

    /// More unreadable samples than allowed.
    #[error(
        "{count} unreadable samples, more than the limit of {limit}; the last is {name}: {reason}; repair or remove \
         such files, or raise `unreadable_limit`"
    )]
    TooManyUnreadable {
        /// Different unreadable samples so far, files found unreadable when the data was opened among them.
        count: usize,
        /// The limit set.
        limit: usize,
        /// The one that broke the limit.
        name: String,
        /// Why it cannot be read.
        reason: String,
    },

    /// An unreadable sample for which no readable replacement turned up.
    #[error(
        "{name} is unreadable, and so are all {tries} samples that were tried in its place; the data is damaged, \
         repair it or leave such files out"
    )]
    NoReplacement {
        /// The first unreadable sample.
        name: String,
        /// How many others were tried.
        tries: u64,
    },

    /// A worker thread panicked: a bug, here or in a decoder.
    #[error("a loader thread panicked at sample {name}: {message}")]
    WorkerPanicked {
        /// The sample it was working on.
        name: String,
        /// The panic's message.
        message: String,
    },

    /// Text, a tokenizer or a table of labelled text.
    #[error(transparent)]
    Text(#[from] crate::text::TextError),

    /// Worker threads could not be started.
    #[error("cannot start a loader thread: {source}; lower the number of threads")]
    Spawn {
        /// The reason given by the system.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// Wraps an I/O error together with the path it is about.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
