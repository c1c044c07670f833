//! WAV files for the tests that read recordings.

/// A WAV file of one channel of 16-bit samples.
pub(crate) fn wav(rate_hz: u32, samples: &[i16]) -> Vec<u8> {
    let bytes = 2 * samples.len() as u32;
    let mut file = Vec::new();
    for part in [
        b"RIFF".as_slice(),
        &(36 + bytes).to_le_bytes(),
        b"WAVEfmt ",
        &16_u32.to_le_bytes(),
        // Integers, one channel.
        &[1, 0, 1, 0],
        &rate_hz.to_le_bytes(),
        &(2 * rate_hz).to_le_bytes(),
        // Two bytes a sample, 16 bits.
        &[2, 0, 16, 0],
        b"data",
        &bytes.to_le_bytes(),
    ] {
        file.extend_from_slice(part);
    }
    file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    file
}
