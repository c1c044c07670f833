//! The few-label probe: a linear probe fitted to N labelled samples, averaged over several draws of them.
//!
//! Labels are scarce here, inputs are not: features are put into standard units by the whole training part, of which
//! only the drawn samples show their labels.

use rand::seq::{SliceRandom, index};
use serde::{Deserialize, Serialize};

use super::Error;
use super::draw::{Purpose, keyed_rng};
use super::features::FeatureSet;
use super::linear_probe::{Fit, LinearHead, LinearProbeConfig};
use super::standardise::Standardiser;

/// How many labels are shown and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FewLabelsConfig {
    /// Labelled samples per draw, balanced over the classes; at least one of each.
    pub labels: usize,
    /// Draws; at least 2, so that their spread is known.
    pub draws: usize,
    /// From which the draws derive. The same for all networks and runs of a report, so that they can be paired.
    pub seed: u64,
}

impl Default for FewLabelsConfig {
    fn default() -> Self {
        Self { labels: 100, draws: 10, seed: 0 }
    }
}

/// The training samples of one draw, in rising order: a function of the labels, the seed and the draw's number.
///
/// Every class gets `labels / classes` samples; what remains of the division goes to classes picked at random.
///
/// # Errors
/// Fewer labels than classes, or a class with fewer samples than the draw needs.
pub fn draw_balanced(
    train_labels: &[u32],
    classes: usize,
    labels: usize,
    seed: u64,
    draw: u64,
) -> Result<Vec<usize>, Error> {
    if labels < classes {
        let rule = "must be at least the number of classes, so that each is shown once";
        return Err(Error::Setting { name: "labels", value: labels.to_string(), rule });
    }
    let mut members = vec![Vec::new(); classes];
    for (item, &label) in train_labels.iter().enumerate() {
        let class = members.get_mut(label as usize);
        class.ok_or(Error::Label { label, part: "train", classes })?.push(item);
    }
    let mut rng = keyed_rng(seed, Purpose::FewLabels, draw);
    let mut order: Vec<usize> = (0..classes).collect();
    order.shuffle(&mut rng);
    let mut drawn = Vec::with_capacity(labels);
    for (rank, &class) in order.iter().enumerate() {
        let needed = labels / classes + usize::from(rank < labels % classes);
        let available = members[class].len();
        if needed > available {
            return Err(Error::TooFewOfClass { labels, class: class as u32, needed, available });
        }
        drawn.extend(index::sample(&mut rng, available, needed).iter().map(|i| members[class][i]));
    }
    drawn.sort_unstable();
    Ok(drawn)
}

/// The share of test samples classified correctly, and how the fit ended, per draw.
///
/// # Errors
/// Fewer than two draws, and whatever [`draw_balanced`] and [`LinearProbe::fit`](super::linear_probe::LinearProbe::fit)
/// refuse.
pub fn accuracies(
    set: &FeatureSet,
    few: &FewLabelsConfig,
    linear: &LinearProbeConfig,
) -> Result<Vec<(f64, Fit)>, Error> {
    if few.draws < 2 {
        let rule = "must be at least 2, so that the spread of the draws is known";
        return Err(Error::Setting { name: "draws", value: few.draws.to_string(), rule });
    }
    let standardiser = Standardiser::measure(&set.train.features_nd);
    let train_nd = standardiser.apply(&set.train.features_nd);
    let test_nd = standardiser.apply(&set.test.features_nd);
    (0..few.draws as u64)
        .map(|draw| {
            let items = draw_balanced(&set.train.labels, set.classes, few.labels, few.seed, draw)?;
            let labels: Vec<u32> = items.iter().map(|item| set.train.labels[*item]).collect();
            let rows: Vec<i64> = items.iter().map(|item| *item as i64).collect();
            let head =
                LinearHead::fit(&train_nd.index_select(0, &tch::Tensor::from_slice(&rows)), &labels, linear)?;
            let predictions = head.predict(&test_nd);
            let correct =
                predictions.iter().zip(&set.test.labels).filter(|(given, label)| given == label).count();
            Ok((correct as f64 / set.test.labels.len() as f64, head.fit_result()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::planted;
    use super::*;

    proptest! {
        #[test]
        fn a_draw_is_balanced_distinct_and_repeatable(
            classes in 1usize..8, per_class in 10usize..20, labels in 8usize..60, seed: u64, draw in 0u64..1000,
        ) {
            let train_labels: Vec<u32> = (0..classes * per_class).map(|i| (i % classes) as u32).collect();
            let drawn = draw_balanced(&train_labels, classes, labels, seed, draw);
            if labels.div_ceil(classes) > per_class {
                let refused = matches!(drawn, Err(Error::TooFewOfClass { .. }));
                prop_assert!(refused);
                return Ok(());
            }
            let drawn = drawn.expect("enough of each class");
            prop_assert_eq!(drawn.len(), labels);
            prop_assert!(drawn.is_sorted_by(|a, b| a < b));
            for class in 0..classes as u32 {
                let count = drawn.iter().filter(|item| train_labels[**item] == class).count();
                prop_assert!(count == labels / classes || count == labels.div_ceil(classes));
            }
            prop_assert_eq!(&drawn, &draw_balanced(&train_labels, classes, labels, seed, draw).expect("again"));
        }
    }

    #[test]
    fn draws_and_seeds_differ() {
        let labels: Vec<u32> = (0..1000).map(|i| i % 10).collect();
        let draw = |seed, draw| draw_balanced(&labels, 10, 100, seed, draw).expect("enough");
        assert_ne!(draw(0, 0), draw(0, 1));
        assert_ne!(draw(0, 0), draw(1, 0));
    }

    #[test]
    fn separate_clouds_need_few_labels() {
        let set = planted::gaussians(4, 40, 8, 10.0, 5);
        let few = FewLabelsConfig { labels: 10, draws: 3, seed: 0 };
        let scores = accuracies(&set, &few, &LinearProbeConfig::default()).expect("a good problem");
        assert_eq!(scores.len(), 3);
        assert!(scores.iter().all(|(accuracy, fit)| *accuracy > 0.95 && fit.converged), "{scores:?}");
        assert_eq!(scores, accuracies(&set, &few, &LinearProbeConfig::default()).expect("again"));
    }

    #[test]
    fn what_cannot_be_drawn_is_refused() {
        let set = planted::gaussians(4, 5, 8, 10.0, 5);
        let run = |labels, draws| {
            accuracies(&set, &FewLabelsConfig { labels, draws, seed: 0 }, &LinearProbeConfig::default())
        };
        assert!(matches!(run(3, 2), Err(Error::Setting { name: "labels", .. })));
        assert!(matches!(run(4, 1), Err(Error::Setting { name: "draws", .. })));
        assert!(matches!(run(24, 2), Err(Error::TooFewOfClass { needed: 6, available: 5, .. })));
    }
}
