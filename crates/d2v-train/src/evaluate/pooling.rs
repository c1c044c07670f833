//! From tokens to one vector per sample.
//!
//! Shapes: B batch, L positions (extra tokens included), D width, T real tokens in the batch.

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::Error;

/// How the tokens of a sample become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Pooling {
    /// The mean over real tokens.
    TokenMean {
        /// Tokens at the front that stand for no input position (a class token) and are left out.
        extra_tokens: usize,
    },
    /// The token at position 0.
    ClassToken {},
}

/// Pools `tokens_bld` to `[B, D]`, in f32 and on the device of the tokens.
///
/// `padding_bl` is true where a position is not real; without it all positions are.
///
/// # Errors
/// Another number of dimensions than three, padding of another shape or kind, or a sample with no real token.
pub fn pool(tokens_bld: &Tensor, pooling: Pooling, padding_bl: Option<&Tensor>) -> Result<Tensor, Error> {
    let extra = match pooling {
        Pooling::TokenMean { extra_tokens } => extra_tokens,
        Pooling::ClassToken {} => 0,
    };
    let real_bl = real_positions(tokens_bld, extra, padding_bl)?;
    // Before any sum: half-precision features would lose digits in it.
    let tokens_bld = tokens_bld.detach().to_kind(Kind::Float);
    match pooling {
        Pooling::ClassToken {} => Ok(tokens_bld.select(1, 0)),
        Pooling::TokenMean { .. } => {
            let counts_b1 = real_bl.sum_dim_intlist(1i64, true, Kind::Float);
            if let Some(row) = first_zero(&counts_b1) {
                return Err(Error::NoRealToken { row });
            }
            // `where` and not a product: what stands at padding may be infinite.
            let kept_bld = tokens_bld.where_scalarother(&real_bl.unsqueeze(-1), 0.0);
            Ok(kept_bld.sum_dim_intlist(1i64, false, Kind::Float) / counts_b1)
        }
    }
}

/// The real tokens of a batch, sample after sample, as `[T, D]` in f32, and how many each sample has.
///
/// The first `extra_tokens` of every sample and everything at `padding_bl` (true = not real) is left out.
///
/// # Errors
/// As [`pool`], but a sample without real tokens is allowed and counts 0.
pub fn real_tokens(
    tokens_bld: &Tensor,
    extra_tokens: usize,
    padding_bl: Option<&Tensor>,
) -> Result<(Tensor, Vec<usize>), Error> {
    let real_bl = real_positions(tokens_bld, extra_tokens, padding_bl)?;
    let width = tokens_bld.size()[2];
    let index_t = real_bl.flatten(0, 1).nonzero().squeeze_dim(1);
    let rows_td =
        tokens_bld.detach().to_kind(Kind::Float).reshape([-1, width]).index_select(0, &index_t).contiguous();
    let counts_b = real_bl.sum_dim_intlist(1i64, false, Kind::Int64);
    let counts = (0..counts_b.size()[0]).map(|row| counts_b.int64_value(&[row]) as usize).collect();
    Ok((rows_td, counts))
}

/// `[B, L]`, true where a position is neither padding nor one of the extra tokens.
fn real_positions(tokens_bld: &Tensor, extra: usize, padding_bl: Option<&Tensor>) -> Result<Tensor, Error> {
    let size = tokens_bld.size();
    let &[batch, len, _] = size.as_slice() else {
        return Err(Error::Shape { what: "tokens", expected: "[B, L, D]".into(), got: format!("{size:?}") });
    };
    if extra as u64 >= len as u64 {
        return Err(Error::Shape {
            what: "positions of the tokens",
            expected: format!("more than the {extra} extra tokens"),
            got: len.to_string(),
        });
    }
    let real_bl = match padding_bl {
        None => Tensor::ones([batch, len], (Kind::Bool, tokens_bld.device())),
        Some(padding) if padding.size() == [batch, len] && padding.kind() == Kind::Bool => {
            padding.to_device(tokens_bld.device()).logical_not()
        }
        Some(padding) => {
            return Err(Error::Shape {
                what: "padding",
                expected: format!("Bool [{batch}, {len}]"),
                got: format!("{:?} {:?}", padding.kind(), padding.size()),
            });
        }
    };
    let _ = real_bl.narrow(1, 0, extra as i64).fill_(0);
    Ok(real_bl)
}

