//! `d2v probe`.

use super::output::{print, print_json};
use super::report;
use crate::config::RunConfig;
pub use crate::evaluate::args::ProbeArgs as Args;
use crate::evaluate::of_run::{ProbePlan, score_run};
use crate::evaluate::probe_data::{ProbeData, ProbeSize};
use crate::evaluate::record::{ProbeRecord, ProbedCheckpoint};
use crate::evaluate::trained::TrainedRun;
use crate::evaluate::{Error, NetworkKind, ProbeReport, Role};
use crate::exit::Exit;
use crate::report::write_report;
use crate::settings::{self, Override, Source};
use crate::{Result, checkpoint};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// The networks of every run that are probed, in the order of the table.
const NETWORKS: [NetworkKind; 3] = [NetworkKind::Student, NetworkKind::Teacher, NetworkKind::Random];

/// Probes runs, prints the result, and keeps it in the run folders: `probe.json`, and `report.html` made again.
///
/// # Errors
/// If a run or the data cannot be read, they do not suit the probes, or the disk refuses.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let record = probe(args)?;
    if args.json {
        print_json(&record)?;
    } else {
        print(&record.text().to_string())?;
    }
    keep(args, &record)?;
    Ok(Exit::Done)
}

/// Writes the result into every run folder. A checkpoint's folder is left alone: it does not stand for its run.
fn keep(args: &Args, record: &ProbeRecord) -> anyhow::Result<()> {
    for (folder, _) in folders(args).filter(|(folder, _)| !checkpoint::is_checkpoint(folder)) {
        record.save(folder)?;
        let report = write_report(folder, &report::extras(folder)?)?;
        tracing::info!("report: {}", report.display());
    }
    Ok(())
}

/// All run folders with their part in the report.
fn folders(args: &Args) -> impl Iterator<Item = (&PathBuf, Role)> {
    let runs = args.runs.iter().map(|folder| (folder, Role::Run));
    runs.chain(args.controls.iter().map(|folder| (folder, Role::Control)))
}

/// Scores every run on the same samples.
fn probe(args: &Args) -> Result<ProbeRecord> {
    let device = d2v_torch::cuda::device(&args.device)?;
    d2v_torch::settings::set_deterministic(true)?;
    d2v_torch::settings::set_tf32(false)?;
    // All of them first: what is wrong with the last should not come to light after an hour on the others.
    let runs: Vec<(TrainedRun, Role)> =
        folders(args).map(|(folder, role)| Ok((TrainedRun::open(folder)?, role))).collect::<Result<_>>()?;
    let controls = controls_of(&runs)?;
    let plan = ProbePlan { networks: &NETWORKS, layers: &args.layers, settings: args.settings(), device };
    let mut data = None;
    let (mut scores, mut checkpoints) = (Vec::new(), Vec::new());
    for (index, (run, role)) in runs.iter().enumerate() {
        let (_, data) = match &mut data {
            Some(data) => data,
            None => data.insert(open_data(args, run)?),
        };
        let mut of_run = score_run(run, *role, data, &plan)?;
        of_run.control = controls.get(index).map(|&control| runs[control].0.name.clone());
        scores.push(of_run);
        checkpoints.push(ProbedCheckpoint::of(run));
    }
    let report = ProbeReport::compare(args.layers[0], args.settings(), scores)?;
    let (path, data) = data.expect("at least one run is given, or there would be no report");
    Ok(ProbeRecord::new(path, &data, checkpoints, report))
}

/// The index of each run's own control; nothing where there is at most one control. The runs come before the controls.
fn controls_of(runs: &[(TrainedRun, Role)]) -> Result<Vec<usize>> {
    let seeds = |role| runs.iter().filter(move |(_, of)| *of == role).map(|(run, _)| run.config.seed);
    let (own, controls): (Vec<u64>, Vec<u64>) = (seeds(Role::Run).collect(), seeds(Role::Control).collect());
    Ok(pairs(&own, &controls)?.into_iter().map(|control| own.len() + control).collect())
}

/// Which control belongs to each run, by their seeds; by their order where a seed stands twice or on one side alone.
fn pairs(runs: &[u64], controls: &[u64]) -> std::result::Result<Vec<usize>, Error> {
    if controls.len() <= 1 {
        return Ok(Vec::new());
    }
    if controls.len() != runs.len() {
        return Err(Error::Controls { controls: controls.len(), runs: runs.len() });
    }
    let distinct = BTreeSet::from_iter(runs).len() == runs.len();
    let by_seed = |seed| controls.iter().position(|control| control == seed);
    let paired = runs.iter().map(by_seed).collect::<Option<Vec<usize>>>().filter(|_| distinct);
    Ok(paired.unwrap_or_else(|| (0..runs.len()).collect()))
}

