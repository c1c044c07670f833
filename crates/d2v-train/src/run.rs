//! The run around the step: data, schedules, log, watch, checkpoints.

use crate::atomic_file::write_atomically;
use crate::batches::{HostBatch, MaskedLoader, Upcoming};
use crate::checkpoint::{CheckpointStore, Retention, Versions};
use crate::collapse::{CollapseWatch, RunState as Health, Verdict};
use crate::config::{Precision, RunConfig, Schedules};
use crate::evaluate::trained::tokenizer_of;
use crate::left_out::log_left_out;
use crate::log_line::{Clock, describe_watched, masked_fraction, step_flops};
use crate::metrics::{MetricsLog, StepMetrics};
use crate::observe::{Recent, Spread, observe, predicted_positions};
use crate::progress::{Console, Progress};
use crate::replay::{load_again, write_aside};
use crate::report::CONFIG_FILE;
use crate::run_state::{RunState, checkpoint_tensors, load_tensors};
use crate::sessions::{Session, record_session};
use crate::signals::{Signal, Signals};
use crate::sources::{Source, open_source, resolve, save_tokenizer, saved_tokenizer};
use crate::step::{Learner, QueuedStep, StepReport, StepSettings};
use crate::tensorboard::EventWriter;
use crate::unreadable::UnreadableList;
use crate::weights::start_from;
use crate::{Error, Result, machine, settings};
use d2v_data::{Cursor, Split};
use d2v_torch::upload::Uploader;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tch::{Device, Kind};

/// How a run ended.
#[derive(Debug)]
pub enum Finish {
    /// All updates are done.
    Done,
    /// A signal asked it to stop; everything is saved.
    Stopped(Signal),
    /// The watch saw a collapse and was told to stop then; everything is saved.
    Collapsed(Verdict),
    /// Too many updates in a row had a loss or gradient that is not finite.
    Diverged {
        /// How many.
        in_a_row: u32,
        /// Where their batches are.
        batches: PathBuf,
    },
}

/// A run in its folder.
pub struct Run {
    out: PathBuf,
    device: Device,
    schedules: Schedules,
    learner: Learner,
    source: Source,
    loader: MaskedLoader,
    uploader: Uploader,
    /// The next update's batches; an error of theirs is that of the next update.
    upcoming: Option<Result<Upcoming>>,
    unread: Vec<Unread>,
    unreadable: UnreadableList,
    watch: CollapseWatch,
    verdict: Option<Verdict>,
    state: RunState,
    store: CheckpointStore,
    /// The step of the newest checkpoint.
    saved: Option<u64>,
    metrics: MetricsLog,
    events: EventWriter,
    progress: Progress,
    ceiling_tflops: f64,
    clock: Clock,
}

/// An update that was given to the device and whose numbers the host does not know yet.
struct Unread {
    update: u64,
    /// Where its batches begin.
    cursor: Cursor,
    /// Absent where its masks hid nothing.
    step: Option<QueuedStep>,
}

