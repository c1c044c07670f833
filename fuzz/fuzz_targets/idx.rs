//! IDX files of pictures and of labels. The first byte is the length of the labels' file, which is what follows it; at 0
//! there is none. The rest are the pictures.
#![no_main]

use d2v_data::{OpenOptions, Split, open};
use d2v_fuzz::{MEMORY_LIMIT_BYTES, with_folder};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&labels_len, content)) = input.split_first() else { return };
    let (labels, images) = content.split_at(content.len().min(labels_len.into()));
    let files = [("train-images-idx3-ubyte", images), ("train-labels-idx1-ubyte", labels)];
    let files = if labels_len == 0 { &files[..1] } else { &files };
    let options = OpenOptions { memory_limit_bytes: MEMORY_LIMIT_BYTES, ..OpenOptions::default() };
    with_folder(files, |folder| {
        let Ok(pictures) = open(folder, Split::All, &options) else { return };
        for index in 0..pictures.len() {
            pictures.load(index).expect("what was opened is held in memory");
        }
    });
});
