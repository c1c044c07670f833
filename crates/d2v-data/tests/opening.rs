//! What `open` makes of folders, archives, shards and IDX files, honest and hostile; all files are made here.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use d2v_data::{Dataset, Error, OpenOptions, RawSample, Split, open};
use flate2::Compression;
use flate2::write::GzEncoder;
use image::{ImageFormat, Rgb, RgbImage};
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

/// A PNG of one colour.
fn png(value: u8) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::from_pixel(6, 4, Rgb([value, 1, 2])).write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn write(root: &Path, path: &str, content: &[u8]) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// A tar archive of entries given as type, name, link target, content. Names go in unchecked.
fn tar(entries: &[(EntryType, &str, &str, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, name, target, content) in entries {
        let mut header = Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.as_mut_bytes()[157..157 + target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn opened(path: &Path, split: Split) -> Result<Box<dyn Dataset>, Error> {
    open(path, split, &OpenOptions::default())
}

/// Each picture as `label:red`, in index order.
fn content(data: &dyn Dataset) -> Vec<String> {
    (0..data.len())
        .map(|index| {
            let RawSample::Image(picture) = data.load(index).unwrap() else { panic!("not a picture") };
            let label = data.label(index).map_or("-".into(), |label| label.to_string());
            format!("{label}:{}", picture.pixel(0, 0)[0])
        })
        .collect()
}

const FILE: EntryType = EntryType::Regular;

fn class_tree() -> Vec<(EntryType, &'static str, &'static str, Vec<u8>)> {
    vec![
        (EntryType::Directory, "pets/", "", vec![]),
        (FILE, "pets/train/dog/1.png", "", png(10)),
        (FILE, "pets/train/cat/2.PNG", "", png(20)),
        (FILE, "pets/train/cat/1.png", "", png(30)),
        (FILE, "pets/test/cat/1.png", "", png(40)),
        (FILE, "pets/README.md", "", b"no picture".to_vec()),
        (FILE, "pets/train/cat/._1.png", "", b"resource fork".to_vec()),
    ]
}

fn tar_of(tree: &[(EntryType, &str, &str, Vec<u8>)]) -> Vec<u8> {
    let entries: Vec<_> =
        tree.iter().map(|(kind, name, target, bytes)| (*kind, *name, *target, &bytes[..])).collect();
    tar(&entries)
}

#[test]
fn folder_tar_and_tar_gz_are_the_same_data() {
    let dir = TempDir::new().unwrap();
    for (kind, name, _, bytes) in class_tree() {
        if kind == FILE {
            write(&dir.path().join("folder"), name, &bytes);
        }
    }
    write(dir.path(), "plain.tar", &tar_of(&class_tree()));
    write(dir.path(), "packed.tar.gz", &gzip(&tar_of(&class_tree())));
    write(dir.path(), "packed.tgz", &gzip(&tar_of(&class_tree())));
    let mut ids = Vec::new();
    for name in ["folder", "plain.tar", "packed.tar.gz", "packed.tgz"] {
        let path = dir.path().join(name);
        let train = opened(&path, Split::Train).unwrap();
        assert_eq!(train.classes(), ["cat", "dog"], "{name}");
        assert_eq!(content(&*train), ["0:30", "0:20", "1:10"], "{name}");
        assert_eq!(content(&*opened(&path, Split::Test).unwrap()), ["0:40"], "{name}");
        assert_eq!(opened(&path, Split::All).unwrap().len(), 4, "{name}");
        ids.push((0..3).map(|index| train.id(index)).collect::<Vec<u64>>());
    }
    assert!(ids.iter().all(|of_one| *of_one == ids[0]), "{ids:?}");
}

#[test]
fn shards_are_one_data_set_with_ids_of_their_own() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "s-0.tar", &tar(&[(FILE, "cat/0.png", "", &png(1)), (FILE, "dog/0.png", "", &png(2))]));
    write(dir.path(), "s-1.tar", &tar(&[(FILE, "cat/0.png", "", &png(3))]));
    write(dir.path(), "s-2.tar.gz", &gzip(&tar(&[(FILE, "ape/0.png", "", &png(4))])));
    let data = opened(&dir.path().join("s-*.tar*"), Split::Train).unwrap();
    assert_eq!(data.classes(), ["ape", "cat", "dog"]);
    assert_eq!(content(&*data), ["0:4", "1:1", "1:3", "2:2"]);
    assert_ne!(data.id(1), data.id(2));
    assert!(matches!(opened(&dir.path().join("x-*.tar"), Split::All), Err(Error::NothingMatches { .. })));
    assert!(matches!(opened(&dir.path().join("s-[.tar"), Split::All), Err(Error::Pattern { .. })));
}

#[test]
fn flat_folders_have_no_labels_and_no_test_part() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "b.png", &png(2));
    write(dir.path(), "a.png", &png(1));
    assert_eq!(content(&*opened(dir.path(), Split::Train).unwrap()), ["-:1", "-:2"]);
    assert!(matches!(opened(dir.path(), Split::Test), Err(Error::NoSuchSplit { .. })));
}

