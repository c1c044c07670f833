//! `d2v masks`, and the masked pictures of a report.

use super::output::print;
use super::recipe::RecipeArgs;
use crate::atomic_file::write_atomically;
use crate::batches::Masks;
use crate::config::{RunConfig, positions};
use crate::exit::Exit;
use crate::human_numbers::percent;
use crate::mask_strip::strips;
use crate::mask_text::{MaskGlyphs, grid_text, line_text};
use crate::picture::{MaskedPicture, SheetLayout, contact_sheet, encode_png};
use crate::report::Picture;
use crate::settings::{self, Source};
use crate::sources::open_source;
use anyhow::{Context, bail};
use clap::{Args as ClapArgs, ValueEnum};
use d2v_data::{Dataset, Limits, RawSample, Split, decode_picture};
use d2v_masking::{Mask, MaskConfig, MaskKey, Positions};
use image::{RgbImage, RgbaImage};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// Samples shown in a report.
const REPORT_SAMPLES: usize = 6;
/// Columns after which a line of positions goes on below.
const LINE_COLUMNS: usize = 100;
/// Pictures given with `--image` are shrunk until their longer side has at most this many pixels.
const MAX_IMAGE_SIDE_PX: u32 = 448;

/// Arguments of `d2v masks`.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Whose masks.
    #[command(flatten)]
    pub recipe: RecipeArgs,
    /// A sampler with its published settings instead of a configuration's; --set then names its settings.
    #[arg(long, value_enum, conflicts_with_all = ["config", "steps", "device"])]
    pub kind: Option<Kind>,
    /// Patches, rows by columns; without it and --len, those of the configuration, or what suits --kind.
    #[arg(long, value_name = "HxW", value_parser = grid, conflicts_with = "len")]
    pub grid: Option<Positions>,
    /// Positions of a line: frames or tokens.
    #[arg(long, value_name = "N", value_parser = line)]
    pub len: Option<Positions>,
    /// Masks to draw, of samples 0, 1 and so on.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub rows: u64,
    /// Seed; without it, that of the configuration, or 0.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Epoch.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub epoch: u64,
    /// Draws the masks over these pictures, one each, into --png.
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "png")]
    pub image: Vec<PathBuf>,
    /// Writes a picture: masks over --image, over samples of the data, or as strips where positions are a line.
    #[arg(long, value_name = "OUT")]
    pub png: Option<PathBuf>,
}

const EXAMPLES: &str = "Examples:
  d2v masks                                              three masks of the tiny recipe
  d2v masks --kind blocks --grid 14x14 --rows 2          BEiT blocks with their published settings
  d2v masks --kind spans --len 749 --set span_length=5   speech spans over 15 seconds
  d2v masks --kind blocks --image cat.jpg --png out.png  what the student sees of a picture
  d2v masks --config configs/image-tiny.toml --data ~/pictures --png out.png

Filled (or #) is hidden from the student. A mask is a function of settings, seed, epoch and sample.";

/// The samplers, by the names they have in a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// BEiT's blocks: images of data2vec 1.0.
    Blocks,
    /// wav2vec 2.0's spans: speech of 1.0.
    Spans,
    /// BERT's and RoBERTa's tokens: text of 1.0.
    Tokens,
    /// MAE's random positions: text of 2.0.
    Random,
    /// data2vec 2.0's blocks: images and speech of 2.0.
    BlocksV2,
}

impl Kind {
    /// The positions that the paper uses it on: 14 x 14 patches, 15 seconds of speech, 512 tokens.
    fn usual_positions(self) -> Positions {
        match self {
            Kind::Blocks | Kind::BlocksV2 => Positions::Grid { height: 14, width: 14 },
            Kind::Spans => Positions::Line { len: 749 },
            Kind::Tokens | Kind::Random => Positions::Line { len: 512 },
        }
    }
}

