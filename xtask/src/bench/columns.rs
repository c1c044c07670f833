//! Plain columns: a table that reads well in a terminal and in a text file.

/// Aligns rows of equally many cells, the first two columns to the left, the others to the right.
///
/// A cell that is to stand over several columns, such as a message, ends its row early.
pub(crate) fn align(rows: &[Vec<String>]) -> String {
    const LEFT: usize = 2;
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    // The last cell of a short row runs on over the columns to its right.
    let width = |column: usize| {
        let cells = rows.iter().filter(|row| row.len() == count || column + 1 < row.len());
        cells.map(|row| row[column].chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let short = row.len() < count;
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if column < LEFT || (short && column + 1 == row.len()) {
                format!("{cell:<width$}")
            } else {
                format!("{cell:>width$}")
            }
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_under_each_other_and_messages_run_on() {
        let row = |cells: &[&str]| cells.iter().map(|&cell| cell.to_owned()).collect::<Vec<_>>();
        let rows = [
            row(&["case", "program", "ms", "MiB"]),
            row(&["image", "d2v", "4,453.1", "9"]),
            row(&["", "hf", "failed: a long message"]),
        ];
        let expected = "case   program       ms  MiB\nimage  d2v      4,453.1    9\n       hf       failed: a long message\n";
        assert_eq!(align(&rows), expected);
    }
}
