//! `d2v masks`.

mod for_report;
mod previews;

use super::output::print;
use super::recipe::RecipeArgs;
use crate::atomic_file::write_atomically;
use crate::config::{RunConfig, positions};
use crate::exit::Exit;
use crate::human_numbers::percent;
use crate::mask_strip::strips;
use crate::mask_text::{MaskGlyphs, grid_text, line_text, sound_text};
use crate::masked_words::MaskedWords;
use crate::picture::{SheetLayout, contact_sheet, encode_png};
use crate::settings::{self, Source};
use crate::waveform_picture::waveform_sheet;
use anyhow::{Context, bail};
use clap::{Args as ClapArgs, ValueEnum};
use d2v_data::{Limits, Transform, decode_picture};
use d2v_masking::{Mask, MaskConfig, MaskKey, Positions};
pub use for_report::report_samples;
use image::{RgbImage, RgbaImage};
use previews::{Previews, Samples};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

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
    /// Positions of a line, frames or tokens, without samples of the data.
    #[arg(long, value_name = "N", value_parser = line)]
    pub len: Option<Positions>,
    /// Masks to draw: of the first samples of the data, or of samples 0, 1 and so on where no data is read.
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
    /// Writes a picture: masks over --image, over pictures or waveforms of the data, or as strips for other lines.
    #[arg(long, value_name = "OUT")]
    pub png: Option<PathBuf>,
}

const EXAMPLES: &str = "Examples:
  d2v masks                                              three masks of the tiny recipe
  d2v masks --kind blocks --grid 14x14 --rows 2          BEiT blocks with their published settings
  d2v masks --kind spans --len 749 --set span_length=5   speech spans over 15 seconds
  d2v masks --kind blocks --image cat.jpg --png out.png  what the student sees of a picture
  d2v masks --config configs/image-tiny.toml --data ~/pictures --png out.png
  d2v masks --config configs/speech-tiny.toml --data ~/recordings --png out.png   hidden spans over waveforms
  d2v masks --config configs/text-tiny.toml --data book.txt --rows 1 --epoch 4    hidden words of a text

Filled (or #) is hidden from the student. A mask is a function of settings, seed, epoch and sample. Configurations for speech
and text show the samples of their data: how loud each frame is above the mask (bars, or 0 to 7), the text with its hidden
words. With --len, and with --kind, masks are drawn alone.";

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
    /// Where samples come from; its seed is that of the masks.
    run: RunConfig,
    subject: Subject,
}

/// What the masks are shown on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    /// Nothing: positions alone.
    Positions,
    /// The pictures of `--image`.
    Files,
    /// Pictures of the data.
    Pictures,
    /// Sounds of the data, whole.
    Sounds,
    /// Text of the data.
    Words,
}

impl Args {
    fn resolve(&self) -> anyhow::Result<Request> {
        let asked = self.grid.or(self.len);
        let (sampler, mut run, positions) = match self.kind {
            None => {
                let run = self.recipe.load()?;
                let usual = || positions(&run.model.encoder, run.longest_input());
                (run.mask.clone(), run.clone(), asked.unwrap_or_else(usual))
            }
            Some(kind) => {
                let name =
                    kind.to_possible_value().context("every sampler has a name")?.get_name().to_owned();
                let source = Source::built_in(format!("the sampler {name}"), format!("kind = \"{name}\""));
                let sampler: MaskConfig = settings::load(&source, &self.recipe.overrides)?;
                let data = RecipeArgs { data: self.recipe.data.clone(), ..RecipeArgs::default() };
                let run = RunConfig { seed: 0, ..data.load()? };
                (sampler, run, asked.unwrap_or(kind.usual_positions()))
            }
        };
        run.seed = self.seed.unwrap_or(run.seed);
        let is_grid = matches!(positions, Positions::Grid { .. });
        let subject = match &run.data.transform {
            _ if !self.image.is_empty() && is_grid => Subject::Files,
            _ if !self.image.is_empty() => bail!(
                anyhow::anyhow!("--image needs patches: give --grid HxW, or a sampler of grids")
                    .context(Exit::Usage)
            ),
            Transform::Image(_) if is_grid && self.png.is_some() => Subject::Pictures,
            Transform::Audio(_) if self.kind.is_none() && asked.is_none() => Subject::Sounds,
            Transform::Text(_) if self.kind.is_none() && asked.is_none() => Subject::Words,
            _ => Subject::Positions,
        };
        Ok(Request { sampler, positions, run, subject })
    }
}

