//! The program in a `.pt` file: the input replaces `data.pkl` of a sound file, its checksum is right.
#![no_main]

use d2v_fuzz::with_file;
use d2v_weights::torch_file::TorchFile;
use d2v_weights::{Checkpoint, Network};
use libfuzzer_sys::fuzz_target;
use std::io::{Cursor, Write};
use std::sync::LazyLock;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

const SOUND: &[u8] = include_bytes!("../../crates/d2v-weights/tests/fixtures/text.pt");

/// The file without its `data.pkl`, and the full name of that.
static REST: LazyLock<(Vec<u8>, String)> = LazyLock::new(|| {
    let mut whole = ZipArchive::new(Cursor::new(SOUND)).expect("the file is sound");
    let mut rest = ZipWriter::new(Cursor::new(Vec::new()));
    let mut pickle = String::new();
    for index in 0..whole.len() {
        let entry = whole.by_index_raw(index).expect("the file is sound");
        let name = entry.name().expect("the file is sound").into_owned();
        if name.ends_with("/data.pkl") {
            pickle = name;
        } else {
            rest.raw_copy_file(entry).expect("memory can be written");
        }
    }
    (rest.finish().expect("memory can be written").into_inner(), pickle)
});

fuzz_target!(|pickle: &[u8]| {
    let (rest, name) = &*REST;
    let mut file = ZipWriter::new_append(Cursor::new(rest.clone())).expect("it was just written");
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    file.start_file(name, stored).expect("memory can be written");
    file.write_all(pickle).expect("memory can be written");
    let content = file.finish().expect("memory can be written").into_inner();
    with_file("a.pt", &content, |path| {
        if let Ok(mut file) = TorchFile::open(path) {
            let _ = file.tensors(&[], &[]);
        }
        for network in [Network::Student, Network::Teacher] {
            let _ = Checkpoint::read(path, network);
        }
    });
});
