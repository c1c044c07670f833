//! Batches whose update was skipped, written aside so that somebody can look at them.

use crate::atomic_file::write_atomically;
use crate::batches::{HostBatch, MaskedLoader};
use crate::checkpoint::write_tensors;
use crate::config::RunConfig;
use crate::sources::Source;
use crate::step::StepReport;
use crate::{Error, Result};
use d2v_data::Cursor;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};

/// Loads the micro-batches of one update again: what they are depends on where they lie in the order alone.
///
/// # Errors
/// If they can no longer be read.
pub(crate) fn load_again(config: &RunConfig, source: &Source, cursor: Cursor) -> Result<Vec<HostBatch>> {
    let mut config = config.clone();
    (config.data.threads, config.data.queue) = (1, 1);
    let mut loader = MaskedLoader::new(&config, source, cursor)?;
    (0..config.train.accumulate).map(|_| loader.next_batch()).collect()
}

/// Writes `step-N.json` (what went wrong, and which samples) and `step-N.safetensors` (the tensors of micro-batch `I` as
/// `I.input`, `I.mask`, `I.hidden` and, where there are such, `I.student_input` and `I.padding`) into `folder`. Returns
/// the path of the tensors.
///
/// # Errors
/// If they cannot be written.
pub(crate) fn write_aside(
    folder: &Path,
    step: u64,
    report: &StepReport,
    host: &[HostBatch],
) -> Result<PathBuf> {
    std::fs::create_dir_all(folder).map_err(|source| Error::Io { path: folder.to_owned(), source })?;
    let path = folder.join(format!("step-{step}.json"));
    let tensor_path = path.with_extension("safetensors");
    let tensors = host.iter().enumerate().flat_map(|(index, one)| named(index, one)).collect();
    write_tensors(&tensor_path, &tensors)?;
    let ids: Vec<u64> = host.iter().flat_map(|one| one.batch.ids()).collect();
    let record = serde_json::json!({
        "step": step,
        "loss": report.loss.to_string(),
        "grad_norm": report.grad_norm.to_string(),
        "epoch": host.first().map(|one| one.batch.epoch),
        "batch_in_epoch": host.iter().map(|one| one.batch.batch_in_epoch).collect::<Vec<_>>(),
        "sample_ids": ids,
    });
    write_atomically(&path, |file| file.write_all(record.to_string().as_bytes()))
        .map_err(|source| Error::Io { path, source })?;
    Ok(tensor_path)
}

fn named(index: usize, one: &HostBatch) -> BTreeMap<String, Tensor> {
    let batch = one.tensors();
    let bytes = |mask: Tensor| mask.to_kind(Kind::Uint8);
    let all = [
        ("input", Some(batch.input)),
        ("student_input", batch.student_input),
        ("mask", Some(bytes(batch.mask_bl))),
        ("padding", batch.padding_bl.map(bytes)),
        ("hidden", Some(batch.hidden_m)),
    ];
    all.into_iter().filter_map(|(name, tensor)| Some((format!("{index}.{name}"), tensor?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::recipe::RecipeArgs;
    use crate::sources::{open_source, resolve};
    use d2v_data::Split;

    #[test]
    fn a_batch_loaded_again_and_written_aside_is_the_one_that_was_trained_on() {
        for modality in ["image", "audio", "text"] {
            let config = RecipeArgs::default().load_for(modality).unwrap();
            let source = open_source(&config.data, Split::Train, None).unwrap();
            let config = resolve(&config, source.tokenizer.as_deref()).unwrap();
            let mut loader = MaskedLoader::new(&config, &source, Cursor::default()).unwrap();
            let before = loader.next_batch().unwrap();
            let wanted = named(0, &loader.next_batch().unwrap());
            let again = load_again(&config, &source, before.batch.cursor_after).unwrap();
            let report = StepReport { loss: f64::NAN, grad_norm: 1.0, updated: false, observed: None };
            let folder = tempfile::tempdir().unwrap();
            let path = write_aside(&folder.path().join("skipped"), 7, &report, &again).unwrap();
            let written: BTreeMap<String, Tensor> =
                Tensor::read_safetensors(&path).unwrap().into_iter().collect();
            assert_eq!(written.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>(), "{modality}");
            assert!(wanted.iter().all(|(name, tensor)| written[name].equal(tensor)), "{modality}");
            let record = std::fs::read_to_string(path.with_extension("json")).unwrap();
            let record: serde_json::Value = serde_json::from_str(&record).unwrap();
            assert_eq!((&record["step"], &record["loss"]), (&7.into(), &"NaN".into()));
        }
    }

    #[test]
    fn an_update_in_micro_batches_has_the_samples_and_masks_of_the_whole_one() {
        let update = |micro_batches: usize| {
            let mut config = RecipeArgs::default().load().unwrap();
            (config.train.batch_size, config.train.accumulate) = (Some(8), micro_batches);
            let source = open_source(&config.data, Split::Train, None).unwrap();
            load_again(&config, &source, Cursor::default()).unwrap()
        };
        let (whole, parts) = (update(1), update(2));
        assert_eq!(parts.iter().map(|part| part.batch.len()).collect::<Vec<_>>(), [4, 4]);
        let joined = |host: &[HostBatch], name: &str| {
            let tensors = host.iter().map(|one| named(0, one).remove(&format!("0.{name}")).unwrap());
            Tensor::cat(&tensors.collect::<Vec<_>>(), 0)
        };
        for name in ["input", "mask"] {
            assert!(joined(&whole, name).equal(&joined(&parts, name)), "{name}");
        }
    }
}
