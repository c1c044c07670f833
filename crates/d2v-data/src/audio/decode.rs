//! From encoded sound to samples: WAV, FLAC, MP3 and Ogg (Vorbis, FLAC), told apart by content.
//!
//! A header tells rate, channels and length without decoding; a range of samples is decoded by seeking to it. Memory
//! grows with what was decoded, never with what a header declares. A panic inside a decoder becomes an error.

use super::error::AudioError;
use super::window::Window;
use crate::panic_message::panic_message;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::well_known::CODEC_ID_OPUS;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::{FormatOptions, FormatReader, SeekMode, SeekTo};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::units::Timestamp;
use symphonia::default::formats::{FlacReader, MpaReader, OggReader, WavReader};
use symphonia::default::get_codecs;

/// More channels are a damaged header; decoders reserve memory for each.
const MAX_CHANNELS: usize = 64;
/// The highest rate of any converter sold, and the highest taken for honest.
pub(super) const MAX_RATE_HZ: u32 = 768_000;
/// Decoding begins so many samples early after a seek in MP3 and Ogg: their packets overlap, and MP3 frames borrow bits
/// from up to nine frames before (of 1,152 samples).
const LEAD_IN: u64 = 16 * 1_152;
/// A page's header and the 255 segments of 255 bytes that it may have.
const MAX_OGG_PAGE_BYTES: u64 = 65_307;
/// An ID3v2 tag before an ID3v2 tag occurs; more of them do not.
const MAX_TAGS: usize = 4;

/// What a file says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Samples per second, 1 to [`MAX_RATE_HZ`].
    pub(super) rate_hz: u32,
    /// 1 to [`MAX_CHANNELS`].
    pub(super) channels: usize,
    /// Samples per channel, at least 1.
    pub(super) samples: u64,
}

/// How the channels of a file become those of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mix {
    /// Their mean.
    Mean,
    /// As they are.
    Keep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Wav,
    Flac,
    Mp3,
    Ogg,
}

/// A file opened for reading, its header checked as far as nothing needs to be decoded for it.
struct Stream<'a> {
    reader: Box<dyn FormatReader + 'a>,
    container: Container,
    track: u32,
    /// The timestamp of the first sample: not 0 in a piece cut out of a longer Ogg stream.
    origin: i64,
    params: AudioCodecParameters,
    rate_hz: u32,
    channels: usize,
    /// As declared; `None` if only reading to the end can tell.
    samples: Option<u64>,
}

/// Reads what a file says of itself, without decoding more than a packet; where nothing tells its length (MP3 without
/// a Xing or VBRI header, FLAC and WAV written to a pipe), its packets are counted.
///
/// # Errors
/// [`AudioError`] if the content is of no known format, damaged, truncated (as far as that is seen), or not usable.
pub(super) fn read_header(name: &str, window: Window<'_>) -> Result<Header, AudioError> {
    guarded(name, || {
        let mut stream = Stream::open(name, window)?;
        let samples = match stream.samples {
            Some(samples) => samples,
            None => stream.count_samples(name)?,
        };
        if samples == 0 {
            return Err(AudioError::Header { name: name.into(), problem: "it has no sample" });
        }
        // Whether a WAV file is as long as it says is known from its last sample, which is one seek away.
        if stream.container == Container::Wav && stream.samples.is_some() {
            stream.decode(name, samples - 1..samples, Mix::Mean, samples)?;
        }
        Ok(Header { rate_hz: stream.rate_hz, channels: stream.channels, samples })
    })
}

/// Decodes samples `range` of each channel, one vector per channel (or their mean), each exactly as long as the range.
///
/// # Errors
/// [`AudioError`] if a sample of the range cannot be decoded, or the file has changed since its header was read.
pub(super) fn decode_range(
    name: &str,
    window: Window<'_>,
    header: &Header,
    range: Range<u64>,
    mix: Mix,
) -> Result<Vec<Vec<f32>>, AudioError> {
    guarded(name, || {
        let mut stream = Stream::open(name, window)?;
        if (stream.rate_hz, stream.channels) != (header.rate_hz, header.channels) {
            return Err(AudioError::Header {
                name: name.into(),
                problem: "it has changed since it was opened",
            });
        }
        stream.decode(name, range, mix, header.samples)
    })
}

