//! The report's HTML.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::chart::Chart;
use super::{ProbeTable, ReportExtras, RunRecord, curves, masked};
use crate::collapse::{RunState, Stage, Verdict};
use crate::human_numbers::{count, duration, flops_rate, number, percent};
use crate::metrics::{StageMetrics, StepMetrics};
use crate::output_error::OutputError;
use crate::sessions::Session;

const STYLE: &str = include_str!("style.css");

/// The whole page. Text from outside is escaped by the macro; `PreEscaped` is for our own style sheet and drawings only.
pub(super) fn render(run: &RunRecord, extras: &ReportExtras) -> Result<String, OutputError> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (run.name) " · data2vec run" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p.kind { "data2vec run" }
                    h1 { (run.name) }
                    (verdict(&run.metrics))
                    (facts(run))
                }
                main {
                    (tiles(&run.metrics))
                    (curve_section(run)?)
                    (stage_section(&run.metrics))
                    (masked::section(extras.masked.as_ref()))
                    (probe_section(extras.probe.as_ref()))
                    (config_section(run.config.as_deref()))
                    (session_section(&run.sessions))
                }
            }
        }
    };
    Ok(page.into_string())
}

/// The collapse watch's last verdict, and its gravest if that came earlier.
fn verdict(metrics: &[StepMetrics]) -> Markup {
    let verdicts: Vec<&Verdict> = metrics.iter().filter_map(|step| step.verdict.as_ref()).collect();
    let Some(last) = verdicts.last() else {
        return html! {
            div.verdict.unknown { strong { "No verdict" } p { "The collapse watch has not looked at this run." } }
        };
    };
    // The first of the gravest: `max_by_key` would give the last.
    let gravest = verdicts.iter().rev().max_by_key(|verdict| verdict.state);
    let (class, gist) = match last.state {
        RunState::Healthy => ("healthy", "Healthy"),
        RunState::Suspicious => ("suspicious", "Suspicious"),
        RunState::Collapsed => ("collapsed", "Collapsed"),
    };
    html! {
        div class={ "verdict " (class) } {
            strong { (gist) }
            div {
                @if let Some(scenario) = last.scenario {
                    p { "At update " (count(last.step)) " it looks like: " (scenario) "." }
                    ul { @for line in &last.evidence { li { (line) } } }
                    p { b { "What to change: " } (last.advice) }
                } @else {
                    p { "The collapse watch saw no sign of collapse at update " (count(last.step)) ", its last look." }
                }
                @if let Some(earlier) = gravest.filter(|verdict| verdict.state > last.state) {
                    p {
                        "Before, the run was found "
                        (if earlier.state == RunState::Collapsed { "collapsed" } else { "suspicious" })
                        " at update " (count(earlier.step))
                        @if let Some(scenario) = earlier.scenario { ": " (scenario) } "."
                    }
                }
            }
        }
    }
}

fn facts(run: &RunRecord) -> Markup {
    let Some(last) = run.metrics.last() else {
        return html! { p.empty { "No step has been recorded yet." } };
    };
    let resumes = run.sessions.iter().filter(|session| session.from_step > 0).count();
    html! {
        dl.facts {
            (fact("Duration", &duration(last.seconds)))
            (fact("Updates", &count(last.step)))
            (fact("Samples", &count(last.samples)))
            (fact("Epochs", &count(last.epoch)))
            (fact("Resumed", &match resumes {
                0 => "never".to_owned(),
                1 => "once".to_owned(),
                times => format!("{times} times"),
            }))
            @if let Some(skipped @ 1..) = last.skipped_updates {
                (fact("Updates skipped", &count(skipped)))
            }
            @if let Some(session) = run.sessions.last() {
                (fact("Machine", &session.machine))
            }
        }
    }
}

fn fact(name: &str, value: &str) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

