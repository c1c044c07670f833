//! The linear probe: multinomial logistic regression on frozen features.
//!
//! Minimised over the weights `W` (`[D, C]`) and the intercepts `b` (`[C]`), with the features `X` in standard units:
//!
//! ```text
//! (1/N) Σ_n −log softmax(x_n W + b)[y_n]  +  (l2/2) ‖W‖²
//! ```
//!
//! The intercepts are not penalised. scikit-learn's `LogisticRegression(C = 1 / (l2 · N))` has the same minimum.
//! Everything is f64 on the CPU. The problem is convex and solved to its minimum, so there is no learning rate, no
//! stopping time and no random start that could favour one network. Another number of libtorch threads may change the
//! last bits of the weights.
//!
//! Features of a network are strongly correlated, which makes a descent in `W` slow. The descent is done in
//! coordinates in which the curvature is at most 1 in every direction, known from Böhning's bound on the Hessian
//! (D. Böhning, Annals of the Institute of Statistical Mathematics 44, 1992): `½ XᵀX/N + l2` for every class. That
//! changes the way to the minimum, not the minimum; on pixels of Fashion-MNIST it takes 263 steps instead of 988.
//! With fewer samples than features, as in few-label probes, the weights are sought in the span of the samples, where
//! the minimum lies.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::Error;
use super::features::Labelled;
use super::lbfgs::{Minimum, Stop, minimise};
use super::standardise::Standardiser;

/// How a linear probe is fitted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinearProbeConfig {
    /// Weight of the penalty; above 0. A constant, never chosen on test samples.
    pub l2: f64,
    /// The fit is done when no element of the gradient, in the coordinates of the descent, is larger.
    pub gradient_tolerance: f64,
    /// Steps after which an unfinished fit is reported as such ([`Fit::converged`]).
    pub max_iterations: usize,
}

impl Default for LinearProbeConfig {
    fn default() -> Self {
        Self { l2: 1e-3, gradient_tolerance: 1e-5, max_iterations: 1000 }
    }
}

