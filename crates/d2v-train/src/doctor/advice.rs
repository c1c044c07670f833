//! From facts to findings: what is well, and what to do about what is not.

use super::facts::{CudaFacts, Facts, Gpu, Speed};
use crate::machine::{BF16_MARGIN, loader_threads};
use indicatif::HumanBytes;
use serde::Serialize;

/// Less free memory than this is little for training.
const LITTLE_MEMORY_BYTES: u64 = 2 << 30;
/// Less free disk than this is little for checkpoints.
const LITTLE_DISK_BYTES: u64 = 2 << 30;
/// Any core of the last ten years does more matrix products alone, in 10^9 operations per second.
const SLOW_CORE_GFLOPS: f64 = 8.0;

/// What was found about one subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The subject.
    pub subject: &'static str,
    /// What was found.
    pub text: String,
    /// What to do about it; absent: nothing needs to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<String>,
}

impl Finding {
    /// One line, and a second one with the repair.
    pub fn line(&self) -> String {
        let Finding { subject, text, repair } = self;
        match repair {
            None => format!("ok  {subject:<9} {text}\n"),
            Some(repair) => format!("!!  {subject:<9} {text}\n              -> {repair}\n"),
        }
    }
}

/// One finding per subject.
pub fn findings(facts: &Facts) -> Vec<Finding> {
    let mut found = vec![libtorch(facts), processor(facts), threads(facts), memory(facts), disk(facts)];
    found.extend(facts.speed.map(|speed| measured(facts, speed)));
    found.push(cuda(&facts.cuda));
    found
}

fn libtorch(facts: &Facts) -> Finding {
    let file = facts
        .libtorch_file
        .as_ref()
        .map_or("a place that this system does not tell".into(), |file| file.display().to_string());
    let parts = facts.libtorch_parts;
    let parts: Vec<&str> = [(parts.mkl, "MKL"), (parts.onednn, "oneDNN"), (parts.openmp, "OpenMP")]
        .into_iter()
        .filter_map(|(has, name)| has.then_some(name))
        .collect();
    let text = format!("{} from {file}; with {}", facts.libtorch, parts.join(", "));
    let repair = (!facts.libtorch_parts.openmp)
        .then(|| "this libtorch works on one core only; `cargo xtask setup` fetches one with OpenMP".into());
    Finding { subject: "libtorch", text, repair }
}

fn processor(facts: &Facts) -> Finding {
    let has = |set: &str| facts.instruction_sets.iter().any(|found| found == set);
    let forced = variable(facts, "ATEN_CPU_CAPABILITY");
    let repair = match forced {
        Some(value) => {
            Some(format!("ATEN_CPU_CAPABILITY={value} chooses libtorch's kernels; unset it for the fastest"))
        }
        None if cfg!(target_arch = "x86_64") && !facts.instruction_sets.is_empty() && !has("avx2") => {
            Some("without AVX2 libtorch is several times slower; take a processor that has it".into())
        }
        None => None,
    };
    let text = format!("{}, {} cores: {}", facts.processor, facts.cores, facts.instruction_sets.join(" "));
    Finding { subject: "processor", text, repair }
}

fn threads(facts: &Facts) -> Finding {
    let Facts { cores, libtorch_threads, rayon_threads, .. } = facts;
    let set: Vec<String> = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"]
        .into_iter()
        .filter_map(|name| Some(format!("{name}={}", variable(facts, name)?)))
        .collect();
    let set = if set.is_empty() { String::new() } else { format!("; {}", set.join(", ")) };
    // Two hardware threads share the arithmetic of a core: libtorch takes one of them by itself.
    let repair = if libtorch_threads > cores {
        Some(format!("more threads than cores wait for each other: set OMP_NUM_THREADS={cores}"))
    } else if libtorch_threads * 2 < *cores {
        Some(format!(
            "most of the {cores} cores stay idle: unset OMP_NUM_THREADS, or pass --set threads={cores}"
        ))
    } else {
        None
    };
    let text = format!(
        "{libtorch_threads} for libtorch, {rayon_threads} for masks; with data.threads = 0 {} for the loader, beside a GPU {}{set}",
        loader_threads(false),
        loader_threads(true)
    );
    Finding { subject: "threads", text, repair }
}

fn memory(facts: &Facts) -> Finding {
    let show = |bytes: Option<u64>| bytes.map_or("?".into(), |bytes| HumanBytes(bytes).to_string());
    let text = format!("{} of {} available", show(facts.available_memory_bytes), show(facts.memory_bytes));
    let little = facts.available_memory_bytes.is_some_and(|bytes| bytes < LITTLE_MEMORY_BYTES);
    let repair =
        little.then(|| "end other programs, or raise train.accumulate: smaller micro-batches".into());
    Finding { subject: "memory", text, repair }
}

fn disk(facts: &Facts) -> Finding {
    let text = match facts.free_disk_bytes {
        Some(bytes) => format!("{} free here", HumanBytes(bytes)),
        None => "free space is not known here".into(),
    };
    let little = facts.free_disk_bytes.is_some_and(|bytes| bytes < LITTLE_DISK_BYTES);
    let repair = little
        .then(|| "checkpoints may not fit: give an --out elsewhere, or lower checkpoint.keep_last".into());
    Finding { subject: "disk", text, repair }
}

fn measured(facts: &Facts, speed: Speed) -> Finding {
    let Speed { f32_gflops, bf16_gflops, copy_gb_per_s } = speed;
    let better =
        if bf16_gflops > BF16_MARGIN * f32_gflops { "bf16 pays here" } else { "bf16 does not pay here" };
    let text = format!(
        "matrix products {f32_gflops:.0} GFLOP/s in f32, {bf16_gflops:.0} in bf16 ({better}); copies {copy_gb_per_s:.1} GB/s"
    );
    let expected = SLOW_CORE_GFLOPS * facts.libtorch_threads as f64;
    let repair = (f32_gflops < expected).then(|| {
        "slow for so many threads: is something else using the cores, or a limit set on this container?"
            .into()
    });
    Finding { subject: "speed", text, repair }
}

