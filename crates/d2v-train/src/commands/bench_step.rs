//! `d2v bench-step`: how long a training step takes, comparable with the same step in PyTorch.

use super::bench_shape::ShapeArgs;
use super::output::{print, table};
use crate::config::Precision;
use crate::exit::Exit;
use crate::human_numbers::percent;
use crate::machine::memory_bytes;
use crate::recipes::{LearnerConfig, Modality};
use crate::step_parts::{Part, PartTimes, mean_parts, timed_step};
use crate::step_timing::{StepTiming, Workload, set_deterministic, settings, time_steps};
use anyhow::Context;
use clap::{Args as ClapArgs, ValueEnum};
use d2v_torch::sdpa::{self, Kernel};
use d2v_transformer::Size;
use serde::Serialize;
use tch::{Device, Kind};

/// Arguments of `d2v bench-step`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  d2v bench-step --size base --batch 8                   on the CPU, f32
  d2v bench-step --size base --batch 8 --parts           and where the time goes
  d2v bench-step --case audio --batch 4 --seconds 5      speech; --case text likewise
  d2v bench-step --size base --batch 128 --device cuda --precision bf16 --json
  d2v bench-step --case text --tokens 2048 --width 256   another shape: how does a step grow?

The network, the loss and the optimizer are those of the published models, without dropout; input is noise: pictures of
224 pixels with 60 % of the patches hidden, 5 s of sound with 49 % of the frames, 512 tokens with 15 %. Operations are
counted by matrix products: teacher forward, student forward, backward at twice the forward; class token and prediction
head are left out, and blocks count whole where the step computes less.")]
pub struct Args {
    /// What the network is for.
    #[arg(long, value_enum, default_value = "vision")]
    pub case: CaseName,
    /// Size of the network.
    #[arg(long, value_enum, default_value = "base")]
    pub size: SizeName,
    /// Seconds of each sound; other cases have one length.
    #[arg(long, value_name = "S", default_value_t = 5.0)]
    pub seconds: f64,
    /// Another shape than the size has.
    #[command(flatten)]
    pub shape: ShapeArgs,
    /// Samples per step.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: u32,
    /// cpu, cuda or cuda:N.
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Kind of the matrix products.
    #[arg(long, value_enum, default_value = "f32")]
    pub precision: PrecisionName,
    /// Steps timed.
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    pub steps: u32,
    /// Steps before, not timed.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub warmup: u32,
    /// Threads of libtorch; without it, as many as it finds cores.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    pub threads: Option<i32>,
    /// On CUDA only kernels that give the same bits every time, as in training; those of the CPU do anyhow.
    #[arg(long)]
    pub deterministic: bool,
    /// Make the inside of the student's blocks again in the backward pass (`train.recompute_blocks`).
    #[arg(long)]
    pub recompute: bool,
    /// The one kernel of libtorch's attention that is allowed, to compare them on CUDA; without it the fastest that suits.
    /// f32 on the CPU has a kernel of its own.
    #[arg(long, value_enum, value_name = "KERNEL")]
    pub attention: Option<AttentionKernel>,
    /// Also where the time goes, measured in further steps.
    #[arg(long)]
    pub parts: bool,
    /// One JSON object, with the keys of the PyTorch program it is compared with.
    #[arg(long)]
    pub json: bool,
}

/// [`Modality`] by the name that the PyTorch program has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaseName {
    /// Pictures.
    Vision,
    /// Speech.
    Audio,
    /// Text.
    Text,
}

impl From<CaseName> for Modality {
    fn from(name: CaseName) -> Modality {
        match name {
            CaseName::Vision => Modality::Image,
            CaseName::Audio => Modality::Audio,
            CaseName::Text => Modality::Text,
        }
    }
}

/// [`Size`] by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SizeName {
    /// 192 wide, 12 blocks.
    Tiny,
    /// 384 wide, 12 blocks.
    Small,
    /// 768 wide, 12 blocks.
    Base,
    /// 1024 wide, 24 blocks.
    Large,
}

