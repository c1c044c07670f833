//! Named parameters, fused AdamW and a gradient norm, on the smallest problem there is:
//! `cargo run --release -p d2v-torch --example fit_a_line`.

#![expect(clippy::print_stdout, reason = "this program's purpose")]

use d2v_torch::adamw::{self, AdamW, Group, OnDevice};
use d2v_torch::{Init, ParamStore, foreach, seed};
use tch::{Device, Kind, Tensor};

fn main() -> Result<(), d2v_torch::Error> {
    // y = 3 x - 1 and a little noise.
    let x = Tensor::linspace(-1.0, 1.0, 64, (Kind::Float, Device::Cpu));
    let noise = seed::seeded(&[0, 1], || Tensor::randn([64], (Kind::Float, Device::Cpu)) * 0.05);
    let y = &x * 3.0 - 1.0 + noise;

    let store = ParamStore::new(Device::Cpu, Kind::Float, 0);
    let line = store.root().sub("line");
    let slope = line.param("slope", &[1], Init::Normal { std: 1.0 })?;
    let offset = line.param("offset", &[1], Init::Constant(0.0))?;
    let parameters = store.into_parameters();
    println!("{} numbers in {:?}", parameters.count(), parameters.names().collect::<Vec<_>>());

    let params = parameters.tensors();
    let zeros = || params.iter().map(|p| p.detach().zeros_like()).collect::<Vec<_>>();
    let (exp_avgs, exp_avg_sqs) = (zeros(), zeros());
    let hyper = AdamW { lr: 0.1, beta1: 0.9, beta2: 0.99, weight_decay: 0.0, eps: 1e-8 };
    for step in 1..=200i16 {
        let loss = (&x * &slope + &offset - &y).square().mean(Kind::Float);
        loss.backward();
        let grads: Vec<Tensor> = params.iter().map(Tensor::grad).collect();
        if step % 50 == 0 {
            let norm = foreach::global_norm(&grads)?;
            println!(
                "step {step}: loss {:.5}, gradient {:.5}",
                loss.double_value(&[]),
                norm.double_value(&[])
            );
        }
        let group = Group { params: &params, grads: &grads, exp_avgs: &exp_avgs, exp_avg_sqs: &exp_avg_sqs };
        adamw::step(&group, OnDevice::plain(&Tensor::from(f32::from(step))), &hyper)?;
        drop(grads);
        foreach::clear_grads(&params)?;
    }
    println!("slope {:.2}, offset {:.2}", slope.double_value(&[0]), offset.double_value(&[0]));
    Ok(())
}
