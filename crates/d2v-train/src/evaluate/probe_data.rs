//! The labelled samples that a probe is fitted to and scored on.

use std::sync::Arc;

use d2v_data::{Dataset, LabelledTextOptions, Split, Subset, Tokenizer};
use d2v_torch::seed::{mix, of_text};
use serde::{Deserialize, Serialize};

use super::Error;
use super::draw::{Part, choose_items};
use crate::config::DataConfig;
use crate::left_out::log_left_out;
use crate::sources::open_labelled;
use crate::{Error as RunError, Result};

/// One sample in so many is held out of data that has no test part.
const HELD_OUT_ONE_IN: u64 = 5;

/// Where the test samples come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TestPart {
    /// The data's own test (or validation) part.
    Given,
    /// The data has none: a fifth of its training part, chosen by a hash of the sample ids and so the same for every
    /// run and seed, is kept from the probes. The networks may have seen these inputs, though no labels.
    HeldOut,
    /// Whole groups, none of whose samples is in the training part.
    HeldOutGroups,
}

/// At most how many samples are used, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeSize {
    /// Training samples at most; at least 1.
    pub max_train: usize,
    /// Test samples at most; at least 1.
    pub max_test: usize,
    /// From which the choice derives.
    pub seed: u64,
}

/// How the samples to score on are told from those to fit to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ProbeSplit {
    /// As the data says; where it says nothing, a fifth of the samples is held out.
    #[default]
    OfData,
    /// No group (a speaker, say) is in both parts: these are held out, or about a fifth of all where none is named.
    ByGroup(Vec<String>),
}

/// A training and a test part without a common sample; every sample of both has a label.
pub struct ProbeData {
    /// What probes are fitted to.
    pub train: Arc<dyn Dataset>,
    /// What they are scored on.
    pub test: Arc<dyn Dataset>,
    /// Names of the classes, in the order of the labels.
    pub classes: Vec<String>,
    /// Where the test samples come from.
    pub test_part: TestPart,
}

