//! Against the reference's own statistics: `golden/README.md` says where they come from.

use std::sync::LazyLock;

use d2v_masking::{
    BlockCount, BlocksConfig, BlocksV2Config, EqualCounts, Fate, Mask, MaskConfig, MaskKey, PaddingMask,
    Positions, RandomConfig, SpansConfig, SpecialTokens, TokenCorruptor, TokensConfig, Vocabulary,
};
use rand::RngExt;
use serde_json::Value;

use crate::{Estimate, check, keys, rate_at, sample};

static REFERENCE: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../golden/reference.json")).unwrap());

/// Rows of a batch in the reference's settings for speech.
const BATCH: usize = 8;

fn setting(entry: &Value, name: &str) -> f64 {
    entry["setting"][name].as_f64().unwrap()
}

fn position_rates<'a>(entry: &'a Value) -> impl Iterator<Item = (usize, Estimate)> + 'a {
    let rates = entry["position_rate"].as_object().unwrap();
    rates.iter().map(|(position, rate)| (position.parse().unwrap(), Estimate::of_reference(rate)))
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

/// How many windows of 3 x 3 are visible as a whole; they may overlap.
fn visible_windows(row: &[bool], side: usize) -> usize {
    let corners = (0..side - 2).flat_map(|top| (0..side - 2).map(move |left| (top, left)));
    let visible = |&(top, left): &(usize, usize)| {
        (top..top + 3).all(|y| row[y * side + left..y * side + left + 3].iter().all(|&hidden| !hidden))
    };
    corners.filter(visible).count()
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
        let config = blocks_v2(entry, &BlocksV2Config::image_base());
        let mask = sample(&MaskConfig::BlocksV2(config.clone()), positions, 4000);
        check_cells(name, &mask, entry, side);
        let windows = Estimate::mean((0..mask.rows()).map(|row| visible_windows(mask.row(row), side) as f64));
        let theirs = Estimate::of_reference(&entry["visible_3x3_windows"]);
        check(&format!("{name}, visible windows of 3 x 3"), windows, theirs);
        let as_laid = MaskConfig::BlocksV2(BlocksV2Config { count: BlockCount::AsLaid, ..config });
        check_as_laid(name, &sample(&as_laid, positions, 4000), entry);
    }
}

/// The recipe with the settings of an entry.
fn blocks_v2(entry: &Value, recipe: &BlocksV2Config) -> BlocksV2Config {
    BlocksV2Config {
        mask_prob: setting(entry, "mask_prob"),
        mask_length: setting(entry, "mask_length") as usize,
        mask_prob_adjust: setting(entry, "mask_prob_adjust"),
        ..recipe.clone()
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
        let config = blocks_v2(entry, &BlocksV2Config::audio_base());
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
