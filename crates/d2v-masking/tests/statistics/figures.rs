//! Against the figures that the specification prints in section 3, and against rates computed from the definitions.

use d2v_masking::{BlockCount, BlocksV2Config, EqualCounts, Mask, MaskConfig, Positions, SpansConfig};

use crate::{Estimate, check, keys, rate_at, sample};

/// How many rows (of equal counts: batches) a printed figure is taken to be the mean of, where section 3 does not say.
/// With fewer the figures would tell little; with a thousand each lies within its own errors of what follows from the
/// definition, 49.8 % for 249 frames the farthest: that is 49.26 % exactly.
const PRINTED_OBSERVATIONS: f64 = 1000.0;

/// Asks for a printed figure, which was rounded to `digit`; `deviation` is that of one observation.
#[track_caller]
fn check_figure(what: &str, ours: Estimate, deviation: f64, printed: f64, digit: f64) {
    let theirs = deviation / PRINTED_OBSERVATIONS.sqrt();
    let bound = 5.0 * ours.se.hypot(theirs) + digit / 2.0;
    let gap = (ours.value - printed).abs();
    assert!(gap <= bound, "{what}: {} where {printed} is printed, bound {bound}", ours.value);
}

/// Asks for the printed mean of these observations.
#[track_caller]
fn check_mean(what: &str, observations: &[f64], printed: f64, digit: f64) {
    let deviation = Estimate::deviation(observations).value;
    check_figure(what, Estimate::mean(observations.iter().copied()), deviation, printed, digit);
}

/// Asks for a rate or mean that is known exactly.
#[track_caller]
fn check_exact(what: &str, ours: Estimate, exact: f64) {
    check(what, ours, Estimate { value: exact, se: 0.0 });
}

fn free_spans(mask_prob: f64) -> SpansConfig {
    SpansConfig { mask_prob, equal_counts: EqualCounts::Off {}, ..SpansConfig::default() }
}

/// How often each position is hidden by free spans of `l`: n distinct starts among T - l leave a position visible if none is
/// among the k that reach it, and n is one of the two whole numbers around p T / l.
fn exact_rates(len: usize, mask_prob: f64, l: usize) -> Vec<f64> {
    let starts = len - l;
    let expected = mask_prob * len as f64 / l as f64;
    let visible = |spans: usize, reach: usize| -> f64 {
        (0..spans)
            .map(|drawn| (starts - reach).saturating_sub(drawn) as f64 / (starts - drawn) as f64)
            .product()
    };
    (0..len)
        .map(|position| {
            let reach = (position + 1).min(l).min((len - 1).saturating_sub(position)).min(starts);
            let few = expected.floor();
            let more = expected - few;
            1.0 - (1.0 - more) * visible(few as usize, reach) - more * visible(few as usize + 1, reach)
        })
        .collect()
}

/// Section 3.2, without equal counts: shares by length and probability, with their deviations from row to row.
#[test]
fn free_spans_hide_the_printed_and_the_exact_share() {
    for (len, mask_prob, percent, deviation) in [
        (499, 0.65, 49.1, Some(2.9)),
        (249, 0.65, 49.8, Some(4.3)),
        (99, 0.65, 50.0, Some(6.9)),
        (499, 0.5, 40.1, None),
        (499, 0.8, 56.8, None),
    ] {
        let name = format!("{len} frames, p = {mask_prob}");
        let mask = sample(&MaskConfig::Spans(free_spans(mask_prob)), Positions::Line { len }, 8000);
        let percents: Vec<f64> =
            (0..mask.rows()).map(|row| 100.0 * mask.hidden_count(row) as f64 / len as f64).collect();
        check_mean(&name, &percents, percent, 0.1);
        if let Some(printed) = deviation {
            let ours = Estimate::deviation(&percents);
            let of_one = ours.se * (percents.len() as f64).sqrt();
            check_figure(&format!("{name}, deviation"), ours, of_one, printed, 0.1);
        }
        let rates = exact_rates(len, mask_prob, 10);
        let exact = 100.0 * rates.iter().sum::<f64>() / len as f64;
        check_exact(&format!("{name}, share by definition"), Estimate::mean(percents), exact);
        for position in [0, 4, 9, len / 2, len - 10, len - 2] {
            check_exact(&format!("{name}, position {position}"), rate_at(&mask, position), rates[position]);
        }
        assert_eq!((rates[len - 1], rate_at(&mask, len - 1).value), (0.0, 0.0), "{name}: the last frame");
    }
}

/// Section 3.2, every batch cut to its emptiest row.
#[test]
fn equal_spans_hide_the_printed_share() {
    const BATCHES: usize = 2000;
    let spans = MaskConfig::Spans(SpansConfig::default()).build().unwrap();
    for (len, rows, percent, deviation) in [
        (499, 8, 45.0, None),
        (249, 8, 43.3, None),
        (99, 8, 40.2, None),
        (49, 8, 37.2, None),
        (749, 16, 44.8, Some(1.4)),
        (499, 24, 43.2, None),
    ] {
        let name = format!("{rows} rows of {len} frames");
        let share = |batch: usize| {
            let mask = spans.sample_batch(Positions::Line { len }, None, &keys(batch, rows)).unwrap();
            100.0 * mask.hidden_count(0) as f64 / len as f64
        };
        let percents: Vec<f64> = (0..BATCHES).map(share).collect();
        check_mean(&name, &percents, percent, 0.1);
        if let Some(printed) = deviation {
            let ours = Estimate::deviation(&percents);
            let of_one = ours.se * (BATCHES as f64).sqrt();
            check_figure(&format!("{name}, deviation"), ours, of_one, printed, 0.1);
        }
    }
}

