//! Features with mean 0 and deviation 1, by the statistics of the training part.

use tch::{Kind, Tensor};

/// Columns that vary less than this share of their mean are constant as far as f32 can tell.
const CONSTANT_BELOW: f64 = 1e-7;

/// Means and deviations of the columns of a training matrix.
#[derive(Debug)]
pub struct Standardiser {
    /// `[1, D]`, f64.
    mean_1d: Tensor,
    /// One over the population deviation, 0 where a column is constant; `[1, D]`, f64.
    scale_1d: Tensor,
}

impl Standardiser {
    /// Measures `train_nd` (`[N, D]`, N > 0).
    pub fn measure(train_nd: &Tensor) -> Self {
        let train_nd = train_nd.to_kind(Kind::Double);
        let mean_1d = train_nd.mean_dim(0i64, true, Kind::Double);
        let deviation_1d = (&train_nd - &mean_1d).square().mean_dim(0i64, true, Kind::Double).sqrt();
        let constant_1d = deviation_1d.le_tensor(&(mean_1d.abs() * CONSTANT_BELOW));
        let scale_1d = deviation_1d.reciprocal().masked_fill(&constant_1d, 0.0);
        Self { mean_1d, scale_1d }
    }

    /// `features_nd` in standard units, f64; columns that were constant in training become 0.
    pub fn apply(&self, features_nd: &Tensor) -> Tensor {
        (features_nd.to_kind(Kind::Double) - &self.mean_1d) * &self.scale_1d
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_get_mean_0_and_deviation_1_and_constants_vanish() {
        let train_nd = Tensor::from_slice(&[1.0f32, 5.1, 0.0, 3.0, 5.1, 0.0]).reshape([2, 3]);
        let standardiser = Standardiser::measure(&train_nd);
        let values = |x: &Tensor| Vec::<f64>::try_from(standardiser.apply(x).flatten(0, 1)).expect("f64");
        assert_eq!(values(&train_nd), [-1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
        // Constant in training, another value in the test part: still no say.
        let test_nd = Tensor::from_slice(&[4.0f32, 7.0, 1.0]).reshape([1, 3]);
        assert_eq!(values(&test_nd), [2.0, 0.0, 0.0]);
    }
}
