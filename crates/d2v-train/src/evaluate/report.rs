//! Scores of several networks and runs, and what may be said about their differences.
//!
//! A report holds, for every run, the scores of its student, its teacher and the same network at its random start,
//! for every kind of features and every probe. Behind them stand the differences that matter: the student over the
//! random start (whether pre-training did anything) and the student over the control run's student (whether
//! self-distillation did it: the control's teacher stays at its random start, tau = 1).
//!
//! Within a run differences are paired on test items or draws, which is why all runs must be scored on the same
//! samples. Over runs that differ in their seed only, the report gives means with standard errors; these are the
//! numbers to quote, because an interval over test items says nothing of what another training seed would give.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Error;
use super::features::{FeatureName, FeatureSet};
use super::intervals::{Difference, Mean};
use super::score::{NetworkKind, Probe, ProbeSettings, Score, score};

/// A score and what it belongs to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// Whose features.
    pub network: NetworkKind,
    /// Which features.
    pub features: FeatureName,
    /// Which probe.
    pub probe: Probe,
    /// The result.
    #[serde(flatten)]
    pub score: Score,
}

/// What a run is in a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// One of the runs that the report is about; several are taken to differ in their seed only.
    Run,
    /// What they are compared with: the same recipe with a teacher that stays at its random start. One for all runs, or
    /// one for each, of its seed.
    Control,
}

/// All scores of one run.
#[derive(Debug, Clone, Serialize)]
pub struct RunScores {
    /// The run's name in the report.
    pub name: String,
    /// Its part in the report.
    pub role: Role,
    /// The control that it is compared with, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<String>,
    /// Its scores, in the order in which they were added.
    pub entries: Vec<Entry>,
    #[serde(skip)]
    items: Option<Items>,
}

/// The samples that scores were made with.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Items {
    train_ids: Vec<u64>,
    test_ids: Vec<u64>,
}

impl RunScores {
    /// A run without scores yet.
    pub fn new(name: impl Into<String>, role: Role) -> Self {
        Self { name: name.into(), role, control: None, entries: Vec::new(), items: None }
    }

    /// Runs every probe of `settings` on one kind of features of one network.
    ///
    /// # Errors
    /// Whatever a probe refuses, and other samples than those of the scores that are here already.
    pub fn add(
        &mut self,
        network: NetworkKind,
        set: &FeatureSet,
        settings: &ProbeSettings,
    ) -> Result<(), Error> {
        let items = Items { train_ids: set.train.ids.clone(), test_ids: set.test.ids.clone() };
        if self.items.get_or_insert_with(|| items.clone()) != &items {
            let (first, second) = (self.name.clone(), format!("{network} of {}", self.name));
            return Err(Error::DifferentItems { first, second });
        }
        for (probe, score) in score(set, settings)? {
            self.entries.push(Entry { network, features: set.name, probe, score });
        }
        Ok(())
    }

    fn score(&self, network: NetworkKind, features: FeatureName, probe: Probe) -> Option<&Score> {
        let wanted =
            |entry: &&Entry| (entry.network, entry.features, entry.probe) == (network, features, probe);
        self.entries.iter().find(wanted).map(|entry| &entry.score)
    }
}

/// A difference that a report draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Comparison {
    /// A run's student minus the same network at its random start.
    OverRandom,
    /// A run's student minus the control's student.
    OverControl,
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::OverRandom => "student - random init",
            Self::OverControl => "student - control",
        })
    }
}

/// A difference of two scores.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gain {
    /// Between which networks.
    pub comparison: Comparison,
    /// The run whose student is the first of them.
    pub run: String,
    /// Which features.
    pub features: FeatureName,
    /// Which probe.
    pub probe: Probe,
    /// The paired difference.
    #[serde(flatten)]
    pub difference: Difference,
}

