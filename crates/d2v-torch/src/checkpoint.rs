//! Activation checkpointing: inner activations are made again in the backward pass instead of being kept.

use crate::ffi::{self, check, pointers};
use crate::{Result, autocast};
use std::ffi::{CString, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use tch::Tensor;

/// What is run, once now and once in the backward pass: inputs to output.
pub type Body = Box<dyn FnMut(&[Tensor]) -> Result<Tensor> + Send>;

/// Runs `body` on `inputs` and keeps nothing but them; the backward pass runs it a second time.
///
/// Gradients reach `inputs` and every parameter that `body` uses, the latter by being added to their `grad()`. Anything
/// else with a gradient must be an input. At least one input must require a gradient, or none arrives anywhere. Both
/// runs must do the same: random draws belong into [`crate::seed::seeded`]. The second run has the autocast of the
/// first.
///
/// # Errors
/// If the first run fails. A failure of the second is one of `backward()`.
pub fn checkpoint(inputs: &[Tensor], mut body: Body) -> Result<Tensor> {
    let Some(device) = inputs.first().map(Tensor::device) else {
        return body(inputs);
    };
    let precision = autocast::kind(device)?;
    // The backward pass of a CUDA device runs on a thread of its own, which knows nothing of our autocast.
    let body: Body = Box::new(move |inputs| autocast::with(device, precision, || body(inputs))?);
    let closure: *mut Body = Box::into_raw(Box::new(body));
    let pointers = pointers(inputs);
    let mut out = std::ptr::null_mut();
    #[expect(unsafe_code, reason = "call into checkpoint.cpp, which hands over a new tensor")]
    // SAFETY: the array holds live tensors for the length of the call; `closure` is taken over, run by one thread at a
    // time (it is `Send`), and dropped exactly once by `drop_body`; on success `out` is a fresh `at::Tensor*`.
    unsafe {
        check(ffi::d2v_checkpoint(
            pointers.as_ptr(),
            pointers.len(),
            closure.cast(),
            run_body,
            drop_body,
            &mut out,
        ))?;
        Ok(Tensor::from_ptr(out.cast()))
    }
}

#[expect(unsafe_code, reason = "called by checkpoint.cpp")]
/// Runs the body; a failure or a panic becomes a message, since nothing may unwind into C++.
///
/// # Safety
/// `closure` comes from [`checkpoint`] and is not run by anyone else meanwhile; `inputs` are `count` live tensors.
unsafe extern "C" fn run_body(
    closure: *mut c_void,
    inputs: *const *const c_void,
    count: usize,
    out: *mut *mut c_void,
) -> *mut c_char {
    let run = AssertUnwindSafe(|| {
        // SAFETY: as promised by the caller; `shallow_clone` leaves the caller's tensors alone.
        let (body, inputs) = unsafe {
            let body = &mut *closure.cast::<Body>();
            let pointers = std::slice::from_raw_parts(inputs, count);
            let tensors: Vec<Tensor> =
                pointers.iter().map(|&p| Tensor::clone_from_ptr(p.cast_mut().cast())).collect();
            (body, tensors)
        };
        body(&inputs)
    });
    let failure = match catch_unwind(run) {
        Ok(Ok(tensor)) => {
            // SAFETY: `out` is writable; C++ takes over the tensor, which is therefore not dropped here.
            unsafe { *out = tensor.as_ptr().cast_mut().cast() };
            std::mem::forget(tensor);
            return std::ptr::null_mut();
        }
        Ok(Err(error)) => error.to_string(),
        Err(panic) => match panic.downcast_ref::<String>() {
            Some(text) => text.clone(),
            None => panic.downcast_ref::<&str>().copied().unwrap_or("panic").to_owned(),
        },
    };
    let text = CString::new(failure.replace('\0', " ")).unwrap_or_default();
    // SAFETY: copies a NUL-terminated string.
    unsafe { ffi::d2v_message(text.as_ptr()) }
}

#[expect(unsafe_code, reason = "called by checkpoint.cpp")]
/// # Safety
/// `closure` comes from [`checkpoint`] and is not used afterwards.
unsafe extern "C" fn drop_body(closure: *mut c_void) {
    // SAFETY: made by `Box::into_raw` in `checkpoint`.
    drop(unsafe { Box::from_raw(closure.cast::<Body>()) });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use crate::seed::seeded;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tch::{Device, Kind};

    const HOST: (Kind, Device) = (Kind::Float, Device::Cpu);

    /// Two layers with dropout, whose parameters and second input get gradients; output and gradients.
    fn run(checkpointed: bool, precision: Kind) -> (Vec<Tensor>, usize) {
        let runs = Arc::new(AtomicUsize::new(0));
        let [x, offset, weight] = [[4, 6], [1, 6], [6, 6]].map(|shape: [i64; 2]| {
            seeded(&[shape[0] as u64], || Tensor::randn(shape, HOST).set_requires_grad(true))
        });
        let (mut y, mut layers) = (x.tanh(), Vec::new());
        for layer in 0..2u64 {
            let (weight, runs) = (weight.shallow_clone(), Arc::clone(&runs));
            let mut body: Body = Box::new(move |inputs| {
                runs.fetch_add(1, Ordering::Relaxed);
                Ok(seeded(&[7, layer], || {
                    let hidden = inputs[0].matmul(&weight).dropout(0.5, true);
                    hidden.gelu("none") + &inputs[1]
                }))
            });
            let inputs = [y.shallow_clone(), &offset * 2.0];
            y = match checkpointed {
                true => {
                    autocast::with(Device::Cpu, precision, || checkpoint(&inputs, body)).unwrap().unwrap()
                }
                false => autocast::with(Device::Cpu, precision, || body(&inputs)).unwrap().unwrap(),
            };
            layers.push(y.shallow_clone());
        }
        y.to_kind(Kind::Float).square().sum(Kind::Float).backward();
        (vec![y.detach(), x.grad(), offset.grad(), weight.grad()], runs.load(Ordering::Relaxed))
    }

    #[test]
    fn the_same_bits_as_keeping_everything() {
        for precision in [Kind::Float, Kind::BFloat16] {
            let ((kept, once), (again, twice)) = (run(false, precision), run(true, precision));
            assert_eq!((once, twice), (2, 4), "runs");
            for ((kept, again), name) in kept.iter().zip(&again).zip(["output", "input", "offset", "weight"])
            {
                assert!(kept.equal(again), "{precision:?}: {name} differs");
            }
        }
    }

    #[test]
    fn without_gradients_the_body_runs_once_and_is_dropped() {
        let held = Arc::new(());
        let inside = Arc::clone(&held);
        let body: Body = Box::new(move |inputs| {
            let _ = &inside;
            Ok(&inputs[0] * 2.0)
        });
        let out = checkpoint(&[Tensor::ones([3], HOST)], body).unwrap();
        assert_eq!(out.sum(Kind::Float).double_value(&[]), 6.0);
        drop(out);
        assert_eq!(Arc::strong_count(&held), 1, "the closure is still alive");
    }

    #[test]
    fn failures_and_panics_are_errors() {
        let check = |body: Body, part: &str| {
            let error = checkpoint(&[Tensor::ones([3], HOST)], body).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        check(Box::new(|_| Err(Error::Libtorch("no such thing".into()))), "no such thing");
        check(Box::new(|inputs| Ok(inputs[0].matmul(&Tensor::ones([4], HOST)))), "size");
    }
}