/// The data asked for, else that of `run`; and where it lies.
fn open_data(args: &Args, run: &TrainedRun) -> Result<(Option<PathBuf>, ProbeData)> {
    let mut config = changed(&run.config, &args.overrides)?.data;
    if let Some(path) = &args.data {
        config.path = Some(path.clone());
    }
    let size = ProbeSize { max_train: args.max_train, max_test: args.max_test, seed: args.seed };
    let labels = args.labelled_text(&run.config.model.encoder);
    let data = ProbeData::open(&config, &labels, run.tokenizer.as_ref(), &args.split(), size)?;
    Ok((config.path, data))
}

/// The run's configuration with the settings of the command line.
fn changed(config: &RunConfig, overrides: &[Override]) -> Result<RunConfig> {
    if overrides.is_empty() {
        return Ok(config.clone());
    }
    let text = settings::to_toml(config)?;
    Ok(settings::load(&Source::built_in("the run's configuration", text), overrides)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::tiny_run::{self, PictureFolder};
    use crate::evaluate::{Comparison, FeatureName, Probe};
    use clap::Parser;
    use std::fs;
    use std::path::Path;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    /// Arguments as on the command line, with few samples and draws.
    fn args(line: &[&str]) -> Args {
        let small = ["--max-train=80", "--max-test=40", "--labels=20", "--draws=2", "--neighbours=3"];
        Cli::try_parse_from(["probe"].iter().chain(&small).chain(line)).unwrap().args
    }

    fn text(folder: &Path) -> String {
        folder.display().to_string()
    }

    #[test]
    fn a_run_its_other_seed_and_its_control_stand_side_by_side() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b, frozen] = ["a", "b", "frozen"].map(|name| folder.path().join(name));
        tiny_run::train(&a, 2, 0);
        tiny_run::train(&b, 2, 1);
        let mut control = tiny_run::config(2, 0);
        control.teacher.tau =
            serde_json::from_str(r#"{"kind": "linear", "start": 1.0, "end": 1.0}"#).unwrap();
        tiny_run::train_with(&frozen, &control);

        let [run_a, run_b, run_control] = [&a, &b, &frozen].map(|folder| text(folder));
        let args = args(&["--run", &run_a, "--run", &run_b, "--control", &run_control]);
        let record = probe(&args).unwrap();
        assert_eq!((record.report.train_samples, record.report.test_samples), (80, 40));
        assert_eq!(
            record.checkpoints.iter().map(|run| (run.step, run.seed)).collect::<Vec<_>>(),
            [(2, 0), (2, 1), (2, 0)]
        );
        // Three networks, two kinds of features, three probes.
        assert!(record.report.runs.iter().all(|run| run.entries.len() == 3 * 2 * 3));
        let over_control =
            record.report.gains.iter().filter(|gain| gain.comparison == Comparison::OverControl);
        assert_eq!(over_control.count(), 2 * 2 * 3);

        // A teacher that never moves is the start of its student.
        let accuracies = |network| {
            let entries = record.report.runs[2].entries.iter().filter(move |entry| entry.network == network);
            entries.map(|entry| entry.score.accuracy).collect::<Vec<_>>()
        };
        assert_eq!(accuracies(NetworkKind::Teacher), accuracies(NetworkKind::Random));

        keep(&args, &record).unwrap();
        for run in [&a, &b, &frozen] {
            let json: serde_json::Value =
                serde_json::from_slice(&fs::read(run.join("probe.json")).unwrap()).unwrap();
            assert_eq!(json["runs"][2]["role"], "control");
            assert_eq!(json["data"]["test_part"], "given");
            let html = fs::read_to_string(run.join("report.html")).unwrap();
            assert!(html.contains("linear · average (headline) · student - random init"), "no table");
        }
    }

    #[test]
    fn every_seed_has_its_control() {
        let folder = tempfile::tempdir().unwrap();
        let run = |name: &str, seed, frozen: bool| {
            let path = folder.path().join(name);
            let mut config = tiny_run::config(2, seed);
            if frozen {
                config.teacher.tau =
                    serde_json::from_str(r#"{"kind": "linear", "start": 1.0, "end": 1.0}"#).unwrap();
            }
            tiny_run::train_with(&path, &config);
            text(&path)
        };
        let (a, b) = (run("a", 0, false), run("b", 1, false));
        let (of_b, of_a) = (run("of-b", 1, true), run("of-a", 0, true));
        let line = ["--run", &a, "--run", &b, "--control", &of_b, "--control", &of_a];
        let record = probe(&args(&line)).unwrap();
        let controls: Vec<_> = record.report.runs.iter().map(|run| run.control.as_deref()).collect();
        assert_eq!(controls, [Some(&*of_a), Some(&*of_b), None, None], "by seed");
        let over_control = record.report.gain_means.iter();
        let over_control = over_control.filter(|gain| gain.comparison == Comparison::OverControl);
        // Two kinds of features, three probes.
        assert_eq!(over_control.clone().count(), 2 * 3);
        assert!(over_control.clone().all(|gain| gain.mean.standard_error.is_some()), "over pairs");
        let notes = record.text().notes.join(" ");
        assert!(notes.contains(&format!("{a} with {of_a}, {b} with {of_b}")), "{notes}");
    }

    #[test]
    fn controls_are_paired_by_seed_or_else_by_order() {
        let check = |runs: &[u64], controls: &[u64], expected: &[usize]| {
            assert_eq!(pairs(runs, controls).unwrap(), expected, "{runs:?} {controls:?}");
        };
        check(&[0, 1, 2], &[2, 0, 1], &[1, 2, 0]);
        check(&[0, 1], &[5, 6], &[0, 1]);
        check(&[0, 0], &[0, 0], &[0, 1]);
        check(&[0, 1, 2], &[9], &[]);
        check(&[0, 1], &[], &[]);
        let error = anyhow::Error::from(crate::Error::from(pairs(&[0, 1, 2], &[0, 1]).unwrap_err()));
        assert_eq!(Exit::of(&error), Exit::Usage);
        assert!(error.to_string().contains("2 controls for 3 runs"), "{error}");
    }

    #[test]
    fn the_same_command_gives_the_same_numbers() {
        let run = tempfile::tempdir().unwrap();
        tiny_run::train(run.path(), 2, 0);
        let once = || serde_json::to_string(&probe(&args(&["--run", &text(run.path())])).unwrap()).unwrap();
        assert_eq!(once(), once());
    }

    #[test]
    fn other_data_without_a_test_part_is_split() {
        let folder = tempfile::tempdir().unwrap();
        let (run, data) = (folder.path().join("run"), folder.path().join("data"));
        tiny_run::train(&run, 2, 0);
        PictureFolder { split: false, labels: true, per_class: 60 }.write(&data);
        let line = ["--run", &text(&run), "--data", &text(&data), "--layer=2"];
        let record = probe(&args(&line)).unwrap();
        assert_eq!((record.data.path.as_deref(), record.data.classes.len()), (Some(&*data), 2));
        assert!(record.text().notes[0].contains("a fifth of the training part"), "{:?}", record.text().notes);
        // Dark and light: anything that sees the pictures tells them apart.
        let linear =
            record.report.runs[0].entries.iter().find(|entry| entry.probe == Probe::Linear {}).unwrap();
        assert_eq!((linear.features, linear.score.accuracy), (FeatureName::Block(2), 1.0));
    }

    #[test]
    fn what_cannot_be_probed_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let (run, unlabelled) = (folder.path().join("run"), folder.path().join("flat"));
        tiny_run::train(&run, 2, 0);
        PictureFolder { split: false, labels: false, per_class: 5 }.write(&unlabelled);
        let check = |line: &[&str], exit, expected: &str| {
            let error = anyhow::Error::from(probe(&args(line)).unwrap_err());
            assert_eq!(Exit::of(&error), exit, "{error:#}");
            assert!(format!("{error:#}").contains(expected), "{error:#}");
        };
        let run = text(&run);
        check(&["--run", "/nowhere/run-7"], Exit::Usage, "no checkpoint in '/nowhere/run-7'");
        check(&["--run", &run, "--layer=3"], Exit::Usage, "the network has blocks 1 to 2");
        check(&["--run", &run, "--data", &text(&unlabelled)], Exit::Data, "no labelled sample");
        check(&["--run", &run, "--data", "/nowhere/pictures"], Exit::Data, "/nowhere/pictures");
        check(&["--run", &run, "--run", &run], Exit::Usage, "no name twice");
        check(&["--run", &run, "--device=gpu"], Exit::Usage, "cuda:N");
    }
}
