//! Features on disk, as `.npy` or `.safetensors`, for whatever comes next.
//!
//! | file | holds |
//! |---|---|
//! | `x.npy` | the features, f32 `[rows, width]` |
//! | `x.npy.json` | an [`EmbeddingIndex`]: what the features are, and the id, label, name and row count of every sample |
//! | `x.safetensors` | `features` (f32 `[rows, width]`), `ids`, `labels` (−1 where unknown), `row_counts` (i64, one per sample); the same index as JSON under the metadata key `index` |
//!
//! Pooled features have one row per sample. Per-token features have a sample's real tokens in `row_counts` rows one
//! after another, so that samples of different lengths need no padding.
//!
//! Rows go to an unnamed file in the output's folder while they arrive and are copied behind the header at the end,
//! when their number is known: the memory needed does not grow with the rows, twice the disk space is needed for a
//! moment, and a run that is killed leaves nothing behind. The index of an `.npy` is written before it, so whoever
//! sees the `.npy` finds its index.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use npyz::WriterBuilder;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::Error;
use super::features::FeatureName;
use super::score::NetworkKind;
use crate::atomic_file::write_atomically;

/// Header bytes that readers of safetensors accept.
const MAX_HEADER_BYTES: usize = 100_000_000;

/// What the rows of a file are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbeddingSource {
    /// The run, as the user named it.
    pub run: String,
    /// Steps that the run had done.
    pub step: u64,
    /// Whose features.
    pub network: NetworkKind,
    /// Which features.
    pub features: FeatureName,
    /// What became of the tokens: "mean", "class" or "tokens".
    pub pooling: String,
    /// Names of the classes, in the order of the labels; empty for data without labels.
    pub classes: Vec<String>,
}

/// One sample of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbeddedSample {
    /// The sample's id in its data set.
    pub id: u64,
    /// Its class, where known.
    pub label: Option<u32>,
    /// Its name, usually a path.
    pub name: String,
    /// Its rows in the file.
    pub rows: usize,
}

/// Everything about a file but the numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbeddingIndex {
    /// What the rows are.
    pub source: EmbeddingSource,
    /// Rows of the matrix.
    pub rows: usize,
    /// Columns of the matrix.
    pub width: usize,
    /// The samples, in the order of their rows.
    pub samples: Vec<EmbeddedSample>,
}

/// The file format, by the ending of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Npy,
    Safetensors,
}

impl Format {
    fn of(path: &Path) -> Result<Self, Error> {
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("npy") => Ok(Self::Npy),
            Some("safetensors") => Ok(Self::Safetensors),
            _ => Err(Error::Ending { path: path.to_owned() }),
        }
    }
}

/// Writes features batch by batch; nothing stands at the path before [`finish`](Self::finish).
#[derive(Debug)]
pub struct EmbeddingWriter {
    path: PathBuf,
    format: Format,
    index: EmbeddingIndex,
    rows: BufWriter<File>,
}