/// The figures one looks for first, as of the last time they were measured.
fn tiles(metrics: &[StepMetrics]) -> Markup {
    let last = |column: fn(&StepMetrics) -> Option<f64>| metrics.iter().rev().find_map(column);
    let mean = |column: fn(&StepMetrics) -> f64| {
        let finite: Vec<f64> = metrics.iter().map(column).filter(|value| value.is_finite()).collect();
        finite.iter().sum::<f64>() / finite.len() as f64
    };
    let tile = |name: &str, value: Option<String>, note: &str| {
        html! {
            @if let Some(value) = value {
                div.tile { span.name { (name) } span.value { (value) } span.note { (note) } }
            }
        }
    };
    if metrics.is_empty() {
        return html! {};
    }
    let (r2, share) = (last(|step| step.r2), last(|step| step.position_share));
    let comparison = match (r2, share) {
        (Some(r2), Some(share)) if r2 > share => "above the position share",
        (Some(_), Some(_)) => "not above the position share",
        _ => "of the predictions",
    };
    let rate = last(|step| step.tflops).map(flops_rate);
    let (rate, unit) = rate.as_deref().and_then(|rate| rate.split_once(' ')).unzip();
    let rate_note = match (unit, last(|step| step.share_of_ceiling)) {
        (Some(unit), Some(share)) => format!("{unit}, {} of the ceiling", percent(share)),
        (unit, _) => unit.unwrap_or_default().to_owned(),
    };
    html! {
        section.tiles {
            (tile("Loss", last(|step| Some(step.loss)).map(number), "at the last update"))
            (tile("R²", r2.map(number), comparison))
            (tile("Position share", share.map(number), "explained by position alone"))
            (tile("Effective rank", last(|step| step.effective_rank).map(number), "of the targets"))
            (tile("Throughput", Some(number(mean(|step| step.samples_per_second))), "samples/s, mean"))
            (tile("Data wait", Some(percent(mean(|step| step.data_wait))), "of the time, mean"))
            (tile("Arithmetic", rate.map(str::to_owned), &rate_note))
        }
    }
}

fn curve_section(run: &RunRecord) -> Result<Markup, OutputError> {
    if run.metrics.is_empty() {
        return Ok(html! {});
    }
    let resumed_at: Vec<u64> =
        run.sessions.iter().map(|session| session.from_step).filter(|&step| step > 0).collect();
    let drawn = curves::charts(&run.metrics)
        .into_iter()
        .map(|chart| Ok((chart.draw(&resumed_at)?, chart)))
        .collect::<Result<Vec<_>, OutputError>>()?;
    let (shown, empty): (Vec<_>, Vec<_>) = drawn.into_iter().partition(|(svg, _)| svg.is_some());
    Ok(html! {
        section {
            h2 { "Curves" }
            p.lead {
                "Over updates. A band spans the values that share a pixel, the line is their mean."
                @if !resumed_at.is_empty() { " Vertical lines: the run was resumed from a checkpoint." }
            }
            div.charts {
                @for (svg, chart) in &shown { (figure(chart, svg.as_deref().unwrap_or_default())) }
            }
            @if !empty.is_empty() {
                p.note {
                    "Left out, since not one finite value was recorded: "
                    (empty.iter().map(|(_, chart)| chart.title.to_lowercase()).collect::<Vec<_>>().join(", "))
                    "."
                }
            }
        }
    })
}

fn figure(chart: &Chart, svg: &str) -> Markup {
    let curves = || chart.series.iter().enumerate().filter(|(_, series)| !series.points.is_empty());
    html! {
        figure.card {
            h3 { (chart.title) }
            p.legend {
                @for (index, series) in curves() {
                    span.entry {
                        span class={ "key series-" (index) } {}
                        (series.label)
                        @if let Some((_, value)) = series.points.last() { b { (number(*value)) } }
                    }
                }
            }
            div.drawing role="img" aria-label={ "Curve of " (chart.title) } { (PreEscaped(svg)) }
            figcaption { (chart.caption) }
        }
    }
}

/// What the watch measured inside the network: first, last, and between.
fn stage_section(metrics: &[StepMetrics]) -> Markup {
    let watched: Vec<&[StageMetrics]> =
        metrics.iter().map(|step| step.stages.as_slice()).filter(|stages| !stages.is_empty()).collect();
    let Some(last) = watched.last() else { return html! {} };
    html! {
        section {
            h2 { "Inside the network" }
            p.lead {
                "The spread of the features at each stage, at the first and the last of "
                (count(watched.len() as u64)) " observations. A stage whose rank or deviation falls away, or whose share of \
                 position or cosine goes to 1, while those before it hold is where a collapse begins."
            }
            div.card.scroll {
                table {
                    thead {
                        tr {
                            th {}
                            @for (title, _) in STAGE_COLUMNS { th colspan="3" { (title) } }
                        }
                        tr {
                            th { "Stage" }
                            @for _ in STAGE_COLUMNS { th.number { "first" } th.number { "last" } th { "course" } }
                        }
                    }
                    tbody {
                        @for stage in *last {
                            (stage_row(stage.stage, &watched))
                        }
                    }
                }
            }
        }
    }
}

