//! Recordings in files, inside plain tar archives, or in memory, as one data set.

use super::AudioOptions;
use super::decode::{Header, Mix, decode_range, read_header};
use super::error::AudioError;
use super::labels::{AudioLabels, NameParts, Template};
use super::list::Listed;
use super::resample::RateChange;
use super::segments::Cut;
use super::window::Window;
use crate::dataset::{Dataset, Ignored, RawSample, Split, WhyIgnored, stable_id};
use crate::error::Error;
use crate::source::layout;
use crate::source::listing::{Found, Listing, Place, Source};
use crate::waveform::Waveform;
use ndarray::Array2;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

/// Encoded sounds with lengths, labels, groups and the places they are read from; see [`open_audio`](crate::open_audio).
pub struct AudioFiles {
    files: Vec<SoundFile>,
    samples: Vec<Part>,
    classes: Vec<String>,
    groups: Vec<String>,
    sources: Vec<Source>,
    ignored: Ignored,
    sample_rate_hz: u32,
    mix: Mix,
}

struct SoundFile {
    path: String,
    place: Place,
    label: Option<u32>,
    group: Option<u32>,
    header: Header,
    change: RateChange,
}

/// A sample: a file, or a part of one, in samples after resampling.
struct Part {
    file: usize,
    /// `None` where the file is one sample.
    number: Option<usize>,
    id: u64,
    range: Range<u64>,
}

/// A file before its header was read.
struct Candidate {
    found: Found,
    label: Option<u32>,
    group: Option<u32>,
}

impl AudioFiles {
    /// Sorts what was found by path, reads labels and splits, keeps the split asked for and reads its headers.
    pub(super) fn new(
        root: &Path,
        listed: Listed,
        split: Split,
        options: &AudioOptions,
    ) -> Result<Self, Error> {
        let root = root.display().to_string();
        let Chosen { candidates, classes, groups, sources, mut ignored } =
            choose(&root, listed, split, options)?;
        let headers = read_headers(&candidates, &sources, options)?;
        let cut = Cut {
            shortest: (options.min_seconds * f64::from(options.sample_rate_hz)).ceil() as u64,
            longest: (options.max_seconds * f64::from(options.sample_rate_hz)).floor() as u64,
        };
        let mut files = Vec::new();
        let mut samples = Vec::new();
        for (candidate, header) in candidates.into_iter().zip(headers) {
            let Candidate { found: Found { path, shard, place }, label, group } = candidate;
            let name = name_of(&place, &path, &sources);
            let (header, change) = match header {
                Ok(usable) => usable,
                Err(error) => {
                    ignored.add_for(WhyIgnored::Unreadable, name, error.to_string());
                    continue;
                }
            };
            let total = change.output_len(header.samples);
            let parts: Vec<Range<u64>> = cut.parts(total, change.grid()).collect();
            if parts.is_empty() {
                let seconds = header.samples as f64 / f64::from(header.rate_hz);
                let limit = options.min_seconds;
                let reason = AudioError::TooShort { name: name.clone(), seconds, limit }.to_string();
                ignored.add_for(WhyIgnored::TooShort, name, reason);
                continue;
            }
            let is_whole = parts.first() == Some(&(0..total));
            for (number, range) in parts.into_iter().enumerate() {
                let number = (!is_whole).then_some(number);
                let id = stable_id(&format!("{shard}{path}{}", suffix(number)));
                samples.push(Part { file: files.len(), number, id, range });
            }
            files.push(SoundFile { path, place, label, group, header, change });
        }
        if samples.is_empty() {
            return Err(nothing(root, &ignored));
        }
        let sample_rate_hz = options.sample_rate_hz;
        let mix = mix(options);
        Ok(Self { files, samples, classes, groups, sources, ignored, sample_rate_hz, mix })
    }

    fn file(&self, index: usize) -> &SoundFile {
        &self.files[self.samples[index].file]
    }
}

fn mix(options: &AudioOptions) -> Mix {
    if options.channels == 1 { Mix::Mean } else { Mix::Keep }
}

fn suffix(number: Option<usize>) -> String {
    number.map_or_else(String::new, |number| format!("#{number}"))
}

fn name_of(place: &Place, path: &str, sources: &[Source]) -> String {
    match place {
        Place::File(path) => path.display().to_string(),
        Place::Range { source, .. } => format!("{}:{path}", sources[*source].path().display()),
    }
}

fn nothing(path: String, ignored: &Ignored) -> Error {
    let first = ignored.listed().first().map(|first| first.reason.clone());
    AudioError::NoSounds { path, ignored: ignored.total(), first }.into()
}

/// The files of the split asked for, with the classes and groups of all splits.
struct Chosen {
    candidates: Vec<Candidate>,
    classes: Vec<String>,
    groups: Vec<String>,
    sources: Vec<Source>,
    ignored: Ignored,
}

