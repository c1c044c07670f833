//! data2vec 2.0's blocks, on lines and grids, hidden or (inverse) left visible.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::error::{check, check_share, check_share_below_one};
use crate::key::domain;
use crate::mask::count_hidden;
use crate::padding::PaddedPositions;
use crate::selection::{choose_distinct, floor_share, set_random};
use crate::{Error, MaskRng, MaskSampler, Positions, Result, RowRequest};

/// Settings of [`BlocksV2`]. The default is data2vec 2.0's for image Base.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BlocksV2Config {
    /// The share R of positions to hide, from 0 up to but not 1. Default 0.8.
    pub mask_prob: f64,
    /// The side B of a block in positions, at least 2; for single positions there is [`crate::Random`]. Default 3.
    pub mask_length: usize,
    /// A: what is added to the share of positions for which blocks are drawn, 0 to 1, since blocks overlap. Default 0.07.
    pub mask_prob_adjust: f64,
    /// Whether the blocks are what stays **visible**. Default true.
    pub inverse: bool,
    /// Further blocks as a share of those drawn, at least 0. Default 0. The reference's `mask_dropout`.
    pub extra_blocks: f64,
    /// How blocks are laid. Default: as windows around random centres.
    pub placement: BlockPlacement,
    /// Whether single positions bring the count to what it should be. Default: they do.
    pub count: BlockCount,
    /// Whether padding can be hidden. Default: never.
    pub padding: PaddedPositions,
}

impl Default for BlocksV2Config {
    fn default() -> Self {
        Self::image_base()
    }
}

impl BlocksV2Config {
    /// Image Base: 39 of 196 patches stay visible, in blocks of 3 x 3.
    #[must_use]
    pub fn image_base() -> Self {
        Self {
            mask_prob: 0.8,
            mask_length: 3,
            mask_prob_adjust: 0.07,
            inverse: true,
            extra_blocks: 0.0,
            placement: BlockPlacement::Windows,
            count: BlockCount::Exact,
            padding: PaddedPositions::NeverHidden,
        }
    }

    /// Image Large and Huge: 49 of 196 or 64 of 256 patches stay visible.
    #[must_use]
    pub fn image_large() -> Self {
        Self { mask_prob: 0.75, mask_prob_adjust: 0.1, ..Self::image_base() }
    }

    /// Audio Base: 249 of 499 frames are hidden, in blocks of 5.
    ///
    /// The paper describes inverse blocks for speech too; the published configurations hide the blocks, and so does this.
    #[must_use]
    pub fn audio_base() -> Self {
        Self { mask_prob: 0.5, mask_length: 5, mask_prob_adjust: 0.05, inverse: false, ..Self::image_base() }
    }

    /// Audio Large: 274 of 499 frames are hidden.
    #[must_use]
    pub fn audio_large() -> Self {
        Self { mask_prob: 0.55, mask_prob_adjust: 0.1, ..Self::audio_base() }
    }

    /// Checks every setting's range.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the first that is outside.
    pub fn validate(&self) -> Result<()> {
        check_share_below_one("mask_prob", self.mask_prob)?;
        let rule = "at least 2 (single positions: kind = \"random\")";
        check("mask_length", self.mask_length as f64, self.mask_length >= 2, rule)?;
        check_share("mask_prob_adjust", self.mask_prob_adjust)?;
        let finite = self.extra_blocks.is_finite() && self.extra_blocks >= 0.0;
        check("extra_blocks", self.extra_blocks, finite, "finite and at least 0")
    }

    /// The share of positions that blocks should cover: p.
    fn covered(&self) -> f64 {
        if self.inverse { 1.0 - self.mask_prob } else { self.mask_prob }
    }
}

/// How the blocks of [`BlocksV2`] are laid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlockPlacement {
    /// Windows around uniformly random centres, which may coincide; cut off at the border.
    #[default]
    Windows,
    /// Such windows, grown into neighbouring positions until they cover as much as they should.
    GrownWindows,
    /// Tiles of a regular tiling from the first position on, each taken at most once; cut off at the border.
    Tiles,
}