impl From<SizeName> for Size {
    fn from(name: SizeName) -> Size {
        match name {
            SizeName::Tiny => Size::Tiny,
            SizeName::Small => Size::Small,
            SizeName::Base => Size::Base,
            SizeName::Large => Size::Large,
        }
    }
}

/// [`Precision`] by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PrecisionName {
    /// f32 throughout.
    F32,
    /// f32 whose products on CUDA use 10 bits of mantissa.
    Tf32,
    /// Products in bf16.
    Bf16,
}

impl From<PrecisionName> for Precision {
    fn from(name: PrecisionName) -> Precision {
        match name {
            PrecisionName::F32 => Precision::F32,
            PrecisionName::Tf32 => Precision::Tf32,
            PrecisionName::Bf16 => Precision::Bf16,
        }
    }
}

/// [`Kernel`] by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AttentionKernel {
    /// Flash attention; takes no bias on CUDA.
    Flash,
    /// Memory-efficient; takes a bias.
    Efficient,
    /// cuDNN's.
    Cudnn,
    /// Products and softmax one by one.
    Math,
}

impl From<AttentionKernel> for Kernel {
    fn from(name: AttentionKernel) -> Kernel {
        match name {
            AttentionKernel::Flash => Kernel::Flash,
            AttentionKernel::Efficient => Kernel::Efficient,
            AttentionKernel::Cudnn => Kernel::Cudnn,
            AttentionKernel::Math => Kernel::Math,
        }
    }
}

/// What is printed as JSON; keys as in the PyTorch program.
#[derive(Debug, Serialize)]
struct Outcome {
    peer: &'static str,
    r#impl: &'static str,
    compiled: bool,
    case: CaseName,
    size: Size,
    tokens: usize,
    width: i64,
    depth: usize,
    heads: i64,
    device: String,
    dtype: Precision,
    threads: i32,
    deterministic: bool,
    recompute: bool,
    parameters: usize,
    torch: &'static str,
    /// Memory of the process in MiB before there is a network; of the CPU's only.
    start_mib: Option<u64>,
    #[serde(flatten)]
    timing: StepTiming,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts_ms: Option<Vec<(Part, f64)>>,
}

/// Times a step.
///
/// # Errors
/// If the device cannot be used or libtorch refuses.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut config = LearnerConfig::of(args.case.into(), args.size.into());
    if args.case == CaseName::Audio {
        config.length = (args.seconds * 16_000.0) as i64;
        if config.positions() < 2 {
            let error =
                anyhow::anyhow!("--seconds {}: a sound needs at least two frames, 0.05 s", args.seconds);
            return Err(error.context(Exit::Usage));
        }
    }
    args.shape.apply(&mut config)?;
    let outcome = match args.attention {
        Some(kernel) => sdpa::with(kernel.into(), || measure(args, &config))??,
        None => measure(args, &config)?,
    };
    if args.json {
        // One line, as the program it is compared with prints it.
        print(&(serde_json::to_string(&outcome)? + "\n"))?;
    } else {
        print(&text(&outcome))?;
    }
    Ok(Exit::Done)
}

fn measure(args: &Args, config: &LearnerConfig) -> anyhow::Result<Outcome> {
    let device = d2v_torch::cuda::device(&args.device).context(Exit::Usage)?;
    if let Some(threads) = args.threads {
        tch::set_num_threads(threads);
    }
    set_deterministic(device, args.deterministic)?;
    let precision = Precision::from(args.precision);
    let start_mib = match device {
        Device::Cuda(_) => None,
        _ => memory_bytes().map(|bytes| bytes >> 20),
    };
    let mut learner = config.learner(device, Kind::Float, 0)?;
    let (warmup, steps, batch) = (args.warmup as usize, args.steps as usize, args.batch as usize);
    let work = Workload { batch, precision, recompute: args.recompute, warmup, steps, budget: None };
    let timing = time_steps(&mut learner, config, device, &work)?;
    let parts_ms = match args.parts {
        false => None,
        true => {
            let first = (warmup + steps) as u64 + 1;
            let times = (first..first + u64::from(args.steps)).map(|update| {
                let batch = config.noise(batch, update, device)?;
                Ok(timed_step(&mut learner, config, &batch, &settings(update, precision))?.1)
            });
            let times: Vec<PartTimes> = times.collect::<crate::Result<_>>()?;
            Some(Part::ALL.into_iter().zip(mean_parts(&times)).collect())
        }
    };
    Ok(Outcome {
        peer: "d2v",
        r#impl: "d2v",
        compiled: false,
        case: args.case,
        size: args.size.into(),
        tokens: config.positions(),
        width: config.model.transformer.width,
        depth: config.model.transformer.depth,
        heads: config.model.transformer.heads,
        device: crate::machine::device_name(device),
        dtype: precision,
        threads: tch::get_num_threads(),
        deterministic: args.deterministic,
        recompute: args.recompute,
        parameters: learner.student.network.parameters.count(),
        torch: d2v_torch::settings::libtorch_version(),
        start_mib,
        timing,
        parts_ms,
    })
}