impl EmbeddingWriter {
    /// Begins a file at `path`, which must end in `.npy` or `.safetensors` and lie in a folder that exists.
    ///
    /// # Errors
    /// Another ending, or a folder that cannot be written to.
    pub fn create(path: &Path, source: EmbeddingSource) -> Result<Self, Error> {
        let format = Format::of(path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let unnamed = tempfile::tempfile_in(folder);
        let unnamed = unnamed.map_err(|source| Error::Write { path: path.to_owned(), source })?;
        let index = EmbeddingIndex { source, rows: 0, width: 0, samples: Vec::new() };
        Ok(Self { path: path.to_owned(), format, index, rows: BufWriter::new(unnamed) })
    }

    /// Adds the rows of some samples: `rows_nd` is `[Σ rows, D]` in any float kind, on any device; written as f32.
    ///
    /// # Errors
    /// Another number of rows than the samples say, another width than before, or a failing disk.
    pub fn push(&mut self, rows_nd: &Tensor, samples: Vec<EmbeddedSample>) -> Result<(), Error> {
        let expected: usize = samples.iter().map(|sample| sample.rows).sum();
        let size = rows_nd.size();
        let width = size.get(1).map_or(0, |width| *width as usize);
        let width_fits = self.index.samples.is_empty() || width == self.index.width;
        if size.len() != 2 || size[0] != expected as i64 || !width_fits {
            let columns = if width_fits { "D".to_owned() } else { self.index.width.to_string() };
            let (expected, got) = (format!("[{expected}, {columns}]"), format!("{size:?}"));
            return Err(Error::Shape { what: "rows to write", expected, got });
        }
        let flat = rows_nd.detach().to_device(Device::Cpu).to_kind(Kind::Float).reshape(-1);
        let values = Vec::<f32>::try_from(flat)
            .map_err(|source| Error::Torch { doing: "reading features", source })?;
        let mut write = || values.iter().try_for_each(|value| self.rows.write_all(&value.to_le_bytes()));
        write().map_err(|source| Error::Write { path: self.path.clone(), source })?;
        self.index.rows += expected;
        self.index.width = width;
        self.index.samples.extend(samples);
        Ok(())
    }

    /// Puts the whole file in its place and tells what it holds.
    ///
    /// # Errors
    /// A failing disk, or more names than a safetensors header may hold. The path is untouched then.
    pub fn finish(self) -> Result<EmbeddingIndex, Error> {
        let Self { path, format, index, rows } = self;
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Write { path, source }
        };
        let mut rows = rows.into_inner().map_err(|error| failed(&path)(error.into_error()))?;
        rows.rewind().map_err(failed(&path))?;
        let describe = |source| Error::Describe { path: path.clone(), source };
        match format {
            Format::Npy => {
                let mut beside = path.clone().into_os_string();
                beside.push(".json");
                let json = serde_json::to_vec(&index).map_err(describe)?;
                write_atomically(beside.as_ref(), |file| file.write_all(&json))
                    .map_err(failed(beside.as_ref()))?;
                write_atomically(&path, |file| {
                    write_npy_header(&index, file)?;
                    io::copy(&mut rows, file).map(drop)
                })
            }
            Format::Safetensors => {
                let header = safetensors_header(&index).map_err(describe)?;
                if header.len() > MAX_HEADER_BYTES {
                    return Err(Error::Header { path, bytes: header.len(), limit: MAX_HEADER_BYTES });
                }
                write_atomically(&path, |file| {
                    file.write_all(&(header.len() as u64).to_le_bytes())?;
                    file.write_all(&header)?;
                    for column in SAMPLE_COLUMNS {
                        for sample in &index.samples {
                            file.write_all(&(column.value)(sample).to_le_bytes())?;
                        }
                    }
                    io::copy(&mut rows, file).map(drop)
                })
            }
        }
        .map_err(failed(&path))?;
        Ok(index)
    }
}

fn write_npy_header(index: &EmbeddingIndex, file: &mut dyn Write) -> io::Result<()> {
    let float = "<f4".parse().map_err(io::Error::other)?;
    let shape = [index.rows as u64, index.width as u64];
    let options = npyz::WriteOptions::new_header_only().dtype(npyz::DType::Plain(float)).shape(&shape);
    options.writer(file).write_header_only().map(drop)
}

/// A tensor of safetensors with one i64 per sample.
struct SampleColumn {
    name: &'static str,
    value: fn(&EmbeddedSample) -> i64,
}

/// In the order in which they stand in the file, before the features.
const SAMPLE_COLUMNS: [SampleColumn; 3] = [
    // An id is a bit pattern, not a quantity: ids above i64::MAX come out negative and convert back without loss.
    SampleColumn { name: "ids", value: |sample| sample.id.cast_signed() },
    SampleColumn { name: "labels", value: |sample| sample.label.map_or(-1, i64::from) },
    SampleColumn { name: "row_counts", value: |sample| sample.rows as i64 },
];

