//! TensorBoard event files: the same numbers as `metrics.jsonl`, for those who watch runs there.
//!
//! An event file is a sequence of TFRecords, each a protocol buffer `Event`. Only the fields used here are declared, with
//! the tags of `tensorflow/core/util/event.proto` and `tensorflow/core/framework/summary.proto`.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

use crate::metrics::StepMetrics;
use crate::output_error::OutputError;

/// The folder of event files within a run folder.
pub const TENSORBOARD_FOLDER: &str = "tensorboard";

const FILE_PREFIX: &str = "events.out.tfevents.";
const FILE_VERSION: &str = "brain.Event:2";
/// `SessionLog.START`: from this event's step on, what earlier files hold is void.
const SESSION_START: i32 = 1;

/// Writes one session's event file.
#[derive(Debug)]
pub struct EventWriter {
    path: PathBuf,
    file: BufWriter<File>,
}

impl EventWriter {
    /// Begins a new event file in the run folder `run`, for a session that goes on after `finished_steps` updates (0 for
    /// a fresh run).
    ///
    /// Earlier files stay as they are. The new one sorts after them and says that whatever they hold beyond
    /// `finished_steps` is void, so that the curves of an interrupted run do not overlap.
    ///
    /// # Errors
    /// When the folder or the file cannot be made.
    pub fn open(run: &Path, finished_steps: u64) -> Result<Self, OutputError> {
        let folder = run.join(TENSORBOARD_FOLDER);
        fs::create_dir_all(&folder).map_err(OutputError::io("create", &folder))?;
        let name = next_name(&folder, seconds_since_1970() as u64)
            .map_err(OutputError::io("list the event files in", &folder))?;
        let path = folder.join(name);
        let file = File::create_new(&path).map_err(OutputError::io("create", &path))?;
        let mut writer = Self { path, file: BufWriter::new(file) };
        writer.write(0, What::FileVersion(FILE_VERSION.to_owned()))?;
        // The first step that this session will write.
        writer.write(finished_steps + 1, What::SessionLog(SessionLog { status: SESSION_START }))?;
        writer.flush()?;
        Ok(writer)
    }

    /// Appends every scalar of one update, as one event.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append(&mut self, metrics: &StepMetrics) -> Result<(), OutputError> {
        let value = metrics
            .scalars()
            .into_iter()
            .map(|(tag, value)| Value { tag, simple_value: Some(value as f32) })
            .collect();
        self.write(metrics.step, What::Summary(Summary { value }))
    }

    /// Hands what is buffered to the system, so that a kill does not lose it and TensorBoard sees it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn flush(&mut self) -> Result<(), OutputError> {
        self.file.flush().map_err(OutputError::io("write", &self.path))
    }

    fn write(&mut self, step: u64, what: What) -> Result<(), OutputError> {
        let event = Event { wall_time: seconds_since_1970(), step: step as i64, what: Some(what) };
        write_record(&mut self.file, &event.encode_to_vec()).map_err(OutputError::io("write", &self.path))
    }
}

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5, 7")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
    #[prost(message, tag = "7")]
    SessionLog(SessionLog),
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    // Optional, so that zero is written rather than left out as the default.
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// TFRecord framing: length, its checksum, data, its checksum; little-endian.
fn write_record(out: &mut impl Write, data: &[u8]) -> io::Result<()> {
    let length = (data.len() as u64).to_le_bytes();
    out.write_all(&length)?;
    out.write_all(&masked_crc(&length).to_le_bytes())?;
    out.write_all(data)?;
    out.write_all(&masked_crc(data).to_le_bytes())
}

/// CRC-32C, rotated and shifted as TFRecords want it (a checksum of data that holds checksums is weak).
fn masked_crc(data: &[u8]) -> u32 {
    const MASK_DELTA: u32 = 0xa282_ead8;
    crc32c::crc32c(data).rotate_right(15).wrapping_add(MASK_DELTA)
}