fn cuda(facts: &CudaFacts) -> Finding {
    let hidden = "check `nvidia-smi`; the driver may be missing or older than this libtorch's CUDA, or \
                  CUDA_VISIBLE_DEVICES hides the device";
    let (text, repair) = match facts {
        CudaFacts::Usable { devices } => {
            (devices.iter().enumerate().map(|(index, gpu)| device(index, gpu)).collect::<Vec<_>>().join("; "), None)
        }
        CudaFacts::NotLoaded { hardware: false, .. } | CudaFacts::NoDevice { hardware: false } => {
            ("no NVIDIA device found; everything runs on the CPU".into(), None)
        }
        CudaFacts::NotLoaded { reason, hardware: true } => (
            format!("there is a device, but libtorch's CUDA part cannot be loaded: {reason}"),
            Some(
                "`cargo xtask setup --cuda`, or put the `lib` folder of a PyTorch of the same version with CUDA first \
                 on LD_LIBRARY_PATH"
                    .into(),
            ),
        ),
        CudaFacts::NoDevice { hardware: true } => ("loaded, but it finds no device".into(), Some(hidden.into())),
    };
    Finding { subject: "cuda", text, repair }
}

fn device(index: usize, gpu: &Gpu) -> String {
    let rates = match (gpu.bf16_tflops, gpu.f32_tflops) {
        (Some(bf16), Some(f32)) => format!(", matrix products {bf16:.0} TFLOP/s in bf16, {f32:.0} in f32"),
        _ => String::new(),
    };
    format!("cuda:{index} {}, {}{rates}", gpu.name, HumanBytes(gpu.memory_bytes))
}

fn variable<'a>(facts: &'a Facts, name: &str) -> Option<&'a str> {
    facts.environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::super::facts::LibtorchParts;
    use super::*;

    fn sound() -> Facts {
        Facts {
            program: "0.1.0".into(),
            libtorch: "2.11.0".into(),
            libtorch_file: Some("/lib/libtorch_cpu.so".into()),
            libtorch_parts: LibtorchParts { mkl: true, onednn: true, openmp: true },
            processor: "a processor".into(),
            instruction_sets: vec!["avx2".into(), "avx512_bf16".into()],
            cores: 4,
            libtorch_threads: 2,
            rayon_threads: 4,
            environment: vec![],
            memory_bytes: Some(16 << 30),
            available_memory_bytes: Some(8 << 30),
            free_disk_bytes: Some(100 << 30),
            speed: Some(Speed { f32_gflops: 200.0, bf16_gflops: 300.0, copy_gb_per_s: 20.0 }),
            cuda: CudaFacts::NoDevice { hardware: false },
        }
    }

    /// One change to sound facts makes one problem, about `subject`, whose repair says `part`.
    #[track_caller]
    fn check(change: impl FnOnce(&mut Facts), subject: &str, part: &str) {
        let mut facts = sound();
        change(&mut facts);
        let problems: Vec<Finding> =
            findings(&facts).into_iter().filter(|one| one.repair.is_some()).collect();
        let [problem] = problems.as_slice() else { panic!("{subject}: {problems:?}") };
        assert_eq!(problem.subject, subject);
        assert!(problem.line().contains(part), "{}", problem.line());
    }

    #[test]
    fn a_sound_machine_has_no_problem() {
        for finding in findings(&sound()) {
            assert!(finding.repair.is_none() && finding.line().starts_with("ok"), "{}", finding.line());
        }
        let quick = Facts { speed: None, ..sound() };
        assert_eq!(findings(&quick).len() + 1, findings(&sound()).len(), "what was not measured is left out");
    }

    #[test]
    fn every_problem_has_its_repair() {
        check(|f| f.libtorch_threads = 9, "threads", "OMP_NUM_THREADS=4");
        check(|f| f.libtorch_threads = 1, "threads", "threads=4");
        check(|f| f.libtorch_parts.openmp = false, "libtorch", "xtask setup");
        check(|f| f.environment = vec![("ATEN_CPU_CAPABILITY".into(), "avx2".into())], "processor", "unset");
        check(|f| f.available_memory_bytes = Some(1 << 30), "memory", "train.accumulate");
        check(|f| f.free_disk_bytes = Some(1 << 30), "disk", "--out");
        let slow = Speed { f32_gflops: 3.0, bf16_gflops: 1.0, copy_gb_per_s: 1.0 };
        check(|f| f.speed = Some(slow), "speed", "does not pay");
        check(|f| f.cuda = CudaFacts::NoDevice { hardware: true }, "cuda", "nvidia-smi");
        let reason = "libtorch_cuda.so: cannot open".to_owned();
        check(|f| f.cuda = CudaFacts::NotLoaded { reason, hardware: true }, "cuda", "setup --cuda");
        #[cfg(target_arch = "x86_64")]
        check(|f| f.instruction_sets = vec!["fma".into()], "processor", "AVX2");
    }

    #[test]
    fn devices_are_listed() {
        let gpu = Gpu {
            name: "a card".into(),
            memory_bytes: 80 << 30,
            bf16_tflops: Some(700.0),
            f32_tflops: Some(50.0),
        };
        let found = cuda(&CudaFacts::Usable { devices: vec![gpu] });
        assert!(found.repair.is_none() && found.text.contains("cuda:0 a card, 80.00 GiB"), "{}", found.text);
    }
}