fn grid(text: &str) -> Result<Positions, String> {
    let sides =
        text.split_once('x').and_then(|(h, w)| Some((h.trim().parse().ok()?, w.trim().parse().ok()?)));
    match sides {
        Some((height, width)) if height > 0 && width > 0 => Ok(Positions::Grid { height, width }),
        _ => Err("must be rows x columns, each at least 1, such as 14x14".into()),
    }
}

fn line(text: &str) -> Result<Positions, String> {
    match text.parse() {
        Ok(len) if len > 0 => Ok(Positions::Line { len }),
        _ => Err("must be a whole number of at least 1".into()),
    }
}

/// What to draw, with all defaults filled in.
#[derive(Debug)]
struct Request {
    sampler: MaskConfig,
    positions: Positions,
    seed: u64,
    /// Where samples come from.
    run: RunConfig,
}

impl Args {
    fn resolve(&self) -> anyhow::Result<Request> {
        let asked = self.grid.or(self.len);
        let Some(kind) = self.kind else {
            let run = self.recipe.load()?;
            let positions = asked.unwrap_or_else(|| positions(&run.model.encoder, run.longest_input()));
            return Ok(Request {
                sampler: run.mask.clone(),
                positions,
                seed: self.seed.unwrap_or(run.seed),
                run,
            });
        };
        let name = kind.to_possible_value().context("every sampler has a name")?.get_name().to_owned();
        let source = Source::built_in(format!("the sampler {name}"), format!("kind = \"{name}\""));
        let sampler: MaskConfig = settings::load(&source, &self.recipe.overrides)?;
        let run = RecipeArgs { data: self.recipe.data.clone(), ..RecipeArgs::default() }.load()?;
        let positions = asked.unwrap_or(kind.usual_positions());
        Ok(Request { sampler, positions, seed: self.seed.unwrap_or(0), run })
    }
}

impl Request {
    fn draw(&self, epoch: u64, ids: &[u64]) -> anyhow::Result<Mask> {
        let key = |&sample_id: &u64| MaskKey { seed: self.seed, epoch, sample_id, clone: 0 };
        let keys: Vec<MaskKey> = ids.iter().map(key).collect();
        let mask = self.sampler.build().and_then(|sampler| sampler.sample_batch(self.positions, None, &keys));
        mask.context(Exit::Usage)
    }
}

/// Draws masks.
///
/// # Errors
/// If a setting is out of range or does not suit the positions, a picture cannot be read, or the file not written.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let request = args.resolve()?;
    let (ids, pictures) = samples(args, &request)?;
    let mask = request.draw(args.epoch, &ids)?;
    let glyphs = if std::io::stdout().is_terminal() { MaskGlyphs::Blocks } else { MaskGlyphs::Ascii };
    print(&describe(&mask, request.positions, &ids, glyphs))?;
    if let Some(path) = &args.png {
        let sheet = match request.positions {
            Positions::Line { .. } => strips(&mask)?,
            Positions::Grid { height, width } => {
                contact_sheet(&masked(pictures, &mask, height, width)?, SheetLayout::default())?
            }
        };
        write_png(path, &sheet)?;
        tracing::info!("wrote {}", path.display());
    }
    Ok(Exit::Done)
}

/// The samples to draw masks of, and for a picture of a grid their pixels.
fn samples(args: &Args, request: &Request) -> anyhow::Result<(Vec<u64>, Vec<RgbImage>)> {
    let is_grid = matches!(request.positions, Positions::Grid { .. });
    if !args.image.is_empty() {
        if !is_grid {
            bail!(
                anyhow::anyhow!("--image needs patches: give --grid HxW, or a sampler of grids")
                    .context(Exit::Usage)
            );
        }
        let pictures =
            args.image.iter().map(|path| read_picture(path)).collect::<anyhow::Result<Vec<_>>>()?;
        return Ok(((0..pictures.len() as u64).collect(), pictures));
    }
    if args.png.is_some() && is_grid {
        let data = open_source(&request.run.data, Split::Train, None)?.dataset;
        return Ok(readable_pictures(data.as_ref(), args.rows as usize));
    }
    Ok(((0..args.rows).collect(), Vec::new()))
}

