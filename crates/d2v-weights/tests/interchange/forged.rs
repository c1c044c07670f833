//! Torch files made by hand to mislead: each is refused, and the message says what is wrong.

use d2v_weights::torch_file::TorchFile;
use d2v_weights::{Error, Tensors};
use std::fs::File;
use std::io::Write;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

const STORED: CompressionMethod = CompressionMethod::Stored;

/// Reads the outermost dictionary of an archive of these entries.
fn read(entries: &[(&str, &[u8], CompressionMethod)]) -> Result<Tensors, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("forged.pt");
    let mut zip = ZipWriter::new(File::create(&path).unwrap());
    for (name, bytes, method) in entries {
        zip.start_file(*name, SimpleFileOptions::default().compression_method(*method)).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
    TorchFile::open(&path)?.tensors(&[], &[])
}

fn text(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

/// The pickle of a dictionary of `count` vectors of `len` numbers, all in the storage `data/0` of `stored` numbers.
fn pickle(count: usize, stored: u32, len: u32) -> Vec<u8> {
    let number = |number: u32| [b"J", &number.to_le_bytes()[..]].concat();
    let mut pickle = b"\x80\x02}(".to_vec();
    for i in 0..count {
        pickle.extend(text(&format!("t{i}")));
        pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        pickle.extend([text("storage"), b"ctorch\nFloatStorage\n".to_vec(), text("0"), text("cpu")].concat());
        // Offset 0, one size, stride 1, no gradient, no hooks.
        pickle.extend(
            [number(stored), b"tQK\x00".to_vec(), number(len), b"\x85K\x01\x85\x89}tR".to_vec()].concat(),
        );
    }
    pickle.extend(b"u.");
    pickle
}

#[track_caller]
fn check_refused(entries: &[(&str, &[u8], CompressionMethod)], says: &str) {
    let error = read(entries).unwrap_err().to_string();
    assert!(error.contains(says), "{error}");
}

#[test]
fn an_honest_one_is_read() {
    let tensors = read(&[("a/data.pkl", &pickle(2, 4, 4), STORED), ("a/data/0", &[0; 16], STORED)]).unwrap();
    assert_eq!(tensors.keys().collect::<Vec<_>>(), ["t0", "t1"]);
    assert_eq!(tensors["t1"].to_f32_values().unwrap(), [0.0; 4]);
}

#[test]
fn storages_and_pickle_must_agree() {
    let pickle = pickle(1, 4, 4);
    check_refused(&[("a/data.pkl", &pickle, STORED)], "the storage \"0\" is not in it");
    check_refused(
        &[("a/data.pkl", &pickle, STORED), ("a/data/0", &[0; 15], STORED)],
        "should hold 4 numbers",
    );
    let beyond = self::pickle(1, 4, 5);
    check_refused(&[("a/data.pkl", &beyond, STORED), ("a/data/0", &[0; 16], STORED)], "repeats numbers");
}

#[test]
fn one_storage_cannot_fill_the_memory() {
    let pickle = pickle(1000, 1000, 1000);
    check_refused(
        &[("a/data.pkl", &pickle, STORED), ("a/data/0", &[0; 4000], STORED)],
        "too many tensors share",
    );
}

#[test]
fn a_few_bytes_cannot_become_a_large_storage() {
    let zeros = vec![0; 4_000_000];
    let packed = CompressionMethod::Deflated;
    let error =
        read(&[("a/data.pkl", &pickle(1, 1_000_000, 1), STORED), ("a/data/0", &zeros, packed)]).unwrap_err();
    assert!(matches!(error, Error::Limit { found: 4_000_000, .. }), "{error}");
}

#[test]
fn archives_of_something_else() {
    let pickle = pickle(1, 1, 1);
    check_refused(&[("a/data", &pickle, STORED)], "it must hold one data.pkl");
    check_refused(
        &[("a/data.pkl", &pickle, STORED), ("b/data.pkl", &pickle, STORED)],
        "must hold one data.pkl",
    );
    check_refused(&[("a/data.pkl", &pickle, STORED), ("a/byteorder", b"big", STORED)], "big-endian");
    check_refused(
        &[("a/data.pkl", b"\x80\x02N.", STORED)],
        "the outermost value is None, wanted: a dictionary",
    );
}
