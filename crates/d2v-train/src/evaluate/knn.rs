//! The nearest-neighbour probe: a sample gets the class that most of its nearest training samples have.
//!
//! Nearness is the cosine between features, which are taken as they are (not centred, not in standard units). There
//! is nothing to fit, so it shows the geometry of the features rather than what a classifier can make of it.

use tch::{Kind, Tensor};

use super::Error;
use super::features::Labelled;

/// Neighbours that vote, unless the user says otherwise.
pub const DEFAULT_NEIGHBOURS: usize = 10;

/// Cosines computed at a time: 64 MiB of f32.
const MAX_COSINES: usize = 1 << 24;

/// The class of each row of `test_nd` (`[N, D]`, f32) by the votes of its `neighbours` nearest samples of `train`.
///
/// Where classes have equally many votes, the one whose voters are nearer (larger sum of cosines) wins, then the
/// one with the lower number. A feature vector of zeros has cosine 0 with everything.
///
/// # Errors
/// No neighbours, more of them than training samples, or features of another width.
pub fn predict(train: &Labelled, test_nd: &Tensor, neighbours: usize) -> Result<Vec<u32>, Error> {
    let samples = train.labels.len();
    if neighbours == 0 {
        return Err(Error::Setting { name: "neighbours", value: "0".into(), rule: "must be at least 1" });
    }
    if neighbours > samples {
        return Err(Error::Neighbours { neighbours, samples });
    }
    let (width, size) = (train.features_nd.size()[1], test_nd.size());
    if size.get(1) != Some(&width) {
        return Err(Error::Shape {
            what: "features to classify",
            expected: format!("[N, {width}]"),
            got: format!("{size:?}"),
        });
    }
    let train_dn = unit_rows(&train.features_nd).tr();
    let rows_at_once = (MAX_COSINES / samples).max(1) as i64;
    let mut predictions = Vec::with_capacity(size[0] as usize);
    for start in (0..size[0]).step_by(rows_at_once as usize) {
        let rows_md = test_nd.narrow(0, start, rows_at_once.min(size[0] - start));
        let (cosines_mk, indices_mk) =
            unit_rows(&rows_md).matmul(&train_dn).topk(neighbours as i64, 1, true, true);
        let cosines = Vec::<f32>::try_from(cosines_mk.flatten(0, 1)).expect("cosines are f32");
        let indices = Vec::<i64>::try_from(indices_mk.flatten(0, 1)).expect("indices are i64");
        let voters = cosines.chunks(neighbours).zip(indices.chunks(neighbours));
        predictions.extend(voters.map(|(cosines, indices)| {
            vote(cosines.iter().zip(indices).map(|(cosine, index)| (train.labels[*index as usize], *cosine)))
        }));
    }
    Ok(predictions)
}

/// Rows of length 1 in f32; a row of zeros stays as it is.
fn unit_rows(features_nd: &Tensor) -> Tensor {
    let features_nd = features_nd.to_kind(Kind::Float);
    // The largest element is divided out first: the square of a large feature can leave the range of f32.
    let largest_n1 = features_nd.abs().amax(1i64, true);
    let scaled_nd = &features_nd / largest_n1.clamp_min(f64::from(f32::MIN_POSITIVE));
    let length_n1 = scaled_nd.square().sum_dim_intlist(1i64, true, Kind::Float).sqrt();
    scaled_nd / length_n1.clamp_min(f64::from(f32::MIN_POSITIVE))
}

/// The class with most votes among (class, cosine); ties as [`predict`] says. There is at least one voter.
fn vote(voters: impl Iterator<Item = (u32, f32)>) -> u32 {
    let mut tally: Vec<(u32, usize, f32)> = Vec::new();
    for (class, cosine) in voters {
        match tally.iter_mut().find(|(counted, ..)| *counted == class) {
            Some((_, votes, sum)) => {
                *votes += 1;
                *sum += cosine;
            }
            None => tally.push((class, 1, cosine)),
        }
    }
    let by_rank = |a: &&(u32, usize, f32), b: &&(u32, usize, f32)| {
        a.1.cmp(&b.1).then(a.2.total_cmp(&b.2)).then(b.0.cmp(&a.0))
    };
    tally.iter().max_by(by_rank).map(|(class, ..)| *class).expect("at least one neighbour votes")
}

#[cfg(test)]
mod tests {
    use super::super::planted;
    use super::*;

    fn labelled(features: &[[f32; 2]], labels: &[u32]) -> Labelled {
        let features_nd = Tensor::from_slice(features.as_flattened()).reshape([-1, 2]);
        Labelled { ids: (0..labels.len() as u64).collect(), labels: labels.to_vec(), features_nd }
    }

    #[test]
    fn direction_counts_and_length_does_not() {
        let train = labelled(&[[1.0, 0.0], [100.0, 1.0], [0.0, 0.1], [0.001, 1.0]], &[3, 3, 1, 1]);
        let test_nd = Tensor::from_slice(&[0.01f32, 0.001, 1.0, 50.0, 1e30, 1e29]).reshape([3, 2]);
        assert_eq!(predict(&train, &test_nd, 2).expect("valid"), [3, 1, 3]);
    }

    #[test]
    fn ties_go_to_the_nearer_then_to_the_lower_class() {
        assert_eq!(vote([(2, 0.9), (1, 0.5), (2, 0.1), (1, 0.6)].into_iter()), 1);
        assert_eq!(vote([(2, 0.5), (1, 0.5)].into_iter()), 1);
        assert_eq!(vote([(2, 0.1), (1, 0.9), (2, 0.1)].into_iter()), 2);
    }

    #[test]
    fn chunks_change_nothing() {
        let set = planted::gaussians(5, 60, 8, 2.0, 11);
        let all = predict(&set.train, &set.test.features_nd, 7).expect("valid");
        let one_by_one: Vec<u32> = (0..set.test.labels.len() as i64)
            .flat_map(|row| predict(&set.train, &set.test.features_nd.narrow(0, row, 1), 7).expect("valid"))
            .collect();
        assert_eq!(all, one_by_one);
    }

    #[test]
    fn separate_clouds_are_told_apart() {
        let set = planted::gaussians(4, 40, 8, 10.0, 5);
        assert_eq!(predict(&set.train, &set.test.features_nd, 10).expect("valid"), set.test.labels);
    }

    #[test]
    fn a_vector_of_zeros_is_no_error() {
        let train = labelled(&[[0.0, 0.0], [1.0, 0.0]], &[0, 1]);
        let test_nd = Tensor::from_slice(&[2.0f32, 0.0]).reshape([1, 2]);
        assert_eq!(predict(&train, &test_nd, 1).expect("valid"), [1]);
    }

    #[test]
    fn impossible_numbers_of_neighbours_are_refused() {
        let train = labelled(&[[0.0, 1.0], [1.0, 0.0]], &[0, 1]);
        let count = |k| predict(&train, &train.features_nd, k);
        assert!(matches!(count(0), Err(Error::Setting { name: "neighbours", .. })));
        assert!(matches!(count(3), Err(Error::Neighbours { neighbours: 3, samples: 2 })));
        assert!(matches!(predict(&train, &train.features_nd.tr().get(0), 1), Err(Error::Shape { .. })));
    }
}