/// Every row drawn, then its statistics.
fn describe(mask: &Mask, positions: Positions, ids: &[u64], glyphs: MaskGlyphs) -> String {
    let mut text = String::new();
    for (row, id) in ids.iter().enumerate() {
        let hidden = mask.row(row);
        text += &format!("sample {id}: {}\n", row_statistics(mask, row));
        text += &match positions {
            Positions::Grid { width, .. } => grid_text(hidden, width, glyphs),
            Positions::Line { .. } => line_text(hidden, LINE_COLUMNS, glyphs),
        };
        text.push('\n');
    }
    let counts = (0..mask.rows()).map(|row| mask.hidden_count(row));
    let (least, most) = (counts.clone().min().unwrap_or(0), counts.max().unwrap_or(0));
    let share = percent(mask.hidden_fraction());
    text + &format!("all: {share} of {} positions hidden, {least} to {most} per sample\n", mask.len())
}

fn row_statistics(mask: &Mask, row: usize) -> String {
    let lengths: Vec<usize> = mask.runs(row).map(|run| run.len()).collect();
    let hidden = mask.hidden_count(row);
    let share = percent(hidden as f64 / mask.len() as f64);
    match lengths.iter().max() {
        None => "nothing hidden".to_owned(),
        Some(longest) => {
            let mean = hidden as f64 / lengths.len() as f64;
            format!(
                "{hidden} hidden ({share}), {} runs of {mean:.1} on average, longest {longest}",
                lengths.len()
            )
        }
    }
}

/// The first pictures of the data with their masks of the first epoch, for a report.
///
/// # Errors
/// If the data cannot be read or the masks do not fit.
pub fn report_pictures(config: &RunConfig) -> anyhow::Result<Vec<Picture>> {
    let data = open_source(&config.data, Split::Train, None)?.dataset;
    let Positions::Grid { height, width } = positions(&config.model.encoder, config.longest_input()) else {
        return Ok(Vec::new());
    };
    let (ids, pictures) = readable_pictures(data.as_ref(), REPORT_SAMPLES);
    let mask = Masks::new(config, None)?.preview(0, &ids, config.longest_input())?;
    let masked = masked(pictures, &mask, height, width)?;
    let sheet = contact_sheet(&masked, SheetLayout { samples_per_row: 2, min_panel_px: 128 })?;
    let caption = format!(
        "Samples as read, the patches hidden from the student, and what is left: {:.0} % of the positions are hidden.",
        100.0 * mask.hidden_fraction()
    );
    Ok(vec![Picture { png: encode_png(&sheet)?, caption }])
}

/// Lays row `i` of `mask` over picture `i`.
fn masked(
    pictures: Vec<RgbImage>,
    mask: &Mask,
    height: usize,
    width: usize,
) -> anyhow::Result<Vec<MaskedPicture>> {
    let rows = pictures.into_iter().enumerate();
    let lay = |(row, picture)| MaskedPicture::new(picture, height, width, mask.row(row).to_vec());
    Ok(rows.map(lay).collect::<Result<_, _>>()?)
}

/// The first pictures that can be read, with their ids.
fn readable_pictures(data: &dyn Dataset, count: usize) -> (Vec<u64>, Vec<RgbImage>) {
    let readable = (0..data.len()).filter_map(|index| Some((data.id(index), rgb(data, index)?)));
    readable.take(count).unzip()
}

fn rgb(data: &dyn Dataset, index: usize) -> Option<RgbImage> {
    match data.load(index).ok()? {
        RawSample::Image(picture) => {
            RgbImage::from_raw(picture.width(), picture.height(), picture.as_bytes().to_vec())
        }
        RawSample::Audio(_) | RawSample::Text(_) => None,
    }
}

