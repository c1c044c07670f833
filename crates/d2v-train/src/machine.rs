//! What the machine is and what it can do.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};
use tch::{Device, Kind, Tensor, no_grad};

/// Largest rate of matrix products through libtorch, in 10^12 operations per second: the best of several products of
/// square matrices within `budget`.
pub fn matmul_tflops(device: Device, kind: Kind, budget: Duration) -> f64 {
    let n: i64 = if device.is_cuda() { 8192 } else { 2048 };
    let started = Instant::now();
    no_grad(|| {
        let a = Tensor::ones([n, n], (Kind::Float, device)).to_kind(kind);
        let mut best = f64::INFINITY;
        // The first product pays for start-up and is not counted.
        let mut out = a.matmul(&a);
        d2v_torch::cuda::synchronize(device);
        for round in 0.. {
            let start = Instant::now();
            out = a.matmul(&a);
            d2v_torch::cuda::synchronize(device);
            best = best.min(start.elapsed().as_secs_f64());
            if round >= 2 && started.elapsed() > budget {
                break;
            }
        }
        drop(out);
        2.0 * (n as f64).powi(3) / best / 1e12
    })
}

/// How much faster products in bf16 must be for it to pay: the rest of a step is no faster, and casts cost.
pub const BF16_MARGIN: f64 = 1.2;

/// Whether this device's products are so much faster in bf16 than in f32 that a step gains by them.
pub fn bf16_pays(device: Device) -> bool {
    let rate = |kind| matmul_tflops(device, kind, Duration::from_millis(300));
    rate(Kind::BFloat16) > BF16_MARGIN * rate(Kind::Float)
}

/// Threads that decode and augment where a configuration leaves it open: a step on the CPU takes all cores, so a quarter
/// of them; beside a GPU all but two, which give the GPU its work.
pub fn loader_threads(beside_gpu: bool) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    if beside_gpu { cores.saturating_sub(2).max(1) } else { (cores / 4).max(1) }
}

/// Largest rate of copying between two places of the device's memory, in 10^9 bytes per second, what is read and what is
/// written both counted: the best of several copies within `budget`, each too large for any cache.
pub fn copy_gb_per_s(device: Device, budget: Duration) -> f64 {
    let bytes: i64 = if device.is_cuda() { 1 << 30 } else { 1 << 28 };
    let started = Instant::now();
    no_grad(|| {
        let from = Tensor::zeros([bytes], (Kind::Uint8, device));
        // Filled: pages that were never written would be made by the first copy.
        let mut to = Tensor::ones([bytes], (Kind::Uint8, device));
        let mut best = f64::INFINITY;
        for round in 0.. {
            d2v_torch::cuda::synchronize(device);
            let start = Instant::now();
            to.copy_(&from);
            d2v_torch::cuda::synchronize(device);
            best = best.min(start.elapsed().as_secs_f64());
            if round >= 2 && started.elapsed() > budget {
                break;
            }
        }
        2.0 * bytes as f64 / best / 1e9
    })
}

/// Processor, threads, memory and device in one line.
pub fn describe(device: Device) -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZeroUsize::get);
    let memory = total_memory_bytes()
        .map_or(String::new(), |bytes| format!(", {:.0} GiB", bytes as f64 / 1024f64.powi(3)));
    let device = match device {
        Device::Cuda(_) => format!(", {}", device_name(device)),
        _ => String::new(),
    };
    format!("{}, {cores} cores, {} libtorch threads{memory}{device}", processor(), tch::get_num_threads())
}

/// A device's name: that of the GPU as far as the driver tells it, `cpu` for the CPU.
pub fn device_name(device: Device) -> String {
    match device {
        Device::Cuda(index) => match gpu_models().as_slice() {
            [] => format!("CUDA device {index}"),
            // The driver counts devices in another order than CUDA does, and includes hidden ones.
            models => models.join(" or "),
        },
        _ => "cpu".to_owned(),
    }
}

/// The models of GPU that the NVIDIA driver lists, each once.
pub fn gpu_models() -> Vec<String> {
    let Ok(folders) = std::fs::read_dir("/proc/driver/nvidia/gpus") else { return Vec::new() };
    let mut models: Vec<String> = folders
        .filter_map(|folder| std::fs::read_to_string(folder.ok()?.path().join("information")).ok())
        .filter_map(|text| text.lines().find_map(|line| Some(line.strip_prefix("Model:")?.trim().to_owned())))
        .collect();
    models.sort();
    models.dedup();
    models
}

/// The processor's name, as far as the system tells it.
pub fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split(':').nth(1));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |name| name.trim().to_owned())
}

/// Memory of the machine in bytes, where the system tells it.
pub fn total_memory_bytes() -> Option<u64> {
    status_kib("/proc/meminfo", "MemTotal:").map(|kib| kib * 1024)
}

/// Memory that programs may still take, in bytes, where the system tells it; the limit of a container counts.
pub fn available_memory_bytes() -> Option<u64> {
    let machine = status_kib("/proc/meminfo", "MemAvailable:").map(|kib| kib * 1024)?;
    let number = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let container = number("/sys/fs/cgroup/memory.max")
        .zip(number("/sys/fs/cgroup/memory.current"))
        .map(|(limit, used)| limit.saturating_sub(used));
    Some(container.map_or(machine, |container| container.min(machine)))
}

/// Free space in bytes for an ordinary user on the file system of `path`, where the system tells it.
pub fn free_disk_bytes(path: &Path) -> Option<u64> {
    let status = rustix::fs::statvfs(path).ok()?;
    Some(status.f_bavail.saturating_mul(status.f_frsize))
}

/// The most memory this process has held so far, in bytes, where the system tells it.
pub fn peak_memory_bytes() -> Option<u64> {
    status_kib("/proc/self/status", "VmHWM:").map(|kib| kib * 1024)
}

/// The memory this process holds now, in bytes, where the system tells it.
pub fn memory_bytes() -> Option<u64> {
    status_kib("/proc/self/status", "VmRSS:").map(|kib| kib * 1024)
}

fn status_kib(path: &str, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse().ok())
}

/// Versions that a run is recorded with.
pub fn versions() -> BTreeMap<String, String> {
    BTreeMap::from([
        ("d2v".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("libtorch".to_owned(), d2v_torch::settings::libtorch_version().to_owned()),
    ])
}
