//! Relative position bias of image patches: one table for all blocks (spec 2.1).

use crate::{Error, Result};
use d2v_torch::{Init, Scope};
use tch::Tensor;

/// A learned bias per head for each offset between two patches, and three more rows for the class token.
///
/// Patch `i` looking at patch `j` reads row `(dy + side - 1) * (2 side - 1) + (dx + side - 1)`, where `(dy, dx)` is
/// the place of `i` minus that of `j`. The last three rows are class to patch, patch to class, class to class.
#[derive(Debug)]
pub struct RelativeBias {
    table: Tensor,
    side: i64,
    class_token: bool,
    index: Tensor,
}

impl RelativeBias {
    /// Registers `relative_position_bias_table` `[(2 side - 1)² + 3 or 0, heads]`, starting at zero.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn new(scope: &Scope<'_>, side: i64, heads: i64, class_token: bool) -> Result<RelativeBias> {
        let rows = (2 * side - 1).pow(2) + if class_token { 3 } else { 0 };
        Ok(RelativeBias {
            table: scope.param("relative_position_bias_table", &[rows, heads], Init::Constant(0.0))?,
            side,
            class_token,
            index: pair_index(side, side, class_token).to_device(scope.device()),
        })
    }

    /// The bias `[1, H, L, L]` for a grid of patches, contiguous along the last axis; `L` counts the class token.
    /// For a grid other than the table's own the table is interpolated.
    ///
    /// # Errors
    /// If the grid is empty.
    pub fn bias(&self, side_y: i64, side_x: i64) -> Result<Tensor> {
        let l = side_y * side_x + i64::from(self.class_token);
        let heads = self.table.size()[1];
        let rows = if (side_y, side_x) == (self.side, self.side) {
            self.table.index_select(0, &self.index)
        } else {
            let table = interpolate_table(&self.table, self.side, side_y, side_x)?;
            let index = pair_index(side_y, side_x, self.class_token).to_device(self.table.device());
            table.index_select(0, &index)
        };
        Ok(rows.view([l, l, heads]).permute([2, 0, 1]).contiguous().unsqueeze(0))
    }
}

/// Table rows for all pairs of positions, `[L²]` int64, query by query.
fn pair_index(side_y: i64, side_x: i64, class_token: bool) -> Tensor {
    let (span_y, span_x) = (2 * side_y - 1, 2 * side_x - 1);
    let patches = side_y * side_x;
    let offsets = span_y * span_x;
    let mut index = Vec::with_capacity(((patches + 1) * (patches + 1)) as usize);
    if class_token {
        index.push(offsets + 2);
        index.extend(std::iter::repeat_n(offsets, patches as usize));
    }
    for i in 0..patches {
        if class_token {
            index.push(offsets + 1);
        }
        index.extend((0..patches).map(|j| {
            let dy = i / side_x - j / side_x + side_y - 1;
            let dx = i % side_x - j % side_x + side_x - 1;
            dy * span_x + dx
        }));
    }
    Tensor::from_slice(&index)
}

