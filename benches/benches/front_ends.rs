//! From raw input to tokens: pictures, waveforms, mel bands, ids, one by one. Shapes are in the names: samples, then what
//! each holds. f32 on the CPU, libtorch's own threads; half of the positions are hidden.
//!
//! `cargo bench -p d2v-benches --bench front_ends`

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use d2v_encoders::{
    AudioConfig, AudioEncoder, AudioFeatures, Hidden, ImageConfig, ImageEncoder, ModalityEncoder, TextConfig,
    TextEncoder,
};
use d2v_masking::{MaskKey, MaskSampler, Positions, Random, RandomConfig};
use d2v_torch::{ParamStore, Parameters, foreach};
use d2v_transformer::{Pass, Size, TransformerConfig};
use tch::{Device, Kind, Tensor};

const HOST: (Kind, Device) = (Kind::Float, Device::Cpu);
/// Of Base.
const WIDTH: i64 = 768;
const HEADS: i64 = 12;
const SAMPLES: i64 = 4;
/// Five seconds of 16 kHz.
const SOUND: i64 = 80_000;

/// A front end with its parameters and an input that fits.
struct Case {
    name: &'static str,
    encoder: Box<dyn ModalityEncoder>,
    parameters: Parameters,
    input: Tensor,
    positions: i64,
}

impl Case {
    fn image() -> Case {
        let store = ParamStore::new(Device::Cpu, Kind::Float, 0);
        let (config, init) = (ImageConfig::vit16(), TransformerConfig::image(Size::Base).init);
        let encoder = ImageEncoder::new(&store.root(), &config, WIDTH, HEADS, init);
        Case {
            name: "image",
            encoder: Box::new(encoder.expect("published sizes are valid")),
            parameters: store.into_parameters(),
            input: Tensor::randn([SAMPLES, 3, 224, 224], HOST),
            positions: config.side() * config.side(),
        }
    }

    fn audio(name: &'static str, config: &AudioConfig) -> Case {
        let store = ParamStore::new(Device::Cpu, Kind::Float, 0);
        let encoder = AudioEncoder::new(&store.root(), config, WIDTH);
        Case {
            name,
            encoder: Box::new(encoder.expect("published sizes are valid")),
            parameters: store.into_parameters(),
            input: Tensor::randn([SAMPLES, 1, SOUND], HOST),
            positions: config.frames(SOUND),
        }
    }

    fn text() -> Case {
        let store = ParamStore::new(Device::Cpu, Kind::Float, 0);
        let (config, init) = (TextConfig::roberta(), TransformerConfig::sequence(Size::Base).init);
        let words = config.ids().expect("it has them").vocabulary - 1;
        let encoder = TextEncoder::new(&store.root(), &config, WIDTH, init);
        Case {
            name: "text",
            encoder: Box::new(encoder.expect("published sizes are valid")),
            parameters: store.into_parameters(),
            input: Tensor::randint_low(4, words, [SAMPLES, config.max_tokens], (Kind::Int64, Device::Cpu)),
            positions: config.max_tokens,
        }
    }

    /// Equally many hidden positions in every row, `[B, L]`.
    fn mask_bl(&self) -> Tensor {
        let key = |sample_id| MaskKey { sample_id, ..MaskKey::default() };
        let keys: Vec<MaskKey> = (0..SAMPLES as u64).map(key).collect();
        let half = RandomConfig { mask_prob: 0.5, ..RandomConfig::default() };
        let sampler = Random::new(half).expect("half is a share");
        let line = Positions::Line { len: self.positions as usize };
        let mask = sampler.sample_batch(line, None, &keys).expect("there is room");
        Tensor::from_slice(mask.as_slice()).view([SAMPLES, self.positions])
    }

    fn tokens(&self, hidden: Option<&Tensor>, pass: Pass) -> Tensor {
        let features = self.encoder.features(&self.input).expect("the input fits");
        let hidden = hidden.map(|mask_bl| Hidden { mask_bl });
        self.encoder.tokens(&features, hidden, None, pass).expect("the mask fits").tokens_bld
    }
}

/// The mel bands of 10 ms of `configs/speech-tiny-fsdd-logmel.toml`, at 16 kHz: four of them a frame.
fn log_mel() -> AudioConfig {
    let features = AudioFeatures::LogMel { bands: 80, window: 400, hop: 160, stacked: 4 };
    AudioConfig { features, ..AudioConfig::data2vec() }
}

fn front_ends(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("front-end");
    group.sample_size(10);
    group.throughput(Throughput::Elements(SAMPLES as u64));
    let waveform = Case::audio("waveform", &AudioConfig::data2vec());
    for case in [Case::image(), waveform, Case::audio("log-mel", &log_mel()), Case::text()] {
        let mask_bl = case.mask_bl();
        let shape: Vec<String> = case.input.size().iter().map(i64::to_string).collect();
        let id = |what| BenchmarkId::new(what, format!("{}/{}", case.name, shape.join("x")));
        // The teacher's way: nothing hidden, no gradient.
        group.bench_function(id("forward"), |bencher| {
            bencher.iter(|| tch::no_grad(|| case.tokens(None, Pass::Eval)));
        });
        // The student's.
        group.bench_function(id("masked-forward-backward"), |bencher| {
            bencher.iter(|| {
                case.tokens(Some(&mask_bl), Pass::Train { key: 0, recompute: false })
                    .sum(Kind::Float)
                    .backward();
                foreach::clear_grads(&case.parameters.tensors())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, front_ends);
criterion_main!(benches);