impl Run {
    /// Opens the folder `out`: a new run, or the one that is there, at its newest intact checkpoint.
    ///
    /// # Errors
    /// If a setting is out of range, the data cannot be read, another process holds the folder, the folder holds a
    /// run with other settings, or it has checkpoints of which none is intact.
    pub fn open(config: &RunConfig, out: &Path, console: &Console) -> Result<Run> {
        config.validate()?;
        let device = d2v_torch::cuda::device(&config.device)?;
        if config.threads > 0 {
            tch::set_num_threads(config.threads as i32);
        }
        d2v_torch::settings::set_deterministic(true)?;

        // A run that starts from the weights of another speaks its language.
        let saved = match (saved_tokenizer(out)?, &config.init) {
            (None, Some(init)) => tokenizer_of(init)?,
            (saved, _) => saved,
        };
        let source = open_source(&config.data, Split::Train, saved)?;
        let config = &resolve(config, source.tokenizer.as_deref())?;
        log_left_out(&*source.dataset);
        let schedules = config.schedules(&*source.dataset)?;

        let versions = machine::versions();
        let retention =
            Retention { keep_last: config.checkpoint.keep_last, keep_every: config.checkpoint.keep_every };
        let own = Versions { program: versions["d2v"].clone(), libtorch: versions["libtorch"].clone() };
        let store = CheckpointStore::open(out, retention, own)?;
        let latest = store.latest_intact::<RunState>()?;
        for damaged in &latest.damaged {
            tracing::warn!("checkpoint passed over: {damaged}");
        }
        let precision = match (config.precision, &latest.checkpoint) {
            (Precision::Auto, Some(checkpoint)) => checkpoint.state.config.precision,
            (chosen, _) => chosen.resolve(device),
        };
        let config = &RunConfig { precision, ..config.clone() };
        d2v_torch::settings::set_tf32(precision == Precision::Tf32)?;
        let place = (device, Kind::Float, config.seed);
        let averaged = config.teacher.averaged;
        let mut learner =
            Learner::new(&config.model, averaged, &config.targets, config.loss, &config.optimizer, place)?;
        let saved = latest.checkpoint.as_ref().map(|checkpoint| checkpoint.step);
        let begins_from = config.init.as_deref().filter(|_| latest.checkpoint.is_none());
        let state = match latest.checkpoint {
            None => {
                if let Some(init) = begins_from {
                    start_from(init, &config.model, &learner)?;
                }
                RunState::start(config)
            }
            Some(checkpoint) => {
                checkpoint.state.check_same_run(config)?;
                load_tensors(&mut learner, &checkpoint.tensors)?;
                tracing::info!("going on from step {} of {}", checkpoint.step, out.display());
                RunState { config: config.clone(), ..checkpoint.state }
            }
        };

        let text = settings::to_toml(config).map_err(|error| Error::Config {
            key: "configuration".into(),
            value: error.to_string(),
            rule: "must be writable as TOML".into(),
        })?;
        let config_path = out.join(CONFIG_FILE);
        write_atomically(&config_path, |file| file.write_all(text.as_bytes()))
            .map_err(|source| Error::Io { path: config_path, source })?;
        if let Some(tokenizer) = &source.tokenizer {
            save_tokenizer(out, tokenizer)?;
        }
        record_session(out, &Session::now(state.step, machine::describe(device), versions))?;
        let loader = MaskedLoader::new(config, &source, state.cursor)?;
        let ceiling_tflops =
            machine::matmul_tflops(device, config.precision.kind(), Duration::from_millis(300));
        let mut run = Run {
            out: out.to_owned(),
            device,
            learner,
            source,
            loader,
            uploader: Uploader::new(device)?,
            upcoming: None,
            unread: Vec::new(),
            unreadable: UnreadableList::open(out)?,
            watch: CollapseWatch::resume(config.collapse.clone(), state.watch.clone()),
            verdict: None,
            store,
            saved,
            metrics: MetricsLog::open(out, state.step)?,
            events: EventWriter::open(out, state.step)?,
            progress: console.progress(schedules.steps, state.step, Duration::from_secs(10)),
            ceiling_tflops,
            clock: Clock::start(state.seconds),
            schedules,
            state,
        };
        if begins_from.is_some() {
            // From here on the run needs those weights no more.
            run.save()?;
        }
        Ok(run)
    }

    /// Updates done and to do in all.
    pub fn steps(&self) -> (u64, u64) {
        (self.state.step, self.schedules.steps)
    }

    /// The watch's last verdict in this session.
    pub fn verdict(&self) -> Option<&Verdict> {
        self.verdict.as_ref()
    }

    /// Trains to the end, or until something stops it.
    ///
    /// # Errors
    /// If data or disk fail. What was saved before stays.
    pub fn train(&mut self, signals: Option<&Signals>) -> Result<Finish> {
        let finish = self.train_and_save(signals);
        // Too many unreadable samples end a run; they are listed all the same.
        self.unreadable.add(self.loader.skipped())?;
        if !self.unreadable.is_empty() {
            let (count, path) = (self.unreadable.len(), self.unreadable.path().display());
            tracing::warn!("{count} samples could not be read, and others took their place; see {path}");
        }
        finish
    }

