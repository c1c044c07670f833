//! `d2v bench-ceiling`: the most that a device does through libtorch, which steps are measured against.

use super::bench_step::PrecisionName;
use super::output::print;
use crate::config::Precision;
use crate::exit::Exit;
use crate::human_numbers::flops_rate;
use crate::machine::{copy_gb_per_s, describe, matmul_tflops};
use anyhow::Context;
use clap::Args as ClapArgs;
use serde::Serialize;
use std::time::Duration;

/// Arguments of `d2v bench-ceiling`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  d2v bench-ceiling                                      the CPU, f32
  d2v bench-ceiling --device cuda --precision bf16 --json

The product is of square matrices, 2048 on a side on the CPU, 8192 on CUDA; the copy is of 256 MiB or 1 GiB within the
device's memory, what is read and what is written both counted. The best of several of each.")]
pub struct Args {
    /// cpu, cuda or cuda:N.
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Kind of the matrix product.
    #[arg(long, value_enum, default_value = "f32")]
    pub precision: PrecisionName,
    /// Threads of libtorch; without it, as many as it finds cores.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    pub threads: Option<i32>,
    /// Seconds for each of the two.
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = seconds)]
    pub seconds: f64,
    /// One JSON object.
    #[arg(long)]
    pub json: bool,
}

/// A time that a [`Duration`] can hold.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("must be seconds from 0 to 3600".to_owned()),
    }
}

/// What is printed as JSON.
#[derive(Debug, Serialize)]
struct Ceiling {
    /// Processor, cores, libtorch's threads, memory, device.
    machine: String,
    dtype: Precision,
    threads: i32,
    torch: &'static str,
    /// 10^12 operations per second.
    matmul_tflops: f64,
    /// 10^9 bytes per second.
    copy_gb_per_s: f64,
}

/// Measures both.
///
/// # Errors
/// If the device cannot be used or libtorch refuses.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let ceiling = measure(args)?;
    if args.json {
        print(&(serde_json::to_string(&ceiling)? + "\n"))?;
    } else {
        let Ceiling { machine, dtype, matmul_tflops, copy_gb_per_s, .. } = &ceiling;
        let (kind, products) = (dtype.name(), flops_rate(*matmul_tflops));
        print(&format!("{machine}\nproduct, {kind}: {products}\ncopy: {copy_gb_per_s:.1} GB/s\n"))?;
    }
    Ok(Exit::Done)
}

fn measure(args: &Args) -> anyhow::Result<Ceiling> {
    let device = d2v_torch::cuda::device(&args.device).context(Exit::Usage)?;
    if let Some(threads) = args.threads {
        tch::set_num_threads(threads);
    }
    let precision = Precision::from(args.precision);
    d2v_torch::settings::set_tf32(precision != Precision::F32)?;
    let budget = Duration::from_secs_f64(args.seconds);
    Ok(Ceiling {
        machine: describe(device),
        dtype: precision,
        threads: tch::get_num_threads(),
        torch: d2v_torch::settings::libtorch_version(),
        matmul_tflops: matmul_tflops(device, precision.kind(), budget),
        copy_gb_per_s: copy_gb_per_s(device, budget),
    })
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
        Line::try_parse_from(std::iter::once("bench-ceiling").chain(line.split_whitespace()))
            .map(|line| line.args)
    }

    #[test]
    fn rates_are_rates_and_name_their_machine() {
        let ceiling = measure(&parse("--seconds 0").unwrap()).unwrap();
        let rate = |value: f64| value > 0.0 && value.is_finite();
        assert!(rate(ceiling.matmul_tflops) && rate(ceiling.copy_gb_per_s), "{ceiling:?}");
        assert!(ceiling.machine.contains("cores"), "{ceiling:?}");
    }

    #[test]
    fn nonsense_is_usage() {
        for line in ["--seconds -1", "--seconds NaN", "--threads 0", "--precision f8"] {
            assert!(parse(line).is_err(), "{line}");
        }
        assert_eq!(Exit::of(&run(&parse("--device gpu").unwrap()).unwrap_err()), Exit::Usage);
    }
}