impl<'a> Stream<'a> {
    fn open(name: &str, window: Window<'a>) -> Result<Self, AudioError> {
        let unusable = |problem| AudioError::Header { name: name.into(), problem };
        let refused = |source| AudioError::Decode { name: name.into(), source };
        let (container, window) = tell_apart(name, window)?;
        let bytes = window.len();
        if container == Container::Ogg && is_chained(&window).map_err(|error| refused(error.into()))? {
            return Err(unusable("it holds several streams, one after the other"));
        }
        // The reader would guess the length of an MP3 without a header from its size, and cut the sound there; it does
        // not where it believes that it cannot seek. It looks for a position by reading on in any case.
        let window = if container == Container::Mp3 { window.forwards_only() } else { window };
        let stream = MediaSourceStream::new(Box::new(window), Default::default());
        let options = FormatOptions::default();
        let reader: Box<dyn FormatReader + 'a> = match container {
            Container::Wav => Box::new(WavReader::try_new(stream, options).map_err(refused)?),
            Container::Flac => Box::new(FlacReader::try_new(stream, options).map_err(refused)?),
            Container::Mp3 => Box::new(MpaReader::try_new(stream, options).map_err(refused)?),
            Container::Ogg => Box::new(OggReader::try_new(stream, options).map_err(refused)?),
        };
        let [track] = reader.tracks() else {
            return Err(unusable("it holds several streams, or none"));
        };
        let Some(CodecParameters::Audio(params)) = &track.codec_params else {
            return Err(unusable("its stream is not sound"));
        };
        if params.codec == CODEC_ID_OPUS {
            return Err(AudioError::Opus { name: name.into() });
        }
        let channels = params.channels.as_ref().map_or(0, |channels| channels.count());
        if !(1..=MAX_CHANNELS).contains(&channels) {
            return Err(unusable("it declares no channel, or more than 64"));
        }
        let rate_hz = params.sample_rate.unwrap_or(0);
        if !(1..=MAX_RATE_HZ).contains(&rate_hz) {
            return Err(unusable("it declares a rate that is 0 or above 768,000 Hz"));
        }
        // Below 0 lie the samples that only start the decoder.
        let origin = track.start_ts.get().max(0);
        let samples = track.num_frames.map(|end| end.saturating_sub(origin.unsigned_abs()));
        // No codec here packs more: a FLAC frame of 65,535 equal samples has ten bytes.
        if samples.is_some_and(|samples| samples / 65_535 > bytes / 10) {
            return Err(unusable("it declares more samples than its bytes can hold"));
        }
        let (track, params) = (track.id, params.clone());
        Ok(Self { reader, container, track, origin, params, rate_hz, channels, samples })
    }

    /// The end of the last packet; of WAV, whose last packet may hold less than it says, what is decoded of all.
    fn count_samples(&mut self, name: &str) -> Result<u64, AudioError> {
        let refused = |source| AudioError::Decode { name: name.into(), source };
        let mut pcm = match self.container {
            Container::Wav => Some(self.decoder(name)?),
            Container::Flac | Container::Mp3 | Container::Ogg => None,
        };
        let mut end = 0_u64;
        loop {
            let packet = match self.reader.next_packet() {
                Ok(Some(packet)) => packet,
                Ok(None) => return Ok(end),
                // An Ogg stream has a marked end; the others just stop.
                Err(error) if ended(&error) && self.container != Container::Ogg => return Ok(end),
                Err(error) => return Err(refused(error)),
            };
            if let Some(decoder) = &mut pcm {
                end += decoder.decode(&packet).map_err(refused)?.frames() as u64;
            } else {
                let samples = packet.block_dur().get().saturating_sub(packet.trim_end.get());
                let of_packet = packet.pts.get().saturating_sub(self.origin).saturating_add_unsigned(samples);
                end = end.max(u64::try_from(of_packet).unwrap_or(0));
            }
        }
    }

    fn decoder(&self, name: &str) -> Result<Box<dyn AudioDecoder>, AudioError> {
        get_codecs()
            .make_audio_decoder(&self.params, &AudioDecoderOptions::default())
            .map_err(|source| AudioError::Decode { name: name.into(), source })
    }

    fn decode(
        &mut self,
        name: &str,
        range: Range<u64>,
        mix: Mix,
        declared: u64,
    ) -> Result<Vec<Vec<f32>>, AudioError> {
        let refused = |source| AudioError::Decode { name: name.into(), source };
        let mut decoder = self.decoder(name)?;
        let lead_in = if matches!(self.container, Container::Mp3 | Container::Ogg) { LEAD_IN } else { 0 };
        let from = range.start.saturating_sub(lead_in);
        if from > 0 {
            let ts = Timestamp::new(self.origin.saturating_add_unsigned(from));
            let to = SeekTo::Timestamp { ts, track_id: self.track };
            self.reader.seek(SeekMode::Accurate, to).map_err(refused)?;
        }
        let rows = if mix == Mix::Mean { 1 } else { self.channels };
        let mut samples: Vec<Vec<f32>> = vec![Vec::new(); rows];
        let mut planes: Vec<Vec<f32>> = Vec::new();
        let mut next = range.start;
        while next < range.end {
            let packet = match self.reader.next_packet() {
                Ok(Some(packet)) => packet,
                Ok(None) => break,
                Err(error) if ended(&error) => break,
                Err(error) => return Err(refused(error)),
            };
            let start = packet.pts.get().saturating_add_unsigned(packet.trim_start.get()) - self.origin;
            let buffer = match decoder.decode(&packet) {
                Ok(buffer) => buffer,
                Err(error) if ended(&error) => break,
                // While leading in, the beginning of what a frame refers to may be missing.
                Err(SymphoniaError::DecodeError(_))
                    if start < i64::try_from(range.start).unwrap_or(i64::MAX) && lead_in > 0 =>
                {
                    continue;
                }
                Err(error) => return Err(refused(error)),
            };
            if buffer.frames() == 0 {
                continue;
            }
            if buffer.num_planes() != self.channels {
                return Err(AudioError::Header {
                    name: name.into(),
                    problem: "its channels change on the way",
                });
            }
            let start = u64::try_from(start.max(0)).unwrap_or(0);
            let end = start.saturating_add(buffer.frames() as u64);
            if end <= next {
                continue;
            }
            if start > next {
                return Err(AudioError::Gap { name: name.into(), from: next, to: start });
            }
            buffer.copy_to_vecs_planar(&mut planes);
            let first = usize::try_from(next - start).unwrap_or(usize::MAX);
            let last = usize::try_from(end.min(range.end) - start).unwrap_or(usize::MAX);
            take(&planes, first..last, mix, &mut samples);
            next = end.min(range.end);
        }
        if next < range.end {
            return Err(AudioError::Truncated { name: name.into(), at: next, declared });
        }
        Ok(samples)
    }
}

