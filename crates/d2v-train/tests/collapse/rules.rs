//! What the watch promises beyond any one run: grace, patience, resumption, values that are not finite.

use d2v_targets::statistics::{self, StageStatistics};
use d2v_train::collapse::{
    CollapseConfig, CollapseWatch, Observation, RunState, Scenario, Stage, WatchState,
};
use tch::{Device, Kind, Tensor};

use crate::recorded::Recorded;

/// A run that collapses by position from step 60 on.
const COLLAPSING: Recorded = Recorded {
    tau: 0.0,
    last_step: 200,
    position_share: &[(0, 0.3), (50, 0.6), (60, 0.9)],
    ..Recorded::HEALTHY
};

fn watch(change: impl FnOnce(&mut CollapseConfig)) -> CollapseWatch {
    let mut config = CollapseConfig::default();
    change(&mut config);
    CollapseWatch::new(config)
}

fn states(mut watch: CollapseWatch, run: &Recorded) -> Vec<RunState> {
    run.observations().iter().map(|seen| watch.observe(seen).state).collect()
}

#[test]
fn a_resumed_watch_comes_to_the_same_verdicts() {
    let burst = Recorded { grad_norm: &[(0, 1.0), (90, 1.0), (100, 90.0), (110, 1.0)], ..COLLAPSING };
    let observations = burst.observations();
    let uninterrupted = burst.verdicts();
    for cut in 0..observations.len() {
        let mut before = watch(|_| ());
        for seen in &observations[..cut] {
            before.observe(seen);
        }
        let saved = serde_json::to_string(before.state()).unwrap();
        let state: WatchState = serde_json::from_str(&saved).unwrap();
        let mut after = CollapseWatch::resume(CollapseConfig::default(), state);
        let resumed: Vec<_> = observations[cut..].iter().map(|seen| after.observe(seen)).collect();
        assert_eq!(resumed, uninterrupted[cut..], "cut before observation {cut}");
    }
}

#[test]
fn suspicion_becomes_collapse_with_patience() {
    use RunState::{Collapsed, Healthy, Suspicious};
    let states = states(watch(|_| ()), &COLLAPSING);
    assert_eq!(
        states[..9],
        [Healthy, Healthy, Healthy, Healthy, Healthy, Healthy, Suspicious, Suspicious, Collapsed]
    );
    assert!(states[9..].iter().all(|&s| s == Collapsed), "{states:?}");
}

#[test]
fn a_run_that_recovers_is_healthy_again() {
    let run = Recorded { position_share: &[(0, 0.3), (60, 0.9), (100, 0.9), (110, 0.3)], ..COLLAPSING };
    assert_eq!(states(watch(|_| ()), &run).last(), Some(&RunState::Healthy));
}

#[test]
fn nothing_is_said_in_the_grace_or_when_off() {
    let early =
        Recorded { effective_rank: &[(0, 15.8), (20, 2.0), (40, 2.0), (50, 9.0)], ..Recorded::HEALTHY };
    let states_early = states(watch(|_| ()), &early);
    assert!(states_early.iter().all(|&s| s == RunState::Healthy), "a dip before step 50: {states_early:?}");
    let late = states(watch(|c| c.grace_steps = 1000), &COLLAPSING);
    let off = states(watch(|c| c.enabled = false), &COLLAPSING);
    assert!(late.iter().chain(&off).all(|&s| s == RunState::Healthy), "{late:?} {off:?}");
    assert!(!watch(|c| c.enabled = false).is_due(0), "nothing is measured for a watch that is off");
}

#[test]
fn only_a_collapse_stops_and_only_when_asked() {
    for stop in [false, true] {
        let mut watch = watch(|c| c.stop = stop);
        for seen in &COLLAPSING.observations() {
            let verdict = watch.observe(seen);
            let wanted = stop && verdict.state == RunState::Collapsed;
            assert_eq!(watch.stops(&verdict), wanted, "step {}: {:?}", seen.step, verdict.state);
        }
    }
}

fn check_not_finite(name: &str, spoil: impl Fn(&mut Observation, f64), want: RunState) {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut watch = watch(|_| ());
        watch.observe(&Recorded::HEALTHY.at(0));
        let mut seen = Recorded::HEALTHY.at(10);
        spoil(&mut seen, bad);
        let verdict = watch.observe(&seen);
        assert_eq!(verdict.state, want, "{name} = {bad}: {verdict}");
        let saved = serde_json::to_string(watch.state()).expect("a state is plain data");
        serde_json::from_str::<WatchState>(&saved).expect("no number that JSON lacks gets into the state");
    }
}