/// The mean of a score over the runs of a report, the control left out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoreMean {
    /// Whose features.
    pub network: NetworkKind,
    /// Which features.
    pub features: FeatureName,
    /// Which probe.
    pub probe: Probe,
    /// Mean and standard error over runs.
    #[serde(flatten)]
    pub mean: Mean,
}

/// The mean of a difference over the runs of a report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GainMean {
    /// Between which networks.
    pub comparison: Comparison,
    /// Which features.
    pub features: FeatureName,
    /// Which probe.
    pub probe: Probe,
    /// Mean and standard error over runs.
    #[serde(flatten)]
    pub mean: Mean,
}

/// Several runs side by side. [`table`](super::table) makes text of it, serde makes JSON.
#[derive(Debug, Clone, Serialize)]
pub struct ProbeReport {
    /// The features that the report is about, named before any score was seen.
    pub headline: FeatureName,
    /// How the features were probed.
    pub settings: ProbeSettings,
    /// Training samples that every probe but the few-label one saw labels of.
    pub train_samples: usize,
    /// Test samples behind every accuracy.
    pub test_samples: usize,
    /// The runs, in the order given.
    pub runs: Vec<RunScores>,
    /// Every comparison of every run, of all features and probes.
    pub gains: Vec<Gain>,
    /// Scores averaged over runs.
    pub means: Vec<ScoreMean>,
    /// Gains averaged over runs.
    pub gain_means: Vec<GainMean>,
}

impl ProbeReport {
    /// Lays runs side by side.
    ///
    /// # Errors
    /// No run, two with the same name, several controls that are not one for each run, only a control, or runs scored on
    /// other samples.
    pub fn compare(
        headline: FeatureName,
        settings: ProbeSettings,
        runs: Vec<RunScores>,
    ) -> Result<Self, Error> {
        let items = check_runs(&runs)?;
        let (train_samples, test_samples) = (items.train_ids.len(), items.test_ids.len());
        let gains: Vec<Gain> = runs.iter().flat_map(|run| gains_of(run, control_of(run, &runs))).collect();

        let subjects: Vec<&RunScores> = runs.iter().filter(|run| run.role == Role::Run).collect();
        let first = subjects.first().map_or(&[][..], |run| &run.entries);
        let means = first.iter().filter_map(|&Entry { network, features, probe, .. }| {
            let of_run = |run: &&RunScores| run.score(network, features, probe).map(|score| score.accuracy);
            let mean = Mean::of(&subjects.iter().filter_map(of_run).collect::<Vec<_>>())?;
            Some(ScoreMean { network, features, probe, mean })
        });
        let means = means.collect();

        let is_subject = |name: &String| subjects.iter().any(|run| run.name == *name);
        let first_gains =
            gains.iter().filter(|gain| Some(&gain.run) == subjects.first().map(|run| &run.name));
        let gain_means = first_gains.filter_map(|&Gain { comparison, features, probe, .. }| {
            let same = gains.iter().filter(|gain| {
                is_subject(&gain.run)
                    && (gain.comparison, gain.features, gain.probe) == (comparison, features, probe)
            });
            let mean = Mean::of(&same.map(|gain| gain.difference.difference).collect::<Vec<_>>())?;
            Some(GainMean { comparison, features, probe, mean })
        });
        let gain_means = gain_means.collect();
        Ok(Self { headline, settings, train_samples, test_samples, runs, gains, means, gain_means })
    }
}

/// Checks that the runs can stand in one report; gives the samples they share.
fn check_runs(runs: &[RunScores]) -> Result<&Items, Error> {
    let count = |role| runs.iter().filter(|run| run.role == role).count();
    let repeated = (1..runs.len()).any(|i| runs[..i].iter().any(|run| run.name == runs[i].name));
    let scored = runs.iter().find_map(|run| run.items.as_ref().map(|items| (run, items)));
    let controls = count(Role::Control);
    // Of several, each belongs to one run.
    let named: BTreeSet<_> =
        runs.iter().filter_map(|run| control_of(run, runs).map(|run| &run.name)).collect();
    let paired = controls <= 1 || (controls == count(Role::Run) && named.len() == controls);
    let (Some((first, items)), false, true, true) = (scored, repeated, paired, count(Role::Run) >= 1) else {
        return Err(Error::Runs { runs: runs.iter().map(|run| run.name.clone()).collect() });
    };
    match runs.iter().find(|run| run.items.as_ref() != Some(items)) {
        Some(other) => Err(Error::DifferentItems { first: first.name.clone(), second: other.name.clone() }),
        None => Ok(items),
    }
}