impl Request {
    fn previews(&self, args: &Args) -> anyhow::Result<Previews> {
        let rows = usize::try_from(args.rows).unwrap_or(usize::MAX);
        match self.subject {
            Subject::Positions => {
                let ids: Vec<u64> = (0..args.rows).collect();
                let grid_width = match self.positions {
                    Positions::Grid { width, .. } => Some(width),
                    Positions::Line { .. } => None,
                };
                let masks = self.masks(args.epoch, &ids)?;
                Ok(Previews { ids, names: Vec::new(), masks, samples: Samples::None { grid_width } })
            }
            Subject::Files => {
                let pictures: Vec<RgbImage> =
                    args.image.iter().map(|path| read_picture(path)).collect::<anyhow::Result<_>>()?;
                let ids: Vec<u64> = (0..pictures.len() as u64).collect();
                let masks = self.masks(args.epoch, &ids)?;
                previews::lay(ids, pictures, masks, self.positions)
            }
            Subject::Pictures => {
                let (ids, pictures) = previews::first_pictures(&self.run, rows)?;
                let masks = self.masks(args.epoch, &ids)?;
                previews::lay(ids, pictures, masks, self.positions)
            }
            Subject::Sounds => previews::sounds(&self.run, args.epoch, rows),
            Subject::Words => previews::words(&self.run, None, args.epoch, rows),
        }
    }

    /// A mask of one row for each id.
    fn masks(&self, epoch: u64, ids: &[u64]) -> anyhow::Result<Vec<Mask>> {
        let sampler = self.sampler.build().context(Exit::Usage)?;
        let draw = |&sample_id: &u64| {
            let key = MaskKey { seed: self.run.seed, epoch, sample_id, clone: 0 };
            sampler.sample_batch(self.positions, None, &[key])
        };
        ids.iter().map(draw).collect::<Result<_, _>>().context(Exit::Usage)
    }
}

/// Draws masks.
///
/// # Errors
/// If a setting is out of range or does not suit the positions, the data or a picture cannot be read, or the file not
/// written.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let previews = args.resolve()?.previews(args)?;
    let glyphs = if std::io::stdout().is_terminal() { MaskGlyphs::Blocks } else { MaskGlyphs::Ascii };
    print(&describe(&previews, glyphs))?;
    if let Some(path) = &args.png {
        let sheet = match &previews.samples {
            Samples::Pictures { pictures, .. } => contact_sheet(pictures, SheetLayout::default())?,
            Samples::Sounds(sounds) => waveform_sheet(sounds)?,
            Samples::Words(_) | Samples::None { .. } => strips(&previews.masks)?,
        };
        write_png(path, &sheet)?;
        tracing::info!("wrote {}", path.display());
    }
    Ok(Exit::Done)
}

/// Every sample drawn, then their statistics.
fn describe(previews: &Previews, glyphs: MaskGlyphs) -> String {
    let mut text = String::new();
    for (index, (id, mask)) in previews.ids.iter().zip(&previews.masks).enumerate() {
        let hidden = mask.row(0);
        let name = previews.names.get(index).map(|name| format!(", {name}")).unwrap_or_default();
        text += &format!("sample {id}{name}: {}\n", mask_statistics(mask));
        text += &match &previews.samples {
            Samples::Pictures { grid_width, .. } | Samples::None { grid_width: Some(grid_width) } => {
                grid_text(hidden, *grid_width, glyphs)
            }
            Samples::None { grid_width: None } => line_text(hidden, LINE_COLUMNS, glyphs),
            Samples::Sounds(sounds) => sound_text(&sounds[index].levels(), hidden, LINE_COLUMNS, glyphs),
            Samples::Words(words) => words[index].line(glyphs) + "\n",
        };
        text.push('\n');
    }
    if let Samples::Words(words) = &previews.samples {
        let legend = MaskedWords::legend(words, glyphs);
        text += &if legend.is_empty() { legend } else { legend + "\n" };
    }
    let counts = previews.masks.iter().map(Mask::total_hidden);
    let (least, most) = (counts.clone().min().unwrap_or(0), counts.max().unwrap_or(0));
    let lengths = previews.masks.iter().map(Mask::len);
    let (shortest, longest) = (lengths.clone().min().unwrap_or(0), lengths.max().unwrap_or(0));
    let share = percent(previews.hidden_fraction());
    let of = if shortest == longest { longest.to_string() } else { format!("{shortest} to {longest}") };
    text + &format!("all: {share} of {of} positions hidden, {least} to {most} per sample\n")
}

/// Numbers of a mask of one row.
fn mask_statistics(mask: &Mask) -> String {
    let lengths: Vec<usize> = mask.runs(0).map(|run| run.len()).collect();
    let hidden = mask.hidden_count(0);
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
        let previews = request.previews(&parse(line)).unwrap();
        let text = describe(&previews, MaskGlyphs::Ascii);
        let hidden: usize = previews.masks.iter().map(Mask::total_hidden).sum();
        assert_eq!((previews.ids.as_slice(), text.matches('#').count()), (&[0, 1, 2][..], hidden), "{line}");
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
            let error = parse(line).resolve().and_then(|request| request.previews(&parse(line))).unwrap_err();
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