impl LinearProbeConfig {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Setting`] with the setting's name.
    pub fn validate(&self) -> Result<(), Error> {
        let positive = |name, value: f64| {
            let rule = "must be finite and above 0";
            let bad = !(value.is_finite() && value > 0.0);
            if bad { Err(Error::Setting { name, value: value.to_string(), rule }) } else { Ok(()) }
        };
        positive("l2", self.l2)?;
        positive("gradient_tolerance", self.gradient_tolerance)
    }
}

/// How a fit ended.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// The minimised function at the end, in nats per sample plus penalty.
    pub objective: f64,
    /// The largest absolute element of its gradient there, in the coordinates of the descent.
    pub gradient_max: f64,
    /// Steps taken.
    pub iterations: usize,
    /// Whether the gradient met the tolerance.
    pub converged: bool,
}

/// A fitted linear probe, in units measured on the samples it was fitted to.
#[derive(Debug)]
pub struct LinearProbe {
    standardiser: Standardiser,
    head: LinearHead,
}

impl LinearProbe {
    /// Fits a probe to `train`.
    ///
    /// Classes that do not occur in `train` are never predicted: the data say nothing of them but that their
    /// intercept should be minus infinity.
    ///
    /// # Errors
    /// A setting out of range, no sample, or a single class.
    pub fn fit(train: &Labelled, config: &LinearProbeConfig) -> Result<Self, Error> {
        if train.labels.is_empty() {
            return Err(Error::Empty { part: "train" });
        }
        let standardiser = Standardiser::measure(&train.features_nd);
        let head = LinearHead::fit(&standardiser.apply(&train.features_nd), &train.labels, config)?;
        Ok(Self { standardiser, head })
    }

    /// The most likely class of each row of `features_nd` (`[N, D]`).
    ///
    /// # Errors
    /// [`Error::Shape`] where the width is not that of the training features.
    pub fn predict(&self, features_nd: &Tensor) -> Result<Vec<u32>, Error> {
        let width = self.head.theta_dc.size()[0] - 1;
        if features_nd.size().get(1) != Some(&width) {
            return Err(Error::Shape {
                what: "features to classify",
                expected: format!("[N, {width}]"),
                got: format!("{:?}", features_nd.size()),
            });
        }
        Ok(self.head.predict(&self.standardiser.apply(features_nd)))
    }

    /// How the fit ended.
    pub fn fit_result(&self) -> Fit {
        self.head.fit
    }
}

/// The classifier behind a probe, on features that are in standard units already.
#[derive(Debug)]
pub(super) struct LinearHead {
    /// Weights over intercepts, `[D + 1, C]`.
    theta_dc: Tensor,
    /// The class that each column stands for, rising.
    column_classes: Vec<u32>,
    fit: Fit,
}

impl LinearHead {
    /// Fits to `features_nd` (`[N, D]`, f64, N > 0); errors as [`LinearProbe::fit`].
    pub(super) fn fit(
        features_nd: &Tensor,
        labels: &[u32],
        config: &LinearProbeConfig,
    ) -> Result<Self, Error> {
        config.validate()?;
        let mut column_classes = labels.to_vec();
        column_classes.sort_unstable();
        column_classes.dedup();
        if let &[label] = column_classes.as_slice() {
            return Err(Error::OneClass { label, samples: labels.len() });
        }
        let columns: Vec<i64> =
            labels.iter().map(|label| column_classes.partition_point(|class| class < label) as i64).collect();
        let classes = column_classes.len() as i64;
        let stop =
            Stop { gradient_tolerance: config.gradient_tolerance, max_iterations: config.max_iterations };
        let (samples, width) = (features_nd.size()[0], features_nd.size()[1]);
        let (theta_dc, fit) = tch::no_grad(|| {
            if samples >= width {
                return Problem::new(features_nd, &columns, classes, config.l2).solve(stop);
            }
            // An orthonormal basis of the samples' span: it keeps products and the penalty as they are.
            let (basis_dn, _) = Tensor::linalg_qr(&features_nd.tr(), "reduced");
            let problem = Problem::new(&features_nd.matmul(&basis_dn), &columns, classes, config.l2);
            let (theta_nc, fit) = problem.solve(stop)?;
            let weights_dc = basis_dn.matmul(&theta_nc.narrow(0, 0, samples));
            Ok((Tensor::cat(&[weights_dc, theta_nc.narrow(0, samples, 1)], 0), fit))
        })?;
        Ok(Self { theta_dc, column_classes, fit })
    }

    /// The most likely class of each row of `features_nd` (`[N, D]`, of the width fitted to).
    pub(super) fn predict(&self, features_nd: &Tensor) -> Vec<u32> {
        let logits_nc = with_ones(features_nd).matmul(&self.theta_dc);
        let columns = Vec::<i64>::try_from(logits_nc.argmax(1, false)).expect("argmax gives one i64 per row");
        columns.into_iter().map(|column| self.column_classes[column as usize]).collect()
    }

    /// How the fit ended.
    pub(super) fn fit_result(&self) -> Fit {
        self.fit
    }
}

/// The function to minimise, with the features and one-hot labels it is made of.
struct Problem {
    /// Features and a column of ones, `[N, D + 1]`.
    features_nd: Tensor,
    /// `[N, C]`.
    one_hot_nc: Tensor,
    /// `l2` on weights, 0 on intercepts, `[D + 1, 1]`.
    penalty_d1: Tensor,
}

impl Problem {
    fn new(features_nd: &Tensor, columns: &[i64], classes: i64, l2: f64) -> Self {
        let width = features_nd.size()[1];
        let one_hot_nc = Tensor::from_slice(columns).one_hot(classes).to_kind(Kind::Double);
        let penalty_d1 = Tensor::full([width + 1, 1], l2, (Kind::Double, features_nd.device()));
        let _ = penalty_d1.get(width).fill_(0.0);
        Self { features_nd: with_ones(features_nd), one_hot_nc, penalty_d1 }
    }

    /// The minimum, `[D + 1, C]`, and how it was reached.
    fn solve(&self, stop: Stop) -> Result<(Tensor, Fit), Error> {
        let root_dd = self.curvature_root()?;
        let theta = |descent_dc: &Tensor| root_dd.tr().linalg_solve_triangular(descent_dc, true, true, false);
        let classes = self.one_hot_nc.size()[1];
        let start = Tensor::zeros([root_dd.size()[0], classes], (Kind::Double, root_dd.device()));
        let Minimum { point, value, gradient_max, iterations, converged } =
            minimise(&start, stop, |descent_dc| {
                let (value, gradient_dc) = self.evaluate(&theta(descent_dc));
                (value, root_dd.linalg_solve_triangular(&gradient_dc, false, true, false))
            });
        Ok((theta(&point), Fit { objective: value, gradient_max, iterations, converged }))
    }

    /// The lower Cholesky factor of a bound on the curvature of each class, `[D + 1, D + 1]`.
    fn curvature_root(&self) -> Result<Tensor, Error> {
        let samples = self.features_nd.size()[0] as f64;
        let bound_dd = self.features_nd.tr().matmul(&self.features_nd) * (0.5 / samples)
            + self.penalty_d1.squeeze_dim(1).diag(0);
        let doing = "factoring the curvature of a linear probe (a larger --l2 helps)";
        bound_dd.f_linalg_cholesky(false).map_err(|source| Error::Torch { doing, source })
    }

    /// Value and gradient at `theta_dc`.
    fn evaluate(&self, theta_dc: &Tensor) -> (f64, Tensor) {
        let samples = self.features_nd.size()[0] as f64;
        let log_probabilities_nc = self.features_nd.matmul(theta_dc).log_softmax(1, Kind::Double);
        let shrunk_dc = theta_dc * &self.penalty_d1;
        let value = -(&log_probabilities_nc * &self.one_hot_nc).sum(Kind::Double) / samples
            + (&shrunk_dc * theta_dc).sum(Kind::Double) / 2.0;
        let errors_nc = (log_probabilities_nc.exp() - &self.one_hot_nc) / samples;
        let gradient_dc = self.features_nd.tr().matmul(&errors_nc) + shrunk_dc;
        (value.double_value(&[]), gradient_dc)
    }
}

/// `[N, D]` with a column of ones behind it, for the intercepts.
fn with_ones(features_nd: &Tensor) -> Tensor {
    let ones_n1 = Tensor::ones([features_nd.size()[0], 1], (features_nd.kind(), features_nd.device()));
    Tensor::cat(&[features_nd, &ones_n1], 1)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::super::planted;
    use super::*;

    /// Data, settings and the minimum found by scikit-learn; made by `make.py` beside it.
    #[derive(Deserialize)]
    struct Golden {
        l2: f64,
        features: Vec<Vec<f32>>,
        labels: Vec<u32>,
        objective: f64,
        weights_cd: Vec<Vec<f64>>,
        intercepts: Vec<f64>,
        test_features: Vec<Vec<f32>>,
        test_predictions: Vec<u32>,
    }

    fn matrix(rows: &[Vec<f32>]) -> Tensor {
        Tensor::from_slice(&rows.concat()).reshape([rows.len() as i64, rows[0].len() as i64])
    }

    #[test]
    fn the_minimum_is_that_of_scikit_learn() {
        let text = include_str!("../../tests/golden/linear_probe/case.json");
        let golden: Golden = serde_json::from_str(text).expect("the fixture");
        let train = Labelled {
            ids: (0..golden.labels.len() as u64).collect(),
            labels: golden.labels.clone(),
            features_nd: matrix(&golden.features),
        };
        let config = LinearProbeConfig { l2: golden.l2, gradient_tolerance: 1e-9, ..Default::default() };
        let probe = LinearProbe::fit(&train, &config).expect("a good problem");
        assert!(probe.head.fit.converged, "{:?}", probe.head.fit);
        assert!((probe.head.fit.objective - golden.objective).abs() < 1e-9, "{:?}", probe.head.fit);

        let (width, classes) = (golden.weights_cd[0].len(), golden.weights_cd.len());
        for class in 0..classes {
            for column in 0..width {
                let ours = probe.head.theta_dc.double_value(&[column as i64, class as i64]);
                let theirs = golden.weights_cd[class][column];
                assert!((ours - theirs).abs() < 1e-6, "class {class}, feature {column}: {ours} and {theirs}");
            }
            // Only differences of intercepts matter to the objective.
            let intercept = |class: usize| probe.head.theta_dc.double_value(&[width as i64, class as i64]);
            let ours = intercept(class) - intercept(0);
            let theirs = golden.intercepts[class] - golden.intercepts[0];
            assert!((ours - theirs).abs() < 1e-6, "class {class}: intercepts {ours} and {theirs}");
        }
        let predictions = probe.predict(&matrix(&golden.test_features)).expect("the same width");
        assert_eq!(predictions, golden.test_predictions);
    }

    #[test]
    fn the_gradient_is_that_of_automatic_differentiation() {
        let features_nd = planted::gaussians(2, 20, 6, 1.0, 9).train.features_nd.to_kind(Kind::Double);
        let columns: Vec<i64> = (0..40).map(|i| i % 3).collect();
        let problem = Problem::new(&features_nd, &columns, 3, 0.1);
        let theta_dc = Tensor::linspace(-1.0, 2.0, 21, (Kind::Double, Device::Cpu)).reshape([7, 3]).sin();
        let theta_dc = theta_dc.set_requires_grad(true);
        let logits_nc = features_nd.matmul(&theta_dc.narrow(0, 0, 6)) + theta_dc.get(6);
        let loss = logits_nc.log_softmax(1, Kind::Double).nll_loss(&Tensor::from_slice(&columns))
            + theta_dc.narrow(0, 0, 6).square().sum(Kind::Double) * 0.05;
        loss.backward();
        let (value, gradient_dc) = problem.evaluate(&theta_dc.detach());
        assert!((value - loss.double_value(&[])).abs() < 1e-12);
        assert!((gradient_dc - theta_dc.grad()).abs().max().double_value(&[]) < 1e-12);
    }

    #[test]
    fn separate_classes_are_told_apart_and_twice_the_same() {
        let set = planted::gaussians(4, 40, 8, 10.0, 3);
        let fit = || LinearProbe::fit(&set.train, &LinearProbeConfig::default()).expect("a good problem");
        let (first, second) = (fit(), fit());
        assert_eq!(first.predict(&set.test.features_nd).expect("same width"), set.test.labels);
        assert_eq!(first.head.theta_dc, second.head.theta_dc);
    }

    #[test]
    fn fewer_samples_than_features_have_the_same_minimum() {
        let set = planted::gaussians(3, 4, 30, 1.0, 8);
        let labels = &set.train.labels;
        let columns: Vec<i64> = labels.iter().map(|label| i64::from(*label)).collect();
        let features_nd = set.train.features_nd.to_kind(Kind::Double);
        let config = LinearProbeConfig { gradient_tolerance: 1e-9, ..Default::default() };
        let stop = Stop { gradient_tolerance: 1e-9, max_iterations: 1000 };
        let in_span = LinearHead::fit(&features_nd, labels, &config).expect("a good problem");
        let (direct_dc, _) =
            Problem::new(&features_nd, &columns, 3, config.l2).solve(stop).expect("a good problem");
        assert!(in_span.fit.converged);
        assert!((in_span.theta_dc - direct_dc).abs().max().double_value(&[]) < 1e-6);
    }

    #[test]
    fn a_class_that_never_occurs_is_never_predicted() {
        let mut set = planted::gaussians(2, 30, 4, 10.0, 3);
        for label in set.train.labels.iter_mut().chain(&mut set.test.labels) {
            *label = [1, 4][*label as usize];
        }
        let probe = LinearProbe::fit(&set.train, &LinearProbeConfig::default()).expect("two of five classes");
        assert!(probe.head.fit.converged);
        assert_eq!(probe.predict(&set.test.features_nd).expect("same width"), set.test.labels);
    }

    #[test]
    fn what_cannot_be_fitted_is_refused() {
        let fit = |l2, labels: &[u32]| {
            let features_nd = Tensor::zeros([labels.len() as i64, 2], (Kind::Float, Device::Cpu));
            let train = Labelled { ids: vec![0; labels.len()], labels: labels.to_vec(), features_nd };
            LinearProbe::fit(&train, &LinearProbeConfig { l2, ..Default::default() })
        };
        assert!(matches!(fit(1e-3, &[]), Err(Error::Empty { part: "train" })));
        assert!(matches!(fit(1e-3, &[3, 3]), Err(Error::OneClass { label: 3, samples: 2 })));
        for l2 in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(fit(l2, &[0, 1]), Err(Error::Setting { name: "l2", .. })), "{l2}");
        }
        let probe = fit(1e-3, &[0, 1]).expect("constant features are allowed");
        assert!(matches!(
            probe.predict(&Tensor::zeros([1, 3], (Kind::Float, Device::Cpu))),
            Err(Error::Shape { .. })
        ));
    }
}
