//! Our samplers against measured statistics of the reference's, and against figures computed from their definitions.
//!
//! Every bound is five standard errors, ours and the reference's added in quadrature; `golden/README.md` says where the
//! reference's numbers come from. Keys are fixed, so a test that passes once passes always.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::LazyLock;

use d2v_masking::{
    BlockCount, BlocksConfig, BlocksV2Config, EqualCounts, Fate, Mask, MaskConfig, MaskKey, PaddingMask,
    Positions, RandomConfig, SpansConfig, SpecialTokens, TokenCorruptor, TokensConfig, Vocabulary,
};
use rand::RngExt;
use serde_json::Value;

static REFERENCE: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("golden/reference.json")).unwrap());

/// Rows of a batch in the reference's settings for speech.
const BATCH: usize = 8;

/// A mean or a rate with its standard error.
#[derive(Debug, Clone, Copy)]
struct Estimate {
    value: f64,
    se: f64,
}

impl Estimate {
    /// The mean of independent observations.
    fn mean(observations: impl IntoIterator<Item = f64>) -> Self {
        let all: Vec<f64> = observations.into_iter().collect();
        let n = all.len() as f64;
        let value = all.iter().sum::<f64>() / n;
        let variance = all.iter().map(|x| (x - value).powi(2)).sum::<f64>() / (n - 1.0);
        Self { value, se: (variance / n).sqrt() }
    }

    /// The rate of `hits` in `n` independent trials. The variance is that of (hits + 1) / (n + 2), so that no trial's
    /// failing or succeeding does not stand for certainty.
    fn rate(hits: usize, n: usize) -> Self {
        let p = (hits as f64 + 1.0) / (n as f64 + 2.0);
        Self { value: hits as f64 / n as f64, se: (p * (1.0 - p) / n as f64).sqrt() }
    }

    fn of_reference(entry: &Value) -> Self {
        match entry {
            Value::Array(pair) => Self { value: pair[0].as_f64().unwrap(), se: pair[1].as_f64().unwrap() },
            _ => Self { value: entry["mean"].as_f64().unwrap(), se: entry["mean_se"].as_f64().unwrap() },
        }
    }

    /// The same with a standard error for rows that come in groups of like count.
    fn in_groups_of(self, rows: usize) -> Self {
        Self { se: self.se * (rows as f64).sqrt(), ..self }
    }
}

/// Asks for agreement within five standard errors.
#[track_caller]
fn check(what: &str, ours: Estimate, theirs: Estimate) {
    let bound = 5.0 * ours.se.hypot(theirs.se);
    let gap = (ours.value - theirs.value).abs();
    assert!(gap <= bound, "{what}: {} where the reference has {}, bound {bound}", ours.value, theirs.value);
}

/// Asks for a figure that is known to this many units of its last printed digit.
#[track_caller]
fn check_figure(what: &str, ours: Estimate, figure: f64, half_digit: f64) {
    let gap = (ours.value - figure).abs();
    let bound = 5.0 * ours.se + half_digit;
    assert!(gap <= bound, "{what}: {} where {figure} is expected, bound {bound}", ours.value);
}

fn keys(batch: usize, rows: usize) -> Vec<MaskKey> {
    let first = (batch * rows) as u64;
    (0..rows as u64).map(|row| MaskKey { seed: 11, epoch: 0, sample_id: first + row, clone: 0 }).collect()
}

fn sample(config: &MaskConfig, positions: Positions, rows: usize) -> Mask {
    config.build().unwrap().sample_batch(positions, None, &keys(0, rows)).unwrap()
}

fn setting(entry: &Value, name: &str) -> f64 {
    entry["setting"][name].as_f64().unwrap()
}

fn position_rates<'a>(entry: &'a Value) -> impl Iterator<Item = (usize, Estimate)> + 'a {
    let rates = entry["position_rate"].as_object().unwrap();
    rates.iter().map(|(position, rate)| (position.parse().unwrap(), Estimate::of_reference(rate)))
}

fn rate_at(mask: &Mask, position: usize) -> Estimate {
    Estimate::rate((0..mask.rows()).filter(|&row| mask.row(row)[position]).count(), mask.rows())
}

/// The share of maximal hidden runs that have this length.
fn run_share(mask: &Mask, length: usize) -> Estimate {
    let (mut hits, mut runs) = (0, 0);
    for run in (0..mask.rows()).flat_map(|row| mask.runs(row)) {
        runs += 1;
        hits += usize::from(run.len() == length);
    }
    Estimate::rate(hits, runs)
}

