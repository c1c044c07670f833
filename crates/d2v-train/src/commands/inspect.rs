//! `d2v inspect`: what a configuration or a checkpoint is, and what it will cost.

mod text;

use super::output::{print, print_json};
use super::recipe::RecipeArgs;
use super::report::load_config;
use crate::batches::Masks;
use crate::checkpoint::{self, Checkpoint, Versions};
use crate::config::{RunConfig, Schedules};
use crate::exit::Exit;
use crate::flops::StepFlops;
use crate::memory_estimate::MemoryEstimate;
use crate::network::{FRONT_END, HEAD, Student, TRANSFORMER};
use crate::run_state::RunState;
use crate::sources::{open_source, resolve};
use anyhow::Context;
use clap::Args as ClapArgs;
use d2v_data::Split;
use d2v_encoders::EncoderConfig;
use serde::Serialize;
use std::path::PathBuf;
use tch::{Device, Kind};
use text::text;

/// Masks drawn to find the share of positions that they hide.
const MASKS_DRAWN: u64 = 64;

/// Arguments of `d2v inspect`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  d2v inspect                                        the tiny recipe
  d2v inspect --config configs/image-tiny.toml --set model.transformer.depth=12
  d2v inspect --run runs/image-tiny                  a run and its newest checkpoint, verified
  d2v inspect --checkpoint runs/image-tiny/checkpoints/step-600 --parameters
  d2v inspect --json | jq .memory.total")]
pub struct Args {
    /// A configuration.
    #[command(flatten)]
    pub recipe: RecipeArgs,
    /// A run's folder: its configuration and its newest intact checkpoint.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["config", "data", "device", "steps", "overrides", "checkpoint"])]
    pub run: Option<PathBuf>,
    /// One checkpoint, RUN/checkpoints/step-N; all of it is verified.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["config", "data", "device", "steps", "overrides"])]
    pub checkpoint: Option<PathBuf>,
    /// Also name and shape of every parameter.
    #[arg(long)]
    pub parameters: bool,
    /// Everything as JSON.
    #[arg(long)]
    pub json: bool,
}

/// What is shown.
#[derive(Debug, Serialize)]
struct Inspection {
    config: RunConfig,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<CheckpointFacts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frames: Option<Frames>,
    parameters: Vec<Part>,
    flops_per_step: Flops,
    memory: Memory,
    schedule: Vec<SchedulePoint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule_missing: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shapes: Option<Vec<(String, Vec<i64>)>>,
}

/// A checkpoint, read and verified.
#[derive(Debug, Serialize)]
struct CheckpointFacts {
    folder: PathBuf,
    step: u64,
    samples: u64,
    seconds: f64,
    skipped_updates: u64,
    made_by: Versions,
    /// Newer ones that are damaged, with what is wrong.
    damaged: Vec<String>,
}

/// What a front end for sound makes of it.
#[derive(Debug, Serialize)]
struct Frames {
    /// Samples between the starts of two frames.
    hop_samples: i64,
    frame_rate_hz: f64,
    /// What one frame sees.
    receptive_field_samples: i64,
    receptive_field_ms: f64,
    /// Of the longest sound.
    frames_at_most: i64,
}

/// Parameters of a part of the network.
#[derive(Debug, Serialize)]
struct Part {
    part: &'static str,
    tensors: usize,
    elements: u64,
}

/// Operations of an update by part.
#[derive(Debug, Serialize)]
struct Flops {
    samples: u64,
    hidden_share: f64,
    front_end: u64,
    teacher: u64,
    student: u64,
    head: u64,
    total: u64,
}

/// Expected bytes by part.
#[derive(Debug, Serialize)]
struct Memory {
    #[serde(flatten)]
    parts: MemoryEstimate,
    total: u64,
}

/// Learning rate and decay of one update.
#[derive(Debug, Serialize)]
struct SchedulePoint {
    update: u64,
    lr: f64,
    tau: f64,
    /// Updates after which half of the teacher is newer; absent where it never moves.
    half_life_updates: Option<f64>,
}

/// Shows a configuration or a checkpoint.
///
/// # Errors
/// If the configuration is wrong, or no checkpoint that was asked for is intact.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let inspection = inspect(args)?;
    if args.json {
        print_json(&inspection)?;
    } else {
        print(&text(&inspection)?)?;
    }
    Ok(Exit::Done)
}

fn inspect(args: &Args) -> anyhow::Result<Inspection> {
    let (config, checkpoint) = source(args)?;
    config.validate()?;
    let config = with_ids(config)?;
    let student = Student::new(&config.model, Device::Cpu, Kind::Float, config.seed)?;
    let shapes: Vec<(String, Vec<i64>)> =
        student.network.parameters.iter().map(|(name, tensor)| (name.to_owned(), tensor.size())).collect();
    drop(student);
    let parameters = vec![
        part("front end", FRONT_END, &shapes),
        part("transformer", TRANSFORMER, &shapes),
        part("prediction head", HEAD, &shapes),
    ];
    let all: u64 = parameters.iter().map(|part| part.elements).sum();
    let memory = MemoryEstimate::of(&config, all, all - parameters[2].elements);
    // The schedule depends on the length of the data, which may not be here.
    let (schedule, schedule_missing) = match schedules(&config) {
        Ok(schedules) => (schedule_points(&schedules), None),
        Err(error) => (Vec::new(), Some(format!("{error:#}"))),
    };
    Ok(Inspection {
        frames: Frames::of(&config),
        flops_per_step: flops(&config)?,
        checkpoint,
        parameters,
        memory: Memory { parts: memory, total: memory.total() },
        schedule,
        schedule_missing,
        shapes: args.parameters.then_some(shapes),
        config,
    })
}

