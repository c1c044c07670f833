//! Feature sets whose right answer is known, for the tests of the probes.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use tch::Tensor;

use super::features::{FeatureName, FeatureSet, Labelled};

/// `classes` clouds of unit normals in `width` dimensions, `per_class` samples of each in both parts, with centres
/// at `distance` along as many axes (`classes <= width`): any two centres are `distance` · √2 apart.
pub(super) fn gaussians(
    classes: usize,
    per_class: usize,
    width: usize,
    distance: f32,
    seed: u64,
) -> FeatureSet {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let n = classes * per_class;
    let mut part = |first_id: usize| {
        let labels: Vec<u32> = (0..n).map(|item| (item % classes) as u32).collect();
        let mut features = Vec::with_capacity(n * width);
        for label in &labels {
            for axis in 0..width {
                let noise: f32 = StandardNormal.sample(&mut rng);
                features.push(noise + if axis == *label as usize { distance } else { 0.0 });
            }
        }
        let features_nd = Tensor::from_slice(&features).reshape([n as i64, width as i64]);
        Labelled { ids: (first_id as u64..(first_id + n) as u64).collect(), labels, features_nd }
    };
    let (train, test) = (part(0), part(n));
    FeatureSet::new(FeatureName::Last, classes, train, test).expect("a good problem")
}
