//! A run's weights as the start of another run.

use super::Error;
use super::adopt::adopt;
use super::starting_point::{ImportRecord, without_head};
use crate::Result;
use crate::evaluate::trained::open_checkpoint;
use crate::network::ModelConfig;
use crate::run_state::{first_difference, parameters};
use crate::step::Learner;
use d2v_encoders::{AudioFeatures, EncoderConfig};
use d2v_torch::Parameters;
use d2v_transformer::{HeadConfig, InitScheme};
use std::path::Path;

/// Student and teacher start from those of `from`: a run's folder (also one that `d2v import` made), or one checkpoint's.
/// What an import had made itself stays as it is here; the log names it.
///
/// # Errors
/// If `from` has no intact checkpoint, or its network is not the one of `model`.
pub fn start_from(from: &Path, model: &ModelConfig, learner: &Learner) -> Result<()> {
    let checkpoint = open_checkpoint(from)?;
    let origin = from.display().to_string();
    check_same_network(&origin, &checkpoint.state.config.model, model)?;
    let run = checkpoint.folder.ancestors().nth(2);
    // What was fresh at step 0 has been trained later on.
    let record = match run.filter(|_| checkpoint.step == 0) {
        Some(run) => ImportRecord::read(run)?,
        None => None,
    };
    let made_there = record.map_or(Vec::new(), |record| record.fresh);
    let taken = |source: &Parameters| -> Parameters {
        let known = source.iter().filter(|(name, _)| !made_there.iter().any(|fresh| fresh == name));
        known.map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone())).collect()
    };
    let student = taken(&parameters(&checkpoint.tensors.student));
    let fresh = adopt(&learner.student.network.parameters, &student, &origin)?;
    let teacher = taken(&without_head(&parameters(&checkpoint.tensors.teacher)));
    adopt(&learner.teacher.parameters, &teacher, &origin)?;
    tracing::info!("starting from the weights of {origin} at step {}", checkpoint.step);
    if !fresh.is_empty() {
        tracing::info!("not in those weights, so fresh: {}", fresh.join(", "));
    }
    Ok(())
}

/// Checks what shapes do not show: heads, strides, epsilons, ids.
fn check_same_network(origin: &str, theirs: &ModelConfig, ours: &ModelConfig) -> Result<()> {
    let of = |model: &ModelConfig| serde_json::to_value(evaluated(model)).unwrap_or_default();
    match first_difference("model", &of(theirs), &of(ours)) {
        None => Ok(()),
        Some((key, theirs, ours)) => {
            Err(Error::OtherNetwork { origin: origin.to_owned(), key, theirs, ours }.into())
        }
    }
}

/// The settings without those that only act in training; the head is told by its parameters.
fn evaluated(model: &ModelConfig) -> ModelConfig {
    let mut model = model.clone();
    model.head = HeadConfig::Linear {};
    let transformer = &mut model.transformer;
    transformer.init = InitScheme::Bert;
    transformer.layer_scale = transformer.layer_scale.map(|_| 1.0);
    for rate in [
        &mut transformer.input_dropout,
        &mut transformer.dropout,
        &mut transformer.attention_dropout,
        &mut transformer.activation_dropout,
        &mut transformer.drop_path,
        &mut transformer.layer_drop,
    ] {
        *rate = 0.0;
    }
    if let EncoderConfig::Audio(audio) = &mut model.encoder
        && let AudioFeatures::Waveform { gradient_multiplier, .. } = &mut audio.features
    {
        *gradient_multiplier = 1.0;
    }
    model
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::tiny_run;

    #[test]
    fn what_shapes_do_not_show_is_compared() {
        let model = tiny_run::config(1, 0).model;
        let check = |change: fn(&mut ModelConfig)| {
            let mut other = model.clone();
            change(&mut other);
            check_same_network("runs/x", &model, &other)
        };
        check(|model| {
            model.transformer.drop_path = 0.5;
            model.transformer.init = InitScheme::Uniform;
            model.head = HeadConfig::Mlp { hidden: 3 };
        })
        .unwrap();
        let error = check(|model| model.transformer.heads = 4).unwrap_err().to_string();
        assert!(error.contains("runs/x has model.transformer.heads = 2, this run 4"), "{error}");
        let error = check(|model| model.transformer.norm_eps = 1e-3).unwrap_err().to_string();
        assert!(error.contains("norm_eps"), "{error}");
    }
}