/// The ids of a configuration of text that leaves them to its data.
fn with_ids(config: RunConfig) -> crate::Result<RunConfig> {
    match &config.model.encoder {
        EncoderConfig::Text(text) if text.ids.is_none() => {
            let source = open_source(&config.data, Split::Train, None)?;
            resolve(&config, source.tokenizer.as_deref())
        }
        _ => Ok(config),
    }
}

/// The configuration, and the checkpoint where one was asked for.
fn source(args: &Args) -> anyhow::Result<(RunConfig, Option<CheckpointFacts>)> {
    if let Some(folder) = &args.checkpoint {
        let checkpoint: Checkpoint<RunState> = checkpoint::read(folder)?;
        return Ok((checkpoint.state.config.clone(), Some(CheckpointFacts::of(&checkpoint, Vec::new()))));
    }
    let Some(run) = &args.run else { return Ok((args.recipe.load()?, None)) };
    let config = load_config(run).context(Exit::Usage)?;
    let latest = checkpoint::latest_intact::<RunState>(run)?;
    let damaged = latest.damaged.iter().map(ToString::to_string).collect();
    Ok((config, latest.checkpoint.map(|checkpoint| CheckpointFacts::of(&checkpoint, damaged))))
}

impl CheckpointFacts {
    fn of(checkpoint: &Checkpoint<RunState>, damaged: Vec<String>) -> CheckpointFacts {
        let RunState { samples, seconds, skipped_updates, .. } = checkpoint.state;
        let (folder, made_by) = (checkpoint.folder.clone(), checkpoint.versions.clone());
        CheckpointFacts { folder, step: checkpoint.step, samples, seconds, skipped_updates, made_by, damaged }
    }
}

impl Frames {
    /// `None` for pictures and text.
    fn of(config: &RunConfig) -> Option<Frames> {
        let EncoderConfig::Audio(audio) = &config.model.encoder else { return None };
        let field = audio.receptive_field();
        Some(Frames {
            hop_samples: audio.hop(),
            frame_rate_hz: audio.frame_rate_hz(),
            receptive_field_samples: field,
            receptive_field_ms: 1e3 * field as f64 / f64::from(audio.sample_rate_hz),
            frames_at_most: audio.frames(config.longest_input()),
        })
    }
}

fn part(name: &'static str, prefix: &str, shapes: &[(String, Vec<i64>)]) -> Part {
    let own = shapes.iter().filter(|(name, _)| name.starts_with(prefix));
    let elements = own.clone().map(|(_, shape)| shape.iter().product::<i64>() as u64).sum();
    Part { part: name, tensors: own.count(), elements }
}

fn flops(config: &RunConfig) -> anyhow::Result<Flops> {
    let ids: Vec<u64> = (0..MASKS_DRAWN).collect();
    let length = config.longest_input();
    let mask = Masks::new(config, None)?.preview(0, &ids, length)?;
    let hidden_share = mask.hidden_fraction();
    let samples = config.samples_per_update();
    let hidden = (samples as f64 * mask.len() as f64 * hidden_share).round() as u64;
    let step = StepFlops::of(config, samples, length, hidden);
    let StepFlops { front_end, teacher, student, head } = step;
    Ok(Flops { samples, hidden_share, front_end, teacher, student, head, total: step.total() })
}

fn schedules(config: &RunConfig) -> crate::Result<Schedules> {
    config.schedules(&*open_source(&config.data, Split::Train, None)?.dataset)
}

/// The first and last update, the end of the warm-up, and the quarters between.
fn schedule_points(schedules: &Schedules) -> Vec<SchedulePoint> {
    let steps = schedules.steps;
    let mut updates = vec![1, schedules.learning_rate.warmup_steps() + 1];
    updates.extend([steps / 4, steps / 2, steps / 4 * 3, steps]);
    updates.retain(|&update| (1..=steps).contains(&update));
    updates.sort_unstable();
    updates.dedup();
    let point = |update| {
        let tau = schedules.tau.at(update);
        SchedulePoint {
            update,
            lr: schedules.learning_rate.at(update - 1),
            tau,
            half_life_updates: half_life(tau),
        }
    };
    updates.into_iter().map(point).collect()
}