/// Whether [`BlocksV2`] corrects the number of positions that blocks cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlockCount {
    /// Uniformly random single positions are added or taken away until the count is exact.
    #[default]
    Exact,
    /// Blocks stay as they were laid, and rows differ in their count.
    AsLaid,
}

/// Hides blocks, or everything but blocks (data2vec 2.0, section 3.2).
///
/// With T positions, p = R, or 1 - R where `inverse`: `floor(T (p + A) / B^2)` windows of B x B (on a line:
/// `floor(T (p + A) / B)` of B) around random centres, from c - floor(B/2) on; then random single positions until exactly
/// `floor(T p)` are covered; what is covered is hidden or, where `inverse`, all that is visible. T is the row's real
/// length, so rows of one real length hide the same number.
///
/// Differs from the reference: grids need not be square; and a row's mask is drawn for its own length, not for an
/// uncropped one, so that no row hides more or less than its batch believes.
///
/// # Errors
/// When drawing: [`Error::RowTooShort`] for a row that is all padding; [`Error::NothingVisible`] where no position would
/// stay visible, which takes very few positions, or blocks that are left as laid.
///
/// ```
/// use d2v_masking::{BlocksV2, BlocksV2Config, MaskKey, MaskSampler, Positions};
///
/// let keys: Vec<MaskKey> = (0..16).map(|clone| MaskKey { clone, ..Default::default() }).collect();
/// let sampler = BlocksV2::new(BlocksV2Config::image_base())?;
/// let mask = sampler.sample_batch(Positions::Grid { height: 14, width: 14 }, None, &keys)?;
/// assert!((0..16).all(|row| mask.hidden_count(row) == 157));
/// # Ok::<(), d2v_masking::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct BlocksV2 {
    config: BlocksV2Config,
}

impl BlocksV2 {
    /// A sampler with these settings.
    ///
    /// # Errors
    /// Those of [`BlocksV2Config::validate`].
    pub fn new(config: BlocksV2Config) -> Result<Self> {
        config.validate()?;
        Ok(Self { config })
    }

    /// The number of blocks for `places` places, of which each block takes `area`.
    fn block_count(&self, places: usize, area: usize) -> usize {
        let share = (self.config.covered() + self.config.mask_prob_adjust) * (1.0 + self.config.extra_blocks);
        floor_share(places, share / area as f64)
    }

    fn lay_windows(&self, sheet: &Sheet, on: &mut [bool], rng: &mut MaskRng) {
        for _ in 0..self.block_count(on.len(), sheet.block_height * sheet.block_width) {
            let centre = rng.random_range(0..on.len() as u32) as usize;
            let top = (centre / sheet.width) as isize - (sheet.block_height / 2) as isize;
            let left = (centre % sheet.width) as isize - (sheet.block_width / 2) as isize;
            sheet.turn_on(on, top, left);
        }
    }

    fn lay_tiles(&self, sheet: &Sheet, on: &mut [bool], scratch: &mut Vec<u32>, rng: &mut MaskRng) {
        let across = sheet.width.div_ceil(sheet.block_width);
        let tiles = sheet.height.div_ceil(sheet.block_height) * across;
        for &tile in choose_distinct(tiles, self.block_count(tiles, 1), scratch, rng) {
            let (y, x) = (tile as usize / across, tile as usize % across);
            sheet.turn_on(on, (y * sheet.block_height) as isize, (x * sheet.block_width) as isize);
        }
    }
}

