//! Rows by group: hidden positions by their sample, or by their place in it.

use tch::{Kind, Tensor};

use crate::{Error, Result};

/// The groups that have rows, in the order of their numbers.
pub(super) struct Groups {
    /// The mean of each group's rows, `[G, D]`.
    pub(super) mean_gd: Tensor,
    /// How many rows each has, f64 `[G]`.
    pub(super) rows_g: Tensor,
}

impl Groups {
    /// Of rows in f64, each with the number of its group.
    pub(super) fn of(what: &'static str, x_nd: &Tensor, group_n: &Tensor) -> Result<Groups> {
        let rows = x_nd.size()[0];
        if group_n.size() != [rows] {
            return Err(Error::Shape { what, expected: format!("[{rows}] groups"), got: group_n.size() });
        }
        let numbers = group_n.max().int64_value(&[]) + 1;
        let sum_gd = x_nd.new_zeros([numbers, x_nd.size()[1]], (Kind::Double, x_nd.device()));
        let rows_g = x_nd.new_zeros([numbers], (Kind::Double, x_nd.device()));
        let sum_gd = sum_gd.index_add(0, group_n, x_nd);
        let rows_g = rows_g.index_add(0, group_n, &x_nd.new_ones([rows], (Kind::Double, x_nd.device())));
        let present_g = rows_g.gt(0.0).nonzero().squeeze_dim(1);
        let rows_g = rows_g.index_select(0, &present_g);
        let mean_gd = sum_gd.index_select(0, &present_g) / rows_g.unsqueeze(1);
        Ok(Groups { mean_gd, rows_g })
    }

    /// How many there are.
    pub(super) fn count(&self) -> i64 {
        self.rows_g.size()[0]
    }
}
