//! Pictures that lie in files, inside plain tar archives, or in memory, as one data set.

use super::OpenOptions;
use super::layout;
use super::listing::{Found, Listing, Place, Source};
use crate::dataset::{Dataset, Ignored, RawSample, Split, stable_id};
use crate::decode::{Limits, decode_picture};
use crate::error::Error;
use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Encoded pictures with ids, labels and the places they are read from; see [`open`](crate::open).
pub struct PictureFiles {
    pictures: Vec<Picture>,
    classes: Vec<String>,
    sources: Vec<Source>,
    limits: Limits,
    ignored: Ignored,
}

struct Picture {
    path: String,
    id: u64,
    label: Option<u32>,
    place: Place,
}

/// Whether a file is a picture by its extension; macOS puts companions called `._x.jpg` into archives, which are not.
pub(super) fn has_picture_name(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    !name.starts_with("._") && matches!(extension.as_deref(), Some("jpg" | "jpeg" | "png" | "webp" | "bmp"))
}

impl PictureFiles {
    /// Sorts what was found by path, reads labels and splits from the paths, and keeps the split asked for.
    pub(super) fn new(
        root: &Path,
        listing: Listing,
        split: Split,
        options: &OpenOptions,
    ) -> Result<Self, Error> {
        let Listing { mut found, sources, ignored } = listing;
        let root = root.display().to_string();
        if found.is_empty() {
            return Err(Error::NoPictures { path: root, ignored: ignored.total() });
        }
        found.sort_by(|a, b| (&a.path, &a.shard).cmp(&(&b.path, &b.shard)));
        let paths: Vec<&str> = found.iter().map(|found| found.path.as_str()).collect();
        let layout = layout::read(&paths);
        let selected =
            layout.select(split).map_err(|found| Error::NoSuchSplit { path: root, split, found })?;
        let pictures = found
            .into_iter()
            .zip(layout.places)
            .zip(selected)
            .filter(|(_, selected)| *selected)
            .map(|((Found { path, shard, place }, (_, label)), _)| Picture {
                id: stable_id(&format!("{shard}{path}")),
                path,
                label,
                place,
            })
            .collect();
        Ok(Self { pictures, classes: layout.classes, sources, limits: options.limits, ignored })
    }

    /// The encoded bytes of a picture, as they are in the file or archive.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::FileTooLarge`].
    ///
    /// # Panics
    /// If there is no such picture.
    pub fn encoded(&self, index: usize) -> Result<Cow<'_, [u8]>, Error> {
        match &self.pictures[index].place {
            Place::File(path) => {
                let file = File::open(path).map_err(Error::io(path))?;
                let declared = file.metadata().map_err(Error::io(path))?.len();
                self.check_bytes(index, declared)?;
                // The file may grow meanwhile: one byte more than allowed is enough to know.
                let mut bytes = Vec::new();
                file.take(self.limits.max_file_bytes.saturating_add(1))
                    .read_to_end(&mut bytes)
                    .map_err(Error::io(path))?;
                self.check_bytes(index, bytes.len() as u64)?;
                Ok(Cow::Owned(bytes))
            }
            Place::Range { source, offset, bytes } => {
                self.check_bytes(index, *bytes)?;
                match &self.sources[*source] {
                    Source::Archive(path) => read_range(path, *offset, *bytes).map(Cow::Owned),
                    Source::Memory { bytes: all, .. } => {
                        let start = usize::try_from(*offset).expect("offsets into memory fit");
                        let len = usize::try_from(*bytes).expect("sizes in memory fit");
                        Ok(Cow::Borrowed(&all[start..start + len]))
                    }
                }
            }
        }
    }

    fn check_bytes(&self, index: usize, bytes: u64) -> Result<(), Error> {
        let limit = self.limits.max_file_bytes;
        if bytes > limit { Err(Error::FileTooLarge { name: self.name(index), bytes, limit }) } else { Ok(()) }
    }
}

fn read_range(path: &Path, offset: u64, bytes: u64) -> Result<Vec<u8>, Error> {
    let mut file = File::open(path).map_err(Error::io(path))?;
    file.seek(SeekFrom::Start(offset)).map_err(Error::io(path))?;
    let mut content = Vec::new();
    file.take(bytes).read_to_end(&mut content).map_err(Error::io(path))?;
    if (content.len() as u64) < bytes {
        return Err(Error::Archive {
            path: path.to_owned(),
            position: offset + content.len() as u64,
            problem: "it has become shorter since it was opened",
        });
    }
    Ok(content)
}

impl Dataset for PictureFiles {
    fn len(&self) -> usize {
        self.pictures.len()
    }

    fn id(&self, index: usize) -> u64 {
        self.pictures[index].id
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.pictures[index].label
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn name(&self, index: usize) -> String {
        let picture = &self.pictures[index];
        match &picture.place {
            Place::File(path) => path.display().to_string(),
            Place::Range { source, .. } => {
                format!("{}:{}", self.sources[*source].path().display(), picture.path)
            }
        }
    }

    fn load(&self, index: usize) -> Result<RawSample, Error> {
        let bytes = self.encoded(index)?;
        decode_picture(&self.name(index), &bytes, &self.limits).map(RawSample::Image)
    }

    fn ignored(&self) -> &Ignored {
        &self.ignored
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_known_by_extension() {
        for name in ["a.jpg", "x/y.JPEG", "b.Png", "c.webp", "d.e.bmp"] {
            assert!(has_picture_name(name), "{name}");
        }
        for name in ["a.gif", "jpg", "x.jpg/y", "._a.jpg", "d/._a.png", "notes.txt", ""] {
            assert!(!has_picture_name(name), "{name}");
        }
    }
}