impl MaskSampler for BlocksV2 {
    fn fill_row(&self, request: &RowRequest, scratch: &mut Vec<u32>, row: &mut [bool]) -> Result<()> {
        let RowRequest { positions, real_len, key } = *request;
        if real_len == 0 {
            let sample_id = key.sample_id;
            return Err(Error::RowTooShort { sampler: "block", sample_id, real_len, need: 1 });
        }
        let drawn = self.config.padding.drawn_len(real_len, row.len());
        let sheet = Sheet::new(positions, drawn, self.config.mask_length);
        let on = &mut row[..drawn];
        let target = floor_share(drawn, self.config.covered());
        let mut rng = key.rng();
        match self.config.placement {
            BlockPlacement::Windows => self.lay_windows(&sheet, on, &mut rng),
            BlockPlacement::GrownWindows => {
                self.lay_windows(&sheet, on, &mut rng);
                sheet.grow(on, target, &mut rng);
            }
            BlockPlacement::Tiles => self.lay_tiles(&sheet, on, scratch, &mut rng),
        }
        if self.config.count == BlockCount::Exact {
            let mut rng = key.rng_for(domain::EQUALISE);
            let count = count_hidden(on);
            set_random(on, count < target, count.abs_diff(target), scratch, &mut rng);
        }
        if self.config.inverse {
            on.iter_mut().for_each(|value| *value = !*value);
        }
        if count_hidden(on) == drawn {
            return Err(Error::NothingVisible { sample_id: key.sample_id, real_len });
        }
        Ok(())
    }
}

/// The positions as rows of a rectangle, and a block's sides. A line is a rectangle one position high.
struct Sheet {
    height: usize,
    width: usize,
    block_height: usize,
    block_width: usize,
}

impl Sheet {
    /// The first `drawn` positions, which on a grid are all.
    fn new(positions: Positions, drawn: usize, side: usize) -> Self {
        match positions {
            Positions::Line { .. } => {
                Self { height: 1, width: drawn, block_height: 1, block_width: side.min(drawn) }
            }
            Positions::Grid { height, width } => {
                Self { height, width, block_height: side.min(height), block_width: side.min(width) }
            }
        }
    }

    /// Turns on the part of a block that lies within the sheet. The reference moves positions beyond the border onto it;
    /// they fall on positions that the block covers already, since its centre lies within.
    fn turn_on(&self, on: &mut [bool], top: isize, left: isize) {
        let clip = |from: isize, side: usize, limit: usize| {
            from.max(0) as usize..((from + side as isize).max(0) as usize).min(limit)
        };
        let columns = clip(left, self.block_width, self.width);
        for y in clip(top, self.block_height, self.height) {
            on[y * self.width + columns.start..y * self.width + columns.end].fill(true);
        }
    }

    /// Turns on random neighbours (above, below, left, right) of what is on, ring by ring, until `target` are on or
    /// nothing is left to grow from.
    fn grow(&self, on: &mut [bool], target: usize, rng: &mut MaskRng) {
        loop {
            let missing = target.saturating_sub(count_hidden(on));
            let mut ring: Vec<bool> =
                (0..on.len()).map(|position| !on[position] && self.has_neighbour(on, position)).collect();
            let excess = count_hidden(&ring).saturating_sub(missing);
            set_random(&mut ring, false, excess, &mut Vec::new(), rng);
            if count_hidden(&ring) == 0 {
                return;
            }
            on.iter_mut().zip(ring).for_each(|(on, grown)| *on |= grown);
        }
    }

