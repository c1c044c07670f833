//! Memory does not grow with the length of a run.

use crate::tiny_run::TinyRun;

/// Memory the process holds now, in bytes.
fn resident_bytes(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// The first 200 steps fill the allocator's pools, the queues and the first checkpoints. A leak of 10 KiB a step, a
/// third of one batch of this run, would show as 8 MB.
#[cfg(target_os = "linux")]
#[test]
fn a_thousand_steps_hold_no_more_than_two_hundred() {
    const ALLOWED_BYTES: u64 = 4 << 20;
    let run = TinyRun::new();
    let mut running = run.start(&["--steps", "1000", "--set", "checkpoint.every_steps=100"]);
    let process = running.id();
    let mut largest_between = |from: u64, to: u64| {
        assert!(running.wait_until("a step", || run.logged_step() >= from), "ended before step {from}");
        let largest = std::cell::Cell::new(0);
        running.wait_until("a step", || {
            largest.set(largest.get().max(resident_bytes(process).unwrap_or(0)));
            run.logged_step() >= to
        });
        largest.get()
    };
    let early = largest_between(200, 300);
    let late = largest_between(900, 999);
    assert!(early > 0 && late > 0, "memory was read");
    assert!(late <= early + ALLOWED_BYTES, "{early} bytes after 200 steps, {late} after 1,000");
}
