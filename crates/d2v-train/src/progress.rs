//! What one sees while a run goes on: a bar on a terminal, plain lines anywhere else, and log messages between.
//!
//! Everything goes to the standard error stream. Where it is no terminal, no control code is ever written.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tracing_subscriber::fmt::MakeWriter;

use crate::human_numbers::{count, duration, flops_rate, number, percent};
use crate::metrics::StepMetrics;

/// Where progress and log messages meet, so that neither tears the other. Clones share the same place.
///
/// Give a clone to `tracing_subscriber::fmt().with_writer(…)`: messages then appear above the bar.
#[derive(Clone)]
pub struct Console {
    /// The bars on a terminal; `None` where there is none.
    bars: Option<MultiProgress>,
    out: Arc<Mutex<Box<dyn Write + Send>>>,
}

impl Console {
    /// The standard error stream: with bars if it is a terminal.
    pub fn stderr() -> Self {
        let bars = io::stderr().is_terminal().then(MultiProgress::new);
        Self { bars, out: Arc::new(Mutex::new(Box::new(io::stderr()))) }
    }

    /// Whether bars are shown rather than lines.
    pub fn is_terminal(&self) -> bool {
        self.bars.is_some()
    }

    /// Shows a run of `total_steps` updates of which `finished_steps` were made by earlier sessions. Where there is no
    /// terminal, a line is written when `line_every` has passed since the last; the first and last steps always get one.
    pub fn progress(&self, total_steps: u64, finished_steps: u64, line_every: Duration) -> Progress {
        let bar = self.bars.as_ref().map(|bars| {
            // The widest field comes last and is cut at the terminal's edge.
            let style = ProgressStyle::with_template("{bar:24} {human_pos}/{human_len}  {wide_msg}")
                .expect("the template is a constant")
                .progress_chars("█·");
            let bar = bars.add(ProgressBar::new(total_steps).with_style(style));
            bar.set_position(finished_steps);
            bar
        });
        let now = Instant::now();
        Progress {
            console: self.clone(),
            bar,
            total_steps,
            finished_steps,
            line_every,
            started: now,
            last_line: None,
        }
    }

    /// Writes text whole, above any bar.
    fn write(&self, text: &[u8]) -> io::Result<()> {
        let write = || {
            let mut out = self.lock();
            out.write_all(text)?;
            out.flush()
        };
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Box<dyn Write + Send>> {
        // A panic while writing leaves at worst half a line behind.
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Console {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console").field("is_terminal", &self.is_terminal()).finish_non_exhaustive()
    }
}

/// A log message on its way to a [`Console`].
#[derive(Debug)]
pub struct ConsoleWriter(Console);

impl Write for ConsoleWriter {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.write(text)?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // Every write is flushed.
    }
}

impl MakeWriter<'_> for Console {
    type Writer = ConsoleWriter;

    fn make_writer(&self) -> ConsoleWriter {
        ConsoleWriter(self.clone())
    }
}

/// The progress of one run. Dropping it leaves the bar's last state on the screen.
#[derive(Debug)]
pub struct Progress {
    console: Console,
    bar: Option<ProgressBar>,
    total_steps: u64,
    finished_steps: u64,
    line_every: Duration,
    started: Instant,
    last_line: Option<Instant>,
}

