//! wav2vec 2.0's spans: runs of frames or channels (speech, data2vec 1.0 and fine-tuning).

use rand::RngExt;
use rand_distr::{Distribution, Normal, Poisson};

use crate::key::domain;
use crate::mask::count_hidden;
use crate::sampler::for_each_row;
use crate::selection::{round_randomly, set_random};
use crate::spans_config::{EqualCounts, Overlap, SpanLengths, SpanRounding, SpansConfig};
use crate::spans_placement::{lay_apart, lay_overlapping};
use crate::{Error, MaskKey, MaskRng, MaskSampler, Result, RowRequest};

/// Hides runs of positions (wav2vec 2.0, section 3.1 and appendix A; data2vec 1.0 for speech).
///
/// Per row: `floor(p T / l + U)` spans of T real positions, at least `min_masks`; distinct uniform starts; the union is
/// hidden. Then, over the batch, the counts are made equal. With the default settings and eight rows of ten seconds
/// (499 frames) 45 % are hidden, or 49 % before the counts are made equal. Padding is never hidden.
///
/// Differs from the reference:
/// - A row in which no span is drawn (`min_masks` 0) hides nothing; the reference stops, or hides one span, depending on
///   how lengths are drawn. Spans whose drawn lengths are all 0 become one of `mask_length`, as there.
/// - A row never hides all its real positions; the reference stops. Spans are at most T - 1 long and fewer than T, and
///   where they cover the row all the same, one uniformly random position is shown.
/// - The random positions that equalise counts are each row's own draw, not the last row's.
///
/// # Errors
/// When drawing: [`Error::NeedsLine`]; [`Error::RowTooShort`] where a row has fewer than two real positions (one to
/// hide, one to show) or too few for `min_space`; [`Error::CannotFill`] with [`EqualCounts::FillToMost`].
///
/// ```
/// use d2v_masking::{MaskKey, MaskSampler, PaddingMask, Positions, Spans, SpansConfig};
///
/// let keys = [1, 2].map(|sample_id| MaskKey { seed: 5, epoch: 0, sample_id, clone: 0 });
/// let padding = PaddingMask::from_lengths(&[100, 70], 100)?;
/// let spans = Spans::new(SpansConfig::default())?;
/// let mask = spans.sample_batch(Positions::Line { len: 100 }, Some(&padding), &keys)?;
/// assert_eq!(mask.hidden_count(0), mask.hidden_count(1));
/// assert!(mask.hidden(1).all(|position| position < 70));
/// # Ok::<(), d2v_masking::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Spans {
    config: SpansConfig,
    lengths: Lengths,
}

/// The settings' lengths, ready to draw from.
#[derive(Debug, Clone)]
enum Lengths {
    Static,
    Uniform { min: usize },
    Normal(Normal<f64>),
    Poisson(Poisson<f64>),
}

impl Spans {
    /// A sampler with these settings.
    ///
    /// # Errors
    /// Those of [`SpansConfig::validate`].
    pub fn new(config: SpansConfig) -> Result<Self> {
        config.validate()?;
        let mean = config.mask_length as f64;
        let lengths = match config.lengths {
            SpanLengths::Static {} => Lengths::Static,
            SpanLengths::Uniform { min } => Lengths::Uniform { min },
            SpanLengths::Normal { stdev } => Lengths::Normal(
                Normal::new(mean, stdev).expect("the standard deviation was checked to be finite"),
            ),
            SpanLengths::Poisson {} => match Poisson::new(mean) {
                Ok(poisson) => Lengths::Poisson(poisson),
                Err(_) => {
                    let rule = "short enough to be the mean of Poisson lengths";
                    return Err(Error::Setting { setting: "mask_length", value: mean, rule });
                }
            },
        };
        Ok(Self { config, lengths })
    }