impl ProbeData {
    /// Opens the data of a configuration, or the built-in data set if it names none; `tokenizer` is that of a run on
    /// text.
    ///
    /// # Errors
    /// If the data cannot be opened, a limit is 0, a group is asked for that is not there, or a part holds no labelled
    /// sample ([`Error::Empty`]).
    pub fn open(
        config: &DataConfig,
        labels: &LabelledTextOptions,
        tokenizer: Option<&Arc<Tokenizer>>,
        split: &ProbeSplit,
        size: ProbeSize,
    ) -> Result<Self> {
        for (name, value) in [("max-train", size.max_train), ("max-test", size.max_test)] {
            if value == 0 {
                return Err(Error::Setting { name, value: "0".into(), rule: "must be at least 1" }.into());
            }
        }
        let part = |split| -> Result<Arc<dyn Dataset>> {
            let data = open_labelled(config, labels, split, tokenizer.cloned())?;
            log_left_out(&*data);
            Ok(data)
        };
        let (test_part, whole_train, whole_test) = match split {
            ProbeSplit::ByGroup(groups) => {
                let (train, test) = by_group(&part(Split::All)?, groups)?;
                (TestPart::HeldOutGroups, train, test)
            }
            ProbeSplit::OfData => {
                let train = part(Split::Train)?;
                match part(Split::Test) {
                    Ok(test) => (TestPart::Given, train, test),
                    Err(RunError::Data(d2v_data::Error::NoSuchSplit { .. })) => {
                        (TestPart::HeldOut, Arc::clone(&train), train)
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        let classes = whole_train.classes().to_vec();
        let part = |whole: Arc<dyn Dataset>, part, name, max| -> Result<Arc<dyn Dataset>> {
            let wanted = |&index: &usize| {
                let in_part = match test_part {
                    TestPart::Given | TestPart::HeldOutGroups => true,
                    TestPart::HeldOut => is_held_out(whole.id(index)) == (part == Part::Test),
                };
                in_part && whole.label(index).is_some()
            };
            let labelled: Vec<usize> = (0..whole.len()).filter(wanted).collect();
            let chosen = choose_items(labelled.len(), max, size.seed, part);
            if chosen.is_empty() {
                return Err(Error::Empty { part: name }.into());
            }
            Ok(Arc::new(Subset::new(whole, chosen.into_iter().map(|item| labelled[item]).collect())?))
        };
        let train = part(whole_train, Part::Train, "train", size.max_train)?;
        let test = part(whole_test, Part::Test, "test", size.max_test)?;
        Ok(Self { train, test, classes, test_part })
    }
}

/// The samples of other groups than the held-out ones, and theirs.
fn by_group(whole: &Arc<dyn Dataset>, named: &[String]) -> Result<(Arc<dyn Dataset>, Arc<dyn Dataset>)> {
    let groups = whole.groups();
    if groups.len() < 2 {
        return Err(Error::Groups { found: groups.to_vec() }.into());
    }
    if let Some(missing) = named.iter().find(|name| !groups.contains(name)) {
        return Err(Error::NoSuchGroup { name: missing.clone(), found: groups.to_vec() }.into());
    }
    // Without names, those with the smallest draws: at least one, at most all but one.
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.sort_by_key(|&group| mix(&[of_text("groups held out for probes"), of_text(&groups[group])]));
    let count = groups.len().div_ceil(HELD_OUT_ONE_IN as usize);
    let test: Vec<usize> = match named.is_empty() {
        true => order.into_iter().take(count).collect(),
        false => (0..groups.len()).filter(|&group| named.contains(&groups[group])).collect(),
    };
    let is_test = |index: usize| whole.group(index).map(|group| test.contains(&(group as usize)));
    let part = |wanted: bool| -> Arc<dyn Dataset> {
        Arc::new(Subset::filtered(Arc::clone(whole), |&index| is_test(index) == Some(wanted)))
    };
    Ok((part(false), part(true)))
}

/// Whether a sample belongs to the held-out part; a function of its id alone.
fn is_held_out(id: u64) -> bool {
    mix(&[of_text("held out for probes"), id]).is_multiple_of(HELD_OUT_ONE_IN)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::super::tiny_run::{self, PictureFolder};
    use super::*;
    use crate::commands::recipe::RecipeArgs;

    fn open(config: &DataConfig, max_train: usize, max_test: usize) -> Result<ProbeData> {
        ProbeData::open(
            config,
            &LabelledTextOptions::default(),
            None,
            &ProbeSplit::OfData,
            ProbeSize { max_train, max_test, seed: 3 },
        )
    }

    fn pictures(folder: &Path, layout: PictureFolder) -> DataConfig {
        layout.write(folder);
        DataConfig { path: Some(folder.to_owned()), ..tiny_run::config(1, 0).data }
    }

    fn ids(data: &Arc<dyn Dataset>) -> BTreeSet<u64> {
        (0..data.len()).map(|index| data.id(index)).collect()
    }

    #[test]
    fn built_in_data_has_its_own_test_part() {
        let data = open(&tiny_run::config(1, 0).data, 50, 1_000_000).expect("built in");
        assert_eq!((data.train.len(), data.test_part), (50, TestPart::Given));
        assert_eq!(data.test.len(), tiny_run::TEST_PICTURES);
        assert_eq!(data.classes.len(), 10);
    }

    #[test]
    fn without_a_test_part_a_fifth_is_held_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = pictures(folder.path(), PictureFolder { split: false, labels: true, per_class: 100 });
        let data = open(&config, 1_000, 1_000).expect("labelled pictures");
        assert_eq!(data.test_part, TestPart::HeldOut);
        let (train, test) = (ids(&data.train), ids(&data.test));
        assert!(train.is_disjoint(&test) && train.len() + test.len() == 200);
        // Five deviations of a binomial of 200 by a fifth.
        assert!((12..=68).contains(&test.len()), "{}", test.len());
        let fewer = open(&config, 10, 5).expect("labelled pictures");
        assert!(ids(&fewer.train).is_subset(&train) && ids(&fewer.test).is_subset(&test));
        assert_eq!((fewer.train.len(), fewer.test.len()), (10, 5));
    }

    #[test]
    fn what_has_no_labels_or_no_samples_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = pictures(folder.path(), PictureFolder { split: true, labels: false, per_class: 3 });
        let refused = open(&config, 10, 10).map(|_| ());
        assert!(matches!(refused, Err(RunError::Evaluate(Error::Empty { part: "train" }))), "{refused:?}");
        let refused = open(&tiny_run::config(1, 0).data, 0, 10).map(|_| ());
        assert!(
            matches!(refused, Err(RunError::Evaluate(Error::Setting { name: "max-train", .. }))),
            "{refused:?}"
        );
    }

    /// The built-in sounds: 12 words by 16 speakers, told as groups.
    fn sounds(groups: &[&str]) -> Result<ProbeData> {
        let config = RecipeArgs::default().load_for("audio").expect("built in").data;
        let split = ProbeSplit::ByGroup(groups.iter().map(|&name| name.to_owned()).collect());
        let size = ProbeSize { max_train: 500, max_test: 500, seed: 3 };
        ProbeData::open(&config, &LabelledTextOptions::default(), None, &split, size)
    }

    fn groups(data: &Arc<dyn Dataset>) -> BTreeSet<String> {
        let of = |index| data.groups()[data.group(index).expect("built-in sounds have one") as usize].clone();
        (0..data.len()).map(of).collect()
    }

    #[test]
    fn no_group_is_on_both_sides() {
        let named = sounds(&["speaker 3", "speaker 11"]).expect("built in");
        assert_eq!(named.test_part, TestPart::HeldOutGroups);
        assert_eq!(Vec::from_iter(groups(&named.test)), ["speaker 11", "speaker 3"]);
        assert_eq!(groups(&named.train).len(), 14);
        assert!(groups(&named.train).is_disjoint(&groups(&named.test)));
        // Without names a fifth of them, rounded up, and always the same.
        let drawn = sounds(&[]).expect("built in");
        assert_eq!((groups(&drawn.test).len(), groups(&drawn.train).len()), (4, 12));
        assert!(groups(&drawn.train).is_disjoint(&groups(&drawn.test)));
        assert_eq!(groups(&drawn.test), groups(&sounds(&[]).expect("built in").test));
    }

    #[test]
    fn groups_that_are_not_there_are_named() {
        let refused = sounds(&["speaker 3", "alice"]).map(|_| ()).expect_err("no such speaker");
        assert!(
            refused.to_string().starts_with("there is no group 'alice'; the groups are speaker 0"),
            "{refused}"
        );
        let split = ProbeSplit::ByGroup(Vec::new());
        let size = ProbeSize { max_train: 5, max_test: 5, seed: 3 };
        let pictures = tiny_run::config(1, 0).data;
        let refused =
            ProbeData::open(&pictures, &LabelledTextOptions::default(), None, &split, size).map(|_| ());
        assert!(
            matches!(refused, Err(RunError::Evaluate(Error::Groups { .. }))),
            "pictures have no speakers: {refused:?}"
        );
    }
}
