//! What `d2v inspect` found, for people.

use super::super::output::table;
use super::{CheckpointFacts, Inspection, SchedulePoint};
use crate::human_numbers::{count, number, percent};
use crate::settings;
use indicatif::HumanBytes;

pub(super) fn text(inspection: &Inspection) -> anyhow::Result<String> {
    let Inspection { config, parameters, flops_per_step: flops, memory, .. } = inspection;
    let mut text = format!("# Configuration, as resolved\n\n{}\n", settings::to_toml(config)?);
    if let Some(checkpoint) = &inspection.checkpoint {
        text += &checkpoint_text(checkpoint);
    }
    if let Some(frames) = &inspection.frames {
        text += &format!(
            "# Frames\n\none every {} samples ({:.1} per second), each of which sees {} samples ({:.1} ms); at most {} in a \
             sound\n\n",
            frames.hop_samples,
            frames.frame_rate_hz,
            frames.receptive_field_samples,
            frames.receptive_field_ms,
            count(frames.frames_at_most.unsigned_abs())
        );
    }
    let elements: u64 = parameters.iter().map(|part| part.elements).sum();
    let tensors: usize = parameters.iter().map(|part| part.tensors).sum();
    let row =
        |name: &str, tensors: usize, elements: u64| vec![name.into(), tensors.to_string(), count(elements)];
    let mut rows: Vec<Vec<String>> =
        parameters.iter().map(|part| row(part.part, part.tensors, part.elements)).collect();
    rows.push(row("all", tensors, elements));
    text += &format!("# Parameters\n\n{}\n", table(&["part", "tensors", "elements"], &rows));

    let share = |value: u64, total: u64| percent(value as f64 / total as f64);
    let parts = [
        ("front end, both", flops.front_end),
        ("teacher forward", flops.teacher),
        ("student forward and backward", flops.student),
        ("prediction head", flops.head),
        ("all", flops.total),
    ];
    let rows =
        parts.map(|(name, n)| vec![name.into(), format!("{:.2}", n as f64 / 1e9), share(n, flops.total)]);
    text += &format!(
        "# Arithmetic of an update: {} samples, {} of the positions hidden\n\n{}\n",
        flops.samples,
        percent(flops.hidden_share),
        table(&["matrix products", "GFLOP", "share"], &rows)
    );

    let parts = memory.parts.parts().into_iter().chain([("all", memory.total)]);
    let rows: Vec<Vec<String>> =
        parts.map(|(name, n)| vec![name.into(), HumanBytes(n).to_string(), share(n, memory.total)]).collect();
    text += &format!(
        "# Expected memory, micro-batches of {}\n\n{}\n\
         Not counted: libtorch itself, loaded samples, buffers of single operations.\n\n",
        config.samples_per_micro_batch(),
        table(&["part", "size", "share"], &rows)
    );
    text += &schedule_text(inspection);
    if let Some(shapes) = &inspection.shapes {
        let rows: Vec<Vec<String>> =
            shapes.iter().map(|(name, shape)| vec![name.clone(), format!("{shape:?}")]).collect();
        text += &format!("\n# Parameters by name\n\n{}", table(&["name", "shape"], &rows));
    }
    Ok(text)
}

fn checkpoint_text(checkpoint: &CheckpointFacts) -> String {
    let CheckpointFacts { folder, step, samples, seconds, skipped_updates, made_by, damaged } = checkpoint;
    let mut text = format!(
        "# Checkpoint {}\n\nall checksums verified; step {}, {} samples, {} of training, {skipped_updates} updates \
         skipped; made by d2v {} with libtorch {}\n\n",
        folder.display(),
        count(*step),
        count(*samples),
        crate::human_numbers::duration(*seconds),
        made_by.program,
        made_by.libtorch
    );
    for one in damaged {
        text += &format!("damaged and passed over: {one}\n\n");
    }
    text
}

fn schedule_text(inspection: &Inspection) -> String {
    if let Some(why) = &inspection.schedule_missing {
        return format!("# Schedule\n\nnot known without the data: {why}\n");
    }
    let row = |point: &SchedulePoint| {
        let half_life = point.half_life_updates.map_or("never".into(), number);
        vec![count(point.update), number(point.lr), format!("{:.6}", point.tau), half_life]
    };
    let rows: Vec<Vec<String>> = inspection.schedule.iter().map(row).collect();
    let headers = ["update", "learning rate", "tau", "half-life of the teacher in updates"];
    format!("# Schedule\n\n{}", table(&headers, &rows))
}