fn check_runs(what: &str, mask: &Mask, bins: &Value, group: usize) {
    for (length, bin) in bins.as_object().unwrap() {
        let ours = run_share(mask, length.parse().unwrap()).in_groups_of(group);
        let theirs = Estimate::of_reference(bin).in_groups_of(group);
        check(&format!("{what}, share of runs of {length}"), ours, theirs);
    }
}

#[test]
fn spans_are_the_references() {
    const BATCHES: usize = 600;
    for (name, entry) in REFERENCE["spans"].as_object().unwrap() {
        let len = setting(entry, "T") as usize;
        let cut = entry["setting"]["require_same_masks"].as_bool().unwrap();
        let equal_counts = if cut { EqualCounts::CutToFewest {} } else { EqualCounts::Off {} };
        let spans =
            MaskConfig::Spans(SpansConfig { equal_counts, ..SpansConfig::default() }).build().unwrap();
        let mut lengths_rng = MaskKey { seed: 12, ..MaskKey::default() }.rng();
        let ragged = name.contains("ragged");
        let group = if cut { BATCH } else { 1 };

        let (mut fractions, mut runs, mut rows) = (Vec::new(), Vec::new(), Vec::new());
        for batch in 0..BATCHES {
            let mut lengths = [len; BATCH];
            if ragged {
                lengths[1..].fill_with(|| lengths_rng.random_range(len / 2..=len));
            }
            let padding = PaddingMask::from_lengths(&lengths, len).unwrap();
            let mask =
                spans.sample_batch(Positions::Line { len }, Some(&padding), &keys(batch, BATCH)).unwrap();
            // One observation per batch: its rows share a count.
            let share = |row: usize| mask.hidden_count(row) as f64 / lengths[row] as f64;
            fractions.push((0..BATCH).map(share).sum::<f64>() / BATCH as f64);
            runs.push((0..BATCH).map(|row| mask.runs(row).count() as f64).sum::<f64>() / BATCH as f64);
            rows.extend((0..BATCH).map(|row| mask.row(row).to_vec()));
        }
        let mask = Mask::from_rows(rows).unwrap();
        let theirs = |what: &str| Estimate::of_reference(&entry[what]).in_groups_of(group);
        check(&format!("{name}, share hidden"), Estimate::mean(fractions), theirs("masked_fraction"));
        check(&format!("{name}, runs per row"), Estimate::mean(runs), theirs("runs_per_row"));
        check_runs(name, &mask, &entry["masked_run_length"], group);
        for (position, theirs) in position_rates(entry) {
            let ours = rate_at(&mask, position).in_groups_of(group);
            if position == len - 1 {
                assert_eq!((ours.value, theirs.value), (0.0, 0.0), "{name}: the last frame is never hidden");
            } else {
                check(&format!("{name}, position {position}"), ours, theirs.in_groups_of(group));
            }
        }
    }
}

#[test]
fn channel_masks_hide_the_published_share() {
    for (mask_prob, percent) in [(0.1, 9.7), (0.25, 22.8), (0.5, 40.1)] {
        let config =
            SpansConfig { equal_counts: EqualCounts::Off {}, ..SpansConfig::channels(mask_prob, 64) };
        let mask = sample(&MaskConfig::Spans(config), Positions::Line { len: 768 }, 4000);
        let shares = (0..mask.rows()).map(|row| 100.0 * mask.hidden_count(row) as f64 / 768.0);
        // The figures are themselves means of draws, to a digit after the point.
        check_figure(&format!("channels, p = {mask_prob}"), Estimate::mean(shares), percent, 0.1);
    }
}

/// The share of neighbouring pairs, beside and below one another, with equal values.
fn equal_neighbours(row: &[bool], side: usize) -> f64 {
    let beside =
        (0..side * side).filter(|cell| cell % side + 1 < side).map(|cell| row[cell] == row[cell + 1]);
    let below = (0..side * (side - 1)).map(|cell| row[cell] == row[cell + side]);
    let equal = beside.chain(below).filter(|&equal| equal).count();
    equal as f64 / (2 * side * (side - 1)) as f64
}

fn check_cells(name: &str, mask: &Mask, entry: &Value, side: usize) {
    let their_rows = entry["rows"].as_u64().unwrap() as usize;
    for cell in 0..side * side {
        let rate = entry["cell_rate"][cell / side][cell % side].as_f64().unwrap();
        let theirs = Estimate::rate((rate * their_rows as f64).round() as usize, their_rows);
        check(&format!("{name}, cell {cell}"), rate_at(mask, cell), theirs);
    }
    let ours = Estimate::mean((0..mask.rows()).map(|row| equal_neighbours(mask.row(row), side)));
    check(&format!("{name}, equal neighbours"), ours, Estimate::of_reference(&entry["equal_neighbours"]));
}

