//! Logarithms of the energy in mel bands: a front end without parameters.

use tch::{Device, Kind, Tensor};

/// Added to the energy before the logarithm: about -100 dB of a signal of variance 1 per sample in a band.
const FLOOR: f64 = 1e-6;

/// Windows, spectra, bands, logarithms.
#[derive(Debug)]
pub(crate) struct LogMel {
    window: Tensor,
    /// `[window/2 + 1, bands]`.
    filters: Tensor,
    hop: i64,
    stacked: i64,
}

impl LogMel {
    pub(crate) fn new(
        (bands, window, hop, stacked): (i64, i64, i64, i64),
        rate_hz: u32,
        (kind, device): (Kind, Device),
    ) -> LogMel {
        let hann = Tensor::hann_window(window, (Kind::Double, Device::Cpu));
        // Energy of a frame of white noise of variance 1 becomes about 1.
        let hann = &hann / hann.square().sum(Kind::Double).sqrt();
        let filters = Tensor::from_slice(&filters(bands, window, f64::from(rate_hz)))
            .view([bands, window / 2 + 1])
            .transpose(0, 1)
            .contiguous();
        LogMel {
            window: hann.to_kind(kind).to_device(device),
            filters: filters.to_kind(kind).to_device(device),
            hop,
            stacked,
        }
    }

    /// Sound `[B, C, T]` to `[B, L, C * stacked * bands]`.
    pub(crate) fn forward(&self, sound_bct: &Tensor) -> Tensor {
        let (b, c) = (sound_bct.size()[0], sound_bct.size()[1]);
        let windows = sound_bct.unfold(2, self.window.size()[0], self.hop) * &self.window;
        let spectrum = windows.fft_rfft(None, -1, "backward").view_as_real();
        let power = spectrum.square().sum_dim_intlist(-1, false, None::<Kind>);
        let log = (power.matmul(&self.filters) + FLOOR).log();
        let (windows, bands) = (log.size()[2], log.size()[3]);
        let frames = windows / self.stacked;
        let stacked = log.narrow(2, 0, frames * self.stacked).reshape([b, c, frames, self.stacked * bands]);
        stacked.transpose(1, 2).reshape([b, frames, c * self.stacked * bands])
    }
}

/// Triangles on the mel scale `2595 log10(1 + f/700)` from 0 to half the rate, each with sum 1, row by row.
fn filters(bands: i64, window: i64, rate_hz: f64) -> Vec<f64> {
    let mel = |hz: f64| 2595.0 * (1.0 + hz / 700.0).log10();
    let hz = |mel: f64| 700.0 * (10f64.powf(mel / 2595.0) - 1.0);
    let top = mel(rate_hz / 2.0);
    let corner = |i: i64| hz(top * i as f64 / (bands + 1) as f64);
    let bins = window / 2 + 1;
    let mut filters = Vec::with_capacity((bands * bins) as usize);
    for band in 0..bands {
        let (low, peak, high) = (corner(band), corner(band + 1), corner(band + 2));
        let weight = |bin: i64| {
            let f = bin as f64 * rate_hz / window as f64;
            ((f - low) / (peak - low)).min((high - f) / (high - peak)).max(0.0)
        };
        let row: Vec<f64> = (0..bins).map(weight).collect();
        let sum: f64 = row.iter().sum();
        if sum > 0.0 {
            filters.extend(row.iter().map(|value| value / sum));
        } else {
            // A band narrower than the distance of two bins takes the bin nearest its peak.
            let nearest = (peak * window as f64 / rate_hz).round() as i64;
            filters.extend((0..bins).map(|bin| if bin == nearest { 1.0 } else { 0.0 }));
        }
    }
    filters
}

#[cfg(test)]
mod tests {
    use super::*;
    use d2v_torch::seed::seeded;

    const HOST: (Kind, Device) = (Kind::Double, Device::Cpu);

    #[test]
    fn a_tone_lights_its_band_and_noise_all() {
        let (bands, rate) = (40, 8_000);
        let front_end = LogMel::new((bands, 256, 80, 1), rate, HOST);
        let time = Tensor::arange(4_000, HOST) / f64::from(rate);
        let band_of = |hz: f64| {
            let tone = (&time * (std::f64::consts::TAU * hz)).sin().view([1, 1, -1]);
            let mean = front_end.forward(&tone).mean_dim(1, false, None::<Kind>);
            mean.argmax(1, false).int64_value(&[0])
        };
        let mel = |hz: f64| 2595.0 * (1.0 + hz / 700.0).log10();
        for hz in [300.0, 1_000.0, 3_000.0] {
            let expected = (mel(hz) / mel(4_000.0) * (bands + 1) as f64 - 1.0).round() as i64;
            assert!((band_of(hz) - expected).abs() <= 1, "{hz} Hz: band {} for {expected}", band_of(hz));
        }
        let noise = seeded(&[3], || Tensor::randn([1, 1, 80_000], HOST));
        let energy = front_end.forward(&noise).exp().mean_dim(1, false, None::<Kind>);
        // 997 overlapping windows of energy about 1: each band's mean is within a few tenths.
        let (low, high) = (energy.min().double_value(&[]), energy.max().double_value(&[]));
        assert!(low > 0.7 && high < 1.4, "white noise has bands from {low} to {high}");
    }

    #[test]
    fn frames_are_stacked_and_silence_is_finite() {
        let front_end = LogMel::new((10, 64, 20, 2), 8_000, HOST);
        let out = front_end.forward(&Tensor::zeros([3, 2, 64 + 4 * 20], HOST));
        assert_eq!(out.size(), [3, 2, 2 * 2 * 10], "five windows make two frames of two");
        assert!((out - FLOOR.ln()).abs().max().double_value(&[]) < 1e-9, "the floor's logarithm");
    }
}