    fn has_neighbour(&self, on: &[bool], position: usize) -> bool {
        let (y, x) = (position / self.width, position % self.width);
        (y > 0 && on[position - self.width])
            || (y + 1 < self.height && on[position + self.width])
            || (x > 0 && on[position - 1])
            || (x + 1 < self.width && on[position + 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MaskKey;
    use crate::error::check_setting;

    #[track_caller]
    fn check_counts(config: BlocksV2Config, positions: Positions, blocks: usize, hidden: usize) {
        let side = if matches!(positions, Positions::Line { .. }) { 1 } else { config.mask_length };
        let sampler = BlocksV2::new(config).unwrap();
        assert_eq!(sampler.block_count(positions.len(), side * sampler.config.mask_length), blocks);
        let row = sampler.sample_row(positions, positions.len(), MaskKey::default()).unwrap();
        assert_eq!(count_hidden(&row), hidden);
    }

    /// The table of published settings in data2vec 2.0.
    #[test]
    fn published_settings_give_their_counts() {
        let grid = |side| Positions::Grid { height: side, width: side };
        let frames = Positions::Line { len: 499 };
        check_counts(BlocksV2Config::image_base(), grid(14), 5, 157);
        check_counts(BlocksV2Config::image_large(), grid(14), 7, 147);
        check_counts(BlocksV2Config::image_large(), grid(16), 9, 192);
        check_counts(BlocksV2Config::audio_base(), frames, 54, 249);
        check_counts(BlocksV2Config::audio_large(), frames, 64, 274);
    }

    #[test]
    fn impossible_settings_are_named() {
        let default = BlocksV2Config::default;
        check_setting(BlocksV2Config { mask_prob: 1.0, ..default() }.validate(), "mask_prob");
        check_setting(BlocksV2Config { mask_length: 1, ..default() }.validate(), "mask_length");
        check_setting(BlocksV2Config { mask_prob_adjust: -0.1, ..default() }.validate(), "mask_prob_adjust");
        check_setting(BlocksV2Config { extra_blocks: f64::NAN, ..default() }.validate(), "extra_blocks");
    }

    #[track_caller]
    fn check_row(config: BlocksV2Config, real_len: usize, expected: &Result<usize>) {
        let row = BlocksV2::new(config).unwrap().sample_row(
            Positions::Line { len: 20 },
            real_len,
            MaskKey::default(),
        );
        assert_eq!(row.map(|row| count_hidden(&row)), *expected);
    }

    #[test]
    fn edges_are_as_documented() {
        let audio = BlocksV2Config::audio_base;
        check_row(audio(), 1, &Ok(0));
        check_row(audio(), 3, &Ok(1));
        check_row(BlocksV2Config { mask_prob: 0.0, ..audio() }, 20, &Ok(0));
        check_row(BlocksV2Config { mask_prob: 0.0, inverse: true, ..audio() }, 20, &Ok(0));
        check_row(BlocksV2Config { padding: PaddedPositions::CountAsReal, ..audio() }, 3, &Ok(10));
        let too_short = Error::RowTooShort { sampler: "block", sample_id: 0, real_len: 0, need: 1 };
        check_row(audio(), 0, &Err(too_short));
        let nothing = |real_len| Error::NothingVisible { sample_id: 0, real_len };
        check_row(BlocksV2Config { inverse: true, ..audio() }, 1, &Err(nothing(1)));
        let as_laid = BlocksV2Config { count: BlockCount::AsLaid, mask_length: 40, ..audio() };
        check_row(BlocksV2Config { mask_prob: 0.9, extra_blocks: 9.0, ..as_laid }, 20, &Err(nothing(20)));
    }

    /// With counts as laid, growth reaches the target itself and what is on hangs together.
    #[test]
    fn growth_reaches_the_target_by_neighbours() {
        let config = BlocksV2Config {
            mask_prob: 0.5,
            mask_prob_adjust: 0.0,
            inverse: false,
            mask_length: 9,
            placement: BlockPlacement::GrownWindows,
            count: BlockCount::AsLaid,
            ..Default::default()
        };
        // One window of 81 at most of 196: growth has to add the rest, around it.
        let positions = Positions::Grid { height: 14, width: 14 };
        let row = BlocksV2::new(config).unwrap().sample_row(positions, 196, MaskKey::default()).unwrap();
        assert_eq!(count_hidden(&row), 98);
        let sheet = Sheet::new(positions, 196, 9);
        assert!((0..196).all(|position| !row[position] || sheet.has_neighbour(&row, position)));
    }

    #[test]
    fn tiles_do_not_overlap() {
        let config = BlocksV2Config {
            mask_prob: 0.5,
            mask_prob_adjust: 0.0,
            inverse: false,
            placement: BlockPlacement::Tiles,
            count: BlockCount::AsLaid,
            ..Default::default()
        };
        // 4 x 6 tiles of 3 x 3, of which half are taken.
        let positions = Positions::Grid { height: 12, width: 18 };
        let row = BlocksV2::new(config).unwrap().sample_row(positions, 216, MaskKey::default()).unwrap();
        assert_eq!(count_hidden(&row), 12 * 9);
        for (position, &on) in row.iter().enumerate() {
            let (y, x) = (position / 18, position % 18);
            assert_eq!(on, row[(y - y % 3) * 18 + x - x % 3]);
        }
    }
}