/// A picture file, shrunk to what a sheet needs.
fn read_picture(path: &Path) -> anyhow::Result<RgbImage> {
    let read = || -> anyhow::Result<RgbImage> {
        let limits = Limits::default();
        let bytes = std::fs::metadata(path)?.len();
        if bytes > limits.max_file_bytes {
            bail!("{bytes} bytes are more than the {} that one picture may have", limits.max_file_bytes);
        }
        let picture = decode_picture(&path.to_string_lossy(), &std::fs::read(path)?, &limits)?;
        let (width, height) = (picture.width(), picture.height());
        let pixels = RgbImage::from_raw(width, height, picture.as_bytes().to_vec())
            .context("a decoded picture has three bytes per pixel")?;
        let longer = width.max(height);
        if longer <= MAX_IMAGE_SIDE_PX {
            return Ok(pixels);
        }
        let shrunk =
            |side: u32| (u64::from(side) * u64::from(MAX_IMAGE_SIDE_PX) / u64::from(longer)).max(1) as u32;
        Ok(image::imageops::thumbnail(&pixels, shrunk(width), shrunk(height)))
    };
    read().with_context(|| path.display().to_string()).context(Exit::Data)
}

fn write_png(path: &Path, sheet: &RgbaImage) -> anyhow::Result<()> {
    let png = encode_png(sheet)?;
    write_atomically(path, |file| file.write_all(&png))
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Args {
        Line::try_parse_from(std::iter::once("masks").chain(line.split_whitespace())).unwrap().args
    }

    #[track_caller]
    fn check(line: &str, positions: Positions, kind: &str) {
        let request = parse(line).resolve().unwrap();
        assert_eq!(request.positions, positions, "{line}");
        let sampler = serde_json::to_value(&request.sampler).unwrap();
        assert_eq!(sampler["kind"], kind, "{line}");
        let mask = request.draw(0, &[0, 1, 2]).unwrap();
        let text = describe(&mask, positions, &[0, 1, 2], MaskGlyphs::Ascii);
        assert_eq!(text.matches('#').count(), mask.total_hidden(), "{line}");
    }

    #[test]
    fn every_sampler_draws_on_the_positions_it_is_meant_for() {
        let square = Positions::Grid { height: 14, width: 14 };
        check("", Positions::Grid { height: 8, width: 8 }, "blocks");
        check("--kind blocks", square, "blocks");
        check("--kind blocks-v2", square, "blocks-v2");
        check("--kind spans", Positions::Line { len: 749 }, "spans");
        check("--kind tokens", Positions::Line { len: 512 }, "tokens");
        check(
            "--kind random --grid 3x5 --set mask_prob=0.5",
            Positions::Grid { height: 3, width: 5 },
            "random",
        );
        check("--kind random --len 9", Positions::Line { len: 9 }, "random");
    }

    #[test]
    fn wrong_settings_are_usage() {
        for line in
            ["--kind random --set mask_porb=0.5", "--kind blocks --len 9", "--kind random --set mask_prob=2"]
        {
            let error =
                parse(line).resolve().and_then(|request| request.draw(0, &[0]).map(drop)).unwrap_err();
            assert_eq!(Exit::of(&error), Exit::Usage, "{line}: {error:#}");
        }
        assert!(grid("14").is_err() && grid("0x3").is_err() && line("0").is_err(), "positions");
    }

    #[test]
    fn pictures_of_files_and_of_lines_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let (cat, out) = (folder.path().join("cat.png"), folder.path().join("out.png"));
        RgbImage::from_pixel(900, 300, image::Rgb([9, 99, 199])).save(&cat).unwrap();
        for (line, size) in [
            (format!("--kind blocks --image {} --png {}", cat.display(), out.display()), (3 * 448 + 12, 149)),
            (format!("--kind spans --len 100 --rows 2 --png {}", out.display()), (400, 54)),
        ] {
            assert_eq!(run(&parse(&line)).unwrap(), Exit::Done);
            let written = image::open(&out).unwrap();
            assert_eq!((written.width(), written.height()), size, "{line}");
        }
        let error = run(&parse("--image /nowhere/cat.png --png /nowhere/out.png")).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Data, "{error:#}");
    }
}
