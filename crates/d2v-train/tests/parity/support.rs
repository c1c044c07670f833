//! Reads a golden case: the reference's inputs, weights and results.

use d2v_encoders::{EncoderConfig, ImageConfig, ImagePosition};
use d2v_torch::Parameters;
use d2v_torch::bytes::from_bytes;
use d2v_train::network::ModelConfig;
use d2v_transformer::{HeadConfig, Size, TransformerConfig};
use safetensors::{Dtype, SafeTensors};
use std::path::PathBuf;
use tch::{Kind, Tensor};

/// A case folder under `tests/golden`.
pub(crate) struct Case {
    /// `case.json`.
    pub(crate) facts: serde_json::Value,
    f32: Parameters,
    f64: Parameters,
}

impl Case {
    /// Reads a folder.
    pub(crate) fn load(name: &str) -> Case {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        let read = |file: &str| {
            let path = folder.join(file);
            std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        Case {
            facts: serde_json::from_slice(&read("case.json")).expect("case.json is JSON"),
            f32: tensors(&read("tensors.safetensors")),
            f64: tensors(&read("tensors_f64.safetensors")),
        }
    }

    /// A tensor of the f32 run, floating ones in `kind`.
    pub(crate) fn get(&self, name: &str, kind: Kind) -> Tensor {
        let tensor = self.f32.get(name).unwrap_or_else(|| panic!("the case has no {name}"));
        if tensor.is_floating_point() { tensor.to_kind(kind) } else { tensor.shallow_clone() }
    }

    /// Weights `w.student.*` or `w.teacher.*` without that prefix.
    pub(crate) fn weights(&self, prefix: &str, kind: Kind) -> Parameters {
        self.f32.under(prefix).iter().map(|(name, t)| (name.to_owned(), t.to_kind(kind))).collect()
    }

    /// Compares with the stored result: in f64 to 1e-9 where the f64 run stored it, in f32 to the case's `atol_f32`.
    pub(crate) fn check(&self, name: &str, got: &Tensor) {
        self.check_real(name, got, None);
    }

    /// As [`Case::check`], but for the positions of `[B, L, D]` that are padding.
    pub(crate) fn check_real(&self, name: &str, got: &Tensor, padding_bl: Option<&Tensor>) {
        let (expected, atol) = if got.kind() == Kind::Double {
            match self.f64.get(name) {
                Some(expected) => (expected.shallow_clone(), 1e-9),
                None => (self.get(name, Kind::Double), self.atol(name)),
            }
        } else {
            (self.get(name, Kind::Float), self.atol(name))
        };
        Self::compare(name, got, &expected, padding_bl, atol);
    }

    /// As [`Case::check_real`], but to `atol`.
    pub(crate) fn check_within(&self, name: &str, got: &Tensor, padding_bl: Option<&Tensor>, atol: f64) {
        let stored = self.f64.get(name).filter(|_| got.kind() == Kind::Double);
        let expected = stored.map_or_else(|| self.get(name, got.kind()), Tensor::shallow_clone);
        Self::compare(name, got, &expected, padding_bl, atol);
    }

    fn compare(name: &str, got: &Tensor, expected: &Tensor, padding_bl: Option<&Tensor>, atol: f64) {
        assert_eq!(got.size(), expected.size(), "{name}: shape");
        let mut gap = got - expected;
        if let Some(padding_bl) = padding_bl {
            gap = gap.masked_fill(&padding_bl.unsqueeze(-1), 0.0);
        }
        let worst = gap.abs().max().double_value(&[]);
        assert!(worst <= atol, "{name} ({:?}): off by {worst:e}, allowed {atol:e}", got.kind());
    }

    fn atol(&self, name: &str) -> f64 {
        self.facts["tensors"][name]["atol_f32"].as_f64().unwrap_or_else(|| panic!("no atol_f32 for {name}"))
    }

    /// The facts of the f32 or the f64 run.
    pub(crate) fn run(&self, kind: Kind) -> &serde_json::Value {
        &self.facts[if kind == Kind::Double { "float64" } else { "float32" }]
    }
}

/// Compares two numbers relatively.
pub(crate) fn check_number(what: &str, got: f64, expected: f64, relative: f64) {
    let gap = (got - expected).abs();
    assert!(
        gap <= relative * expected.abs(),
        "{what}: {got} against {expected}, relative {:e}",
        gap / expected.abs()
    );
}

fn tensors(bytes: &[u8]) -> Parameters {
    let file = SafeTensors::deserialize(bytes).expect("a safetensors file");
    let read = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
        let kind = match view.dtype() {
            Dtype::F32 => Kind::Float,
            Dtype::F64 => Kind::Double,
            Dtype::U8 => Kind::Uint8,
            Dtype::I64 => Kind::Int64,
            other => panic!("{name}: {other:?}"),
        };
        let shape: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
        (name, from_bytes(view.data(), &shape, kind).expect("as many bytes as the header says"))
    };
    file.tensors().into_iter().map(read).collect()
}

/// The small network of both image cases.
pub(crate) fn model(norm_eps: f64) -> ModelConfig {
    let encoder = EncoderConfig::Image(ImageConfig {
        image_size: 48,
        patch_size: 8,
        channels: 3,
        position: ImagePosition::RelativeBias {},
        class_token: true,
    });
    let transformer = TransformerConfig {
        width: 32,
        depth: 4,
        heads: 4,
        ffn_width: 128,
        norm_eps,
        ..TransformerConfig::image(Size::Tiny)
    };
    ModelConfig { encoder, transformer, head: HeadConfig::Linear {} }
}
