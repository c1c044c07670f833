//! What the targets share: files for functions that read from disk, and how panics are reported.

use d2v_data::{AudioLimits, AudioOptions, RawSample, Split, open_audio};
use std::fs;
use std::path::Path;

/// Memory that data sets may take; libFuzzer calls more than 2 GiB of the process an error.
pub const MEMORY_LIMIT_BYTES: u64 = 64 << 20;

/// Calls `read` with the path of a file of this name and content, alone in a folder that is gone afterwards.
pub fn with_file(name: &str, content: &[u8], read: impl FnOnce(&Path)) {
    with_folder(&[(name, content)], |folder| read(&folder.join(name)));
}

/// Calls `read` with a folder of these files, which is gone afterwards. `TMPDIR` says where: memory spares the disk.
///
/// # Panics
/// If the folder cannot be written: that is the machine's failure, and going on would test nothing.
pub fn with_folder(files: &[(&str, &[u8])], read: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().expect("TMPDIR can be written");
    for (name, content) in files {
        fs::write(folder.path().join(name), content).expect("TMPDIR can be written");
    }
    read(folder.path());
}

/// Lets panics be caught, for targets whose crate turns panics of a library into errors.
///
/// libFuzzer's hook ends the process at any panic; without it only those do that leave the target. Messages have no
/// backtrace: making one is slow, and the names compared on the way end up in libFuzzer's dictionary.
pub fn let_panics_be_caught() {
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
}

/// Opens a sound file and decodes all of it, in parts, so that seeking meets damage too.
///
/// # Panics
/// If a part has another length than the data set says.
pub fn load_sounds(name: &str, content: &[u8]) {
    let options = AudioOptions {
        min_seconds: 0.0,
        max_seconds: 0.5,
        // A header may promise any length; each part costs a seek.
        limits: AudioLimits {
            max_file_seconds: 10.0,
            memory_limit_bytes: MEMORY_LIMIT_BYTES,
            ..AudioLimits::default()
        },
        ..AudioOptions::default()
    };
    with_file(name, content, |path| {
        let Ok(sounds) = open_audio(path, Split::All, &options) else { return };
        for index in 0..sounds.len() {
            if let Ok(RawSample::Audio(sound)) = sounds.load(index) {
                assert_eq!(sound.len(), sounds.length(index), "part {index}");
            }
        }
    });
}