impl Progress {
    /// Moves the bar to a finished step, of which nothing else is known. Cheap enough to be called at every step: the bar
    /// is redrawn a few times a second at most.
    pub fn advance(&self, step: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(step);
        }
    }

    /// Shows the step that `metrics` record.
    ///
    /// A stream that cannot be written to (a closed pipe) is no reason to stop training and is ignored.
    pub fn update(&mut self, metrics: &StepMetrics) {
        let now = Instant::now();
        let summary = self.summary(metrics, now);
        if let Some(bar) = &self.bar {
            bar.set_message(summary);
            bar.set_position(metrics.step);
        } else if self.line_is_due(metrics.step, now) {
            self.last_line = Some(now);
            let line = format!("step {}/{}  {summary}\n", count(metrics.step), count(self.total_steps));
            let _ = self.console.write(line.as_bytes());
        }
    }

    fn line_is_due(&self, step: u64, now: Instant) -> bool {
        let Some(last_line) = self.last_line else { return true };
        step >= self.total_steps || now.duration_since(last_line) >= self.line_every
    }

    /// What is told of a step, the most wanted first.
    fn summary(&self, metrics: &StepMetrics, now: Instant) -> String {
        let mut parts = vec![format!("loss {}", number(metrics.loss))];
        if let Some(seconds) = self.seconds_left(metrics.step, now) {
            parts.push(format!("ETA {}", duration(seconds)));
        }
        parts.push(format!("{} samples/s", number(metrics.samples_per_second)));
        parts.push(format!("data wait {}", percent(metrics.data_wait)));
        match (metrics.tflops, metrics.share_of_ceiling) {
            (Some(tflops), Some(share)) => {
                parts.push(format!("{} ({} of ceiling)", flops_rate(tflops), percent(share)));
            }
            (Some(tflops), None) => parts.push(flops_rate(tflops)),
            (None, _) => {}
        }
        if let Some(skipped @ 1..) = metrics.skipped_updates {
            parts.push(format!("{} updates skipped", count(skipped)));
        }
        parts.join(", ")
    }

    /// Time left at this session's mean pace; `None` before a step is made and after the last.
    fn seconds_left(&self, step: u64, now: Instant) -> Option<f64> {
        let made = step.checked_sub(self.finished_steps).filter(|&made| made > 0)?;
        let left = self.total_steps.checked_sub(step).filter(|&left| left > 0)?;
        Some(now.duration_since(self.started).as_secs_f64() / made as f64 * left as f64)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::{InMemoryTerm, ProgressDrawTarget};

    /// A stream that can be read by the test.
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Shared {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn plain() -> (Console, Shared) {
        let out = Shared::default();
        (Console { bars: None, out: Arc::new(Mutex::new(Box::new(out.clone()))) }, out)
    }

    fn step(step: u64) -> StepMetrics {
        StepMetrics {
            step,
            loss: 0.53124,
            samples_per_second: 812.3,
            data_wait: 0.012,
            tflops: Some(0.0831),
            share_of_ceiling: Some(0.62),
            ..Default::default()
        }
    }

    /// Runs steps `from`..=8 of 8 and returns which got a line.
    fn steps_told(from: u64, line_every: Duration) -> Vec<String> {
        let (console, out) = plain();
        let mut progress = console.progress(8, from - 1, line_every);
        (from..=8).for_each(|number| progress.update(&step(number)));
        out.text()
            .lines()
            .map(|line| line.split_whitespace().nth(1).unwrap().trim_end_matches("/8").to_owned())
            .collect()
    }

    #[test]
    fn lines_come_when_it_is_time_and_at_both_ends() {
        let hour = Duration::from_secs(3600);
        assert_eq!(steps_told(1, hour), ["1", "8"]);
        assert_eq!(steps_told(6, hour), ["6", "8"]);
        assert_eq!(steps_told(6, Duration::ZERO), ["6", "7", "8"]);
    }

    #[test]
    fn a_plain_line_tells_everything_without_control_codes() {
        let (console, out) = plain();
        let mut progress = console.progress(1000, 0, Duration::ZERO);
        progress.update(&StepMetrics { skipped_updates: Some(2), ..step(1000) });
        drop(progress);
        let expected = "step 1,000/1,000  loss 0.5312, 812.3 samples/s, data wait 1.2 %, \
                        83.1 GFLOP/s (62 % of ceiling), 2 updates skipped\n";
        assert_eq!(out.text(), expected);
    }

    #[test]
    fn the_time_left_counts_this_session_s_steps_only() {
        let (console, _) = plain();
        let progress = console.progress(100, 90, Duration::ZERO);
        let after = |seconds| progress.started + Duration::from_secs(seconds);
        assert_eq!(progress.seconds_left(92, after(10)), Some(40.0));
        assert_eq!(progress.seconds_left(90, after(10)), None);
        assert_eq!(progress.seconds_left(100, after(10)), None);
    }

    #[test]
    fn messages_stand_above_the_bar() {
        let screen = InMemoryTerm::new(10, 120);
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::term_like(Box::new(screen.clone())));
        let console =
            Console { bars: Some(bars), out: Arc::new(Mutex::new(Box::new(ScreenWriter(screen.clone())))) };
        let subscriber = tracing_subscriber::fmt()
            .with_writer(console.clone())
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .finish();
        let mut progress = console.progress(8, 0, Duration::ZERO);
        tracing::subscriber::with_default(subscriber, || {
            progress.update(&step(2));
            tracing::warn!("an update was skipped");
            progress.update(&step(4));
        });
        drop(progress);
        let lines: Vec<String> = screen.contents().lines().map(str::to_owned).collect();
        assert_eq!(lines[0].trim(), "WARN an update was skipped");
        assert!(lines[1].starts_with("████████████············ 4/8  loss 0.5312, ETA "), "{lines:?}");
        assert_eq!(lines.len(), 2, "{lines:?}");
    }

    #[test]
    fn the_bar_moves_at_every_step_and_keeps_what_was_told() {
        let screen = InMemoryTerm::new(10, 120);
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::term_like(Box::new(screen.clone())));
        let console = Console { bars: Some(bars), out: plain().0.out };
        let mut progress = console.progress(8, 0, Duration::ZERO);
        progress.update(&step(2));
        progress.advance(6);
        drop(progress);
        assert!(screen.contents().contains("6/8  loss 0.5312"), "{}", screen.contents());
    }

    /// Writes as a terminal does: what the test's screen shows is what a user would see.
    #[derive(Debug)]
    struct ScreenWriter(InMemoryTerm);

    impl Write for ScreenWriter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            use indicatif::TermLike;
            let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
            for line in text.lines() {
                self.0.write_line(line)?;
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
