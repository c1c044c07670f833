//! Pictures to tokens, with and without hidden patches: `cargo run --release -p d2v-encoders --example patches`.

#![expect(clippy::print_stdout, reason = "this program's purpose")]

use d2v_encoders::{Hidden, ImageConfig, ImageEncoder, ImagePosition, ModalityEncoder};
use d2v_torch::{ParamStore, seed};
use d2v_transformer::{InitScheme, Pass};
use tch::{Device, Kind, Tensor};

fn main() -> Result<(), d2v_encoders::Error> {
    let config = ImageConfig {
        image_size: 32,
        patch_size: 8,
        channels: 3,
        position: ImagePosition::RelativeBias {},
        class_token: true,
    };
    let store = ParamStore::new(Device::Cpu, Kind::Float, 0);
    let encoder = ImageEncoder::new(&store.root(), &config, 64, 4, InitScheme::Beit)?;
    for (name, tensor) in store.into_parameters().iter() {
        println!("{name} {:?}", tensor.size());
    }

    let pictures = seed::seeded(&[1], || Tensor::rand([2, 3, 32, 32], (Kind::Float, Device::Cpu)));
    let features = encoder.features(&pictures)?;
    // The left half of the grid is hidden; one mask for both pictures.
    let mask_bl = Tensor::arange(16, (Kind::Int64, Device::Cpu)).remainder(4).lt(2).expand([2, 16], false);
    let student = encoder.tokens(&features, Some(Hidden { mask_bl: &mask_bl }), None, Pass::Eval)?;
    let teacher = encoder.tokens(&features, None, None, Pass::Eval)?;
    let changed = (&student.tokens_bld - &teacher.tokens_bld).abs().amax([2], false).gt(0.0);
    println!(
        "features {:?}, tokens {:?} of which {} class token in front, bias {:?}",
        features.size(),
        student.tokens_bld.size(),
        student.extra,
        student.bias_bhll.as_ref().map_or_else(Vec::new, Tensor::size)
    );
    println!("{} of {} tokens are hidden", changed.sum(Kind::Int64).int64_value(&[]), changed.numel());

    // Another picture size: the table of relative positions is resampled.
    let larger = Tensor::zeros([1, 3, 48, 48], (Kind::Float, Device::Cpu));
    let tokens = encoder.tokens(&encoder.features(&larger)?, None, None, Pass::Eval)?;
    println!("48 pixels: tokens {:?}", tokens.tokens_bld.size());
    Ok(())
}
