//! What is found on a machine, without judgement.

use crate::machine;
use d2v_torch::cuda::{self, Status};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tch::{Device, Kind, Tensor, no_grad};

/// Instruction sets that libtorch has kernels for, as the system names them.
const INSTRUCTION_SETS: [&str; 7] = ["avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16"];

/// Everything found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Facts {
    /// Version of this program.
    pub program: String,
    /// Version of the libtorch it was compiled with.
    pub libtorch: String,
    /// The file that libtorch's CPU part was loaded from, where the system tells it.
    pub libtorch_file: Option<PathBuf>,
    /// Whether libtorch was built with MKL, oneDNN and OpenMP.
    pub libtorch_parts: LibtorchParts,
    /// The processor's name.
    pub processor: String,
    /// Instruction sets it has, of those that libtorch has kernels for.
    pub instruction_sets: Vec<String>,
    /// Cores that this process may use.
    pub cores: usize,
    /// Threads of libtorch's operations.
    pub libtorch_threads: usize,
    /// Threads of rayon, which draws masks.
    pub rayon_threads: usize,
    /// Environment variables that decide on threads and kernels, as far as they are set.
    pub environment: Vec<(String, String)>,
    /// Memory of the machine in bytes, where known.
    pub memory_bytes: Option<u64>,
    /// Memory that programs may still take, in bytes, where known; the limit of a container counts.
    pub available_memory_bytes: Option<u64>,
    /// Free space in the current folder's file system in bytes, where known.
    pub free_disk_bytes: Option<u64>,
    /// Measured on the CPU; absent where that was not wanted.
    pub speed: Option<Speed>,
    /// CUDA.
    pub cuda: CudaFacts,
}

/// What libtorch was built with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LibtorchParts {
    /// Intel's matrix products.
    pub mkl: bool,
    /// oneDNN, which has the bf16 products.
    pub onednn: bool,
    /// Threads by OpenMP.
    pub openmp: bool,
}

/// Rates measured on the CPU with libtorch's threads.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Speed {
    /// Matrix products in f32, 10^9 operations per second.
    pub f32_gflops: f64,
    /// The same in bf16.
    pub bf16_gflops: f64,
    /// Copying, 10^9 bytes read and written per second.
    pub copy_gb_per_s: f64,
}

/// Whether CUDA can be used.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum CudaFacts {
    /// It can.
    Usable {
        /// The devices, by their number.
        devices: Vec<Gpu>,
    },
    /// libtorch's CUDA part could not be loaded.
    NotLoaded {
        /// The loader's words.
        reason: String,
        /// Whether the machine has an NVIDIA device at all.
        hardware: bool,
    },
    /// It was loaded and finds no device.
    NoDevice {
        /// Whether the machine has an NVIDIA device at all.
        hardware: bool,
    },
}

/// A CUDA device.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gpu {
    /// Its name.
    pub name: String,
    /// Its memory in bytes.
    pub memory_bytes: u64,
    /// Matrix products in bf16 and f32, 10^12 operations per second; absent where not measured.
    pub bf16_tflops: Option<f64>,
    /// In f32 without TF32.
    pub f32_tflops: Option<f64>,
}

impl Facts {
    /// Looks, and with `measure` also measures for a few seconds.
    pub fn gather(measure: bool) -> Facts {
        Facts {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            libtorch: d2v_torch::settings::libtorch_version().to_owned(),
            libtorch_file: loaded_file("libtorch_cpu"),
            libtorch_parts: LibtorchParts {
                mkl: tch::utils::has_mkl(),
                onednn: tch::utils::has_mkldnn(),
                openmp: tch::utils::has_openmp(),
            },
            processor: machine::processor(),
            instruction_sets: instruction_sets(&read("/proc/cpuinfo")),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
            libtorch_threads: tch::get_num_threads().max(1) as usize,
            rayon_threads: rayon::current_num_threads(),
            environment: environment(),
            memory_bytes: machine::total_memory_bytes(),
            available_memory_bytes: machine::available_memory_bytes(),
            free_disk_bytes: machine::free_disk_bytes(Path::new(".")),
            speed: measure.then(measure_cpu),
            cuda: cuda_facts(measure),
        }
    }
}

