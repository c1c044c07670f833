//! IDX files, the format of MNIST and Fashion-MNIST: big-endian magic and dimensions, then bytes; plain or gzipped.

use super::OpenOptions;
use crate::dataset::{Dataset, RawSample, Split, stable_id};
use crate::decode::MAX_PICTURE_SIDE_PX;
use crate::error::Error;
use crate::picture::ImageRgb;
use flate2::read::GzDecoder;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

/// Unsigned bytes in three dimensions: grey images `[n, height, width]`.
const MAGIC_GREY: u32 = 0x0803;
/// Unsigned bytes in four dimensions: RGB images `[n, height, width, 3]`.
const MAGIC_RGB: u32 = 0x0804;
/// Unsigned bytes in one dimension: labels.
const MAGIC_LABELS: u32 = 0x0801;

/// An image file, its labels if there are any, and the split that its name says.
#[derive(Debug, Clone)]
pub(super) struct IdxPart {
    split: Split,
    images: PathBuf,
    labels: Option<PathBuf>,
}

/// Pictures of one size held in memory; see [`open`](crate::open). The classes are named "0", "1" and so on.
pub struct IdxImages {
    parts: Vec<LoadedPart>,
    classes: Vec<String>,
}

struct LoadedPart {
    path: PathBuf,
    split: Split,
    count: usize,
    height: u32,
    width: u32,
    channels: usize,
    pixels: Vec<u8>,
    labels: Option<Vec<u8>>,
}

/// The image file of each split in a folder; empty if it has none.
pub(super) fn find_parts(folder: &Path) -> Result<Vec<IdxPart>, Error> {
    let mut parts = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        parts.extend(part_of_file(&entry.map_err(Error::io(folder))?.path()));
    }
    // A file beside its own .gz: the plain one sorts first and is kept.
    parts.sort_by(|a, b| (a.split == Split::Test, &a.images).cmp(&(b.split == Split::Test, &b.images)));
    parts.dedup_by_key(|part| part.split);
    Ok(parts)
}

/// What an image file's name says: `train-images-idx3-ubyte` or `t10k-…` (`test-…`), `-` or `.` before `idx`, `.gz` or not.
pub(super) fn part_of_file(path: &Path) -> Option<IdxPart> {
    let name = path.file_name()?.to_str()?;
    let (prefix, rest) = name.split_once("-images")?;
    let split = match prefix {
        "train" => Split::Train,
        "t10k" | "test" => Split::Test,
        _ => return None,
    };
    let rest = rest.strip_suffix(".gz").unwrap_or(rest);
    if !matches!(rest, "-idx3-ubyte" | ".idx3-ubyte" | "-idx4-ubyte" | ".idx4-ubyte") || !path.is_file() {
        return None;
    }
    let labels = ["-", "."]
        .iter()
        .flat_map(|dot| ["", ".gz"].map(|end| format!("{prefix}-labels{dot}idx1-ubyte{end}")))
        .map(|name| path.with_file_name(name))
        .find(|path| path.is_file());
    Some(IdxPart { split, images: path.to_owned(), labels })
}

impl IdxImages {
    pub(super) fn open(found: &[IdxPart], split: Split, options: &OpenOptions) -> Result<Self, Error> {
        let mut memory_left = options.memory_limit_bytes;
        let mut parts = Vec::new();
        let mut classes = 0;
        for part in found {
            let labels = part.labels.as_deref().map(|path| read_labels(path, options)).transpose()?;
            // Of every split, so that a class has the same label in each.
            classes = classes.max(labels.iter().flatten().max().map_or(0, |&label| usize::from(label) + 1));
            if split == Split::All || part.split == split {
                parts.push(read_part(part, labels, &mut memory_left, options)?);
            }
        }
        if parts.is_empty() {
            let path = found.first().map(|part| part.images.display().to_string()).unwrap_or_default();
            let names: Vec<String> = found.iter().map(|part| part.split.to_string()).collect();
            return Err(Error::NoSuchSplit {
                path,
                split,
                found: format!("it has only {}", names.join(", ")),
            });
        }
        Ok(Self { parts, classes: (0..classes).map(|class| class.to_string()).collect() })
    }

    fn locate(&self, index: usize) -> (&LoadedPart, usize) {
        let mut inside = index;
        for part in &self.parts {
            if inside < part.count {
                return (part, inside);
            }
            inside -= part.count;
        }
        panic!("index {index} of a data set of {}", self.len());
    }
}