    fn train_and_save(&mut self, signals: Option<&Signals>) -> Result<Finish> {
        let mut finish = Finish::Done;
        while self.state.step < self.schedules.steps {
            if let Some(end) = self.update()? {
                finish = end;
                break;
            }
            // After the last update there is nothing left to stop.
            let going_on = self.state.step < self.schedules.steps;
            if let Some(signal) = signals.and_then(Signals::requested).filter(|_| going_on) {
                finish = Finish::Stopped(signal);
                break;
            }
            if self.state.step.is_multiple_of(self.state.config.checkpoint.every_steps) {
                self.save()?;
            }
        }
        // A signal may have come between two readings.
        if let Some(end) = self.read_back()?.1 {
            finish = end;
        }
        self.save()?;
        self.events.flush()?;
        Ok(finish)
    }

    /// One update, its line in the log, and what ends the run, if anything.
    fn update(&mut self) -> Result<Option<Finish>> {
        let config = &self.state.config;
        let update = self.state.step + 1;
        let last = update == self.schedules.steps;
        let watching = config.collapse.enabled && (self.watch.is_due(self.state.step) || last);
        let logging = update.is_multiple_of(config.train.log_every_steps) || update == 1 || last || watching;
        let settings = StepSettings {
            seed: config.seed,
            update,
            lr: self.schedules.learning_rate.at(self.state.step),
            tau: self.schedules.tau.at(update),
            precision: config.precision.kind(),
            recompute: config.train.recompute_blocks,
            observe: logging,
        };
        let count = config.train.accumulate;
        let upcoming = match self.upcoming.take() {
            Some(upcoming) => upcoming?,
            None => Upcoming::load(&mut self.loader, count, &self.uploader)?,
        };
        let (host, batches) = upcoming.arrive()?;
        let hides = batches.iter().any(|batch| batch.hidden() > 0);
        let step = if hides { Some(self.learner.queue(&batches, &settings)?) } else { None };
        drop(batches);
        if !last {
            // While the device is at this update.
            self.upcoming = Some(Upcoming::load(&mut self.loader, count, &self.uploader));
        }

        let samples: u64 = host.iter().map(|one| one.batch.len() as u64).sum();
        let flops: u64 = host.iter().map(|one| step_flops(config, one)).sum();
        self.unread.push(Unread { update, cursor: self.state.cursor, step });
        self.state.step = update;
        self.state.samples += samples;
        if let Some(last) = host.last() {
            self.state.cursor = last.batch.cursor_after;
        }
        self.clock.line_samples += samples;
        self.clock.line_flops += flops;

        self.progress.advance(update);
        // Reading makes the host wait, so a GPU is asked only where the numbers are needed.
        let saving = update.is_multiple_of(self.state.config.checkpoint.every_steps);
        if !(logging || saving || last) && self.device.is_cuda() {
            return Ok(None);
        }
        match self.read_back()? {
            (_, Some(end)) => Ok(Some(end)),
            (Some(report), None) if logging => self.log(&settings, &report, &host, watching),
            _ => Ok(None),
        }
    }

    /// Takes in what the updates since the last reading did; returns the last report, and what ends the run, if
    /// anything.
    fn read_back(&mut self) -> Result<(Option<StepReport>, Option<Finish>)> {
        let mut newest = None;
        for Unread { update, cursor, step } in std::mem::take(&mut self.unread) {
            let nothing = StepReport { loss: f64::NAN, grad_norm: f64::NAN, updated: false, observed: None };
            let hides = step.is_some();
            let report = step.map_or(nothing, QueuedStep::read);
            self.state.since_log.add(&report);
            self.state.since_watch.add(&report);
            if report.updated {
                self.state.skipped_in_a_row = 0;
            } else if !hides {
                self.state.skip_nothing_hidden(update)?;
            } else if let Some(end) = self.skipped(update, cursor, &report)? {
                return Ok((Some(report), Some(end)));
            }
            newest = Some(report);
        }
        Ok((newest, None))
    }

