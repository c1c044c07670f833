//! Which curves the report shows, and what to look for in each.

use super::chart::{Axis, Chart, Series};
use crate::metrics::StepMetrics;

/// Every chart of a run, in reading order.
pub(super) fn charts(metrics: &[StepMetrics]) -> Vec<Chart> {
    let series = |label, column: fn(&StepMetrics) -> Option<f64>| Series {
        label,
        points: metrics
            .iter()
            .filter_map(|step| Some((step.step as f64, column(step)?)))
            .filter(|point| point.1.is_finite())
            .collect(),
    };
    let chart = |title, caption, axis, series: Vec<Series>| Chart { title, caption, series, axis };
    vec![
        chart(
            "Loss",
            "Falls, may rise again while the targets grow richer, then flattens. On its own it proves nothing: \
             a collapsed run can have the lowest.",
            Axis::FromZero,
            vec![series("loss", |step| Some(step.loss))],
        ),
        chart(
            "Prediction against position",
            "R² is what the student explains of its targets; the share is what the position alone would. A run that \
             learns ends with R² above the share.",
            Axis::FromZero,
            vec![series("R²", |step| step.r2), series("position share", |step| step.position_share)],
        ),
        chart(
            "Effective rank of the targets",
            "How many directions the targets use. It falls from its start and settles; towards 1 is collapse.",
            Axis::FromZero,
            vec![series("effective rank", |step| step.effective_rank)],
        ),
        chart(
            "Standard deviation",
            "Over hidden positions, mean over features. Zero is collapse, but a healthy value does not rule it out.",
            Axis::FromZero,
            vec![
                series("targets", |step| step.target_std),
                series("predictions", |step| step.prediction_std),
                series("targets before normalisation", |step| step.raw_target_std),
            ],
        ),
        chart(
            "Cosines between targets",
            "Towards 1 the targets no longer differ: within a sample, between samples, between neighbours.",
            Axis::FromZero,
            vec![
                series("within a sample", |step| step.token_cosine),
                series("between samples", |step| step.sample_cosine),
                series("neighbouring positions", |step| step.adjacent_cosine),
            ],
        ),
        chart(
            "Gradient norm",
            "Before clipping, on a logarithmic axis. Bursts during warm-up mean the learning rate is too high.",
            Axis::Logarithmic,
            vec![series("gradient norm", |step| Some(step.grad_norm))],
        ),
        chart(
            "Learning rate",
            "The schedule of the optimizer.",
            Axis::FromZero,
            vec![series("learning rate", |step| Some(step.lr))],
        ),
        chart(
            "Teacher's tau",
            "The share of the old teacher that each update keeps.",
            Axis::Fitted,
            vec![series("tau", |step| Some(step.tau))],
        ),
        chart(
            "Student and teacher",
            "The distance between their weights over the norm of the student's. Near zero the teacher is a copy.",
            Axis::FromZero,
            vec![series("relative distance", |step| step.student_teacher_distance)],
        ),
        chart(
            "Throughput",
            "Samples per second, waiting for data included.",
            Axis::FromZero,
            vec![series("samples per second", |step| Some(step.samples_per_second))],
        ),
    ]
}
