//! Safetensors files: what is read has the bytes that its shape says, and is the same when written and read again.
#![no_main]

use d2v_fuzz::with_file;
use d2v_weights::{read_safetensors, write_safetensors};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|content: &[u8]| {
    with_file("a.safetensors", content, |path| {
        let Ok(tensors) = read_safetensors(path) else { return };
        for tensor in tensors.values() {
            assert_eq!(
                tensor.shape().iter().product::<usize>() * tensor.dtype().size(),
                tensor.bytes().len()
            );
        }
        let again = path.with_file_name("again.safetensors");
        write_safetensors(&again, &tensors).expect("what was read can be written");
        assert!(read_safetensors(&again).expect("what was written can be read") == tensors);
    });
});
