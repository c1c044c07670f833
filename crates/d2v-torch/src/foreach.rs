//! One call for many tensors: libtorch's `_foreach_*` kernels.
//!
//! None of these records gradients. Tensors of a list may differ in shape; two lists go together one by one. Empty
//! lists are nothing to do.

use crate::ffi::{self, check, pointer, pointers};
use crate::{Error, Result};
use tch::{Device, Tensor};

fn same_length(what: &'static str, left: &[Tensor], right: &[Tensor]) -> Result<()> {
    if left.len() == right.len() {
        return Ok(());
    }
    Err(Error::ListLength { what, left: left.len(), right: right.len() })
}

/// `tensors[i] += weight * (other[i] - tensors[i])`: with weight `1 - tau`, the teacher's moving average.
///
/// # Errors
/// If the lists differ in length, or libtorch refuses (shapes or kinds that differ).
pub fn lerp(tensors: &[Tensor], other: &[Tensor], weight: f64) -> Result<()> {
    same_length("foreach::lerp", tensors, other)?;
    if tensors.is_empty() {
        return Ok(());
    }
    let (a, b) = (pointers(tensors), pointers(other));
    #[expect(unsafe_code, reason = "call into d2v_native.cpp")]
    // SAFETY: both arrays hold `a.len()` live tensor pointers for the length of the call.
    check(unsafe { ffi::d2v_foreach_lerp(a.as_ptr(), b.as_ptr(), a.len(), weight) })
}

/// [`lerp`] that leaves everything as it was where the one-element tensor `skip`, on the device of the tensors, is 1
/// (else 0). A device is not waited for.
///
/// # Errors
/// As [`lerp`].
pub fn lerp_unless(tensors: &[Tensor], other: &[Tensor], weight: f64, skip: &Tensor) -> Result<()> {
    lerp_decided((tensors, other), weight, skip, skip.device() != Device::Cpu)
}

fn lerp_decided(
    (tensors, other): (&[Tensor], &[Tensor]),
    weight: f64,
    skip: &Tensor,
    on_device: bool,
) -> Result<()> {
    same_length("foreach::lerp_unless", tensors, other)?;
    if tensors.is_empty() {
        return Ok(());
    }
    let (a, b) = (pointers(tensors), pointers(other));
    #[expect(unsafe_code, reason = "call into d2v_native.cpp")]
    // SAFETY: both arrays hold `a.len()` live tensor pointers, `skip` is one, for the length of the call.
    check(unsafe {
        ffi::d2v_foreach_lerp_unless(a.as_ptr(), b.as_ptr(), a.len(), weight, pointer(skip), on_device)
    })
}

/// `tensors[i] = source[i]`, converting kind and device where they differ.
///
/// # Errors
/// If the lists differ in length, or shapes cannot be broadcast.
pub fn copy(tensors: &[Tensor], source: &[Tensor]) -> Result<()> {
    same_length("foreach::copy", tensors, source)?;
    if tensors.is_empty() {
        return Ok(());
    }
    let (a, b) = (pointers(tensors), pointers(source));
    #[expect(unsafe_code, reason = "call into d2v_native.cpp")]
    // SAFETY: both arrays hold `a.len()` live tensor pointers for the length of the call.
    check(unsafe { ffi::d2v_foreach_copy(a.as_ptr(), b.as_ptr(), a.len()) })
}

/// `tensors[i] *= factor`.
///
/// # Errors
/// If libtorch refuses.
pub fn scale(tensors: &[Tensor], factor: f64) -> Result<()> {
    if tensors.is_empty() {
        return Ok(());
    }
    let a = pointers(tensors);
    #[expect(unsafe_code, reason = "call into d2v_native.cpp")]
    // SAFETY: the array holds `a.len()` live tensor pointers for the length of the call.
    check(unsafe { ffi::d2v_foreach_mul(a.as_ptr(), a.len(), factor) })
}

/// `tensors[i] = 0`.
///
/// # Errors
/// If libtorch refuses.
pub fn zero(tensors: &[Tensor]) -> Result<()> {
    if tensors.is_empty() {
        return Ok(());
    }
    let a = pointers(tensors);
    #[expect(unsafe_code, reason = "call into d2v_native.cpp")]
    // SAFETY: the array holds `a.len()` live tensor pointers for the length of the call.
    check(unsafe { ffi::d2v_foreach_zero(a.as_ptr(), a.len()) })
}

/// Takes the gradients of all tensors away (undefined, not zero): the next backward pass then hands over its own
/// buffers, where zeroed gradients would cost one more pass over memory to add to.
///
/// # Errors
/// If libtorch refuses.
pub fn clear_grads(tensors: &[Tensor]) -> Result<()> {
    let a = pointers(tensors);
    #[expect(unsafe_code, reason = "call into d2v_native.cpp")]
    // SAFETY: the array holds `a.len()` live tensor pointers for the length of the call.
    check(unsafe { ffi::d2v_clear_grads(a.as_ptr(), a.len()) })
}

