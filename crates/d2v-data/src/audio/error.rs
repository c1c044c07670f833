//! Everything that can go wrong with sound files; each message names the file, the rule and the way out.

use std::path::PathBuf;

/// Why sound could not be found, decoded or labelled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AudioError {
    /// Nothing that can be used was found.
    #[error(
        "no usable sound (.wav, .flac, .mp3, .ogg, .oga) in {path}{}; for tar shards give a pattern such as 'shards-*.tar'",
        match first { Some(first) => format!(" ({ignored} left out, the first: {first})"), None => String::new() }
    )]
    NoSounds {
        /// The path or pattern given.
        path: String,
        /// How many entries were left out.
        ignored: u64,
        /// The first of them and the reason, if any.
        first: Option<String>,
    },

    /// The content is not of a known sound format, whatever the file is called.
    #[error(
        "{name} is not WAV, FLAC, MP3 or Ogg by its content; convert it, for example with `ffmpeg -i IN OUT.flac`"
    )]
    UnknownFormat {
        /// The file.
        name: String,
    },

    /// Ogg with Opus in it.
    #[error("{name} is Opus, which is not decoded here; convert it with `ffmpeg -i IN.opus OUT.flac`")]
    Opus {
        /// The file.
        name: String,
    },

    /// A header that says what cannot be used.
    #[error("{name} cannot be used: {problem}")]
    Header {
        /// The file.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },

    /// The decoder refused the content.
    #[error("cannot decode {name}: {source}")]
    Decode {
        /// The file.
        name: String,
        /// The decoder's reason.
        #[source]
        source: symphonia::core::errors::Error,
    },

    /// The decoder panicked: a bug there, met by damaged content.
    #[error("the decoder gave up on {name}: {message}; the file is probably damaged")]
    Panicked {
        /// The file.
        name: String,
        /// The panic's message.
        message: String,
    },

    /// The file ends before the sound does.
    #[error("{name} is truncated: it has no sample {at} of the {declared} that it declares")]
    Truncated {
        /// The file.
        name: String,
        /// The first missing sample of each channel.
        at: u64,
        /// Samples per channel declared.
        declared: u64,
    },

    /// Samples are missing in the middle.
    #[error("{name} is damaged: samples {from} to {to} cannot be decoded")]
    Gap {
        /// The file.
        name: String,
        /// The first missing sample.
        from: u64,
        /// The first one after the gap.
        to: u64,
    },

    /// An encoded file that is larger than allowed.
    #[error("{name} has {bytes} bytes, more than the limit `max_file_bytes` of {limit}")]
    TooLarge {
        /// The file.
        name: String,
        /// Its size.
        bytes: u64,
        /// The limit, from [`AudioLimits`](crate::AudioLimits).
        limit: u64,
    },

    /// A file that declares to be longer than allowed.
    #[error("{name} declares {seconds:.0} s, more than the limit `max_file_seconds` of {limit:.0}")]
    TooLong {
        /// The file.
        name: String,
        /// Its declared length.
        seconds: f64,
        /// The limit, from [`AudioLimits`](crate::AudioLimits).
        limit: f64,
    },

    /// A file shorter than a sample may be.
    #[error("{name} lasts {seconds:.3} s, less than `min_seconds` = {limit}")]
    TooShort {
        /// The file.
        name: String,
        /// Its length.
        seconds: f64,
        /// The least.
        limit: f64,
    },

    /// Another number of channels than asked for.
    #[error("{name} has {got} channels, not `channels` = {expected}; 1 mixes any number to one")]
    ChannelCount {
        /// The file.
        name: String,
        /// Channels of the file.
        got: usize,
        /// Channels asked for.
        expected: usize,
    },

    /// Rates that are not converted.
    #[error("{name} at {from_hz} Hz cannot be brought to {to_hz} Hz: {problem}")]
    Resample {
        /// The file.
        name: String,
        /// Its rate.
        from_hz: u32,
        /// The rate asked for.
        to_hz: u32,
        /// Why not.
        problem: String,
    },

    /// A line of a list or manifest that says nothing usable.
    #[error("{}, line {line}: {problem}", path.display())]
    Line {
        /// The list.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },

    /// A pattern for labels that means nothing.
    #[error("the pattern '{pattern}' {problem}; an example is '{{label}}_{{group}}_{{index}}'")]
    Pattern {
        /// The pattern given.
        pattern: String,
        /// What is wrong with it.
        problem: String,
    },
}