/// The JSON header, padded with spaces so that the tensors start at a multiple of eight bytes.
fn safetensors_header(index: &EmbeddingIndex) -> Result<Vec<u8>, serde_json::Error> {
    let mut end = 0;
    let mut info = |name: &str, dtype: Dtype, shape: Vec<usize>, bytes_per_element: usize| {
        let start = end;
        end += shape.iter().product::<usize>() * bytes_per_element;
        (name.to_owned(), TensorInfo { dtype, shape, data_offsets: (start, end) })
    };
    let samples = index.samples.len();
    let mut tensors: Vec<_> =
        SAMPLE_COLUMNS.iter().map(|column| info(column.name, Dtype::I64, vec![samples], 8)).collect();
    tensors.push(info("features", Dtype::F32, vec![index.rows, index.width], 4));
    // One key holding JSON: the crate writes several keys in an order that changes from run to run.
    let about = HashMap::from([("index".to_owned(), serde_json::to_string(index)?)]);
    let metadata = Metadata::new(Some(about), tensors).map_err(serde::ser::Error::custom)?;
    let mut header = serde_json::to_vec(&metadata)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use safetensors::SafeTensors;

    use super::*;

    fn source() -> EmbeddingSource {
        EmbeddingSource {
            run: "runs/a".into(),
            step: 7,
            network: NetworkKind::Teacher,
            features: FeatureName::Block(3),
            pooling: "tokens".into(),
            classes: vec!["cat".into(), "dög".into()],
        }
    }

    /// Two batches, three samples of 2, 0 and 3 rows of width 2, counting up from 0.
    fn write(path: &Path) -> EmbeddingIndex {
        let sample = |id, label, rows| EmbeddedSample { id, label, name: format!("{id}.png"), rows };
        let rows =
            |from: i64, to: i64| Tensor::arange_start(from, to, (Kind::Float, Device::Cpu)).reshape([-1, 2]);
        let mut writer = EmbeddingWriter::create(path, source()).expect("a folder");
        writer.push(&rows(0, 4), vec![sample(u64::MAX, Some(1), 2), sample(5, None, 0)]).expect("fits");
        writer.push(&rows(4, 10).to_kind(Kind::Half), vec![sample(9, Some(0), 3)]).expect("fits");
        assert!(!path.exists(), "nothing stands there before the end");
        writer.finish().expect("a good disk")
    }

    fn ten() -> Vec<f32> {
        (0..10u8).map(f32::from).collect()
    }

    #[test]
    fn npy_comes_back_with_its_index() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.npy");
        let index = write(&path);
        let npy = npyz::NpyFile::new(File::open(&path).expect("written")).expect("an npy");
        assert_eq!(npy.shape(), [5, 2]);
        assert_eq!(npy.into_vec::<f32>().expect("f32"), ten());
        let json = fs::read(folder.path().join("x.npy.json")).expect("written");
        assert_eq!(serde_json::from_slice::<EmbeddingIndex>(&json).expect("an index"), index);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2, "no leftovers");
    }

    #[test]
    fn safetensors_comes_back_with_its_index() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.safetensors");
        let index = write(&path);
        let bytes = fs::read(&path).expect("written");
        let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
        let tensor = |name| file.tensor(name).expect("present");
        let longs = |name| -> Vec<i64> {
            let chunks = tensor(name).data().as_chunks::<8>().0;
            chunks.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect()
        };
        assert_eq!(longs("ids"), [-1, 5, 9]);
        assert_eq!(longs("labels"), [1, -1, 0]);
        assert_eq!(longs("row_counts"), [2, 0, 3]);
        assert_eq!((tensor("features").dtype(), tensor("features").shape()), (Dtype::F32, &[5usize, 2][..]));
        let floats = tensor("features").data().as_chunks::<4>().0;
        assert_eq!(floats.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect::<Vec<_>>(), ten());
        let (start, metadata) = SafeTensors::read_metadata(&bytes).expect("a header");
        assert_eq!(start % 8, 0);
        let json = &metadata.metadata().as_ref().expect("metadata")["index"];
        assert_eq!(serde_json::from_str::<EmbeddingIndex>(json).expect("an index"), index);
    }

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        let folder = tempfile::tempdir().expect("a folder");
        for ending in ["npy", "safetensors"] {
            let [first, second] = ["a", "b"].map(|name| {
                let path = folder.path().join(name).with_extension(ending);
                write(&path);
                fs::read(path).expect("written")
            });
            assert_eq!(first, second);
        }
    }

    #[test]
    fn without_samples_the_file_is_empty_and_valid() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.safetensors");
        EmbeddingWriter::create(&path, source()).expect("a folder").finish().expect("a good disk");
        let bytes = fs::read(&path).expect("written");
        let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
        assert_eq!(file.tensor("features").expect("present").shape(), [0, 0]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let create = |name: &str| EmbeddingWriter::create(&folder.path().join(name), source());
        assert!(matches!(create("x.npz"), Err(Error::Ending { .. })));
        assert!(matches!(create("npy"), Err(Error::Ending { .. })));
        assert!(matches!(create("missing/x.npy"), Err(Error::Write { .. })));
        let mut writer = create("x.npy").expect("a folder");
        let sample = || vec![EmbeddedSample { id: 0, label: None, name: String::new(), rows: 1 }];
        let mut push =
            |shape: [i64; 2]| writer.push(&Tensor::zeros(shape, (Kind::Float, Device::Cpu)), sample());
        assert!(matches!(push([2, 3]), Err(Error::Shape { .. })));
        push([1, 3]).expect("one row of width 3");
        assert!(matches!(push([1, 4]), Err(Error::Shape { .. })));
        drop(writer);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0, "given up without a trace");
    }
}
