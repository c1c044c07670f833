//! How far a download or an unpacking is: a bar in a terminal, a plain line now and then elsewhere.

use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

/// Time between two plain lines.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Progress in bytes towards a known total, shown on standard error.
pub(crate) struct Progress {
    bar: ProgressBar,
    label: String,
    total: u64,
    started: Instant,
    last_line: Instant,
}

impl Progress {
    /// Starts showing `label`.
    pub(crate) fn start(label: String, total: u64) -> Self {
        let bar = ProgressBar::new(total);
        let style =
            ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
        bar.set_style(style.expect("the template is a constant"));
        bar.set_message(label.clone());
        if bar.is_hidden() {
            eprintln!("{label}: {}", HumanBytes(total));
        }
        let now = Instant::now();
        Self { bar, label, total, started: now, last_line: now }
    }

    /// Shows that `done` bytes of the total are done; never goes back.
    pub(crate) fn set(&mut self, done: u64) {
        let done = done.min(self.total).max(self.bar.position());
        self.bar.set_position(done);
        if self.bar.is_hidden() && self.last_line.elapsed() >= LINE_INTERVAL {
            self.last_line = Instant::now();
            eprintln!(
                "{}: {} of {}{}",
                self.label,
                HumanBytes(done),
                HumanBytes(self.total),
                self.speed(done)
            );
        }
    }

    /// Shows that all is done.
    pub(crate) fn finish(self) {
        if self.bar.is_hidden() {
            eprintln!("{}: done{}", self.label, self.speed(self.total));
        } else {
            self.bar.finish();
        }
    }

    fn speed(&self, done: u64) -> String {
        let seconds = self.started.elapsed().as_secs();
        done.checked_div(seconds).map_or_else(String::new, |speed| format!(", {}/s", HumanBytes(speed)))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if !self.bar.is_finished() {
            self.bar.abandon();
        }
    }
}