    /// The number of spans in a row of `real_len` positions, before it is limited to what the row can hold.
    fn draw_count(&self, real_len: usize, key: MaskKey, rng: &mut MaskRng) -> usize {
        let SpansConfig { mask_prob, mask_length, min_masks, rounding, fit_side_by_side, .. } = self.config;
        let expected = mask_prob * real_len as f64 / mask_length as f64;
        let count = match rounding {
            SpanRounding::PerRow => round_randomly(expected, rng),
            SpanRounding::PerEpoch => {
                let shared = MaskKey { sample_id: 0, clone: 0, ..key };
                round_randomly(expected, &mut shared.rng_for(domain::ROUND))
            }
        };
        let count = count.max(min_masks);
        if fit_side_by_side { count.min((real_len / mask_length).max(1)) } else { count }
    }

    /// The lengths of `count` spans, none above `most`; one span where all would be empty.
    fn draw_lengths(&self, count: usize, most: usize, rng: &mut MaskRng) -> Vec<usize> {
        let l = self.config.mask_length;
        let mut draw = || match &self.lengths {
            Lengths::Static => l,
            Lengths::Uniform { min } => rng.random_range(*min..=l.saturating_mul(2)),
            Lengths::Normal(normal) => normal.sample(rng).round().max(1.0) as usize,
            Lengths::Poisson(poisson) => poisson.sample(rng) as usize,
        };
        let lengths: Vec<usize> = (0..count).map(|_| draw().min(most)).collect();
        if lengths.iter().all(|&length| length == 0) { vec![l.min(most)] } else { lengths }
    }

    /// Brings one row to the batch's count and shows what `mask_dropout` gives back.
    fn settle_row(
        &self,
        request: &RowRequest,
        target: Option<usize>,
        scratch: &mut Vec<u32>,
        row: &mut [bool],
    ) -> Result<()> {
        let RowRequest { real_len, key, .. } = *request;
        let mut count = count_hidden(row);
        if let Some(target) = target
            && target != count
        {
            let mut rng = key.rng_for(domain::EQUALISE);
            if target < count {
                set_random(row, false, count - target, scratch, &mut rng);
            } else {
                let hide_padding =
                    matches!(self.config.equal_counts, EqualCounts::FillToMost { hide_padding: true });
                let fillable = if hide_padding { row.len() } else { real_len };
                if target >= fillable {
                    return Err(Error::CannotFill { sample_id: key.sample_id, real_len, count: target });
                }
                set_random(&mut row[..fillable], true, target - count, scratch, &mut rng);
            }
            count = target;
        }
        let shown = (self.config.mask_dropout * count as f64).round_ties_even() as usize;
        if shown > 0 {
            set_random(row, false, shown, scratch, &mut key.rng_for(domain::DROP));
        }
        Ok(())
    }
}

impl MaskSampler for Spans {
    fn fill_row(&self, request: &RowRequest, scratch: &mut Vec<u32>, row: &mut [bool]) -> Result<()> {
        request.positions.line("span")?;
        let RowRequest { real_len, key, .. } = *request;
        let min_space = match self.config.overlap {
            Overlap::Allowed {} => 0,
            Overlap::Forbidden { min_space } => min_space,
        };
        // One position to hide, and one to show: the space beside it where spans keep one.
        let space = min_space.max(1);
        if real_len <= space {
            let (sample_id, need) = (key.sample_id, space.saturating_add(1));
            return Err(Error::RowTooShort { sampler: "span", sample_id, real_len, need });
        }
        let row = &mut row[..real_len];
        let mut rng = key.rng();
        let count = self.draw_count(real_len, key, &mut rng).min(real_len - 1);
        if count == 0 {
            return Ok(());
        }
        let most = real_len - space;
        let start_range = self.config.start_range;
        match (&self.lengths, self.config.overlap) {
            (Lengths::Static, Overlap::Allowed {}) => {
                let length = self.config.mask_length.min(most);
                lay_overlapping(
                    row,
                    std::iter::repeat_n(length, count),
                    length,
                    start_range,
                    scratch,
                    &mut rng,
                );
            }
            (_, Overlap::Allowed {}) => {
                let lengths = self.draw_lengths(count, most, &mut rng);
                let shortest = lengths.iter().copied().min().unwrap_or(0);
                lay_overlapping(row, lengths.into_iter(), shortest, start_range, scratch, &mut rng);
            }
            (_, Overlap::Forbidden { .. }) => {
                lay_apart(row, self.draw_lengths(count, most, &mut rng), min_space, &mut rng);
            }
        }
        if count_hidden(row) == real_len {
            row[rng.random_range(0..real_len as u32) as usize] = false;
        }
        Ok(())
    }