#[test]
fn what_is_not_there_or_not_known_is_said() {
    let dir = TempDir::new().unwrap();
    assert!(matches!(opened(&dir.path().join("absent"), Split::All), Err(Error::Io { .. })));
    assert!(matches!(opened(dir.path(), Split::All), Err(Error::NoPictures { .. })));
    write(dir.path(), "notes.txt", b"x");
    assert!(matches!(opened(&dir.path().join("notes.txt"), Split::All), Err(Error::UnknownKind { .. })));
}

#[cfg(unix)]
#[test]
fn links_in_folders_are_listed_and_not_followed() {
    use std::os::unix::fs::symlink;
    let dir = TempDir::new().unwrap();
    write(dir.path(), "data/a/1.png", &png(1));
    write(dir.path(), "data/b/1.png", &png(2));
    write(dir.path(), "secret.png", &png(3));
    let data = dir.path().join("data");
    symlink(&data, data.join("a").join("loop")).unwrap();
    symlink(dir.path().join("secret.png"), data.join("a").join("0.png")).unwrap();
    let set = opened(&data, Split::Train).unwrap();
    assert_eq!(content(&*set), ["0:1", "1:2"]);
    assert_eq!(set.ignored().total(), 2);
    // The path given may itself be a link.
    symlink(&data, dir.path().join("link")).unwrap();
    assert_eq!(opened(&dir.path().join("link"), Split::Train).unwrap().len(), 2);
}

#[test]
fn hostile_entries_are_ignored_with_a_reason() {
    let good = png(1);
    let bytes = tar(&[
        (FILE, "a/good.png", "", &good),
        (FILE, "../escape.png", "", &good),
        (FILE, "/etc/absolute.png", "", &good),
        (FILE, "a/../../up.png", "", &good),
        (EntryType::Symlink, "a/symlink.png", "/etc/passwd", b""),
        (EntryType::Link, "a/hardlink.png", "a/good.png", b""),
        (EntryType::Char, "a/device.png", "", b""),
        (EntryType::Fifo, "a/fifo.png", "", b""),
    ]);
    let dir = TempDir::new().unwrap();
    write(dir.path(), "odd.tar", &bytes);
    write(dir.path(), "odd.tar.gz", &gzip(&bytes));
    for name in ["odd.tar", "odd.tar.gz"] {
        let data = opened(&dir.path().join(name), Split::All).unwrap();
        assert_eq!(content(&*data), ["-:1"], "{name}");
        let ignored: Vec<&str> = data.ignored().listed().iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(ignored.len(), 7, "{name}: {ignored:?}");
        assert!(data.ignored().listed().iter().all(|entry| !entry.reason.is_empty()));
    }
}

#[test]
fn damaged_archives_are_errors() {
    let dir = TempDir::new().unwrap();
    let whole = tar(&[(FILE, "a.png", "", &[7; 5_000])]);
    let packed = gzip(&whole);
    write(dir.path(), "cut.tar", &whole[..3_000]);
    write(dir.path(), "cut.tar.gz", &packed[..packed.len() / 2]);
    write(dir.path(), "noise.tar", &[0x5A; 2_048]);
    write(dir.path(), "noise.tar.gz", &[0x1F, 0x8B, 3, 4, 5, 6]);
    for name in ["cut.tar", "cut.tar.gz", "noise.tar", "noise.tar.gz"] {
        let got = opened(&dir.path().join(name), Split::All).map(|data| data.len());
        assert!(matches!(got, Err(Error::Io { .. } | Error::Archive { .. })), "{name}: {got:?}");
    }
}

#[test]
fn an_extended_header_of_any_size_is_not_read_into_memory() {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(2 << 20);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.resize(512 + (2 << 20), b'x');
    bytes.extend(tar(&[(FILE, "a.png", "", &png(1))]));
    let dir = TempDir::new().unwrap();
    write(dir.path(), "long.tar", &bytes);
    let got = opened(&dir.path().join("long.tar"), Split::All).map(|data| data.len());
    assert!(matches!(got, Err(Error::Archive { .. })), "{got:?}");
}