/// Variables that change threads, kernels, or where libraries are found.
fn environment() -> Vec<(String, String)> {
    let names = [
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "RAYON_NUM_THREADS",
        "ATEN_CPU_CAPABILITY",
        "CUDA_VISIBLE_DEVICES",
        "LD_LIBRARY_PATH",
    ];
    names.into_iter().filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?))).collect()
}

/// The file of this process's memory map whose name starts with `name`.
fn loaded_file(name: &str) -> Option<PathBuf> {
    read("/proc/self/maps").lines().find_map(|line| {
        let path = Path::new(line.get(line.find('/')?..)?);
        path.file_name()?.to_str()?.starts_with(name).then(|| path.to_owned())
    })
}

fn instruction_sets(cpuinfo: &str) -> Vec<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("flags") || line.starts_with("Features"));
    let has: Vec<&str> =
        line.and_then(|line| line.split(':').nth(1)).map_or(vec![], |flags| flags.split(' ').collect());
    INSTRUCTION_SETS.into_iter().filter(|set| has.contains(set)).map(str::to_owned).collect()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn measure_cpu() -> Speed {
    let gflops = |kind| 1e3 * machine::matmul_tflops(Device::Cpu, kind, Duration::from_secs(1));
    Speed { f32_gflops: gflops(Kind::Float), bf16_gflops: gflops(Kind::BFloat16), copy_gb_per_s: copy_rate() }
}

/// The best of several copies of 256 MiB, beyond any cache.
fn copy_rate() -> f64 {
    let elements: i64 = 64 << 20;
    let source = Tensor::ones([elements], (Kind::Float, Device::Cpu));
    let mut target = source.zeros_like();
    let seconds = no_grad(|| {
        let times = (0..4).map(|_| {
            let start = Instant::now();
            target.copy_(&source);
            start.elapsed().as_secs_f64()
        });
        times.fold(f64::INFINITY, f64::min)
    });
    (2 * 4 * elements) as f64 / seconds / 1e9
}

fn cuda_facts(measure: bool) -> CudaFacts {
    let hardware = !machine::gpu_models().is_empty() || Path::new("/dev/nvidiactl").exists();
    match cuda::load() {
        Status::Usable { devices } => {
            CudaFacts::Usable { devices: (0..*devices).map(|index| gpu(index, measure)).collect() }
        }
        Status::NotLoaded(reason) => CudaFacts::NotLoaded { reason: reason.clone(), hardware },
        Status::NoDevice => CudaFacts::NoDevice { hardware },
    }
}

fn gpu(index: usize, measure: bool) -> Gpu {
    let device = Device::Cuda(index);
    let tflops = |kind| measure.then(|| machine::matmul_tflops(device, kind, Duration::from_secs(1)));
    Gpu {
        name: machine::device_name(device),
        memory_bytes: cuda::memory(index).map_or(0, |memory| memory.total.max(0) as u64),
        bf16_tflops: tflops(Kind::BFloat16),
        f32_tflops: tflops(Kind::Float),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instruction_sets_are_whole_words() {
        let intel = "model name\t: a\nflags\t\t: fpu avx avx2 avx512f avx512_bf16\nflags\t\t: fpu\n";
        assert_eq!(instruction_sets(intel), ["avx2", "avx512f", "avx512_bf16"]);
        assert_eq!(instruction_sets("Features\t: fp asimd\n"), ["asimd"]);
        assert!(instruction_sets("").is_empty());
    }

    #[test]
    fn this_machine_has_what_the_tests_run_on() {
        let facts = Facts::gather(false);
        assert!(facts.libtorch_threads >= 1 && facts.cores >= 1, "{facts:?}");
        assert_eq!(facts.libtorch, d2v_torch::settings::libtorch_version());
        if cfg!(target_os = "linux") {
            let file = facts.libtorch_file.expect("the memory map names libtorch's file");
            assert!(file.is_file(), "{}", file.display());
        }
    }
}
