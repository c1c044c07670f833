//! How far the teacher's weights are from the student's.

use tch::{Kind, Tensor};

use super::{read, same_size};
use crate::Result;

/// `||theta - Delta|| / ||theta||` over all pairs of a student's tensor and its teacher's.
///
/// Pass the averaged tensors only: shared ones are equal and would dilute the answer. 0 while the teacher is a copy of
/// the student; near 0 later on the teacher follows so closely that a collapsing student takes it along. NaN if
/// there is no pair, if the student's tensors are all zero, or if any value is not finite.
///
/// # Errors
///
/// [`crate::Error::Shape`] if the tensors of a pair differ in shape.
///
/// # Example
///
/// ```
/// # use d2v_targets::statistics::relative_distance;
/// # use tch::Tensor;
/// let student = Tensor::from_slice(&[3.0f32, 4.0]);
/// let teacher = Tensor::from_slice(&[3.0f32, 3.0]);
/// assert_eq!(relative_distance([(&student, &teacher)])?, 0.2);
/// # Ok::<(), d2v_targets::Error>(())
/// ```
pub fn relative_distance<'a>(pairs: impl IntoIterator<Item = (&'a Tensor, &'a Tensor)>) -> Result<f64> {
    let mut differences = Vec::new();
    let mut norms = Vec::new();
    for (student, teacher) in pairs {
        same_size("relative_distance: a teacher's tensor against its student's", teacher, student)?;
        let student = student.detach();
        // The difference is exact in the weights' own kind where it matters, when the two are close.
        differences.push((&student - teacher.detach()).norm().to_kind(Kind::Double));
        norms.push(student.norm().to_kind(Kind::Double));
    }
    if norms.is_empty() {
        return Ok(f64::NAN);
    }
    let length = |norms: &[Tensor]| Tensor::stack(norms, 0).norm();
    let [difference, norm] = read([&length(&differences), &length(&norms)]);
    Ok(difference / norm)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tch::Device;

    use super::super::tests::{cases, normal};
    use super::*;

    const F32: (Kind, Device) = (Kind::Float, Device::Cpu);

    #[test]
    fn several_tensors_count_as_one_long_vector() {
        let (student, teacher) =
            (normal(1, [4, 6]).to_kind(Kind::Float), normal(2, [4, 6]).to_kind(Kind::Float));
        let whole = relative_distance([(&student, &teacher)]).unwrap();
        let (s, t) = (student.split(3, 1), teacher.split(3, 1));
        let parts = relative_distance(s.iter().zip(&t)).unwrap();
        assert!((whole - parts).abs() < 1e-6 * whole, "{whole} in one, {parts} in two");
    }

    #[test]
    fn a_copy_is_at_distance_zero() {
        let student = normal(1, [5]).to_kind(Kind::Float).set_requires_grad(true);
        assert_eq!(relative_distance([(&student, &student.detach().copy())]).unwrap(), 0.0);
    }

    #[test]
    fn nothing_to_compare_and_bad_values_are_nan() {
        assert!(relative_distance([]).unwrap().is_nan(), "no pair");
        let (zeros, ones) = (Tensor::zeros([2], F32), Tensor::ones([2], F32));
        assert!(relative_distance([(&zeros, &zeros)]).unwrap().is_nan(), "a student of zeros");
        let bad = Tensor::from_slice(&[f32::NAN, 1.0]);
        assert!(relative_distance([(&bad, &ones)]).unwrap().is_nan(), "a bad student");
        assert!(relative_distance([(&ones, &bad)]).unwrap().is_nan(), "a bad teacher");
    }

    #[test]
    fn shapes_that_broadcast_are_refused() {
        let (student, teacher) = (Tensor::ones([3, 1], F32), Tensor::ones([3], F32));
        let error = relative_distance([(&student, &teacher)]).unwrap_err();
        assert!(matches!(error, crate::Error::Shape { ref got, .. } if got == &[3]), "{error}");
    }

    proptest! {
        #![proptest_config(cases())]

        #[test]
        fn a_teacher_moved_by_a_part_of_the_student_is_that_far(seed in 0u64..1_000_000, part in 0.0f64..2.0) {
            let student = normal(seed, [7, 3]).to_kind(Kind::Float);
            let got = relative_distance([(&student, &(&student * (1.0 - part)))]).unwrap();
            prop_assert!((got - part).abs() < 1e-5, "moved by {part}, got {got}");
        }
    }
}