    fn settle_batch(&self, rows: &mut [(RowRequest, &mut [bool])]) -> Result<()> {
        let counts = rows.iter().map(|(_, row)| count_hidden(row));
        let target = match self.config.equal_counts {
            EqualCounts::Off {} => None,
            EqualCounts::CutToFewest {} => counts.min(),
            EqualCounts::FillToMost { .. } => counts.max(),
        };
        if target.is_none() && self.config.mask_dropout == 0.0 {
            return Ok(());
        }
        for_each_row(rows, |request, scratch, row| self.settle_row(request, target, scratch, row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mask, PaddingMask, Positions, StartRange};

    /// Draws many rows of `real_len` real positions in a line of `len`, each a batch of its own.
    fn draw(config: &SpansConfig, real_len: usize, len: usize) -> Result<Mask> {
        let spans = Spans::new(config.clone())?;
        let rows: Result<Vec<_>> = (0..300)
            .map(|sample_id| {
                spans.sample_row(
                    Positions::Line { len },
                    real_len,
                    MaskKey { sample_id, ..MaskKey::default() },
                )
            })
            .collect();
        Mask::from_rows(rows?)
    }

    #[track_caller]
    fn check_short(config: &SpansConfig, need: usize) {
        for real_len in 0..need {
            let expected = Error::RowTooShort { sampler: "span", sample_id: 0, real_len, need };
            assert_eq!(draw(config, real_len, 8), Err(expected));
        }
        let mask = draw(config, need, 8).unwrap();
        for row in 0..mask.rows() {
            assert!((1..need).contains(&mask.hidden_count(row)), "{mask}");
        }
    }

    #[test]
    fn rows_without_room_are_refused_and_the_shortest_others_work() {
        check_short(&SpansConfig::default(), 2);
        check_short(&SpansConfig { overlap: Overlap::Forbidden { min_space: 0 }, ..Default::default() }, 2);
        check_short(&SpansConfig { overlap: Overlap::Forbidden { min_space: 3 }, ..Default::default() }, 4);
        check_short(&SpansConfig::transformers(1.0, 3), 2);
    }

    #[test]
    fn extreme_shares_leave_something_to_see() {
        for mask_prob in [0.0, 1.0] {
            for mask_length in [1, 3, 50] {
                for min_masks in [1, 7, 100] {
                    let config = SpansConfig { mask_prob, mask_length, min_masks, ..Default::default() };
                    let mask = draw(&config, 12, 16).unwrap();
                    for row in 0..mask.rows() {
                        assert!((1..12).contains(&mask.hidden_count(row)), "{config:?}");
                        assert_eq!(count_hidden(&mask.row(row)[12..]), 0);
                    }
                }
            }
        }
    }

    #[test]
    fn without_spans_nothing_is_hidden() {
        let mask = draw(&SpansConfig::channels(0.0, 4), 16, 16).unwrap();
        assert_eq!(mask.total_hidden(), 0);
    }

    #[test]
    fn only_the_wider_start_range_reaches_the_last_position() {
        let reached = |start_range| {
            let mask = draw(&SpansConfig { start_range, ..Default::default() }, 50, 50).unwrap();
            (0..mask.rows()).filter(|&row| mask.row(row)[49]).count()
        };
        assert_eq!(reached(StartRange::BeforeLast), 0);
        assert!(reached(StartRange::ToLast) > 0);
    }

    #[test]
    fn spans_side_by_side_are_no_more_than_fit() {
        let config = SpansConfig { min_masks: 9, ..SpansConfig::transformers(0.1, 10) };
        let mask = draw(&config, 35, 35).unwrap();
        assert!((0..mask.rows()).all(|row| (10..=30).contains(&mask.hidden_count(row))));
    }

    #[test]
    fn one_rounding_draw_per_epoch_is_shared() {
        // 3.5 spans of one: three or four, apart from overlap, which spans of one do not have.
        let config = |rounding| SpansConfig {
            mask_prob: 0.1,
            mask_length: 1,
            rounding,
            equal_counts: EqualCounts::Off {},
            ..Default::default()
        };
        let counts = |rounding| {
            let mask = draw(&config(rounding), 35, 35).unwrap();
            let mut counts: Vec<_> = (0..mask.rows()).map(|row| mask.hidden_count(row)).collect();
            counts.sort_unstable();
            counts.dedup();
            counts
        };
        assert_eq!(counts(SpanRounding::PerRow), [3, 4]);
        assert_eq!(counts(SpanRounding::PerEpoch).len(), 1);
    }

    #[test]
    fn empty_poisson_lengths_become_one_span() {
        let config = SpansConfig {
            mask_prob: 0.0,
            mask_length: 1,
            lengths: SpanLengths::Poisson {},
            equal_counts: EqualCounts::Off {},
            ..Default::default()
        };
        // One span per row, whose length is 0 in exp(-1) of the draws.
        let mask = draw(&config, 30, 30).unwrap();
        assert!((0..mask.rows()).all(|row| mask.hidden_count(row) >= 1));
    }

    /// Empty spans among others do not lead those beyond the row's end.
    #[test]
    fn a_row_with_some_empty_spans_still_hides_something() {
        let config = SpansConfig {
            mask_prob: 0.0,
            mask_length: 1,
            lengths: SpanLengths::Uniform { min: 0 },
            start_range: StartRange::ToLast,
            min_masks: 2,
            equal_counts: EqualCounts::Off {},
            ..Default::default()
        };
        let mask = draw(&config, 4, 4).unwrap();
        assert!((0..mask.rows()).all(|row| mask.hidden_count(row) >= 1));
    }

    #[track_caller]
    fn check_fill(lengths: [usize; 2], hide_padding: bool, expected: std::result::Result<(), Error>) {
        let config =
            SpansConfig { equal_counts: EqualCounts::FillToMost { hide_padding }, ..Default::default() };
        let keys = [0, 1].map(|sample_id| MaskKey { sample_id, ..MaskKey::default() });
        let padding = PaddingMask::from_lengths(&lengths, 200).unwrap();
        let mask =
            Spans::new(config).unwrap().sample_batch(Positions::Line { len: 200 }, Some(&padding), &keys);
        match (mask, expected) {
            (Ok(mask), Ok(())) => {
                assert_eq!(mask.hidden_count(0), mask.hidden_count(1));
                assert!(hide_padding || mask.hidden(1).all(|position| position < lengths[1]));
            }
            (Err(Error::CannotFill { sample_id, .. }), Err(Error::CannotFill { sample_id: wanted, .. })) => {
                assert_eq!(sample_id, wanted);
            }
            (mask, expected) => panic!("{mask:?} where {expected:?} was expected"),
        }
    }

    #[test]
    fn filling_hides_padding_only_if_told_to() {
        let impossible = Error::CannotFill { sample_id: 1, real_len: 20, count: 0 };
        check_fill([200, 150], false, Ok(()));
        check_fill([200, 150], true, Ok(()));
        check_fill([200, 20], false, Err(impossible));
        check_fill([200, 20], true, Ok(()));
    }
}