fn take(planes: &[Vec<f32>], part: Range<usize>, mix: Mix, samples: &mut [Vec<f32>]) {
    match mix {
        Mix::Keep => {
            for (row, plane) in samples.iter_mut().zip(planes) {
                row.extend_from_slice(&plane[part.clone()]);
            }
        }
        Mix::Mean => {
            let share = 1.0 / planes.len() as f32;
            let mean = part.map(|at| planes.iter().map(|plane| plane[at]).sum::<f32>() * share);
            samples[0].extend(mean);
        }
    }
}

fn ended(error: &SymphoniaError) -> bool {
    matches!(error, SymphoniaError::IoError(io) if io.kind() == std::io::ErrorKind::UnexpectedEof)
}

/// The container by its first bytes, and the window from there on: ID3v2 tags before it are stepped over.
fn tell_apart<'a>(name: &str, mut window: Window<'a>) -> Result<(Container, Window<'a>), AudioError> {
    let unreadable =
        |source| AudioError::Decode { name: name.into(), source: SymphoniaError::IoError(source) };
    let mut tagged = false;
    for _ in 0..MAX_TAGS {
        let [b'I', b'D', b'3', _, _, flags, size @ ..] = window.peek::<10>().map_err(unreadable)? else {
            break;
        };
        // Seven bits a byte; a footer of ten bytes if flagged.
        let size = size.iter().fold(0, |size, byte| size << 7 | u64::from(byte & 0x7F));
        window = window.without_first(size + if flags & 0x10 == 0 { 10 } else { 20 });
        tagged = true;
    }
    let head = window.peek::<64>().map_err(unreadable)?;
    let container = match head {
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => Container::Wav,
        [b'f', b'L', b'a', b'C', ..] => Container::Flac,
        [b'O', b'g', b'g', b'S', ..] if head.windows(8).any(|part| part == b"OpusHead") => {
            return Err(AudioError::Opus { name: name.into() });
        }
        [b'O', b'g', b'g', b'S', ..] => Container::Ogg,
        // Eleven bits of synchronisation, any version, layer III.
        [0xFF, second, ..] if second & 0xE6 == 0xE2 => Container::Mp3,
        // Padding between tag and first frame.
        _ if tagged => Container::Mp3,
        _ => return Err(AudioError::UnknownFormat { name: name.into() }),
    };
    Ok((container, window))
}

/// Whether the last page of an Ogg file is of another stream than the first: the reader would see the first alone.
fn is_chained(window: &Window<'_>) -> std::io::Result<bool> {
    // Every page begins with "OggS" and has the number of its stream 14 bytes on.
    let serial = |page: &[u8]| page.get(14..18).map(<[u8]>::to_vec);
    let tail = window.tail(MAX_OGG_PAGE_BYTES)?;
    let last = tail.windows(4).rposition(|bytes| bytes == b"OggS").and_then(|at| serial(&tail[at..]));
    Ok(last.is_some() && last != serial(&window.peek::<18>()?))
}

fn guarded<T>(name: &str, decode: impl FnOnce() -> Result<T, AudioError>) -> Result<T, AudioError> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|panic| {
        Err(AudioError::Panicked { name: name.into(), message: panic_message(&*panic).into() })
    })
}
