//! What can go wrong with a run folder's records and pictures.

use std::io;
use std::path::{Path, PathBuf};

/// An error of the run folder's outputs: metrics, event files, pictures, the report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// The operating system refused something.
    #[error("could not {action} {}: {source}", path.display())]
    Io {
        /// What was being done, as a verb ("write").
        action: &'static str,
        /// The file or folder it was done to.
        path: PathBuf,
        /// The system's own error.
        source: io::Error,
    },
    /// A line in the middle of a record is not what was written. (Such a line at the very end is the trace of a kill
    /// and is no error.)
    #[error(
        "line {line} of {} is damaged ({source}) though whole lines follow it; \
         restore the file from a copy, or move it away to begin a new one",
        path.display()
    )]
    DamagedLine {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: u64,
        /// What the reader stumbled on.
        source: serde_json::Error,
    },
    /// Lines that should grow with the step go back.
    #[error(
        "line {line} of {} belongs to a step before that of the line above; \
         two runs may have written to the same folder: move the file away to begin a new one",
        path.display()
    )]
    OutOfOrder {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: u64,
    },
    /// A mask does not fit its grid, or the grid does not fit the picture.
    #[error(
        "a mask of {got} positions on a grid of {grid_height} x {grid_width} does not fit a picture of \
         {height} x {width} pixels; the grid needs 1 to {height} rows, 1 to {width} columns, one position per cell"
    )]
    MaskShape {
        /// Positions given.
        got: usize,
        /// Rows of the grid.
        grid_height: usize,
        /// Columns of the grid.
        grid_width: usize,
        /// Rows of pixels.
        height: u32,
        /// Columns of pixels.
        width: u32,
    },
    /// A mask does not fit the frames of its sound.
    #[error(
        "a mask of {got} positions does not fit a sound of {samples} samples, which makes {frames} frames"
    )]
    FrameCount {
        /// Positions given.
        got: usize,
        /// Frames that the front end makes.
        frames: usize,
        /// Samples per channel.
        samples: usize,
    },
    /// A contact sheet would be larger than [`crate::picture::MAX_SHEET_PIXELS`].
    #[error("a contact sheet of {width} x {height} pixels exceeds the limit of {limit}; show fewer samples")]
    SheetTooLarge {
        /// Pixels across.
        width: u64,
        /// Pixels down.
        height: u64,
        /// Pixels allowed in all.
        limit: u64,
    },
    /// A contact sheet of nothing.
    #[error("there is no picture to show; give at least one")]
    NoPicture,
    /// A picture could not be encoded as PNG.
    #[error("could not encode a picture as PNG")]
    Png(#[from] image::ImageError),
    /// A curve of the report could not be drawn.
    #[error("could not draw the chart of {title}: {reason}")]
    Chart {
        /// The chart's title.
        title: &'static str,
        /// The drawing library's message.
        reason: String,
    },
}

impl OutputError {
    /// Adds what was done, and to what, to an error of the operating system: for use with `map_err`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}
