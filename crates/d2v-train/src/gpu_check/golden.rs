//! The published image code's case on this device: targets, predictions, loss, gradient norms, and student and
//! teacher after three steps.

use crate::config::Precision;
use crate::recipes::LearnerConfig;
use crate::step::{Learner, MaskedBatch, StepSettings};
use anyhow::{Context, bail};
use d2v_encoders::{EncoderConfig, ImageConfig};
use d2v_masking::Mask;
use d2v_torch::Parameters;
use d2v_torch::bytes::from_bytes;
use d2v_transformer::Size;
use safetensors::{Dtype, SafeTensors};
use serde::Serialize;
use serde_json::Value;
use tch::{Device, Kind, Tensor};

/// What bf16 may change: norm of the difference over norm of the expected, for tensors, and relative differences of
/// numbers. Matrix products with 8 bits of mantissa, through 4 blocks of width 32 and three updates.
const BF16_TENSOR: f64 = 0.02;
const BF16_NUMBER: f64 = 0.02;
/// What f32 may change in numbers, relatively: losses and norms after up to three updates.
const F32_NUMBER: f64 = 2e-5;

/// One precision, compared.
#[derive(Debug, Clone, Serialize)]
pub struct GoldenCheck {
    /// Kind of the matrix products.
    pub precision: Precision,
    /// What was compared.
    pub compared: Vec<Compared>,
}

/// One quantity.
#[derive(Debug, Clone, Serialize)]
pub struct Compared {
    /// Its name.
    pub name: String,
    /// How far off: the largest difference for f32 tensors, relative otherwise.
    pub off: f64,
    /// How far it may be.
    pub allowed: f64,
}

impl GoldenCheck {
    /// Whether everything is within its bounds.
    pub fn passed(&self) -> bool {
        // NaN is within no bounds.
        self.compared.iter().all(|one| one.off <= one.allowed)
    }

    /// The quantity that comes nearest to its bound, or is farthest beyond it.
    pub fn worst(&self) -> Option<&Compared> {
        let share = |one: &Compared| if one.off.is_nan() { f64::INFINITY } else { one.off / one.allowed };
        self.compared.iter().max_by(|a, b| share(a).total_cmp(&share(b)))
    }
}

/// The case in f32 and in bf16.
///
/// # Errors
/// If libtorch refuses.
pub fn check_all(device: Device) -> anyhow::Result<Vec<GoldenCheck>> {
    let case = Case::embedded()?;
    [Precision::F32, Precision::Bf16].into_iter().map(|precision| check(&case, device, precision)).collect()
}

/// The case: the reference's inputs, weights and results.
struct Case {
    facts: Value,
    tensors: Parameters,
}

fn check(case: &Case, device: Device, precision: Precision) -> anyhow::Result<GoldenCheck> {
    d2v_torch::settings::set_tf32(false)?;
    let mut learner = config().learner(device, Kind::Float, 0)?;
    case.load("w.student.", &learner.student.network.parameters)?;
    case.load("w.teacher.", &learner.teacher.parameters)?;
    let mut compared = Vec::new();
    for (index, name) in ["b0", "b1", "b0"].into_iter().enumerate() {
        let update = index as u64 + 1;
        let precision = precision.kind();
        let settings = StepSettings {
            seed: 0,
            update,
            lr: 1e-3,
            tau: 0.9998,
            precision,
            recompute: false,
            observe: true,
        };
        let report = learner.step(&[case.batch(name, device)?], &settings)?;
        let expected = &case.facts["float32"]["steps"][index];
        compared.push(case.number(&format!("loss {update}"), report.loss, &expected["loss"], precision)?);
        let norm = &expected["grad_norm_before_clip"];
        compared.push(case.number(&format!("gradient norm {update}"), report.grad_norm, norm, precision)?);
        if let (0, Some(seen)) = (index, report.observed) {
            compared.push(case.tensor("b0.loss.pred", &seen.predictions_md, precision)?);
            compared.push(case.tensor("b0.loss.target", &seen.targets_md, precision)?);
            compared.push(case.tensor("b0.teacher.targets_all", &seen.targets_bld, precision)?);
        }
    }
    compared.extend(after(case, &learner, precision.kind())?);
    Ok(GoldenCheck { precision, compared })
}

/// Norms of all parameters after the three steps; of each network the one farthest off.
fn after(case: &Case, learner: &Learner, precision: Kind) -> anyhow::Result<Vec<Compared>> {
    let networks = [
        ("student_after", &learner.student.network.parameters),
        ("teacher_after", &learner.teacher.parameters),
    ];
    let mut worst = Vec::new();
    for (table, parameters) in networks {
        let compared = parameters.iter().map(|(name, tensor)| {
            let norm = tensor.detach().to_kind(Kind::Double).norm().double_value(&[]);
            let expected = &case.facts["float32"][table][reference_name(name)][1];
            case.number(&format!("{table} {name}"), norm, expected, precision)
        });
        let compared = compared.collect::<anyhow::Result<Vec<_>>>()?;
        let check = GoldenCheck { precision: Precision::F32, compared };
        worst.extend(check.worst().cloned());
    }
    Ok(worst)
}

