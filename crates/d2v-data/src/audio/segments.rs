//! How a file becomes samples: whole, or cut into consecutive parts where it is too long.

use std::ops::Range;

/// The lengths allowed, in samples at the rate of the data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) shortest: u64,
    /// At least 1.
    pub(super) longest: u64,
}

impl Cut {
    /// The parts of a sound of `total` samples, of which all but the last are equally long.
    ///
    /// Their length is the greatest multiple of `grid` that is not above the longest, where they begin at whole samples
    /// of the file whatever its rate; or the longest, if the grid is coarser than that, and parts then begin up to one
    /// sample of the file early. What is left behind the last whole part is kept unless it is too short; a sound that
    /// is not longer than the longest is one part.
    pub(super) fn parts(self, total: u64, grid: u64) -> impl Iterator<Item = Range<u64>> {
        let Cut { shortest, longest } = self;
        let length = match longest / grid * grid {
            _ if total <= longest => total.max(1),
            0 => longest,
            multiple => multiple,
        };
        (0..total.div_ceil(length))
            .map(move |number| number * length..((number + 1) * length).min(total))
            .filter(move |part| part.end - part.start >= shortest.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is expected are the starts and ends of the parts.
    fn check(total: u64, grid: u64, expected: &[(u64, u64)]) {
        let parts = Cut { shortest: 20, longest: 100 }.parts(total, grid);
        let parts: Vec<(u64, u64)> = parts.map(|part| (part.start, part.end)).collect();
        assert_eq!(parts, expected, "{total} on a grid of {grid}");
    }

    #[test]
    fn long_files_are_cut_and_short_ones_left_out() {
        check(19, 1, &[]);
        check(20, 1, &[(0, 20)]);
        check(100, 1, &[(0, 100)]);
        check(119, 1, &[(0, 100)]);
        check(120, 1, &[(0, 100), (100, 120)]);
        check(250, 30, &[(0, 90), (90, 180), (180, 250)]);
        check(250, 101, &[(0, 100), (100, 200), (200, 250)]);
        check(100, 30, &[(0, 100)]);
        check(0, 1, &[]);
    }
}
