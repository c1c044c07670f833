//! Every tensor of every block that a target can be made of, and its spread:
//! `cargo run --release -p d2v-transformer --example intermediates`.

#![expect(clippy::print_stdout, reason = "this program's purpose")]

use d2v_torch::{ParamStore, seed};
use d2v_transformer::{Intermediate, Pass, Size, Tokens, Transformer, TransformerConfig, Wanted};
use tch::{Device, Kind, Tensor};

fn main() -> Result<(), d2v_transformer::Error> {
    let config = TransformerConfig { depth: 4, layer_scale: None, ..TransformerConfig::image(Size::Tiny) };
    let store = ParamStore::new(Device::Cpu, Kind::Float, 0);
    let transformer = Transformer::new(&store.root(), &config)?;
    let (samples, positions) = (2, 49);
    println!(
        "{} parameters; {:.2} GFLOP for {samples} samples of {positions} tokens",
        store.into_parameters().count(),
        1e-9 * (samples * config.depth as u64 * config.block_flops(positions)) as f64
    );

    let shape = [samples as i64, positions as i64, config.width];
    let tokens = Tokens::plain(seed::seeded(&[1], || Tensor::randn(shape, (Kind::Float, Device::Cpu))));
    tch::no_grad(|| {
        for what in
            [Intermediate::Attention, Intermediate::FeedForward, Intermediate::Residual, Intermediate::Block]
        {
            let layers = transformer.intermediates(&tokens, what, 0..config.depth)?.everywhere()?;
            let spread: Vec<String> =
                layers.iter().map(|layer| format!("{:6.3}", layer.std(false).double_value(&[]))).collect();
            println!("{:12} deviation by block {}", format!("{what:?}"), spread.join(" "));
        }

        // The student's way: the last layer at chosen rows alone, here the first and last position of sample 0.
        let rows = Tensor::from_slice(&[0, positions as i64 - 1]);
        let some = transformer.encode(&tokens, Wanted::Rows(&rows), Pass::Eval, None)?;
        let all = transformer.encode(&tokens, Wanted::All, Pass::Eval, None)?;
        let gap = (&some - all.view([-1, config.width]).index_select(0, &rows)).abs().max().double_value(&[]);
        println!("rows {:?} of {:?}, equal to within {gap:.0e}", some.size(), all.size());
        Ok(())
    })
}