fn choose(root: &str, listed: Listed, split: Split, options: &AudioOptions) -> Result<Chosen, Error> {
    let Listed { listing: Listing { found, sources, mut ignored }, names, has_labels } = listed;
    let mut files: Vec<(Found, NameParts)> = Vec::new();
    let template = match &options.labels {
        AudioLabels::Pattern { pattern, test_when } => Some(Template::new(pattern, test_when.as_ref())?),
        AudioLabels::List {} if !has_labels => {
            let rule = "only a list (.csv, .tsv, .txt) with a column of labels has such";
            return Err(Error::Setting { setting: "labels", value: "list".into(), rule });
        }
        AudioLabels::Auto {} | AudioLabels::Folder {} | AudioLabels::List {} => None,
    };
    for (found, of_list) in found.into_iter().zip(names) {
        match template.as_ref().map(|template| template.read(&found.path)) {
            None => files.push((found, of_list)),
            Some(Some(parts)) => files.push((found, parts)),
            Some(None) => {
                ignored
                    .add(name_of(&found.place, &found.path, &sources), "its path does not fit the pattern");
            }
        }
    }
    if files.is_empty() {
        return Err(nothing(root.into(), &ignored));
    }
    files.sort_by(|(a, _), (b, _)| (&a.path, &a.shard).cmp(&(&b.path, &b.shard)));
    let paths: Vec<&str> = files.iter().map(|(found, _)| found.path.as_str()).collect();
    let layout = layout::read(&paths);
    let by_folder = match &options.labels {
        AudioLabels::Folder {} => true,
        AudioLabels::Auto {} => !has_labels,
        AudioLabels::List {} | AudioLabels::Pattern { .. } => false,
    };
    let no_such_split = |found: String| Error::NoSuchSplit { path: root.into(), split, found };
    let by_name: Option<Vec<bool>> = files.iter().map(|(_, parts)| parts.is_test).collect();
    let selected = match (by_name, split) {
        (Some(is_test), Split::Train) => is_test.into_iter().map(|is_test| !is_test).collect(),
        (Some(is_test), Split::Test) => is_test,
        (Some(_), Split::All) => vec![true; files.len()],
        (None, _) => layout.select(split).map_err(no_such_split)?,
    };
    if !selected.contains(&true) {
        return Err(no_such_split("no file meets `test_when`, or all do".into()));
    }
    let classes = if by_folder { layout.classes } else { sorted(&files, |parts| parts.label.as_ref()) };
    let groups = sorted(&files, |parts| parts.group.as_ref());
    let mut candidates = Vec::new();
    for (((found, parts), (_, of_folder)), selected) in files.into_iter().zip(layout.places).zip(selected) {
        let label = if by_folder { of_folder } else { place_in(&classes, parts.label) };
        let group = place_in(&groups, parts.group);
        if selected {
            candidates.push(Candidate { found, label, group });
        }
    }
    Ok(Chosen { candidates, classes, groups, sources, ignored })
}

fn sorted<'a>(
    files: &'a [(Found, NameParts)],
    of: impl Fn(&'a NameParts) -> Option<&'a String>,
) -> Vec<String> {
    let names: BTreeSet<&String> = files.iter().filter_map(|(_, parts)| of(parts)).collect();
    names.into_iter().cloned().collect()
}

fn place_in(names: &[String], name: Option<String>) -> Option<u32> {
    names.binary_search(&name?).ok().and_then(|place| u32::try_from(place).ok())
}

type Usable = Result<(Header, RateChange), Error>;

/// Reads the headers on all processors; the outcome is in the order of the candidates.
fn read_headers(
    candidates: &[Candidate],
    sources: &[Source],
    options: &AudioOptions,
) -> Result<Vec<Usable>, Error> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = candidates.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let mut running = Vec::new();
        for part in candidates.chunks(share) {
            let read = move || part.iter().map(|file| check_header(&file.found, sources, options)).collect();
            let thread = std::thread::Builder::new().spawn_scoped(scope, read);
            running.push(thread.map_err(|source| Error::Spawn { source })?);
        }
        let done = running.into_iter().map(|thread| -> Vec<Usable> {
            thread.join().expect("panics of decoders are caught, and nothing else here panics")
        });
        Ok(done.flatten().collect())
    })
}

fn check_header(found: &Found, sources: &[Source], options: &AudioOptions) -> Usable {
    let name = name_of(&found.place, &found.path, sources);
    let limits = &options.limits;
    let window = Window::open(&found.place, sources)?;
    let bytes = window.len();
    if bytes > limits.max_file_bytes {
        return Err(AudioError::TooLarge { name, bytes, limit: limits.max_file_bytes }.into());
    }
    let header = read_header(&name, window)?;
    let seconds = header.samples as f64 / f64::from(header.rate_hz);
    if seconds > limits.max_file_seconds {
        return Err(AudioError::TooLong { name, seconds, limit: limits.max_file_seconds }.into());
    }
    if options.channels != 1 && header.channels != options.channels {
        let (got, expected) = (header.channels, options.channels);
        return Err(AudioError::ChannelCount { name, got, expected }.into());
    }
    let change = RateChange::new(&name, header.rate_hz, options.sample_rate_hz)?;
    Ok((header, change))
}

impl Dataset for AudioFiles {
    fn len(&self) -> usize {
        self.samples.len()
    }

    fn id(&self, index: usize) -> u64 {
        self.samples[index].id
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.file(index).label
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn group(&self, index: usize) -> Option<u32> {
        self.file(index).group
    }

    fn groups(&self) -> &[String] {
        &self.groups
    }

    fn name(&self, index: usize) -> String {
        let file = self.file(index);
        format!("{}{}", name_of(&file.place, &file.path, &self.sources), suffix(self.samples[index].number))
    }

    fn length(&self, index: usize) -> usize {
        let range = &self.samples[index].range;
        usize::try_from(range.end - range.start).expect("at most an hour")
    }

    fn load(&self, index: usize) -> Result<RawSample, Error> {
        let file = self.file(index);
        let name = self.name(index);
        let part = file.change.part(self.samples[index].range.clone(), file.header.samples);
        let window = Window::open(&file.place, &self.sources)?;
        let decoded = decode_range(&name, window, &file.header, part.needed.clone(), self.mix)?;
        let channels = file.change.apply(&name, &part, decoded)?;
        let shape = (channels.len(), self.length(index));
        let samples_ct =
            Array2::from_shape_vec(shape, channels.concat()).expect("every channel is as long as the part");
        Waveform::new(self.sample_rate_hz, samples_ct).map(RawSample::Audio)
    }

    fn ignored(&self) -> &Ignored {
        &self.ignored
    }
}