/// The L2 norm over all elements of all tensors, as a scalar tensor on their device (nothing is read back).
///
/// # Errors
/// If the list is empty, or libtorch refuses.
pub fn global_norm(tensors: &[Tensor]) -> Result<Tensor> {
    let a = pointers(tensors);
    let mut out = std::ptr::null_mut();
    #[expect(unsafe_code, reason = "call into d2v_native.cpp, which hands over a new tensor")]
    // SAFETY: the array holds `a.len()` live tensor pointers; on success `out` is a fresh `at::Tensor*` that we own.
    unsafe {
        check(ffi::d2v_global_norm(a.as_ptr(), a.len(), &mut out))?;
        Ok(Tensor::from_ptr(out.cast()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    fn random(shapes: &[&[i64]], kind: Kind) -> Vec<Tensor> {
        shapes.iter().map(|s| Tensor::randn(*s, (kind, Device::Cpu))).collect()
    }

    const SHAPES: &[&[i64]] = &[&[3, 5], &[7], &[], &[2, 0, 3]];

    #[test]
    fn lerp_is_the_moving_average() {
        let (teacher, student) = (random(SHAPES, Kind::Double), random(SHAPES, Kind::Double));
        let expected: Vec<Tensor> = teacher.iter().zip(&student).map(|(t, s)| t * 0.75 + s * 0.25).collect();
        lerp(&teacher, &student, 0.25).unwrap();
        for (t, e) in teacher.iter().zip(&expected) {
            assert!(t.allclose(e, 1e-14, 1e-14, false), "moving average differs");
        }
    }

    #[test]
    fn a_skipped_average_moves_nothing_whoever_decides() {
        for kind in [Kind::Double, Kind::Float] {
            let (start, student) = (random(SHAPES, kind), random(SHAPES, kind));
            let moved: Vec<Tensor> = start.iter().map(Tensor::copy).collect();
            lerp(&moved, &student, 0.25).unwrap();
            for on_device in [false, true] {
                for (skip, expected, bound) in [(1f32, &start, 0.0), (0.0, &moved, 1e-7)] {
                    let teacher: Vec<Tensor> = start.iter().map(Tensor::copy).collect();
                    lerp_decided((&teacher, &student), 0.25, &Tensor::from(skip), on_device).unwrap();
                    for (t, e) in teacher.iter().zip(expected) {
                        assert!(t.allclose(e, bound, bound, false), "{kind:?}, skip {skip}, {on_device}");
                    }
                }
            }
        }
    }

    #[test]
    fn norm_equals_the_norm_of_everything_joined() {
        let tensors = random(SHAPES, Kind::Double);
        let flat: Vec<Tensor> = tensors.iter().map(|t| t.reshape([-1])).collect();
        let expected = Tensor::cat(&flat, 0).norm().double_value(&[]);
        let got = global_norm(&tensors).unwrap().double_value(&[]);
        assert!((got - expected).abs() < 1e-12, "{got} against {expected}");
    }

    #[test]
    fn scale_zero_and_copy() {
        let (a, b) = (random(SHAPES, Kind::Float), random(SHAPES, Kind::Float));
        copy(&a, &b).unwrap();
        scale(&a, 2.0).unwrap();
        for (x, y) in a.iter().zip(&b) {
            assert!(x.equal(&(y * 2.0)), "copy and scale");
        }
        zero(&a).unwrap();
        assert!(a.iter().all(|x| x.abs().sum(Kind::Float).double_value(&[]) == 0.0), "zero");
    }

    #[test]
    fn cleared_gradients_are_undefined_and_come_back() {
        let x = Tensor::ones([2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let backward = || (&x * 3.0).sum(Kind::Float).backward();
        backward();
        backward();
        assert_eq!(x.grad().double_value(&[0]), 6.0, "two passes add up");
        clear_grads(&[x.shallow_clone()]).unwrap();
        assert!(!x.grad().defined(), "still there");
        backward();
        assert_eq!(x.grad().double_value(&[0]), 3.0, "a fresh gradient");
    }

    #[test]
    fn lists_of_different_length_and_bad_shapes_are_errors() {
        let (a, b) = (random(&[&[2], &[3]], Kind::Float), random(&[&[2]], Kind::Float));
        assert!(matches!(lerp(&a, &b, 0.5), Err(Error::ListLength { left: 2, right: 1, .. })), "length");
        let c = random(&[&[4]], Kind::Float);
        assert!(matches!(lerp(&b, &c, 0.5), Err(Error::Libtorch(_))), "shape");
        assert!(matches!(global_norm(&[]), Err(Error::Libtorch(_))), "no norm of nothing");
        lerp(&[], &[], 0.5).and(copy(&[], &[])).and(scale(&[], 2.0)).and(zero(&[])).unwrap();
    }
}