/// The first row of `counts_b1` that is zero.
fn first_zero(counts_b1: &Tensor) -> Option<usize> {
    let counts_b1 = counts_b1.to_device(Device::Cpu);
    (0..counts_b1.size()[0]).find(|&row| counts_b1.double_value(&[row, 0]) == 0.0).map(|row| row as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two samples of three tokens of width 2: tokens (0,1) (2,3) (4,5) and (6,7) (8,9) (10,11).
    fn tokens() -> Tensor {
        Tensor::arange(12, (Kind::Float, Device::Cpu)).reshape([2, 3, 2])
    }

    fn padding(rows: &[[bool; 3]; 2]) -> Tensor {
        Tensor::from_slice(rows.as_flattened()).reshape([2, 3])
    }

    fn check(pooling: Pooling, padding_bl: Option<&Tensor>, expected: &[f32]) {
        let pooled = pool(&tokens(), pooling, padding_bl).expect("valid input");
        assert_eq!(pooled.size(), [2, 2]);
        assert_eq!(Vec::<f32>::try_from(pooled.flatten(0, 1)).expect("f32"), expected);
    }

    #[test]
    fn means_and_the_class_token() {
        check(Pooling::TokenMean { extra_tokens: 0 }, None, &[2.0, 3.0, 8.0, 9.0]);
        check(Pooling::TokenMean { extra_tokens: 1 }, None, &[3.0, 4.0, 9.0, 10.0]);
        check(Pooling::ClassToken {}, None, &[0.0, 1.0, 6.0, 7.0]);
    }

    #[test]
    fn padding_takes_no_part() {
        let padded = padding(&[[false, false, true], [false, true, true]]);
        check(Pooling::TokenMean { extra_tokens: 0 }, Some(&padded), &[1.0, 2.0, 6.0, 7.0]);
    }

    #[test]
    fn what_stands_at_padding_may_be_infinite() {
        let padded = padding(&[[false, false, true], [false, false, true]]);
        let tokens_bld = tokens();
        let _ = tokens_bld.narrow(1, 2, 1).fill_(f64::INFINITY);
        let pooled = pool(&tokens_bld, Pooling::TokenMean { extra_tokens: 0 }, Some(&padded)).expect("valid");
        assert_eq!(Vec::<f32>::try_from(pooled.flatten(0, 1)).expect("f32"), [1.0, 2.0, 7.0, 8.0]);
    }

    #[test]
    fn real_tokens_come_sample_after_sample() {
        let padded = padding(&[[false, false, true], [false, true, true]]);
        let (rows_td, counts) = real_tokens(&tokens(), 0, Some(&padded)).expect("valid");
        assert_eq!(counts, [2, 1]);
        let rows = Vec::<f32>::try_from(rows_td.flatten(0, 1)).expect("f32");
        assert_eq!(rows, [0.0, 1.0, 2.0, 3.0, 6.0, 7.0]);
    }

    #[test]
    fn half_precision_is_averaged_in_full() {
        // 4096 + 1 + 1 + ... is 4096 in bf16.
        let tokens_bld = Tensor::ones([1, 256, 1], (Kind::BFloat16, Device::Cpu));
        let _ = tokens_bld.narrow(1, 0, 1).fill_(4096.0);
        let pooled = pool(&tokens_bld, Pooling::TokenMean { extra_tokens: 0 }, None).expect("valid");
        assert_eq!(pooled.double_value(&[0, 0]), (4096.0 + 255.0) / 256.0);
    }

    #[test]
    fn what_cannot_be_pooled_is_refused() {
        let mean = Pooling::TokenMean { extra_tokens: 0 };
        let hidden = padding(&[[false; 3], [true; 3]]);
        assert!(matches!(pool(&tokens(), mean, Some(&hidden)), Err(Error::NoRealToken { row: 1 })));
        let flat = tokens().reshape([6, 2]);
        assert!(matches!(pool(&flat, mean, None), Err(Error::Shape { what: "tokens", .. })));
        let short = Tensor::zeros([2, 2], (Kind::Bool, Device::Cpu));
        assert!(matches!(pool(&tokens(), mean, Some(&short)), Err(Error::Shape { what: "padding", .. })));
        assert!(pool(&tokens(), Pooling::TokenMean { extra_tokens: 3 }, None).is_err());
    }
}