    /// Counts an update whose loss or gradient was not finite, and writes its batch aside for replay.
    fn skipped(&mut self, update: u64, cursor: Cursor, report: &StepReport) -> Result<Option<Finish>> {
        self.state.skipped_updates += 1;
        self.state.skipped_in_a_row += 1;
        let folder = self.out.join("skipped");
        let host = load_again(&self.state.config, &self.source, cursor)?;
        let written = write_aside(&folder, update, report, &host)?;
        tracing::warn!(
            "step {update}: loss {} and gradient norm {} are not both finite; the update is skipped, its batch is in {}",
            report.loss,
            report.grad_norm,
            written.display()
        );
        let in_a_row = self.state.skipped_in_a_row;
        let limit = self.state.config.train.max_skipped_in_a_row;
        Ok((in_a_row >= limit).then_some(Finish::Diverged { in_a_row, batches: folder }))
    }

    /// The line of this update in all logs; the watch, where it is due. A skipped update is no sight for the watch: what
    /// is not finite in it has not been learnt.
    fn log(
        &mut self,
        settings: &StepSettings,
        report: &StepReport,
        host: &[HostBatch],
        watching: bool,
    ) -> Result<Option<Finish>> {
        let seen = match (&report.observed, host.last()) {
            (Some(seen), Some(last)) => Spread::of(seen)?.map(|spread| (seen, spread, last)),
            _ => None,
        };
        let mut watched = None;
        if let Some((seen, spread, last)) = seen.as_ref().filter(|_| watching && report.updated) {
            let since = std::mem::take(&mut self.state.since_watch);
            let recent = Recent {
                loss: since.loss(report),
                grad_norm: since.grad_norm(report),
                warmup_fraction: self.warmup_fraction(),
            };
            let hidden_m = predicted_positions(&last.hiding);
            let loss = &self.state.config.loss;
            watched = Some(observe(&self.learner, loss, settings, (seen, &hidden_m), spread, recent)?);
        }
        let verdict = watched.as_ref().map(|seen| self.watch.observe(&seen.observation));
        self.state.watch = self.watch.state().clone();

        let since = std::mem::take(&mut self.state.since_log);
        let spread = seen.map(|(_, spread, _)| spread);
        let mut line = StepMetrics {
            step: settings.update,
            epoch: host.first().map_or(0, |one| one.batch.epoch),
            samples: self.state.samples,
            loss: since.loss(report),
            lr: settings.lr,
            tau: settings.tau,
            grad_norm: since.grad_norm(report),
            target_std: spread.map(|spread| spread.target_std),
            prediction_std: spread.map(|spread| spread.prediction_std),
            r2: spread.map(|spread| spread.r2),
            masked_fraction: masked_fraction(host),
            skipped_updates: Some(self.state.skipped_updates),
            ..StepMetrics::default()
        };
        if let Some(watched) = &watched {
            describe_watched(&mut line, watched, verdict.as_ref());
        }
        self.state.seconds = self.clock.seconds();
        self.clock.line(&mut line, self.loader.take_waited(), self.ceiling_tflops);
        self.metrics.append(&line)?;
        self.events.append(&line)?;
        self.progress.update(&line);

        let Some(verdict) = verdict else { return Ok(None) };
        let before = self.verdict.as_ref().map_or(Health::Healthy, |verdict| verdict.state);
        if verdict.state != before {
            match verdict.state {
                Health::Healthy => tracing::info!("collapse watch: {verdict}"),
                Health::Suspicious | Health::Collapsed => tracing::warn!("collapse watch: {verdict}"),
            }
        }
        let stop = self.watch.stops(&verdict);
        self.verdict = Some(verdict.clone());
        Ok(stop.then_some(Finish::Collapsed(verdict)))
    }

    /// The part of the run that its warm-up takes.
    fn warmup_fraction(&self) -> f64 {
        self.schedules.learning_rate.warmup_steps() as f64 / self.schedules.steps.max(1) as f64
    }

    /// A checkpoint of what is now, unless there is one of this step.
    fn save(&mut self) -> Result<()> {
        if self.saved == Some(self.state.step) {
            return Ok(());
        }
        self.state.seconds = self.clock.seconds();
        self.metrics.sync()?;
        self.store.save(self.state.step, &checkpoint_tensors(&self.learner), &self.state)?;
        self.saved = Some(self.state.step);
        self.unreadable.add_within(self.loader.skipped(), self.state.config.data.unreadable_limit)
    }
}
