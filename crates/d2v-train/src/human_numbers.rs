//! Numbers as people read them, for the progress line and the report.

use indicatif::HumanCount;

/// Four significant digits: `0.5312`, `12.35`, `8,192`, `1.5e-6`; a dash for what is not finite.
pub fn number(value: f64) -> String {
    let magnitude = value.abs();
    if !value.is_finite() {
        "–".to_owned()
    } else if value == 0.0 {
        "0".to_owned()
    } else if !(1e-3..1e7).contains(&magnitude) {
        let text = format!("{value:.3e}");
        // "1.500e-6" says no more than "1.5e-6".
        match text.split_once('e') {
            Some((digits, exponent)) => format!("{}e{exponent}", without_trailing_zeros(digits)),
            None => text,
        }
    } else if magnitude >= 1000.0 {
        let sign = if value < 0.0 { "-" } else { "" };
        format!("{sign}{}", count(magnitude.round() as u64))
    } else {
        // Digits before the point: 3 for 531.2, 0 for 0.5312, -2 for 0.005312.
        let before_point = magnitude.log10().floor() as i32 + 1;
        without_trailing_zeros(&format!("{value:.*}", (4 - before_point).max(0) as usize)).to_owned()
    }
}

/// A whole number with thousands set apart: `1,234,567`.
pub fn count(value: u64) -> String {
    HumanCount(value).to_string()
}

/// A share as a percentage: `62 %`, `0.4 %`; a dash for what is not finite.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent.abs() {
        size if !size.is_finite() => "–".to_owned(),
        size if size < 0.05 => "0 %".to_owned(),
        size if size < 9.95 => format!("{percent:.1} %"),
        _ => format!("{percent:.0} %"),
    }
}

/// A time in its two largest units: `48 s`, `3 min 4 s`, `2 h 5 min`, `3 d 4 h`; a dash for what is not finite.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "–".to_owned();
    }
    if seconds < 9.95 {
        return format!("{:.1} s", seconds.max(0.0));
    }
    let whole = seconds.round() as u64;
    let (days, hours, minutes, rest) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60, whole % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest} s"),
        (0, 0, _) => format!("{minutes} min {rest} s"),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// A rate of arithmetic given in TFLOP/s: `1.23 TFLOP/s`, `83.1 GFLOP/s`.
pub fn flops_rate(tflops: f64) -> String {
    if tflops.abs() < 1.0 {
        format!("{:.1} GFLOP/s", tflops * 1000.0)
    } else {
        format!("{tflops:.2} TFLOP/s")
    }
}

fn without_trailing_zeros(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Copy>(show: impl Fn(T) -> String, cases: &[(T, &str)]) {
        for &(value, expected) in cases {
            assert_eq!(show(value), expected);
        }
    }

    #[test]
    fn numbers() {
        check(
            number,
            &[
                (0.0, "0"),
                (0.531_24, "0.5312"),
                (-0.5, "-0.5"),
                (12.3456, "12.35"),
                (531.25, "531.2"),
                (100.0, "100"),
                (0.001_234_5, "0.001234"),
                (8192.4, "8,192"),
                (-8192.0, "-8,192"),
                (1.5e-6, "1.5e-6"),
                (2e9, "2e9"),
                (f64::NAN, "–"),
                (f64::INFINITY, "–"),
            ],
        );
    }

    #[test]
    fn shares() {
        check(percent, &[(0.623, "62 %"), (0.004, "0.4 %"), (0.0, "0 %"), (1.0, "100 %"), (f64::NAN, "–")]);
    }

    #[test]
    fn durations() {
        check(
            duration,
            &[
                (0.25, "0.2 s"),
                (48.4, "48 s"),
                (59.6, "1 min 0 s"),
                (184.0, "3 min 4 s"),
                (7500.0, "2 h 5 min"),
                (273_600.0, "3 d 4 h"),
                (f64::INFINITY, "–"),
            ],
        );
    }

    #[test]
    fn rates() {
        check(flops_rate, &[(0.0831, "83.1 GFLOP/s"), (1.234, "1.23 TFLOP/s")]);
    }
}