/// The case's network and recipe: the published one, small.
fn config() -> LearnerConfig {
    let mut config = LearnerConfig::image(Size::Tiny);
    let image = ImageConfig { image_size: 48, patch_size: 8, ..ImageConfig::vit16() };
    config.model.encoder = EncoderConfig::Image(image);
    let transformer = &mut config.model.transformer;
    (transformer.width, transformer.depth, transformer.heads, transformer.ffn_width) = (32, 4, 4, 128);
    config.objective.top_k = 3;
    config
}

/// The reference's name of one of our parameters.
fn reference_name(ours: &str) -> String {
    let name = ours.strip_prefix("front_end.").or_else(|| ours.strip_prefix("transformer.")).unwrap_or(ours);
    name.replace("head.0.", "lm_head.")
}

impl Case {
    /// The case that is part of the program.
    fn embedded() -> anyhow::Result<Case> {
        let facts = include_bytes!("../../tests/golden/v1_vision_official/case.json");
        let tensors = include_bytes!("../../tests/golden/v1_vision_official/tensors.safetensors");
        let file = SafeTensors::deserialize(tensors)?;
        let read = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
            let kind = match view.dtype() {
                Dtype::F32 => Kind::Float,
                Dtype::U8 => Kind::Uint8,
                Dtype::I64 => Kind::Int64,
                other => bail!("the golden case's {name} is {other:?}"),
            };
            let shape: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
            Ok((name, from_bytes(view.data(), &shape, kind)?))
        };
        let tensors = file.tensors().into_iter().map(read).collect::<anyhow::Result<_>>()?;
        Ok(Case { facts: serde_json::from_slice(facts)?, tensors })
    }

    fn get(&self, name: &str) -> anyhow::Result<&Tensor> {
        self.tensors.get(name).with_context(|| format!("the golden case has no {name}"))
    }

    fn load(&self, prefix: &str, parameters: &Parameters) -> anyhow::Result<()> {
        let get = |name: &str| {
            let tensor = self.get(&format!("{prefix}{}", reference_name(name)))?;
            Ok((name.to_owned(), tensor.shallow_clone()))
        };
        let source = parameters.names().map(get).collect::<anyhow::Result<Parameters>>()?;
        Ok(parameters.copy_from(&source)?)
    }

    fn batch(&self, name: &str, device: Device) -> anyhow::Result<MaskedBatch> {
        let mask = self.get(&format!("{name}.mask"))?;
        let (rows, len) = mask.size2()?;
        let hidden = Vec::<u8>::try_from(mask.to_kind(Kind::Uint8).reshape([-1]))?;
        let mask = Mask::new(rows as usize, len as usize, hidden.iter().map(|&value| value == 1).collect())?;
        Ok(MaskedBatch::new(self.get(&format!("{name}.in.img"))?.to_device(device), &mask, None))
    }

    fn tensor(&self, name: &str, got: &Tensor, precision: Kind) -> anyhow::Result<Compared> {
        let expected = self.get(name)?;
        if got.size() != expected.size() {
            bail!("{name}: shape {:?}, expected {:?}", got.size(), expected.size());
        }
        let gap = got.to_device(Device::Cpu).to_kind(Kind::Float) - expected;
        let (off, allowed) = if precision == Kind::Float {
            let allowed = self.facts["tensors"][name]["atol_f32"].as_f64();
            (gap.abs().max(), allowed.with_context(|| format!("the golden case has no bound for {name}"))?)
        } else {
            (gap.norm() / expected.norm(), BF16_TENSOR)
        };
        Ok(Compared { name: name.to_owned(), off: off.double_value(&[]), allowed })
    }

    fn number(&self, name: &str, got: f64, expected: &Value, precision: Kind) -> anyhow::Result<Compared> {
        let expected = expected.as_f64().with_context(|| format!("the golden case has no {name}"))?;
        let allowed = if precision == Kind::Float { F32_NUMBER } else { BF16_NUMBER };
        Ok(Compared { name: name.to_owned(), off: (got - expected).abs() / expected.abs(), allowed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_case_is_met_on_the_cpu_and_bf16_is_told_from_f32() {
        let case = Case::embedded().unwrap();
        let off = |precision| {
            let check = check(&case, Device::Cpu, precision).unwrap();
            assert!(check.passed(), "{check:#?}");
            check.compared.iter().find(|one| one.name == "b0.loss.pred").unwrap().off
        };
        let (f32, bf16) = (off(Precision::F32), off(Precision::Bf16));
        assert!(bf16 > 100.0 * f32, "bf16 is as exact as f32: {bf16:e} against {f32:e}");
    }

    #[test]
    fn what_is_off_does_not_pass() {
        let check = |off: f64| {
            let compared = vec![
                Compared { name: "good".into(), off: 0.5, allowed: 1.0 },
                Compared { name: "other".into(), off, allowed: 1.0 },
            ];
            GoldenCheck { precision: Precision::F32, compared }
        };
        assert!(check(0.9).passed() && !check(1.1).passed() && !check(f64::NAN).passed());
        assert_eq!(check(f64::NAN).worst().unwrap().name, "other");
        assert_eq!(check(0.1).worst().unwrap().name, "good");
    }
}