fn read_part(
    part: &IdxPart,
    labels: Option<Vec<u8>>,
    memory_left: &mut u64,
    options: &OpenOptions,
) -> Result<LoadedPart, Error> {
    let path = &part.images;
    let mut file = open_idx(path)?;
    let (channels, dims) = match read_u32(&mut file, path)? {
        MAGIC_GREY => (1, read_dims::<3>(&mut file, path)?.to_vec()),
        MAGIC_RGB => (3, read_dims::<4>(&mut file, path)?.to_vec()),
        got => {
            return Err(Error::IdxMagic { path: path.clone(), got, expected: "0x803 (grey) or 0x804 (RGB)" });
        }
    };
    let rule = if dims.contains(&0) {
        Some("none may be 0")
    } else if channels == 3 && dims[3] != 3 {
        Some("the last must be 3 (RGB)")
    } else if u64::from(dims[1]) * u64::from(dims[2]) > options.limits.max_pixels
        || dims[1].max(dims[2]) > MAX_PICTURE_SIDE_PX
    {
        Some("a picture may not have more than `max_pixels` pixels, or 65535 a side")
    } else {
        None
    };
    if let Some(rule) = rule {
        return Err(Error::IdxDimensions { path: path.clone(), dims, rule });
    }
    let bytes = dims.iter().try_fold(1_u64, |product, &dim| product.checked_mul(u64::from(dim)));
    let bytes = bytes
        .filter(|bytes| bytes <= memory_left)
        .ok_or_else(|| Error::MemoryLimit { path: path.clone(), limit_bytes: options.memory_limit_bytes })?;
    let pixels = read_exactly(file, path, bytes)?;
    *memory_left -= bytes;
    let count = dims[0] as usize;
    if let (Some(labels), Some(label_path)) = (&labels, &part.labels)
        && labels.len() != count
    {
        return Err(Error::IdxCounts { path: label_path.clone(), labels: labels.len(), images: count });
    }
    let (height, width) = (dims[1], dims[2]);
    Ok(LoadedPart { path: path.clone(), split: part.split, count, height, width, channels, pixels, labels })
}

fn read_labels(path: &Path, options: &OpenOptions) -> Result<Vec<u8>, Error> {
    let mut file = open_idx(path)?;
    let magic = read_u32(&mut file, path)?;
    if magic != MAGIC_LABELS {
        return Err(Error::IdxMagic { path: path.to_owned(), got: magic, expected: "0x801 (labels)" });
    }
    let count = u64::from(read_u32(&mut file, path)?);
    if count > options.memory_limit_bytes {
        return Err(Error::MemoryLimit { path: path.to_owned(), limit_bytes: options.memory_limit_bytes });
    }
    read_exactly(file, path, count)
}

fn open_idx(path: &Path) -> Result<Box<dyn Read>, Error> {
    let file = BufReader::new(File::open(path).map_err(Error::io(path))?);
    let gzipped = path.extension().is_some_and(|extension| extension == "gz");
    Ok(if gzipped { Box::new(GzDecoder::new(file)) } else { Box::new(file) })
}

fn read_u32(file: &mut impl Read, path: &Path) -> Result<u32, Error> {
    read_dims::<1>(file, path).map(|[value]| value)
}

fn read_dims<const N: usize>(file: &mut impl Read, path: &Path) -> Result<[u32; N], Error> {
    let mut dims = [0; N];
    for dim in &mut dims {
        let mut bytes = [0; 4];
        file.read_exact(&mut bytes).map_err(Error::io(path))?;
        *dim = u32::from_be_bytes(bytes);
    }
    Ok(dims)
}

/// Reads `bytes` bytes and the end of the file after them; memory grows with what is there, not with what is declared.
fn read_exactly(file: impl Read, path: &Path, bytes: u64) -> Result<Vec<u8>, Error> {
    let mut content = Vec::new();
    file.take(bytes.saturating_add(1)).read_to_end(&mut content).map_err(Error::io(path))?;
    let found = match (content.len() as u64).cmp(&bytes) {
        std::cmp::Ordering::Less => "ends early",
        std::cmp::Ordering::Equal => return Ok(content),
        std::cmp::Ordering::Greater => "goes on after them",
    };
    Err(Error::IdxLength { path: path.to_owned(), expected: bytes, found })
}

impl Dataset for IdxImages {
    fn len(&self) -> usize {
        self.parts.iter().map(|part| part.count).sum()
    }

    fn id(&self, index: usize) -> u64 {
        let (part, inside) = self.locate(index);
        stable_id(&format!("idx/{}/{inside}", part.split))
    }

    fn label(&self, index: usize) -> Option<u32> {
        let (part, inside) = self.locate(index);
        part.labels.as_ref().map(|labels| u32::from(labels[inside]))
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn name(&self, index: usize) -> String {
        let (part, inside) = self.locate(index);
        format!("{}#{inside}", part.path.display())
    }

    fn load(&self, index: usize) -> Result<RawSample, Error> {
        let (part, inside) = self.locate(index);
        let bytes = part.height as usize * part.width as usize * part.channels;
        let pixels = &part.pixels[inside * bytes..(inside + 1) * bytes];
        let picture = if part.channels == 1 {
            ImageRgb::from_grey(part.width, part.height, pixels)
        } else {
            ImageRgb::new(part.width, part.height, pixels.to_vec())
        };
        picture.map(RawSample::Image)
    }
}