#[test]
fn blocks_are_the_references() {
    for (name, entry) in REFERENCE["blocks"].as_object().unwrap() {
        let target_count = setting(entry, "patches_wanted") as usize;
        let config = MaskConfig::Blocks(BlocksConfig { target_count, ..BlocksConfig::default() });
        let mask = sample(&config, Positions::Grid { height: 14, width: 14 }, 4000);
        let counts: Vec<usize> = (0..mask.rows()).map(|row| mask.hidden_count(row)).collect();
        let ours = Estimate::mean(counts.iter().map(|&count| count as f64));
        check(&format!("{name}, count"), ours, Estimate::of_reference(&entry["masked_count"]));
        let their_rows = entry["rows"].as_u64().unwrap() as usize;
        let exact = entry["reached_exactly"].as_f64().unwrap();
        let theirs = Estimate::rate((exact * their_rows as f64).round() as usize, their_rows);
        let ours =
            Estimate::rate(counts.iter().filter(|&&count| count == target_count).count(), counts.len());
        check(&format!("{name}, rows of exactly {target_count}"), ours, theirs);
        // The reference fell more than 15 short in none of 6,000 rows, hence in fewer than about 1 in 1,000 of ours.
        let short = counts.iter().filter(|&&count| count + 15 < target_count).count();
        assert!(short <= 4, "{name}: {short} rows fell more than 15 short");
        check_cells(name, &mask, entry, 14);
    }
}

#[test]
fn blocks_of_v2_on_grids_are_the_references() {
    for (name, entry) in REFERENCE["blocks_v2_grid"].as_object().unwrap() {
        let side = setting(entry, "grid") as usize;
        let positions = Positions::Grid { height: side, width: side };
        let config = BlocksV2Config {
            mask_prob: setting(entry, "mask_prob"),
            mask_length: setting(entry, "mask_length") as usize,
            mask_prob_adjust: setting(entry, "mask_prob_adjust"),
            ..BlocksV2Config::image_base()
        };
        let mask = sample(&MaskConfig::BlocksV2(config.clone()), positions, 4000);
        check_cells(name, &mask, entry, side);
        let as_laid = MaskConfig::BlocksV2(BlocksV2Config { count: BlockCount::AsLaid, ..config });
        check_as_laid(name, &sample(&as_laid, positions, 4000), entry);
    }
}

fn check_as_laid(name: &str, mask: &Mask, entry: &Value) {
    let ours = Estimate::mean((0..mask.rows()).map(|row| mask.hidden_count(row) as f64 / mask.len() as f64));
    check(&format!("{name}, share as laid"), ours, Estimate::of_reference(&entry["fraction_as_laid"]));
}

#[test]
fn blocks_of_v2_on_lines_are_the_references() {
    for (name, entry) in REFERENCE["blocks_v2_line"].as_object().unwrap() {
        let positions = Positions::Line { len: setting(entry, "T") as usize };
        let config = BlocksV2Config {
            mask_prob: setting(entry, "mask_prob"),
            mask_length: setting(entry, "mask_length") as usize,
            mask_prob_adjust: setting(entry, "mask_prob_adjust"),
            ..BlocksV2Config::audio_base()
        };
        let mask = sample(&MaskConfig::BlocksV2(config.clone()), positions, 3000);
        let count = entry["masked_count"]["mean"].as_f64().unwrap() as usize;
        assert!((0..mask.rows()).all(|row| mask.hidden_count(row) == count), "{name}: exactly {count}");
        let runs = Estimate::mean((0..mask.rows()).map(|row| mask.runs(row).count() as f64));
        check(&format!("{name}, runs per row"), runs, Estimate::of_reference(&entry["runs_per_row"]));
        check_runs(name, &mask, &entry["masked_run_length"], 1);
        for (position, theirs) in position_rates(entry) {
            check(&format!("{name}, position {position}"), rate_at(&mask, position), theirs);
        }
        let as_laid = MaskConfig::BlocksV2(BlocksV2Config { count: BlockCount::AsLaid, ..config });
        check_as_laid(name, &sample(&as_laid, positions, 3000), entry);
    }
}