fn text(outcome: &Outcome) -> String {
    let StepTiming {
        batch,
        steps,
        ms_per_step,
        ms_min,
        ms_max,
        samples_per_s,
        step_gflop,
        tflops,
        peak_mib,
        ..
    } = outcome.timing;
    let mut text = format!(
        "{}, {} tokens, {} wide, {} blocks, batch {batch}, {} on {}, {} threads: {:.1} million parameters\n\
         {ms_per_step:.1} ms per step (median of {steps}; {ms_min:.1} to {ms_max:.1}), {samples_per_s:.2} samples/s\n\
         {step_gflop:.1} GFLOP per step, {tflops:.3} TFLOP/s, peak memory {peak_mib} MiB\n",
        format!("{:?}", outcome.case).to_lowercase(),
        outcome.tokens,
        outcome.width,
        outcome.depth,
        outcome.dtype.name(),
        outcome.device,
        outcome.threads,
        outcome.parameters as f64 / 1e6,
    );
    if let Some(parts) = &outcome.parts_ms {
        let sum: f64 = parts.iter().map(|(_, time)| time).sum();
        let row = |name: &str, time: f64| vec![name.to_owned(), format!("{time:.1}"), percent(time / sum)];
        let mut rows: Vec<Vec<String>> = parts.iter().map(|&(part, time)| row(part.name(), time)).collect();
        rows.push(row("sum", sum));
        text.push('\n');
        text += &table(&["part", "ms", "share"], &rows);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Line::try_parse_from(std::iter::once("bench-step").chain(line.split_whitespace()))
            .map(|line| line.args)
    }

    #[test]
    fn the_outcome_has_the_keys_of_the_peer() {
        let args = parse("--size tiny --batch 2 --steps 1 --warmup 0 --parts").unwrap();
        for modality in [Modality::Audio, Modality::Text] {
            let config = LearnerConfig::of(modality, args.size.into()).shrunk();
            assert!(measure(&args, &config).unwrap().timing.loss.is_finite(), "{modality:?}");
        }
        let config = LearnerConfig::image(args.size.into()).shrunk();
        let outcome = measure(&args, &config).unwrap();
        let json = serde_json::to_value(&outcome).unwrap();
        for key in [
            "peer",
            "impl",
            "compiled",
            "case",
            "size",
            "batch",
            "tokens",
            "device",
            "dtype",
            "threads",
            "ms_per_step",
            "ms_min",
            "ms_max",
            "samples_per_s",
            "step_gflop",
            "tflops",
            "loss",
            "peak_mib",
            "parameters",
            "torch",
        ] {
            assert!(!json[key].is_null(), "{key} is missing");
        }
        assert_eq!((&json["size"], &json["dtype"]), (&"tiny".into(), &"f32".into()));
        assert!(text(&outcome).contains("moving average"), "the parts are missing");
    }

    #[test]
    fn nothing_to_time_is_usage() {
        for line in ["--batch 0", "--steps 0", "--size huge", "--threads 0", "--tokens 9 --seconds 1"] {
            assert!(parse(line).is_err(), "{line}");
        }
        let error = run(&parse("--device gpu").unwrap()).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Usage);
    }
}
