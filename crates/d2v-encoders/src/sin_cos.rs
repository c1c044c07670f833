//! Fixed two-dimensional position table of sines and cosines.

use crate::{Error, Result};
use tch::{Device, Kind, Tensor};

/// `[side_y * side_x, width]` f64 on the host: the first half of the channels encodes the column, the second the row;
/// within a half sines then cosines of `coordinate * 10000^(-i / (width/4))`, `i = 0 .. width/4` (spec 4.1, 2.).
///
/// # Errors
/// If `width` is not a multiple of 4.
pub fn sin_cos_2d(side_y: i64, side_x: i64, width: i64) -> Result<Tensor> {
    if width < 4 || width % 4 != 0 {
        let rule = "sine and cosine positions need a multiple of 4";
        return Err(Error::Config { key: "transformer.width", value: width.to_string(), rule });
    }
    let host = (Kind::Double, Device::Cpu);
    let quarter = width / 4;
    let frequencies = (Tensor::arange(quarter, host) * (-(10_000f64.ln()) / quarter as f64)).exp();
    let encode = |side: i64| {
        let angles = Tensor::arange(side, host).outer(&frequencies);
        Tensor::cat(&[angles.sin(), angles.cos()], 1)
    };
    let half = width / 2;
    let columns = encode(side_x).unsqueeze(0).expand([side_y, side_x, half], false);
    let rows = encode(side_y).unsqueeze(1).expand([side_y, side_x, half], false);
    Ok(Tensor::cat(&[columns, rows], 2).reshape([side_y * side_x, width]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_the_formula() {
        let table = sin_cos_2d(3, 5, 8).unwrap();
        let check = |y: i64, x: i64, channel: i64, expected: f64| {
            let got = table.double_value(&[y * 5 + x, channel]);
            assert!((got - expected).abs() < 1e-15, "({y}, {x}, {channel}): {got} against {expected}");
        };
        // width/4 = 2 frequencies: 1 and 10000^(-1/2) = 0.01.
        check(2, 4, 0, 4f64.sin());
        check(2, 4, 1, 0.04f64.sin());
        check(2, 4, 3, 0.04f64.cos());
        check(2, 4, 4, 2f64.sin());
        check(2, 4, 7, 0.02f64.cos());
        assert!(sin_cos_2d(2, 2, 6).is_err(), "width 6");
    }
}