#[test]
fn channel_masks_hide_the_printed_and_the_exact_share() {
    for (mask_prob, percent) in [(0.1, 9.7), (0.25, 22.8), (0.5, 40.1)] {
        let name = format!("channels, p = {mask_prob}");
        let config =
            SpansConfig { equal_counts: EqualCounts::Off {}, ..SpansConfig::channels(mask_prob, 64) };
        let mask = sample(&MaskConfig::Spans(config), Positions::Line { len: 768 }, 4000);
        let percents: Vec<f64> =
            (0..mask.rows()).map(|row| 100.0 * mask.hidden_count(row) as f64 / 768.0).collect();
        check_mean(&name, &percents, percent, 0.1);
        let exact = 100.0 * exact_rates(768, mask_prob, 64).iter().sum::<f64>() / 768.0;
        check_exact(&format!("{name}, share by definition"), Estimate::mean(percents), exact);
    }
}

/// Sizes of the visible areas of a grid that hang together by their sides.
fn visible_components(row: &[bool], side: usize) -> Vec<usize> {
    let mut seen = row.to_vec();
    let mut sizes = Vec::new();
    for first in 0..row.len() {
        let (mut size, mut waiting) = (0, vec![first]);
        while let Some(cell) = waiting.pop() {
            if std::mem::replace(&mut seen[cell], true) {
                continue;
            }
            size += 1;
            let (y, x) = (cell / side, cell % side);
            waiting.extend((y > 0).then(|| cell - side));
            waiting.extend((y + 1 < side).then(|| cell + side));
            waiting.extend((x > 0).then(|| cell - 1));
            waiting.extend((x + 1 < side).then(|| cell + 1));
        }
        sizes.extend((size > 0).then_some(size));
    }
    sizes
}

#[test]
fn visible_components_hang_together_by_their_sides() {
    let row = ["##..", "#.#.", ".###", "####"].concat().chars().map(|cell| cell == '#').collect::<Vec<_>>();
    assert_eq!(visible_components(&row, 4), [3, 1, 1]);
}

/// Section 3.4, image Base: 37.5 patches visible as laid (at most five blocks of nine), then about 5 areas of 9 on average.
#[test]
fn image_blocks_of_v2_leave_the_printed_areas_visible() {
    let positions = Positions::Grid { height: 14, width: 14 };
    let config = BlocksV2Config::image_base();
    let as_laid = BlocksV2Config { count: BlockCount::AsLaid, ..config.clone() };
    let mask = sample(&MaskConfig::BlocksV2(as_laid), positions, 4000);
    let visible: Vec<f64> = (0..mask.rows()).map(|row| mask.visible(row).count() as f64).collect();
    check_mean("visible as laid", &visible, 37.5, 0.1);
    assert!(visible.iter().all(|&count| count <= 45.0), "five blocks of nine at most");

    let mask = sample(&MaskConfig::BlocksV2(config), positions, 4000);
    let components: Vec<Vec<usize>> =
        (0..mask.rows()).map(|row| visible_components(mask.row(row), 14)).collect();
    let counts: Vec<f64> = components.iter().map(|sizes| sizes.len() as f64).collect();
    check_mean("visible areas", &counts, 5.0, 1.0);
    // 39 patches are visible in every row; the mean is of the rows' mean sizes.
    let sizes: Vec<f64> = counts.iter().map(|count| 39.0 / count).collect();
    check_mean("size of visible areas", &sizes, 9.0, 1.0);
}

fn run_lengths(mask: &Mask) -> Vec<usize> {
    (0..mask.rows()).flat_map(|row| mask.runs(row).map(|run| run.len())).collect()
}

/// Section 3.4, audio Base: 41.9 % hidden as laid, then runs of 4.35 frames on average, 5 in the middle.
#[test]
fn audio_blocks_of_v2_hide_the_printed_runs() {
    let positions = Positions::Line { len: 499 };
    let config = BlocksV2Config::audio_base();
    let as_laid = BlocksV2Config { count: BlockCount::AsLaid, ..config.clone() };
    let mask = sample(&MaskConfig::BlocksV2(as_laid), positions, 4000);
    let percents: Vec<f64> =
        (0..mask.rows()).map(|row| 100.0 * mask.hidden_count(row) as f64 / 499.0).collect();
    check_mean("hidden as laid", &percents, 41.9, 0.1);

    let mask = sample(&MaskConfig::BlocksV2(config), positions, 4000);
    let runs: Vec<f64> = (0..mask.rows()).map(|row| mask.runs(row).count() as f64).collect();
    // Of all runs together: 249 frames over the mean number of runs, errors in proportion.
    let per_row = Estimate::mean(runs.iter().copied());
    let ours = Estimate { value: 249.0 / per_row.value, se: 249.0 / per_row.value.powi(2) * per_row.se };
    let of_one = ours.se * (runs.len() as f64).sqrt();
    check_figure("length of runs", ours, of_one, 4.35, 0.01);
    let mut lengths = run_lengths(&mask);
    lengths.sort_unstable();
    assert_eq!(lengths[lengths.len() / 2], 5, "median length of runs");
}
