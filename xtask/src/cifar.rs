//! CIFAR-10's binary archive as a tar file of pictures in class folders, which `d2v` reads.
//!
//! The archive holds records of one label byte and three planes of 32x32 bytes (red, green, blue); see the
//! data set's page, <https://www.cs.toronto.edu/~kriz/cifar.html>. The pictures come out as BMP: lossless,
//! and simple enough to write without an encoder.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;

use crate::disk;

const SIDE: usize = 32;
const PLANE_BYTES: usize = SIDE * SIDE;
const RECORD_BYTES: usize = 1 + 3 * PLANE_BYTES;
const HEADER_BYTES: usize = 54;

/// In the order of the labels.
const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Writes `target`, whose members are `cifar10/{train,test}/CLASS/NUMBER.bmp`.
///
/// # Errors
/// When the archive is not CIFAR-10's, or a file cannot be read or written.
pub(crate) fn to_tar_of_pictures(archive: &Path, target: &Path) -> Result<()> {
    let partial = target.with_extension("tar.part");
    let file =
        BufReader::new(File::open(archive).with_context(|| format!("cannot open {}", archive.display()))?);
    let out = File::create(&partial).with_context(|| format!("cannot write {}", partial.display()))?;
    let mut pictures = tar::Builder::new(BufWriter::new(out));
    let mut source = tar::Archive::new(GzDecoder::new(file));
    let mut count = 0_u32;
    for member in source.entries()? {
        let mut member = member.with_context(|| format!("{} is damaged", archive.display()))?;
        let path = member.path()?.into_owned();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let split = match name.as_ref() {
            "test_batch.bin" => "test",
            name if name.starts_with("data_batch_") => "train",
            _ => continue,
        };
        let size = member.size();
        ensure!(
            size % RECORD_BYTES as u64 == 0,
            "{} is not whole records of {RECORD_BYTES} bytes",
            path.display()
        );
        for _ in 0..size / RECORD_BYTES as u64 {
            let mut record = [0; RECORD_BYTES];
            member.read_exact(&mut record).with_context(|| format!("{} is cut off", archive.display()))?;
            let class = CLASSES.get(usize::from(record[0]));
            let class = class.with_context(|| format!("{} has the label {}", path.display(), record[0]))?;
            append(&mut pictures, &format!("cifar10/{split}/{class}/{count:05}.bmp"), &to_bmp(&record[1..]))?;
            count += 1;
        }
    }
    ensure!(count > 0, "{} holds no CIFAR-10 batches", archive.display());
    pictures.into_inner()?.flush()?;
    disk::publish(&partial, target)
}

fn append(pictures: &mut tar::Builder<impl Write>, name: &str, content: &[u8]) -> Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    Ok(pictures.append_data(&mut header, name, content)?)
}

/// A BMP file: two headers, then rows from the bottom up, each pixel blue, green, red.
///
/// A row of 32 pixels is a multiple of four bytes long, so rows need no padding.
fn to_bmp(planes: &[u8]) -> Vec<u8> {
    const FILE_BYTES: u32 = (HEADER_BYTES + 3 * PLANE_BYTES) as u32;
    let mut bmp = Vec::with_capacity(FILE_BYTES as usize);
    bmp.extend(b"BM");
    for field in [FILE_BYTES, 0, HEADER_BYTES as u32, 40, SIDE as u32, SIDE as u32] {
        bmp.extend(field.to_le_bytes());
    }
    // One plane, 24 bits a pixel; then no compression, and five fields that may be zero.
    bmp.extend(1_u16.to_le_bytes());
    bmp.extend(24_u16.to_le_bytes());
    bmp.extend([0; 24]);
    let (red, rest) = planes.split_at(PLANE_BYTES);
    let (green, blue) = rest.split_at(PLANE_BYTES);
    for row in (0..SIDE).rev() {
        for pixel in row * SIDE..(row + 1) * SIDE {
            bmp.extend([blue[pixel], green[pixel], red[pixel]]);
        }
    }
    bmp
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// A record whose every byte depends on its place and on `seed`.
    fn record(label: u8, seed: usize) -> Vec<u8> {
        let pixels = (0..3 * PLANE_BYTES).map(|i| ((i * 31 + i / 7 + seed) % 251) as u8);
        std::iter::once(label).chain(pixels).collect()
    }

    fn archive(folder: &Path, members: &[(&str, Vec<u8>)]) -> std::path::PathBuf {
        let path = folder.join("cifar-10-binary.tar.gz");
        let mut tar = tar::Builder::new(GzEncoder::new(File::create(&path).unwrap(), Compression::fast()));
        for (name, content) in members {
            append(&mut tar, &format!("cifar-10-batches-bin/{name}"), content).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap();
        path
    }

    #[test]
    fn pictures_come_out_as_they_went_in() {
        let folder = tempfile::tempdir().unwrap();
        let batch = [record(3, 1), record(9, 2)].concat();
        let source = archive(
            folder.path(),
            &[("readme.html", vec![1]), ("data_batch_1.bin", batch), ("test_batch.bin", record(0, 3))],
        );
        let target = folder.path().join("cifar10.tar");
        to_tar_of_pictures(&source, &target).unwrap();

        let mut found = BTreeMap::new();
        for member in tar::Archive::new(File::open(&target).unwrap()).entries().unwrap() {
            let mut member = member.unwrap();
            let mut bytes = Vec::new();
            member.read_to_end(&mut bytes).unwrap();
            found.insert(member.path().unwrap().display().to_string(), bytes);
        }
        let names: Vec<_> = found.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "cifar10/test/airplane/00002.bmp",
                "cifar10/train/cat/00000.bmp",
                "cifar10/train/truck/00001.bmp"
            ]
        );
        let picture = image::load_from_memory(&found["cifar10/train/truck/00001.bmp"]).unwrap().to_rgb8();
        let planes = &record(9, 2)[1..];
        for (x, y, pixel) in picture.enumerate_pixels() {
            let at = y as usize * SIDE + x as usize;
            assert_eq!(
                pixel.0,
                [planes[at], planes[PLANE_BYTES + at], planes[2 * PLANE_BYTES + at]],
                "at {x}, {y}"
            );
        }
    }

    #[test]
    fn a_damaged_archive_is_refused() {
        let check = |members: &[(&str, Vec<u8>)], expected: &str| {
            let folder = tempfile::tempdir().unwrap();
            let source = archive(folder.path(), members);
            let target = folder.path().join("cifar10.tar");
            let error = format!("{:#}", to_tar_of_pictures(&source, &target).unwrap_err());
            assert!(error.contains(expected), "{error}");
            assert!(!target.exists());
        };
        check(&[("data_batch_1.bin", vec![0; RECORD_BYTES - 1])], "whole records");
        check(&[("data_batch_1.bin", record(10, 0))], "label 10");
        check(&[("batches.meta.txt", vec![0])], "no CIFAR-10 batches");
    }
}
