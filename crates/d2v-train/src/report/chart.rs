//! Drawing one chart as inline SVG.
//!
//! The drawing library writes colours into the picture as they are named here; the page's style sheet finds them by
//! these values and replaces them, so that one picture serves light and dark pages.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::human_numbers::{count, number};
use crate::output_error::OutputError;

/// The drawing library rounds coordinates to whole units, so there are several to a pixel of the page.
const UNITS_PER_PIXEL: u32 = 4;
/// The picture's size; the page scales it to its column.
const WIDTH: u32 = 560 * UNITS_PER_PIXEL;
const HEIGHT: u32 = 230 * UNITS_PER_PIXEL;
/// In the drawing library's measure: 12 pixels on the page.
const FONT_SIZE: u32 = 15 * UNITS_PER_PIXEL;

/// Longer curves are thinned to this many points: more than one per pixel cannot be seen.
const MAX_POINTS: usize = 400;

const TEXT: RGBColor = RGBColor(0x5c, 0x63, 0x70);
const GRID: RGBColor = RGBColor(0xe6, 0xe8, 0xec);
const AXIS: RGBColor = RGBColor(0xc3, 0xc8, 0xd0);
const SERIES: [RGBColor; 3] =
    [RGBColor(0x25, 0x63, 0xeb), RGBColor(0xd9, 0x6b, 0x0b), RGBColor(0x0f, 0x8a, 0x6d)];

/// Values over steps, as one picture.
#[derive(Debug)]
pub(super) struct Chart {
    pub(super) title: &'static str,
    /// What a good curve looks like, in a sentence.
    pub(super) caption: &'static str,
    /// At most three, the most important first.
    pub(super) series: Vec<Series>,
    pub(super) axis: Axis,
}

/// One curve of a chart.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) label: &'static str,
    /// (step, value), steps ascending, all finite.
    pub(super) points: Vec<(f64, f64)>,
}

/// The vertical axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Axis {
    /// As far as the values go.
    Fitted,
    /// As far as the values go, and zero.
    FromZero,
    /// Logarithmic; values that are not positive are left out.
    Logarithmic,
}

/// What becomes of several steps that share a pixel.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bucket {
    step: f64,
    mean: f64,
    low: f64,
    high: f64,
}

impl Chart {
    /// The picture as SVG text, with a vertical line at each step of `resumed_at`; `None` when there is no point.
    pub(super) fn draw(&self, resumed_at: &[u64]) -> Result<Option<String>, OutputError> {
        let curves: Vec<Vec<Bucket>> =
            self.series.iter().map(|series| thin(&self.on_axis(series), MAX_POINTS)).collect();
        let Some(frame) = Frame::around(&curves, self.axis) else { return Ok(None) };
        let mut svg = String::new();
        self.draw_into(&mut svg, &curves, &frame, resumed_at)
            .map_err(|reason| OutputError::Chart { title: self.title, reason: reason.to_string() })?;
        Ok(Some(svg))
    }

    fn on_axis(&self, series: &Series) -> Vec<(f64, f64)> {
        let points = series.points.iter().copied();
        match self.axis {
            Axis::Fitted | Axis::FromZero => points.collect(),
            Axis::Logarithmic => {
                points.filter(|point| point.1 > 0.0).map(|(step, value)| (step, value.log10())).collect()
            }
        }
    }

