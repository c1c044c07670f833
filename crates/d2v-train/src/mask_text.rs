//! Masks as text: half blocks for a terminal, `#` and `.` for everything else.

/// The characters masks are drawn with. A hidden position is dark on paper, filled on a screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaskGlyphs {
    /// Unicode blocks in a frame; in a grid two rows of positions share a line, which makes them about square.
    Blocks,
    /// `#` hidden, `.` visible: for files, pipes and terminals without Unicode.
    Ascii,
}

/// Draws a grid of positions, `hidden` being its rows from the top, `width` positions each (1 is taken for 0; a short
/// last row is drawn as it is). Lines end with a line feed.
pub fn grid_text(hidden: &[bool], width: usize, glyphs: MaskGlyphs) -> String {
    let width = width.max(1);
    let rows: Vec<&[bool]> = hidden.chunks(width).collect();
    match glyphs {
        MaskGlyphs::Ascii => rows.into_iter().map(|row| ascii(row) + "\n").collect(),
        MaskGlyphs::Blocks => {
            let lines = rows.chunks(2).map(|pair| {
                let at = |row: usize, column| {
                    pair.get(row).and_then(|row| row.get(column)).copied().unwrap_or(false)
                };
                (0..width).map(|column| half_block(at(0, column), at(1, column))).collect()
            });
            framed(lines, width)
        }
    }
}

/// Draws a row of positions, wrapped after `columns` of them (1 is taken for 0). Lines end with a line feed.
pub fn line_text(hidden: &[bool], columns: usize, glyphs: MaskGlyphs) -> String {
    let columns = columns.max(1);
    let lines = hidden.chunks(columns);
    match glyphs {
        MaskGlyphs::Ascii => lines.map(|line| ascii(line) + "\n").collect(),
        MaskGlyphs::Blocks => {
            let full = |&hidden: &bool| if hidden { '█' } else { '·' };
            lines.map(|line| line.iter().map(full).collect::<String>() + "\n").collect()
        }
    }
}

/// Draws a sound frame by frame: how loud each is, and below it whether it is hidden, wrapped after `columns` frames (1 is
/// taken for 0). `levels` are 0 (silent) to 1 (the loudest). Lines end with a line feed.
pub fn sound_text(levels: &[f32], hidden: &[bool], columns: usize, glyphs: MaskGlyphs) -> String {
    let columns = columns.max(1);
    let lines = levels.chunks(columns).zip(hidden.chunks(columns));
    lines
        .map(|(levels, hidden)| loudness(levels, glyphs) + "\n" + &line_text(hidden, columns, glyphs))
        .collect()
}

/// Eight steps of a bar, or the figures 0 to 7.
fn loudness(levels: &[f32], glyphs: MaskGlyphs) -> String {
    let bars: [char; 8] = match glyphs {
        MaskGlyphs::Blocks => ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
        MaskGlyphs::Ascii => ['0', '1', '2', '3', '4', '5', '6', '7'],
    };
    levels.iter().map(|level| bars[((level * 8.0) as usize).min(7)]).collect()
}

fn ascii(row: &[bool]) -> String {
    row.iter().map(|&hidden| if hidden { '#' } else { '.' }).collect()
}

fn half_block(upper: bool, lower: bool) -> char {
    match (upper, lower) {
        (true, true) => '█',
        (true, false) => '▀',
        (false, true) => '▄',
        (false, false) => ' ',
    }
}

/// A frame, without which one could not see where a grid with visible borders ends.
fn framed(lines: impl Iterator<Item = String>, width: usize) -> String {
    let rule = "─".repeat(width);
    let body: String = lines.map(|line| format!("│{line}│\n")).collect();
    format!("┌{rule}┐\n{body}└{rule}┘\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hidden where the drawing has an `x`.
    fn mask(drawing: &str) -> Vec<bool> {
        drawing.chars().filter(|c| !c.is_whitespace()).map(|c| c == 'x').collect()
    }

    fn check_grid(drawing: &str, width: usize, glyphs: MaskGlyphs, expected: &[&str]) {
        let text = grid_text(&mask(drawing), width, glyphs);
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn grids() {
        check_grid("xx-- x--- --xx", 4, MaskGlyphs::Ascii, &["##..", "#...", "..##"]);
        check_grid("xx-- x--x --xx ----", 4, MaskGlyphs::Blocks, &["┌────┐", "│█▀ ▄│", "│  ▀▀│", "└────┘"]);
        // An odd number of rows: the last line has an empty lower half.
        check_grid("x- -x xx", 2, MaskGlyphs::Blocks, &["┌──┐", "│▀▄│", "│▀▀│", "└──┘"]);
    }

    #[test]
    fn rows_wrap() {
        assert_eq!(line_text(&mask("--xxx--x"), 5, MaskGlyphs::Ascii), "..###\n..#\n");
        assert_eq!(line_text(&mask("-xx"), 5, MaskGlyphs::Blocks), "·██\n");
        assert_eq!(line_text(&mask("x-"), 0, MaskGlyphs::Ascii), "#\n.\n");
        assert_eq!(line_text(&[], 5, MaskGlyphs::Ascii), "");
    }

    #[test]
    fn sounds_have_their_loudness_above_the_mask() {
        let levels = [0.0, 0.13, 0.99, 1.0, 0.5];
        assert_eq!(sound_text(&levels, &mask("x--xx"), 3, MaskGlyphs::Ascii), "017\n#..\n74\n##\n");
        assert_eq!(sound_text(&levels, &mask("x--xx"), 9, MaskGlyphs::Blocks), "▁▂██▅\n█··██\n");
    }
}