/// A table for a grid of `side_y` by `side_x` patches from one for `side` by `side`, by bicubic interpolation of the
/// offsets' part; further rows (the class token's) are kept.
///
/// The largest offset maps to the largest offset and 0 to 0, so the same size gives the same table.
///
/// # Errors
/// If the table's rows are not those of `side`, or a new side is below 1.
pub fn interpolate_table(table: &Tensor, side: i64, side_y: i64, side_x: i64) -> Result<Tensor> {
    let (rows, heads) = (table.size()[0], table.size().get(1).copied().unwrap_or(0));
    let offsets = (2 * side - 1).pow(2);
    if rows < offsets || side_y < 1 || side_x < 1 {
        return Err(Error::Shape {
            what: "relative position bias table",
            expected: format!(
                "at least {offsets} rows for {side} patches per side, and a grid of at least 1 x 1"
            ),
            got: vec![rows, heads, side_y, side_x],
        });
    }
    if (side_y, side_x) == (side, side) {
        return Ok(table.shallow_clone());
    }
    let span = 2 * side - 1;
    let grid = table.narrow(0, 0, offsets).view([1, span, span, heads]).permute([0, 3, 1, 2]);
    let size = [2 * side_y - 1, 2 * side_x - 1];
    let resized = grid.f_upsample_bicubic2d(size, true, None, None)?;
    let patches = resized.permute([0, 2, 3, 1]).reshape([size[0] * size[1], heads]);
    Ok(Tensor::cat(&[patches, table.narrow(0, offsets, rows - offsets)], 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use d2v_torch::ParamStore;
    use tch::{Device, Kind};

    #[test]
    fn rows_are_the_documented_ones() {
        let index = pair_index(14, 14, true).view([197, 197]);
        let at = |i: i64, j: i64| index.int64_value(&[i, j]);
        assert_eq!(at(0, 0), 731, "class to class");
        assert_eq!(at(0, 5), 729, "class to patch");
        assert_eq!(at(5, 0), 730, "patch to class");
        assert_eq!(at(1, 1), 13 * 27 + 13, "a patch and itself");
        assert_eq!(at(1, 196), 0, "first patch looking at the last");
        assert_eq!(at(196, 1), 728, "last patch looking at the first");
        assert_eq!(at(1, 2), 13 * 27 + 12, "one to the right");
        assert_eq!(at(1, 15), 12 * 27 + 13, "one below");
    }

    fn with_random_table(side: i64, class_token: bool) -> RelativeBias {
        let store = ParamStore::new(Device::Cpu, Kind::Double, 0);
        let mut bias = RelativeBias::new(&store.root(), side, 2, class_token).unwrap();
        bias.table =
            d2v_torch::seed::seeded(&[1], || Tensor::randn(bias.table.size(), (Kind::Double, Device::Cpu)));
        bias
    }

    #[test]
    fn a_bias_depends_on_the_offset_alone() {
        let bias = with_random_table(4, false).bias(4, 4).unwrap();
        assert_eq!(bias.size(), [1, 2, 16, 16], "shape");
        // From (0, 0) to (1, 2) as from (2, 1) to (3, 3).
        assert_eq!(bias.double_value(&[0, 1, 0, 6]), bias.double_value(&[0, 1, 9, 15]), "same offset");
    }

    #[test]
    fn interpolation_keeps_centre_corners_and_class_rows() {
        let bias = with_random_table(4, true);
        let larger = interpolate_table(&bias.table, 4, 6, 6).unwrap();
        assert_eq!(larger.size(), [11 * 11 + 3, 2], "rows");
        let check = |new: i64, old: i64| {
            let gap = (larger.get(new) - bias.table.get(old)).abs().max().double_value(&[]);
            assert!(gap < 1e-12, "row {new} against {old}: {gap}");
        };
        check(0, 0);
        check(120, 48);
        check(60, 24);
        (0..3).for_each(|i| check(121 + i, 49 + i));
        assert_eq!(bias.bias(3, 5).unwrap().size(), [1, 2, 16, 16], "a grid that is not square");
        assert!(interpolate_table(&bias.table, 5, 6, 6).is_err(), "a table of another size");
    }

    #[test]
    fn interpolating_a_smooth_table_is_accurate() {
        // A quadratic in the offset lies within the span of cubics: away from the borders it is reproduced.
        let span = 13i64;
        let line = (Tensor::arange(span, (Kind::Double, Device::Cpu)) - 6.0) / 6.0;
        let table = (line.square().unsqueeze(1) + line.unsqueeze(0)).reshape([span * span, 1]);
        let finer = interpolate_table(&table, 7, 13, 13).unwrap().view([25, 25]);
        let line = (Tensor::arange(25, (Kind::Double, Device::Cpu)) - 12.0) / 12.0;
        let expected = line.square().unsqueeze(1) + line.unsqueeze(0);
        let inner = (finer - expected).narrow(0, 4, 17).narrow(1, 4, 17).abs().max().double_value(&[]);
        assert!(inner < 5e-3, "off by {inner} where values reach 2");
    }
}
