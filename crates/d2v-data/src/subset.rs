//! A selection from a data set: the samples of some groups, or a few of them all.

use crate::dataset::{Dataset, Ignored, RawSample};
use crate::error::Error;
use std::sync::Arc;

/// Some samples of another data set, in a given order, with the ids they have there.
pub struct Subset {
    whole: Arc<dyn Dataset>,
    indices: Vec<usize>,
}

impl Subset {
    /// The samples of `whole` at `indices`.
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`] if `whole` has no such sample.
    pub fn new(whole: Arc<dyn Dataset>, indices: Vec<usize>) -> Result<Self, Error> {
        let len = whole.len();
        match indices.iter().find(|&&index| index >= len) {
            Some(&index) => Err(Error::IndexOutOfRange { index, len }),
            None => Ok(Self { whole, indices }),
        }
    }

    /// The samples whose index is wanted, in their order: those of some groups, say.
    pub fn filtered(whole: Arc<dyn Dataset>, wanted: impl FnMut(&usize) -> bool) -> Self {
        let indices = (0..whole.len()).filter(wanted).collect();
        Self { whole, indices }
    }
}

impl Dataset for Subset {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn id(&self, index: usize) -> u64 {
        self.whole.id(self.indices[index])
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.whole.label(self.indices[index])
    }

    fn classes(&self) -> &[String] {
        self.whole.classes()
    }

    fn group(&self, index: usize) -> Option<u32> {
        self.whole.group(self.indices[index])
    }

    fn groups(&self) -> &[String] {
        self.whole.groups()
    }

    fn name(&self, index: usize) -> String {
        self.whole.name(self.indices[index])
    }

    fn length(&self, index: usize) -> usize {
        self.whole.length(self.indices[index])
    }

    fn load(&self, index: usize) -> Result<RawSample, Error> {
        self.whole.load(self.indices[index])
    }

    fn ignored(&self) -> &Ignored {
        self.whole.ignored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Split, SyntheticConfig, SyntheticImages};

    fn whole() -> Arc<dyn Dataset> {
        let config = SyntheticConfig { train_images: 100, ..SyntheticConfig::default() };
        Arc::new(SyntheticImages::new(config, Split::Train).unwrap())
    }

    #[test]
    fn keeps_ids_labels_and_pictures() {
        let whole = whole();
        let part = Subset::new(Arc::clone(&whole), vec![9, 4]).unwrap();
        assert_eq!(part.len(), 2);
        for (index, from) in [(0, 9), (1, 4)] {
            assert_eq!((part.id(index), part.label(index)), (whole.id(from), whole.label(from)));
            assert_eq!(part.load(index).unwrap(), whole.load(from).unwrap());
        }
    }

    #[test]
    fn refuses_what_is_not_there() {
        assert!(matches!(
            Subset::new(whole(), vec![100]),
            Err(Error::IndexOutOfRange { index: 100, len: 100 })
        ));
    }
}
