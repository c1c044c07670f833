//! Forward passes of which nothing will ever be differentiated.

use crate::Result;
use crate::ffi::{self, check};
use std::ffi::c_void;

struct Guard(*mut c_void);

impl Drop for Guard {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "frees what d2v_inference_enter made")]
        // SAFETY: the pointer is null or a guard of this thread, left in the reverse order of entering: it lives in
        // the frame of `with`.
        unsafe {
            ffi::d2v_inference_leave(self.0);
        }
    }
}

/// Runs `body` in libtorch's inference mode: no gradient, and tensors without the books that gradients need.
///
/// A tensor made inside cannot be kept by a later operation that records gradients; what such an operation is to use
/// must be made of it outside (by a copy or any other operation that makes a new tensor).
///
/// # Errors
/// If libtorch refuses.
pub fn with<T>(body: impl FnOnce() -> T) -> Result<T> {
    let mut guard = Guard(std::ptr::null_mut());
    #[expect(unsafe_code, reason = "call into streams.cpp, which hands over a new guard")]
    // SAFETY: the out argument is live for the length of the call; the guard is freed once, by `Guard`.
    check(unsafe { ffi::d2v_inference_enter(&mut guard.0) })?;
    let out = body();
    drop(guard);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind, Tensor};

    #[test]
    fn values_are_the_same_and_nothing_is_recorded() {
        let x = Tensor::randn([5, 5], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let outside = x.matmul(&x).detach();
        let inside = with(|| {
            assert!(with(|| x.matmul(&x)).unwrap().is_inference(), "nested");
            x.matmul(&x)
        })
        .unwrap();
        assert!(inside.equal(&outside) && inside.is_inference() && !inside.requires_grad());
        let after = x.matmul(&x);
        assert!(after.requires_grad() && !after.is_inference(), "left behind");
    }

    #[test]
    fn what_is_made_of_it_outside_takes_part_in_gradients() {
        let x = Tensor::ones([3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let target = with(|| Tensor::full([3], 5.0, (Kind::Float, Device::Cpu))).unwrap();
        assert!(x.f_mul(&target).is_err(), "a product keeps both factors");
        let usable = target.index_select(0, &Tensor::from_slice(&[0i64, 1, 2]));
        (&x * &usable).sum(Kind::Float).backward();
        assert!(x.grad().equal(&Tensor::full([3], 5.0, (Kind::Float, Device::Cpu))));
    }

    #[test]
    fn a_panic_leaves_the_mode() {
        let caught = std::panic::catch_unwind(|| with(|| panic!("inside")));
        assert!(caught.is_err());
        assert!(!Tensor::zeros([1], (Kind::Float, Device::Cpu)).is_inference());
    }
}
