//! The signal of the sound fixtures, and WAV files made of it.

/// The formula of `../fixtures/make_sound_fixtures.py`.
pub(crate) fn signal(t: usize) -> i16 {
    let noise = ((t as u32).wrapping_mul(2_654_435_761) >> 26) as i32;
    let fast = (t % 64) as i32 - 32;
    let slow = (t % 1_500) as i32 - 750;
    (100 * fast.abs() - 1_600 + 4 * slow.abs() - 1_500 + noise - 32) as i16
}

/// A WAV file of interleaved 16-bit samples.
pub(crate) fn wav(rate_hz: u32, channels: u16, samples: &[i16]) -> Vec<u8> {
    let data: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    wav_of(1, 16, rate_hz, channels, &data)
}

/// A WAV file of any samples: format tag 1 is integers, 3 floats.
pub(crate) fn wav_of(tag: u16, bits: u16, rate_hz: u32, channels: u16, data: &[u8]) -> Vec<u8> {
    let block = channels.wrapping_mul(bits / 8);
    let mut bytes = Vec::new();
    bytes.extend(b"RIFF");
    bytes.extend((36 + data.len() as u32).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(16_u32.to_le_bytes());
    bytes.extend(tag.to_le_bytes());
    bytes.extend(channels.to_le_bytes());
    bytes.extend(rate_hz.to_le_bytes());
    bytes.extend(rate_hz.wrapping_mul(u32::from(block)).to_le_bytes());
    bytes.extend(block.to_le_bytes());
    bytes.extend(bits.to_le_bytes());
    bytes.extend(b"data");
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend(data);
    bytes
}

/// The fixtures' signal as one channel.
pub(crate) fn mono(rate_hz: u32, samples: usize) -> Vec<u8> {
    wav(rate_hz, 1, &(0..samples).map(signal).collect::<Vec<_>>())
}
