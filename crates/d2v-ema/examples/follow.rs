//! A teacher that follows a student: `cargo run --release -p d2v-ema --example follow`.

#![expect(clippy::print_stdout, reason = "this program's purpose")]

use d2v_ema::{Ema, Fate, Rule, Tau};
use d2v_torch::Parameters;
use tch::Tensor;

fn network(value: f32) -> Parameters {
    let names = ["front_end.weight", "transformer.weight"];
    names.into_iter().map(|name| (name.to_owned(), Tensor::from_slice(&[value]))).collect()
}

fn main() -> Result<(), d2v_ema::Error> {
    let (student, teacher) = (network(1.0), network(0.0));
    let rule = Rule::average_all().with("front_end.", Fate::Copied);
    let ema = Ema::pair(&student, &teacher, &rule)?;
    println!("averaged {:?}, copied {:?}", ema.names(Fate::Averaged), ema.names(Fate::Copied));

    let tau = Tau::Linear { start: 0.9, end: 0.99, steps: Some(100) };
    for update in 1..=200 {
        ema.update(tau.at(update))?;
        if update % 50 == 0 || update == 1 {
            let value = |name: &str| teacher.get(name).map_or(f64::NAN, |tensor| tensor.double_value(&[0]));
            println!(
                "update {update:3}: tau {:.4}, teacher {:.6} (averaged) {:.1} (copied)",
                tau.at(update),
                value("transformer.weight"),
                value("front_end.weight")
            );
        }
    }
    Ok(())
}