#[test]
fn a_gzip_bomb_stops_at_the_limit() {
    let dir = TempDir::new().unwrap();
    // 64 MiB of zeros in an entry that is not even a picture, some 300 kB packed.
    write(dir.path(), "bomb.tar.gz", &gzip(&tar(&[(FILE, "zeros.bin", "", &vec![0; 64 << 20])])));
    let options = OpenOptions { memory_limit_bytes: 1 << 20, ..OpenOptions::default() };
    let got = open(&dir.path().join("bomb.tar.gz"), Split::All, &options).map(|data| data.len());
    assert!(matches!(got, Err(Error::MemoryLimit { limit_bytes: 1_048_576, .. })), "{got:?}");
}

#[test]
fn of_two_entries_with_one_name_the_later_counts() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "t.tar", &tar(&[(FILE, "a.png", "", &png(1)), (FILE, "./a.png", "", &png(2))]));
    assert_eq!(content(&*opened(&dir.path().join("t.tar"), Split::All).unwrap()), ["-:2"]);
}

/// An IDX file: magic, dimensions, data.
fn idx(magic: u32, dims: &[u32], data: &[u8]) -> Vec<u8> {
    let header = std::iter::once(&magic).chain(dims).flat_map(|value| value.to_be_bytes());
    header.chain(data.iter().copied()).collect()
}

#[test]
fn idx_files_are_read_plain_and_packed_grey_and_rgb() {
    let dir = TempDir::new().unwrap();
    let root = dir.path();
    write(root, "train-images-idx3-ubyte.gz", &gzip(&idx(0x803, &[2, 1, 2], &[5, 6, 7, 8])));
    write(root, "train-labels-idx1-ubyte.gz", &gzip(&idx(0x801, &[2], &[1, 0])));
    write(root, "t10k-images.idx4-ubyte", &idx(0x804, &[1, 1, 1, 3], &[9, 10, 11]));
    write(root, "t10k-labels.idx1-ubyte", &idx(0x801, &[1], &[2]));
    assert_eq!(content(&*opened(root, Split::Train).unwrap()), ["1:5", "0:7"]);
    let all = opened(root, Split::All).unwrap();
    assert_eq!(all.classes(), ["0", "1", "2"]);
    assert_eq!(content(&*all), ["1:5", "0:7", "2:9"]);
    let RawSample::Image(picture) = all.load(2).unwrap() else { panic!("not a picture") };
    assert_eq!(picture.as_bytes(), [9, 10, 11]);
    let single: PathBuf = root.join("train-images-idx3-ubyte.gz");
    assert_eq!(opened(&single, Split::Train).unwrap().len(), 2);
    assert!(matches!(opened(&single, Split::Test), Err(Error::NoSuchSplit { .. })));
}

#[test]
fn damaged_idx_files_are_errors_and_take_no_memory() {
    let check = |images: Vec<u8>, labels: Vec<u8>, what: fn(&Error) -> bool| {
        let dir = TempDir::new().unwrap();
        write(dir.path(), "train-images-idx3-ubyte", &images);
        write(dir.path(), "train-labels-idx1-ubyte", &labels);
        match opened(dir.path(), Split::Train) {
            Err(error) => assert!(what(&error), "{error}"),
            Ok(_) => panic!("opened"),
        }
    };
    let labels = idx(0x801, &[1], &[0]);
    let length = |error: &Error| matches!(error, Error::IdxLength { .. });
    check(idx(0x803, &[1, 2, 2], &[1, 2, 3]), labels.clone(), length);
    check(idx(0x803, &[1, 2, 2], &[1, 2, 3, 4, 5]), labels.clone(), length);
    check(idx(0x803, &[1, 30_000, 30_000], &[]), labels.clone(), |e| {
        matches!(e, Error::IdxDimensions { .. })
    });
    check(idx(0x803, &[u32::MAX, 100, 100], &[]), labels.clone(), |e| matches!(e, Error::MemoryLimit { .. }));
    check(idx(0x803, &[0, 2, 2], &[]), labels.clone(), |e| matches!(e, Error::IdxDimensions { .. }));
    check(idx(0x804, &[1, 1, 1, 4], &[0; 4]), labels.clone(), |e| matches!(e, Error::IdxDimensions { .. }));
    check(idx(0x802, &[1, 2, 2], &[0; 4]), labels, |e| matches!(e, Error::IdxMagic { got: 0x802, .. }));
    let two = idx(0x801, &[2], &[0, 0]);
    check(idx(0x803, &[1, 1, 1], &[0]), two, |e| matches!(e, Error::IdxCounts { labels: 2, images: 1, .. }));
}