#[test]
fn values_that_are_not_finite_are_never_healthy() {
    use RunState::{Collapsed, Suspicious};
    check_not_finite("loss", |o, bad| o.loss = bad, Suspicious);
    check_not_finite("grad_norm", |o, bad| o.grad_norm = bad, Suspicious);
    check_not_finite("target_std", |o, bad| o.target_std = bad, Collapsed);
    check_not_finite("prediction_std", |o, bad| o.prediction_std = bad, Collapsed);
    check_not_finite("effective_rank", |o, bad| o.effective_rank = bad, Collapsed);
    check_not_finite("position_share", |o, bad| o.position_share = Some(bad), Collapsed);
    check_not_finite("r2", |o, bad| o.r2 = bad, Collapsed);
    check_not_finite("relative_distance", |o, bad| o.relative_distance = bad, Collapsed);
    let spoil_block = |o: &mut Observation, bad| o.stages.get_mut(&Stage::Block(3)).unwrap().raw_std = bad;
    check_not_finite("a block", spoil_block, Collapsed);
}

#[test]
fn a_batch_of_one_sample_is_not_held_against_the_run() {
    let mut watch = watch(|_| ());
    for seen in Recorded::HEALTHY.observations() {
        let verdict = watch.observe(&Observation { position_share: None, adjacent_cosine: None, ..seen });
        assert_eq!(verdict.state, RunState::Healthy, "{verdict}");
    }
}

#[test]
fn constant_targets_are_a_collapse_at_once() {
    let targets_bld = Tensor::full([4, 9, 8], 0.3, (Kind::Float, Device::Cpu));
    let targets_md = targets_bld.reshape([36, 8]);
    let seen = Observation {
        target_std: statistics::token_std(&targets_md).unwrap(),
        effective_rank: statistics::effective_rank(&targets_md).unwrap(),
        position_share: Some(statistics::position_share(&targets_bld).unwrap()),
        r2: statistics::r2(&targets_md, &targets_md).unwrap(),
        ..Recorded::HEALTHY.at(0)
    };
    let verdict = watch(|_| ()).observe(&seen);
    assert_eq!(verdict.state, RunState::Collapsed, "{verdict}");
}

#[test]
fn a_narrow_network_with_few_directions_is_left_alone() {
    let narrow = Recorded { rank_limit: 16.0, effective_rank: &[(0, 5.0), (300, 2.2)], ..Recorded::HEALTHY };
    assert!(states(watch(|_| ()), &narrow).iter().all(|&s| s == RunState::Healthy));
    let dead = Recorded { effective_rank: &[(0, 5.0), (100, 1.1)], ..narrow };
    assert_eq!(states(watch(|_| ()), &dead).last(), Some(&RunState::Collapsed));
}

fn check_scenario(name: &str, run: &Recorded, scenario: Scenario) {
    let last = run.verdicts().pop().expect("a run has observations");
    assert_eq!((last.state, last.scenario), (RunState::Collapsed, Some(scenario)), "{name}: {last}");
}

#[test]
fn scenarios_are_told_apart_by_the_marks_they_leave() {
    let front_end = Recorded { front_end_rank: &[(0, 12.0), (100, 1.5)], ..Recorded::HEALTHY };
    check_scenario("front end", &front_end, Scenario::LocalEncoder);
    let student_first = Recorded { prediction_std: &[(0, 0.4), (100, 0.002)], ..Recorded::HEALTHY };
    check_scenario("predictions fall first", &student_first, Scenario::LearningRate);
    let both = Recorded { target_std: &[(0, 0.6), (100, 0.01)], ..student_first };
    check_scenario("no mark of a cause", &both, Scenario::Unknown);
    let followed = Recorded { relative_distance: &[(0, 0.0), (699, 1e-5)], ..both };
    check_scenario("the teacher is next to the student", &followed, Scenario::Tau);
    let burst = Recorded { grad_norm: &[(0, 1.0), (590, 1.0), (600, 40.0), (610, 1.0)], ..both };
    check_scenario("after a burst of the gradient", &burst, Scenario::LearningRate);
    let no_warmup = Recorded { warmup_fraction: 0.0, ..both };
    check_scenario("without a warm-up", &no_warmup, Scenario::LearningRate);
}

#[test]
fn a_stage_that_goes_flat_is_named() {
    let mut watch = watch(|_| ());
    for seen in &mut Recorded::HEALTHY.observations() {
        if seen.step >= 100 {
            let teacher: &mut StageStatistics = seen.stages.get_mut(&Stage::Teacher).unwrap();
            teacher.raw_std = 2e-4;
        }
        let verdict = watch.observe(seen);
        let named = verdict.evidence.iter().any(|line| line.contains("raw deviation of teacher"));
        assert_eq!(named, seen.step >= 100, "{verdict}");
    }
}

#[test]
fn a_verdict_reads_as_a_paragraph() {
    let text = COLLAPSING.verdicts().pop().unwrap().to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[..3],
        [
            "step 200: the run collapsed; it looks like: tau is too low: the teacher follows a collapsing student",
            "  - position alone explains 0.90 of the targets, above 0.70",
            "  - tau is 0, below 0.995",
        ]
    );
    assert!(lines[3].starts_with("  What to change: Raise tau"), "{text}");
}