    fn draw_into(
        &self,
        svg: &mut String,
        curves: &[Vec<Bucket>],
        frame: &Frame,
        resumed_at: &[u64],
    ) -> Result<(), Box<dyn std::error::Error>> {
        let root = SVGBackend::with_string(svg, (WIDTH, HEIGHT)).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin_top(8 * UNITS_PER_PIXEL)
            .margin_right(14 * UNITS_PER_PIXEL)
            .x_label_area_size(26 * UNITS_PER_PIXEL)
            .y_label_area_size(56 * UNITS_PER_PIXEL)
            .build_cartesian_2d(frame.steps.0..frame.steps.1, frame.values.0..frame.values.1)?;
        let text = ("sans-serif", FONT_SIZE).into_font().color(&TEXT);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(GRID.stroke_width(UNITS_PER_PIXEL))
            .light_line_style(TRANSPARENT)
            .axis_style(AXIS.stroke_width(UNITS_PER_PIXEL))
            .set_all_tick_mark_size(5 * UNITS_PER_PIXEL)
            .x_labels(6)
            .y_labels(7)
            .x_label_style(text.pos(Pos::new(HPos::Center, VPos::Top)))
            .y_label_style(text.pos(Pos::new(HPos::Right, VPos::Center)))
            .x_label_formatter(&|step| count(step.round() as u64))
            .y_label_formatter(&|value| self.axis.label(*value, frame.values.1 - frame.values.0))
            .draw()?;
        for &step in resumed_at {
            let line = vec![(step as f64, frame.values.0), (step as f64, frame.values.1)];
            chart.draw_series([PathElement::new(line, AXIS.stroke_width(UNITS_PER_PIXEL))])?;
        }
        // The first curve is drawn last, above the others.
        for (curve, colour) in curves.iter().zip(SERIES).rev() {
            if curve.iter().any(|bucket| bucket.low < bucket.high) {
                let upper = curve.iter().map(|bucket| (bucket.step, bucket.high));
                let lower = curve.iter().rev().map(|bucket| (bucket.step, bucket.low));
                let band: Vec<(f64, f64)> = upper.chain(lower).collect();
                chart.draw_series([Polygon::new(band, colour.mix(0.18))])?;
            }
            let line = curve.iter().map(|bucket| (bucket.step, bucket.mean));
            chart.draw_series(LineSeries::new(line, colour.stroke_width(2 * UNITS_PER_PIXEL)))?;
            if let [only] = curve.as_slice() {
                chart.draw_series([Circle::new(
                    (only.step, only.mean),
                    3 * UNITS_PER_PIXEL,
                    colour.filled(),
                )])?;
            }
        }
        root.present()?;
        Ok(())
    }
}

impl Axis {
    /// A label with as many decimals as tell neighbouring labels apart on an axis of length `span`.
    fn label(self, value: f64, span: f64) -> String {
        match self {
            // Two digits: between the powers of ten lie marks such as 3.2, where nobody asks for more.
            Self::Logarithmic => {
                let power = 10_f64.powf(value.floor() - 1.0);
                number((10_f64.powf(value) / power).round() * power)
            }
            Self::Fitted | Self::FromZero => {
                let decimals = (2.0 - span.log10().floor()).clamp(0.0, 12.0) as usize;
                let text = format!("{value:.decimals$}");
                let text =
                    if decimals > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
                if text == "-0" { "0".to_owned() } else { text.to_owned() }
            }
        }
    }
}

/// The part of the plane that is drawn.
#[derive(Debug, PartialEq)]
struct Frame {
    steps: (f64, f64),
    values: (f64, f64),
}

impl Frame {
    /// Around all buckets, with a little air; `None` without any.
    fn around(curves: &[Vec<Bucket>], axis: Axis) -> Option<Self> {
        let mut buckets = curves.iter().flatten();
        let first = buckets.next()?;
        let (mut steps, mut values) = ((first.step, first.step), (first.low, first.high));
        for bucket in buckets {
            steps = (steps.0.min(bucket.step), steps.1.max(bucket.step));
            values = (values.0.min(bucket.low), values.1.max(bucket.high));
        }
        if axis == Axis::FromZero {
            values = (values.0.min(0.0), values.1.max(0.0));
        }
        let air = match values.1 - values.0 {
            // A constant gets the middle of an axis as long as itself.
            span if span <= 0.0 => (values.0.abs() * 0.5).max(1e-3),
            span => span * 0.06,
        };
        let below = if axis == Axis::FromZero && values.0 == 0.0 { 0.0 } else { air };
        let steps = if steps.0 < steps.1 { steps } else { (steps.0 - 1.0, steps.1 + 1.0) };
        Some(Self { steps, values: (values.0 - below, values.1 + air) })
    }
}