/// A column's head, and what stands in it for a stage.
type StageColumn = (&'static str, fn(&StageMetrics) -> Option<f64>);

/// What is told of a stage.
const STAGE_COLUMNS: [StageColumn; 5] = [
    ("Effective rank", |stage| Some(stage.effective_rank)),
    ("Standard deviation within samples", |stage| Some(stage.raw_std)),
    ("Position share", |stage| stage.position_share),
    ("Cosine within a sample", |stage| stage.token_cosine),
    ("Cosine between samples", |stage| stage.sample_cosine),
];

fn stage_row(stage: Stage, watched: &[&[StageMetrics]]) -> Markup {
    let course: Vec<&StageMetrics> =
        watched.iter().filter_map(|stages| stages.iter().find(|found| found.stage == stage)).collect();
    let cells = |column: fn(&StageMetrics) -> Option<f64>| {
        let values: Vec<f64> = course.iter().filter_map(|stage| column(stage)).collect();
        let end = |value: Option<&f64>| value.copied().map(number).unwrap_or_default();
        html! {
            td.number { (end(values.first())) }
            td.number { b { (end(values.last())) } }
            td { (sparkline(&values)) }
        }
    };
    html! {
        tr { th scope="row" { (stage) } @for (_, column) in STAGE_COLUMNS { (cells(column)) } }
    }
}

/// A curve the size of a word, from zero to the largest value.
fn sparkline(values: &[f64]) -> Markup {
    const WIDTH: f64 = 110.0;
    const HEIGHT: f64 = 22.0;
    const MARGIN: f64 = 2.0;
    let top = values.iter().copied().filter(|value| value.is_finite()).fold(f64::MIN_POSITIVE, f64::max);
    let last = values.len().saturating_sub(1).max(1) as f64;
    let points: Vec<String> = values
        .iter()
        .enumerate()
        .filter(|(_, value)| value.is_finite())
        .map(|(index, value)| {
            let x = MARGIN + index as f64 / last * (WIDTH - 2.0 * MARGIN);
            let y = HEIGHT - MARGIN - (value / top).max(0.0) * (HEIGHT - 2.0 * MARGIN);
            format!("{x:.1},{y:.1}")
        })
        .collect();
    html! {
        svg.spark viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } width=(WIDTH) height=(HEIGHT) aria-hidden="true" {
            polyline points=(points.join(" ")) {}
        }
    }
}

fn probe_section(probe: Option<&ProbeTable>) -> Markup {
    html! {
        section {
            h2 { "Probe against random initialisation" }
            @if let Some(probe) = probe {
                p.lead { "What a simple classifier makes of the frozen features." }
                div.card.scroll {
                    table {
                        thead { tr { @for (column, header) in probe.headers.iter().enumerate() {
                            th.number[column > 0] { (header) }
                        } } }
                        tbody { @for row in &probe.rows { tr {
                            @for (column, cell) in row.iter().enumerate() {
                                @if column == 0 { th scope="row" { (cell) } } @else { td.number { (cell) } }
                            }
                        } } }
                    }
                }
                p.note { (probe.note) }
            } @else {
                p.empty {
                    "Not measured yet. " code { "d2v probe --run DIR" } " trains simple classifiers on the frozen features of \
                     the student, the teacher and the same network at random initialisation; " code { "d2v report --run DIR" }
                    " then makes this page again, with its table."
                }
            }
        }
    }
}

fn config_section(config: Option<&str>) -> Markup {
    html! {
        section {
            h2 { "Configuration" }
            @if let Some(config) = config {
                details.card {
                    summary { "The resolved configuration, every default filled in" }
                    pre { (config) }
                }
            } @else {
                p.empty { "The run folder holds no config.toml." }
            }
        }
    }
}

fn session_section(sessions: &[Session]) -> Markup {
    html! {
        @if !sessions.is_empty() {
            section {
                h2 { "Sessions and versions" }
                div.card.scroll {
                    table {
                        thead { tr { th { "Started (UTC)" } th { "From" } th { "Machine" } th { "Versions" } } }
                        tbody { @for session in sessions { tr {
                            th.time scope="row" { (session.started.replace('T', " ").trim_end_matches('Z')) }
                            td {
                                @if session.from_step == 0 { "the beginning" }
                                @else { "resumed after update " (count(session.from_step)) }
                            }
                            td { (session.machine) }
                            td {
                                (session.versions.iter().map(|(name, version)| format!("{name} {version}"))
                                    .collect::<Vec<_>>().join(", "))
                            }
                        } } }
                    }
                }
            }
        }
    }
}