/// A name that sorts after those of all event files in `folder`, which is the order TensorBoard reads them in: second,
/// then ordinal. The clock may have been set back since, so the second never falls below that of an earlier file.
fn next_name(folder: &Path, now_seconds: u64) -> io::Result<String> {
    let (mut latest_seconds, mut files) = (0, 0);
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(FILE_PREFIX)) else { continue };
        files += 1;
        let seconds = rest.split('.').next().and_then(|seconds| seconds.parse().ok());
        latest_seconds = latest_seconds.max(seconds.unwrap_or(0));
    }
    Ok(format!("{FILE_PREFIX}{:010}.{files:06}.d2v", now_seconds.max(latest_seconds)))
}

fn seconds_since_1970() -> f64 {
    // A clock before 1970 is as good as none; the time is only shown.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a file apart, checking both checksums of each record.
    fn read_events(path: &Path) -> Vec<Event> {
        let bytes = fs::read(path).unwrap();
        let mut rest = bytes.as_slice();
        let mut events = Vec::new();
        while !rest.is_empty() {
            let (head, tail) = rest.split_at(12);
            let length = u64::from_le_bytes(head[..8].try_into().unwrap()) as usize;
            assert_eq!(head[8..], masked_crc(&head[..8]).to_le_bytes());
            let (data, tail) = tail.split_at(length);
            let (checksum, tail) = tail.split_at(4);
            assert_eq!(checksum, masked_crc(data).to_le_bytes());
            events.push(Event::decode(data).unwrap());
            rest = tail;
        }
        events
    }

    fn files(run: &Path) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> =
            fs::read_dir(run.join(TENSORBOARD_FOLDER)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    #[test]
    fn framing_is_that_of_tensorflow() {
        // The twelve bytes every event file of TensorFlow begins with: a record of 24 bytes.
        let mut out = Vec::new();
        write_record(&mut out, &[0; 24]).unwrap();
        assert_eq!(out[..12], *b"\x18\0\0\0\0\0\0\0\xa3\x7f\x4b\x22");
    }

    #[test]
    fn scalars_are_read_back() {
        let run = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::open(run.path(), 0).unwrap();
        let metrics = StepMetrics {
            step: 3,
            loss: 0.25,
            tau: 0.0,
            grad_norm: f64::NAN,
            r2: Some(0.5),
            ..Default::default()
        };
        writer.append(&metrics).unwrap();
        drop(writer);
        let events = read_events(&files(run.path())[0]);
        assert_eq!(events[0].what, Some(What::FileVersion("brain.Event:2".into())));
        let Some(What::Summary(summary)) = &events[2].what else { panic!("{:?}", events[2]) };
        assert_eq!(events[2].step, 3);
        let value =
            |tag| summary.value.iter().find(|value| value.tag == tag).and_then(|value| value.simple_value);
        assert_eq!(value("train/loss"), Some(0.25));
        assert_eq!(value("schedule/tau"), Some(0.0), "zero is a value, not an absence");
        assert_eq!(value("collapse/r2"), Some(0.5));
        assert_eq!(value("collapse/position_share"), None);
        assert!(value("train/grad_norm").unwrap().is_nan());
    }

    #[test]
    fn a_resumed_session_voids_what_came_after_its_checkpoint() {
        let run = tempfile::tempdir().unwrap();
        for finished_steps in [0, 40, 20] {
            EventWriter::open(run.path(), finished_steps).unwrap();
        }
        let starts: Vec<i64> = files(run.path())
            .iter()
            .map(|path| {
                let start = &read_events(path)[1];
                assert_eq!(start.what, Some(What::SessionLog(SessionLog { status: 1 })));
                start.step
            })
            .collect();
        assert_eq!(starts, [1, 41, 21], "the files sort in the order of the sessions");
    }

    #[test]
    fn names_sort_in_order_even_if_the_clock_is_set_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut names = Vec::new();
        for now in [2_000_000_000, 2_000_000_000, 1_000_000_000, 2_000_000_001] {
            let name = next_name(folder.path(), now).unwrap();
            fs::write(folder.path().join(&name), "").unwrap();
            names.push(name);
        }
        assert!(names.is_sorted(), "{names:?}");
    }
}