/// Updates after which half of an average with decay `tau` is newer: `ln 1/2 / ln tau`.
fn half_life(tau: f64) -> Option<f64> {
    match tau {
        t if t >= 1.0 => None,
        t if t <= 0.0 => Some(0.0),
        t => Some(0.5f64.ln() / t.ln()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::tiny_run;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Args {
        Line::try_parse_from(std::iter::once("inspect").chain(line.split_whitespace())).unwrap().args
    }

    #[test]
    fn a_configuration_is_told_in_numbers_that_agree() {
        let inspection = inspect(&parse("--parameters")).unwrap();
        let shapes = inspection.shapes.as_ref().unwrap();
        let elements: i64 = shapes.iter().map(|(_, shape)| shape.iter().product::<i64>()).sum();
        assert_eq!(inspection.parameters.iter().map(|part| part.elements).sum::<u64>(), elements as u64);
        assert_eq!(inspection.memory.parts.parameters, 4 * elements as u64);
        assert!(
            inspection.memory.parts.teacher < inspection.memory.parts.parameters,
            "the teacher has no head"
        );
        assert!(
            (inspection.flops_per_step.hidden_share - 0.6).abs() < 0.05,
            "{:?}",
            inspection.flops_per_step
        );
        let text = text(&inspection).unwrap();
        for expected in ["[model.transformer]", "prediction head", "GFLOP", "half-life", "head.0.weight"] {
            assert!(text.contains(expected), "{expected} is missing in\n{text}");
        }
    }

    #[test]
    fn the_schedule_has_its_ends_and_the_half_life() {
        let args = parse("--steps 100 --set teacher.tau={kind=\"constant\",value=0.5}");
        let points = inspect(&args).unwrap().schedule;
        assert_eq!(points.iter().map(|point| point.update).collect::<Vec<_>>(), [1, 11, 25, 50, 75, 100]);
        assert_eq!(points[0].lr, 0.0, "the first update of a warm-up");
        assert!((points[0].half_life_updates.unwrap() - 1.0).abs() < 1e-12);
        assert_eq!((half_life(1.0), half_life(0.0)), (None, Some(0.0)));
        assert!((half_life(0.9998).unwrap() - 3465.4).abs() < 0.1, "{:?}", half_life(0.9998));
    }

    #[test]
    fn data_that_is_not_here_costs_the_schedule_only() {
        let inspection = inspect(&parse("--data /nowhere/pictures")).unwrap();
        assert!(inspection.schedule_missing.as_ref().unwrap().contains("/nowhere/pictures"));
        assert!(text(&inspection).unwrap().contains("not known without the data"));
    }

    #[test]
    fn frames_are_told_to_people_and_programs() {
        let speech = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/speech-tiny.toml");
        let inspection = inspect(&parse(&format!("--config {speech}"))).unwrap();
        let json = serde_json::to_value(&inspection).unwrap();
        // wav2vec 2.0's convolutions: 400 samples of 16 kHz every 320; 2.5 s of built-in sound at most.
        assert_eq!(json["frames"]["hop_samples"], 320);
        assert_eq!(json["frames"]["frame_rate_hz"], 50.0);
        assert_eq!(json["frames"]["receptive_field_samples"], 400);
        assert_eq!(json["frames"]["receptive_field_ms"], 25.0);
        assert_eq!(json["frames"]["frames_at_most"], (40_000 - 400) / 320 + 1);
        let text = text(&inspection).unwrap();
        assert!(
            text.contains("one every 320 samples (50.0 per second), each of which sees 400 samples"),
            "{text}"
        );
        let pictures = serde_json::to_value(inspect(&parse("")).unwrap()).unwrap();
        assert!(pictures.get("frames").is_none(), "{pictures}");
    }

    #[test]
    fn an_intact_checkpoint_is_described() {
        let run = tempfile::tempdir().unwrap();
        let config = tiny_run::train(run.path(), 4, 5);
        let folder = run.path().join("checkpoints/step-2");
        let inspection = inspect(&parse(&format!("--checkpoint {}", folder.display()))).unwrap();
        assert_eq!(inspection.config, config);
        let checkpoint = inspection.checkpoint.as_ref().unwrap();
        assert_eq!((checkpoint.step, checkpoint.samples, &checkpoint.folder), (2, 16, &folder));
        let text = text(&inspection).unwrap();
        assert!(text.contains("all checksums verified; step 2, 16 samples"), "{text}");
        let newest = inspect(&parse(&format!("--run {}", run.path().display()))).unwrap().checkpoint.unwrap();
        assert_eq!((newest.step, newest.damaged.len()), (4, 0));

        // One bit of its weights.
        let weights = folder.join("teacher.safetensors");
        let mut bytes = std::fs::read(&weights).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&weights, bytes).unwrap();
        let error = inspect(&parse(&format!("--checkpoint {}", folder.display()))).unwrap_err();
        assert!(format!("{error:#}").contains("teacher.safetensors"), "{error:#}");
    }

    #[test]
    fn what_is_not_there_is_named() {
        for line in ["--run /nowhere/run-7", "--checkpoint /nowhere/run-7"] {
            let error = inspect(&parse(line)).unwrap_err();
            assert!(format!("{error:#}").contains("/nowhere/run-7"), "{error:#}");
        }
    }
}
