//! Masks as text: `#` is hidden, `.` visible.

use std::fmt::{self, Write};

use crate::{Error, Mask, Result};

/// One character for a position.
const fn symbol(hidden: bool) -> char {
    if hidden { '#' } else { '.' }
}

/// Draws one row per line: `#` is hidden, `.` visible.
impl fmt::Display for Mask {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in 0..self.rows() {
            if row > 0 {
                out.write_char('\n')?;
            }
            self.row(row).iter().try_for_each(|&hidden| out.write_char(symbol(hidden)))?;
        }
        Ok(())
    }
}

/// Draws a row that covers a grid, one line per row of the grid, with a space between cells so that they look square.
///
/// ```
/// let row = [true, false, false, true, true, false];
/// assert_eq!(d2v_masking::draw_grid(&row, 2, 3)?, "# . .\n# # .");
/// # Ok::<(), d2v_masking::Error>(())
/// ```
///
/// # Errors
/// [`Error::MaskShape`] unless the row has `height` x `width` positions.
pub fn draw_grid(row: &[bool], height: usize, width: usize) -> Result<String> {
    if height.checked_mul(width) != Some(row.len()) {
        return Err(Error::MaskShape { rows: height, len: width, got: row.len() });
    }
    let mut text = String::with_capacity(2 * row.len());
    for (index, &hidden) in row.iter().enumerate() {
        if index > 0 {
            text.push(if index % width == 0 { '\n' } else { ' ' });
        }
        text.push(symbol(hidden));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_of_another_size_is_refused() {
        assert_eq!(draw_grid(&[true; 5], 2, 3), Err(Error::MaskShape { rows: 2, len: 3, got: 5 }));
        assert_eq!(draw_grid(&[], 0, 3).unwrap(), "");
    }
}
