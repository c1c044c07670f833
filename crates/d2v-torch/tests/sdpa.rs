//! Which attention kernel is allowed is a switch of the process, so these tests have one of their own.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use d2v_torch::sdpa::{Kernel, chosen, with};
use std::sync::{Mutex, PoisonError};
use tch::{Device, Kind, Tensor};

/// What is allowed is the process's: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn qkv() -> [Tensor; 3] {
    [0, 1, 2].map(|_| Tensor::randn([2, 3, 9, 8], (Kind::Float, Device::Cpu)))
}

#[test]
fn the_allowed_kernel_is_taken_and_all_give_the_same() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let [q, k, v] = qkv();
    let attend =
        || Tensor::scaled_dot_product_attention(&q, &k, &v, None::<&Tensor>, 0.0, false, None, false);
    let by = |kernel| {
        with(kernel, || {
            assert_eq!(chosen(&q, &k, &v, None).unwrap(), kernel);
            attend()
        })
        .unwrap()
    };
    let (flash, math) = (by(Kernel::Flash), by(Kernel::Math));
    assert!(flash.allclose(&math, 1e-5, 1e-6, false));
    assert_eq!(chosen(&q, &k, &v, None).unwrap(), Kernel::Flash, "all are allowed again");
}

#[test]
fn a_kernel_that_does_not_suit_is_an_error() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let [q, k, v] = qkv();
    let got = with(Kernel::Efficient, || chosen(&q, &k, &v, None)).unwrap();
    assert!(got.is_err(), "the CPU has no such kernel: {got:?}");
}
