//! The scores of a run: its networks over labelled data, and every probe on what they make of it.

use std::path::Path;
use std::sync::Arc;

use d2v_data::{Dataset, LabelledTextOptions, Transform};
use d2v_encoders::EncoderConfig;
use tch::Device;

use super::extract::collect;
use super::few_labels::FewLabelsConfig;
use super::probe_data::{ProbeData, ProbeSize, ProbeSplit};
use super::record::{ProbeRecord, ProbedCheckpoint};
use super::trained::TrainedRun;
use super::{Error, FeatureName, FeatureSet, NetworkKind, ProbeReport, ProbeSettings, Role, RunScores};
use crate::Result;

/// Samples of the probe that ends a run: enough to tell a run that learnt from one that did not, in a small part of its
/// time.
const AT_END: ProbeSize = ProbeSize { max_train: 2_000, max_test: 1_000, seed: 0 };
/// What that probe compares.
const NETWORKS_AT_END: [NetworkKind; 2] = [NetworkKind::Student, NetworkKind::Random];

/// What is probed of a run.
#[derive(Debug, Clone, Copy)]
pub struct ProbePlan<'a> {
    /// Whose features.
    pub networks: &'a [NetworkKind],
    /// Which; the first is the headline.
    pub layers: &'a [FeatureName],
    /// How.
    pub settings: ProbeSettings,
    /// Where the networks run.
    pub device: Device,
}

/// All scores of one run. Inputs are prepared as for this run's training, without what is random in it.
///
/// # Errors
/// If the run's tensors are not those of its network, samples cannot be read, or a probe refuses.
pub fn score_run(run: &TrainedRun, role: Role, data: &ProbeData, plan: &ProbePlan<'_>) -> Result<RunScores> {
    let (train, test) = (data.train.len(), data.test.len());
    tracing::info!(
        "probing {} after {} updates: {train} training and {test} test samples",
        run.name,
        run.step
    );
    let networks = plan.networks.iter().map(|&kind| run.network(kind, plan.device));
    let networks = networks.collect::<Result<Vec<_>>>()?;
    let transform = run.config.data.transform.for_evaluation();
    let features = |part: &Arc<dyn Dataset>| {
        collect(&networks, part, transform.clone(), &run.config.model.encoder, plan.layers, plan.device)
    };
    let parts = features(&data.train)?.into_iter().zip(features(&data.test)?);
    let mut scores = RunScores::new(&run.name, role);
    for (&kind, (train, test)) in plan.networks.iter().zip(parts) {
        for set in FeatureSet::pair(data.classes.len(), train, test)? {
            scores.add(kind, &set, &plan.settings)?;
        }
    }
    Ok(scores)
}

/// How tables of text are read for a network: no longer than it takes.
pub fn labelled_text(encoder: &EncoderConfig) -> LabelledTextOptions {
    let default = LabelledTextOptions::default();
    let max_tokens = match encoder {
        EncoderConfig::Text(text) => text.max_tokens as usize,
        EncoderConfig::Image(_) | EncoderConfig::Audio(_) => default.max_tokens,
    };
    LabelledTextOptions { max_tokens, ..default }
}

/// A small probe of the run in `folder` on its own data: the student beside its random start.
///
/// # Errors
/// As [`ProbeData::open`] and [`score_run`]: [`Error::Empty`] or [`Error::OneClass`] where the data has no labels.
pub fn probe_at_end(folder: &Path, device: Device) -> Result<ProbeRecord> {
    d2v_torch::settings::set_tf32(false)?;
    let run = TrainedRun::open(folder)?;
    let config = &run.config.data;
    if matches!((&config.transform, &config.path), (Transform::Text(_), Some(_))) {
        // Runs learn from running text; labels of text are in tables.
        return Err(Error::Empty { part: "train" }.into());
    }
    let labels = labelled_text(&run.config.model.encoder);
    let data = ProbeData::open(config, &labels, run.tokenizer.as_ref(), &ProbeSplit::OfData, AT_END)?;
    let layers = [FeatureName::Average, FeatureName::Last];
    let default = ProbeSettings::default();
    let neighbours = default.neighbours.min(data.train.len());
    let settings = ProbeSettings { few_labels: None::<FewLabelsConfig>, neighbours, ..default };
    let plan = ProbePlan { networks: &NETWORKS_AT_END, layers: &layers, settings, device };
    let scores = score_run(&run, Role::Run, &data, &plan)?;
    let report = ProbeReport::compare(layers[0], settings, vec![scores])?;
    Ok(ProbeRecord::new(config.path.clone(), &data, vec![ProbedCheckpoint::of(&run)], report))
}

#[cfg(test)]
mod tests {
    use super::super::Comparison;
    use super::super::record::PROBE_FILE;
    use super::super::tiny_run::{self, PictureFolder};
    use super::*;
    use crate::Error as RunError;

    #[test]
    fn a_run_ends_with_its_student_beside_its_start() {
        let folder = tempfile::tempdir().unwrap();
        tiny_run::train(folder.path(), 2, 0);
        let record = probe_at_end(folder.path(), Device::Cpu).unwrap();
        let report = &record.report;
        assert_eq!((report.train_samples, report.test_samples), (400, tiny_run::TEST_PICTURES));
        // Two networks, two kinds of features, two probes.
        assert_eq!(report.runs[0].entries.len(), 2 * 2 * 2);
        assert!(report.gains.iter().all(|gain| gain.comparison == Comparison::OverRandom));
        record.save(folder.path()).unwrap();
        assert!(folder.path().join(PROBE_FILE).exists());
    }

    #[test]
    fn data_without_labels_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let (run, data) = (folder.path().join("run"), folder.path().join("flat"));
        PictureFolder { split: false, labels: false, per_class: 20 }.write(&data);
        let mut config = tiny_run::config(2, 0);
        config.data.path = Some(data);
        tiny_run::train_with(&run, &config);
        let refused = probe_at_end(&run, Device::Cpu).map(|_| ());
        assert!(matches!(refused, Err(RunError::Evaluate(Error::Empty { .. }))), "{refused:?}");
    }
}