/// Joins neighbouring points so that at most `max` remain; the mean shows the trend, the extremes the noise.
fn thin(points: &[(f64, f64)], max: usize) -> Vec<Bucket> {
    let per_bucket = points.len().div_ceil(max).max(1);
    points
        .chunks(per_bucket)
        .map(|chunk| {
            let size = chunk.len() as f64;
            let values = chunk.iter().map(|point| point.1);
            Bucket {
                step: chunk.iter().map(|point| point.0).sum::<f64>() / size,
                mean: values.clone().sum::<f64>() / size,
                low: values.clone().fold(f64::INFINITY, f64::min),
                high: values.fold(f64::NEG_INFINITY, f64::max),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(axis: Axis, points: Vec<(f64, f64)>) -> Chart {
        Chart { title: "a test", caption: "", series: vec![Series { label: "value", points }], axis }
    }

    #[test]
    fn the_style_sheet_knows_every_colour() {
        let style = include_str!("style.css").to_uppercase();
        for RGBColor(red, green, blue) in [TEXT, GRID, AXIS].into_iter().chain(SERIES) {
            let colour = format!("#{red:02X}{green:02X}{blue:02X}");
            assert!(style.contains(&format!("\"{colour}\"")), "{colour} has no rule");
            let svg = chart(Axis::Fitted, vec![(1.0, 1.0), (2.0, 3.0)]).draw(&[1]).unwrap().unwrap();
            if [TEXT, GRID, AXIS, SERIES[0]].contains(&RGBColor(red, green, blue)) {
                assert!(
                    svg.contains(&format!("=\"{colour}\"")),
                    "{colour} is spelt otherwise in the picture"
                );
            }
        }
    }

    #[test]
    fn a_picture_has_a_point_per_value_until_there_are_too_many() {
        for (points, expected) in [(2, 2), (400, 400), (401, 201), (100_000, 400)] {
            let values: Vec<(f64, f64)> = (0..points).map(|step| (f64::from(step), 1.0)).collect();
            assert_eq!(thin(&values, 400).len(), expected);
        }
    }

    #[test]
    fn thinning_keeps_mean_and_extremes() {
        let points = [(1.0, 5.0), (2.0, 1.0), (3.0, 3.0)];
        assert_eq!(thin(&points, 1), [Bucket { step: 2.0, mean: 3.0, low: 1.0, high: 5.0 }]);
    }

    #[test]
    fn frames() {
        let frame = |axis, points: &[(f64, f64)]| Frame::around(&[thin(points, 10)], axis).unwrap().values;
        assert_eq!(frame(Axis::FromZero, &[(1.0, 0.0), (2.0, 50.0)]), (0.0, 53.0));
        let (low, high) = frame(Axis::Fitted, &[(1.0, 0.998), (2.0, 0.9998)]);
        assert!(0.997 < low && low < 0.998 && 0.9998 < high && high < 1.0);
        assert_eq!(frame(Axis::Fitted, &[(1.0, 2.0), (2.0, 2.0)]), (1.0, 3.0));
        assert_eq!(Frame::around(&[Vec::new()], Axis::Fitted), None);
    }

    #[test]
    fn labels_tell_neighbours_apart() {
        for (value, span, expected) in [
            (0.998_5, 0.002, "0.9985"),
            (0.5, 1.0, "0.5"),
            (1500.0, 2000.0, "1500"),
            (100.0, 2000.0, "100"),
            (-0.0, 1.0, "0"),
            (0.000_25, 0.001, "0.00025"),
        ] {
            assert_eq!(Axis::Fitted.label(value, span), expected);
        }
        for (value, expected) in [(-1.0, "0.1"), (0.5, "3.2"), (2.0, "100"), (3.7, "5,000"), (-4.0, "1e-4")] {
            assert_eq!(Axis::Logarithmic.label(value, 4.0), expected);
        }
    }

    #[test]
    fn odd_curves_are_drawn_or_left_out() {
        assert_eq!(chart(Axis::Fitted, vec![]).draw(&[]).unwrap(), None);
        assert_eq!(chart(Axis::Logarithmic, vec![(1.0, 0.0), (2.0, -1.0)]).draw(&[]).unwrap(), None);
        let single = chart(Axis::Fitted, vec![(7.0, 0.0)]).draw(&[]).unwrap().unwrap();
        assert!(single.contains("<circle"));
    }
}
