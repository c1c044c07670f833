//! Seeds as functions of what they are for, so that no random state has to be carried.

use std::cell::Cell;
use std::sync::{Mutex, PoisonError};

/// One 64-bit value from several, by SplitMix64's finaliser (Steele, Lea and Flood 2014): each part changes every bit.
pub fn mix(parts: &[u64]) -> u64 {
    parts.iter().fold(0x9e37_79b9_7f4a_7c15, |state, &part| {
        let mut z = (state ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// One 64-bit value from a text (FNV-1a, then [`mix`]): names as parts of a seed.
pub fn of_text(text: &str) -> u64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(&[hash])
}

/// Runs `draw` right after seeding libtorch's generators (CPU and, where loaded, CUDA) with a mix of `parts`, one
/// thread at a time: the generators are shared by all threads, and another's draw in between would change the values.
/// Inside of `draw`, a further call seeds anew, and what follows it draws on from there.
pub fn seeded<T>(parts: &[u64], draw: impl FnOnce() -> T) -> T {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    thread_local!(static INSIDE: Cell<bool> = const { Cell::new(false) });
    /// Leaves on unwinding too.
    struct Inside;
    impl Drop for Inside {
        fn drop(&mut self) {
            INSIDE.set(false);
        }
    }

    let outermost = (!INSIDE.get()).then(|| {
        let guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        INSIDE.set(true);
        (Inside, guard)
    });
    tch::manual_seed(mix(parts) as i64);
    let out = draw();
    drop(outermost);
    out
}

/// A number in `[0, 1)` from a mix of `parts`.
pub fn unit(parts: &[u64]) -> f64 {
    // The upper 53 bits fill a double's mantissa exactly.
    (mix(parts) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_and_its_place_matters() {
        let all = [
            mix(&[1, 2]),
            mix(&[2, 1]),
            mix(&[1]),
            mix(&[1, 2, 0]),
            mix(&[0, 1, 2]),
            of_text("a"),
            of_text("b"),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| b != a), "collision at {i}");
        }
    }

    #[test]
    fn a_seed_within_a_seed_starts_anew() {
        let draw = || tch::Tensor::rand([3], (tch::Kind::Float, tch::Device::Cpu));
        let alone = seeded(&[2], draw);
        assert!(seeded(&[1], || (draw(), seeded(&[2], draw)).1).equal(&alone), "nested");
        assert!(seeded(&[2], draw).equal(&alone), "afterwards");
    }

    #[test]
    fn units_are_uniform() {
        let n = 10_000;
        let mean = (0..n).map(|i| unit(&[7, i])).sum::<f64>() / n as f64;
        // The mean of n uniforms has standard error 1 / sqrt(12 n).
        assert!((mean - 0.5).abs() < 5.0 / (12.0 * n as f64).sqrt(), "mean {mean}");
    }
}