/// What a run is compared with: the control it names, or the only one.
fn control_of<'a>(run: &RunScores, runs: &'a [RunScores]) -> Option<&'a RunScores> {
    let mut controls = runs.iter().filter(|other| other.role == Role::Control);
    match (&run.control, run.role) {
        (_, Role::Control) => None,
        (Some(name), Role::Run) => controls.find(|control| control.name == *name),
        (None, Role::Run) => controls.next().filter(|_| controls.next().is_none()),
    }
}

/// The differences that a run has with its own start and with its control.
fn gains_of<'a>(run: &'a RunScores, control: Option<&'a RunScores>) -> impl Iterator<Item = Gain> + 'a {
    let students = run.entries.iter().filter(|entry| entry.network == NetworkKind::Student);
    students.flat_map(move |entry| {
        let &Entry { features, probe, .. } = entry;
        let over_random = run.score(NetworkKind::Random, features, probe);
        let over_control = control.and_then(|control| control.score(NetworkKind::Student, features, probe));
        let others = [(Comparison::OverRandom, over_random), (Comparison::OverControl, over_control)];
        others.into_iter().filter_map(move |(comparison, other)| {
            let difference = entry.score.minus(other?)?;
            Some(Gain { comparison, run: run.name.clone(), features, probe, difference })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::few_labels::FewLabelsConfig;
    use super::super::planted;
    use super::*;

    fn settings() -> ProbeSettings {
        let few = FewLabelsConfig { labels: 12, draws: 4, seed: 1 };
        ProbeSettings { few_labels: Some(few), ..Default::default() }
    }

    /// A run whose student sees clouds `distance` apart and whose random start sees noise.
    fn run(name: &str, role: Role, distance: f32, seed: u64) -> RunScores {
        let mut scores = RunScores::new(name, role);
        let student = planted::gaussians(3, 60, 6, distance, seed);
        let random = planted::gaussians(3, 60, 6, 0.0, seed + 100);
        scores.add(NetworkKind::Student, &student, &settings()).expect("a good problem");
        scores.add(NetworkKind::Random, &random, &settings()).expect("a good problem");
        scores
    }

    #[test]
    fn a_report_compares_runs_controls_and_seeds() {
        let runs = vec![
            run("a", Role::Run, 3.0, 1),
            run("b", Role::Run, 3.0, 2),
            run("frozen", Role::Control, 1.0, 3),
        ];
        let report = ProbeReport::compare(FeatureName::Last, settings(), runs).expect("comparable");
        assert_eq!((report.train_samples, report.test_samples), (180, 180));
        // Two comparisons for the runs, one for the control, of three probes.
        assert_eq!(report.gains.len(), 3 * (2 + 2 + 1));
        for gain in &report.gains {
            assert!(gain.difference.interval.low > 0.0, "{gain:?}");
        }
        assert_eq!((report.means.len(), report.gain_means.len()), (6, 6));
        let by = |name: &str| report.runs.iter().find(|run| run.name == name).expect("given");
        let accuracy = |name| {
            by(name)
                .score(NetworkKind::Student, FeatureName::Last, Probe::Linear {})
                .expect("scored")
                .accuracy
        };
        let mean =
            report.means.iter().find(|mean| mean.network == NetworkKind::Student).expect("scored").mean;
        assert!((mean.mean - (accuracy("a") + accuracy("b")) / 2.0).abs() < 1e-15);
        assert_eq!(mean.repetitions, 2);
        let json = serde_json::to_value(&report).expect("plain data");
        assert_eq!(json["headline"], "last");
        assert_eq!(json["runs"][2]["role"], "control");
        assert_eq!(json["runs"][0]["entries"][1]["probe"]["kind"], "knn");
        assert!(json["gains"][0]["interval"]["low"].is_number());
    }

    #[test]
    fn each_run_has_the_control_of_its_seed() {
        let paired = |name, distance, seed, control: &str| RunScores {
            control: Some(control.to_owned()),
            ..run(name, Role::Run, distance, seed)
        };
        let runs = || {
            vec![
                paired("a", 3.0, 1, "frozen-a"),
                paired("b", 3.0, 2, "frozen-b"),
                run("frozen-b", Role::Control, 0.5, 4),
                run("frozen-a", Role::Control, 2.0, 3),
            ]
        };
        let report = ProbeReport::compare(FeatureName::Last, settings(), runs()).expect("comparable");
        let linear = |name: &str| {
            let run = report.runs.iter().find(|run| run.name == name).expect("given");
            run.score(NetworkKind::Student, FeatureName::Last, Probe::Linear {}).expect("scored").accuracy
        };
        let over_control =
            |gain: &&Gain| (gain.comparison, gain.probe) == (Comparison::OverControl, Probe::Linear {});
        let gains: Vec<&Gain> = report.gains.iter().filter(over_control).collect();
        let expected = [linear("a") - linear("frozen-a"), linear("b") - linear("frozen-b")];
        assert_eq!(gains.len(), 2, "no control has one");
        for (gain, expected) in gains.iter().zip(expected) {
            assert!((gain.difference.difference - expected).abs() < 1e-12, "{gain:?}");
        }
        let mean = report
            .gain_means
            .iter()
            .find(|mean| (mean.comparison, mean.probe) == (Comparison::OverControl, Probe::Linear {}));
        let mean = mean.expect("of two pairs").mean;
        assert_eq!(mean.repetitions, 2);
        assert!((mean.mean - (expected[0] + expected[1]) / 2.0).abs() < 1e-12);
        // Of two values the standard error of the mean is half their distance.
        let half = (expected[0] - expected[1]).abs() / 2.0;
        assert!((mean.standard_error.expect("of two") - half).abs() < 1e-12);

        let mut shared = runs();
        shared[1].control = Some("frozen-a".into());
        let refused = ProbeReport::compare(FeatureName::Last, settings(), shared);
        assert!(matches!(refused, Err(Error::Runs { .. })), "one control for two runs, the other for none");
        let mut unpaired = runs();
        unpaired[0].control = None;
        let refused = ProbeReport::compare(FeatureName::Last, settings(), unpaired);
        assert!(matches!(refused, Err(Error::Runs { .. })), "which of two is not said");
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let compare = |runs| ProbeReport::compare(FeatureName::Average, settings(), runs);
        let other = || {
            let mut scores = RunScores::new("other", Role::Run);
            let set = planted::gaussians(3, 20, 6, 2.0, 1);
            scores.add(NetworkKind::Student, &set, &settings()).expect("a good problem");
            scores
        };
        assert!(matches!(compare(vec![]), Err(Error::Runs { .. })));
        assert!(matches!(compare(vec![other(), other()]), Err(Error::Runs { .. })));
        assert!(matches!(compare(vec![run("a", Role::Control, 1.0, 1)]), Err(Error::Runs { .. })));
        assert!(matches!(
            compare(vec![run("a", Role::Run, 1.0, 1), other()]),
            Err(Error::DifferentItems { .. })
        ));
        let mut mixed = run("a", Role::Run, 1.0, 1);
        let set = planted::gaussians(3, 20, 6, 2.0, 1);
        assert!(matches!(
            mixed.add(NetworkKind::Teacher, &set, &settings()),
            Err(Error::DifferentItems { .. })
        ));
    }
}
