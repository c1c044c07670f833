//! What masking must know of a vocabulary: its special ids, and which ids may replace others.

use rand::RngExt;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;

use crate::{Error, MaskRng, Result};

/// Ids from 0 to `size`, some of them special, one of them the mask token's.
#[derive(Debug, Clone)]
pub struct Vocabulary {
    size: u32,
    mask_id: u32,
    special_ids: Vec<u32>,
    weights: Option<WeightedIndex<f64>>,
}

impl Vocabulary {
    /// A vocabulary of `size` ids; the special ids (begin, end, padding, unknown) are never put in a token's place, and are
    /// exempt from masking unless told otherwise. The mask token counts as special whether listed or not.
    ///
    /// Differs from the reference: there, the mask token can be drawn as a random id.
    ///
    /// # Errors
    /// [`Error::UnknownId`] for an id beyond the vocabulary; [`Error::NoReplacements`] if all ids are special.
    pub fn new(size: u32, mask_id: u32, special_ids: &[u32]) -> Result<Self> {
        let mut special_ids = special_ids.to_vec();
        special_ids.push(mask_id);
        special_ids.sort_unstable();
        special_ids.dedup();
        if let Some(&id) = special_ids.iter().find(|&&id| id >= size) {
            return Err(Error::UnknownId { id, size });
        }
        if special_ids.len() == size as usize {
            return Err(Error::NoReplacements);
        }
        Ok(Self { size, mask_id, special_ids, weights: None })
    }

    /// RoBERTa's: 50,265 ids, `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3 and `<mask>` 50,264.
    #[must_use]
    pub fn roberta() -> Self {
        Self { size: 50_265, mask_id: 50_264, special_ids: vec![0, 1, 2, 3, 50_264], weights: None }
    }

    /// Draws random ids in proportion to these weights, one per id, instead of uniformly (the reference's option to weigh
    /// ids by their frequency). Those of special ids do not matter.
    ///
    /// # Errors
    /// [`Error::WeightCount`] unless there is one per id; [`Error::Weight`] for one that is negative or not finite;
    /// [`Error::NoReplacements`] if all that matter are 0.
    pub fn with_weights(mut self, weights: &[f64]) -> Result<Self> {
        if weights.len() != self.size as usize {
            return Err(Error::WeightCount { size: self.size, got: weights.len() });
        }
        if let Some(id) = weights.iter().position(|weight| !(weight.is_finite() && *weight >= 0.0)) {
            return Err(Error::Weight { id, weight: weights[id] });
        }
        let allowed = weights
            .iter()
            .zip(0..)
            .map(|(&weight, id)| if self.special_ids.binary_search(&id).is_ok() { 0.0 } else { weight });
        self.weights = Some(WeightedIndex::new(allowed).map_err(|_| Error::NoReplacements)?);
        Ok(self)
    }

    /// The number of ids.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.size
    }

    /// The mask token's id.
    #[must_use]
    pub fn mask_id(&self) -> u32 {
        self.mask_id
    }

    /// Whether an id is special.
    #[must_use]
    pub fn is_special(&self, id: u32) -> bool {
        self.special_ids.binary_search(&id).is_ok()
    }

    /// A random id that is not special.
    pub(crate) fn draw(&self, rng: &mut MaskRng) -> u32 {
        if let Some(weights) = &self.weights {
            return weights.sample(rng) as u32;
        }
        // The rank among ids that are not special; each special id at or below it moves it up by one.
        let rank = rng.random_range(0..self.size - self.special_ids.len() as u32);
        self.special_ids.iter().fold(rank, |id, &special| if special <= id { id + 1 } else { id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MaskKey;

    /// 1000 draws each: 6 +- 5 standard deviations of the ids that are not special, none of the others.
    #[track_caller]
    fn check_draws(vocabulary: &Vocabulary, expected: [f64; 8]) {
        const DRAWS: f64 = 8000.0;
        let mut rng = MaskKey::default().rng();
        let mut hits = [0; 8];
        (0..DRAWS as usize).for_each(|_| hits[vocabulary.draw(&mut rng) as usize] += 1);
        for (id, (&hits, p)) in hits.iter().zip(expected).enumerate() {
            let bound = 5.0 * (DRAWS * p * (1.0 - p)).sqrt();
            assert!((f64::from(hits) - DRAWS * p).abs() <= bound, "id {id}: {hits} draws at probability {p}");
        }
    }

    #[test]
    fn random_ids_are_uniform_and_never_special() {
        let vocabulary = Vocabulary::new(8, 7, &[0, 1, 4]).unwrap();
        check_draws(&vocabulary, [0.0, 0.0, 0.25, 0.25, 0.0, 0.25, 0.25, 0.0]);
        let weighted = vocabulary.with_weights(&[9.0, 9.0, 1.0, 0.0, 9.0, 3.0, 0.0, 9.0]).unwrap();
        check_draws(&weighted, [0.0, 0.0, 0.25, 0.0, 0.0, 0.75, 0.0, 0.0]);
    }

    #[test]
    fn impossible_vocabularies_are_refused() {
        assert_eq!(Vocabulary::new(4, 4, &[]).unwrap_err(), Error::UnknownId { id: 4, size: 4 });
        assert_eq!(Vocabulary::new(2, 1, &[0, 0]).unwrap_err(), Error::NoReplacements);
        let weigh = |weights: &[f64]| Vocabulary::new(3, 2, &[0]).unwrap().with_weights(weights).unwrap_err();
        assert_eq!(weigh(&[1.0]), Error::WeightCount { size: 3, got: 1 });
        assert_eq!(weigh(&[1.0, -1.0, 1.0]), Error::Weight { id: 1, weight: -1.0 });
        assert_eq!(weigh(&[1.0, 0.0, 1.0]), Error::NoReplacements);
    }
}