#[test]
fn tokens_are_the_references() {
    for (name, entry) in REFERENCE["tokens"].as_object().unwrap() {
        let len = setting(entry, "length") as usize;
        let config = TokensConfig {
            mask_prob: setting(entry, "mask_prob"),
            span_length: setting(entry, "mask_multiple_length") as usize,
            leave_prob: setting(entry, "leave_unmasked_prob"),
            random_prob: setting(entry, "random_token_prob"),
            special_tokens: SpecialTokens::Maskable,
            ..TokensConfig::default()
        };
        let corruptor = TokenCorruptor::new(config, Vocabulary::roberta()).unwrap();
        let ids: Vec<u32> = [0].into_iter().chain((1..len as u32 - 1).map(|id| id + 10)).chain([2]).collect();
        let seen: Vec<_> =
            keys(0, 4000).into_iter().map(|key| corruptor.corrupt(&ids, None, key).unwrap()).collect();

        let fates = |fate: Fate| seen.iter().flat_map(|seen| &seen.fates).filter(|&&is| is == fate).count();
        let (masked, replaced, kept) = (fates(Fate::Masked), fates(Fate::Replaced), fates(Fate::Kept));
        let chosen = masked + replaced + kept;
        let their_chosen = entry["of_selected"]["n"].as_u64().unwrap() as usize;
        for (what, hits) in [("mask_token", masked), ("other_token", replaced), ("unchanged", kept)] {
            let rate = entry["of_selected"][what].as_f64().unwrap();
            let theirs = Estimate::rate((rate * their_chosen as f64).round() as usize, their_chosen);
            check(&format!("{name}, {what} of chosen"), Estimate::rate(hits, chosen), theirs);
        }
        let share = |values: &[bool]| values.iter().filter(|&&value| value).count() as f64 / len as f64;
        let mask = Mask::from_rows(seen.iter().map(|seen| seen.chosen().collect::<Vec<_>>())).unwrap();
        let shown = Mask::from_rows(seen.iter().map(|seen| seen.shows_mask().collect::<Vec<_>>())).unwrap();
        for (what, mask) in [("selected_fraction", &mask), ("mask_token_fraction", &shown)] {
            let ours = Estimate::mean((0..mask.rows()).map(|row| share(mask.row(row))));
            check(&format!("{name}, {what}"), ours, Estimate::of_reference(&entry[what]));
        }
        check_runs(name, &mask, &entry["selected_run_length"], 1);
        for (position, theirs) in position_rates(entry) {
            check(&format!("{name}, position {position}"), rate_at(&mask, position), theirs);
        }
    }
}

#[test]
fn random_masks_are_the_references() {
    for (name, entry) in REFERENCE["random"].as_object().unwrap() {
        let len = setting(entry, "length") as usize;
        let config = RandomConfig { mask_prob: setting(entry, "mask_prob"), ..RandomConfig::default() };
        let mask = sample(&MaskConfig::Random(config), Positions::Line { len }, 4000);
        let kept = entry["kept"].as_u64().unwrap() as usize;
        assert!((0..mask.rows()).all(|row| mask.visible(row).count() == kept), "{name}: {kept} kept");
        for (position, theirs) in position_rates(entry) {
            check(&format!("{name}, position {position}"), rate_at(&mask, position), theirs);
        }
    }
}

/// Rows of neighbouring samples, epochs and clones share no more hidden positions than rows of independent draws.
#[test]
fn samples_epochs_and_clones_are_independent() {
    let key = |pair: u64| MaskKey { seed: 13, epoch: 7, sample_id: 1000 + pair, clone: 0 };
    for (config, positions) in [
        (MaskConfig::Blocks(BlocksConfig::default()), Positions::Grid { height: 14, width: 14 }),
        (MaskConfig::Random(RandomConfig::default()), Positions::Line { len: 128 }),
        (MaskConfig::BlocksV2(BlocksV2Config::audio_base()), Positions::Line { len: 128 }),
        (MaskConfig::Tokens(TokensConfig::default()), Positions::Line { len: 128 }),
    ] {
        let sampler = config.build().unwrap();
        let draw = |keys: Vec<MaskKey>| sampler.sample_batch(positions, None, &keys).unwrap();
        let first = draw((0..2000).map(key).collect());
        let shared = |other: &Mask| {
            let both =
                |row: usize| first.row(row).iter().zip(other.row(row)).filter(|(a, b)| **a && **b).count();
            Estimate::mean((0..first.rows()).map(|row| both(row) as f64))
        };
        // Keys that differ in everything, far apart, stand for independence.
        let unrelated = draw(
            (0..2000)
                .map(|pair| MaskKey { seed: 99, epoch: 1 << 40, sample_id: 1 << 50 | pair, clone: 5 })
                .collect(),
        );
        for other in [
            draw((0..2000).map(|pair| MaskKey { sample_id: key(pair).sample_id + 1, ..key(pair) }).collect()),
            draw((0..2000).map(|pair| MaskKey { epoch: 8, ..key(pair) }).collect()),
            draw((0..2000).map(|pair| MaskKey { clone: 1, ..key(pair) }).collect()),
            draw((0..2000).map(|pair| MaskKey { seed: 14, ..key(pair) }).collect()),
        ] {
            check(&format!("{config:?}, shared positions"), shared(&other), shared(&unrelated));
        }
    }
}
