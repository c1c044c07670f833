//! Pairs of tensors, and one update of them.

use crate::{Error, Fate, Result, Rule};
use d2v_torch::{Parameters, foreach};
use tch::Tensor;

/// A teacher bound to its student: every update moves the teacher's tensors in place.
#[derive(Debug)]
pub struct Ema {
    averaged: Pairs,
    copied: Pairs,
    untouched: Vec<String>,
}

#[derive(Debug, Default)]
struct Pairs {
    names: Vec<String>,
    teacher: Vec<Tensor>,
    student: Vec<Tensor>,
}

impl Ema {
    /// Pairs by name.
    ///
    /// Integer tensors are never averaged: they are copied (an average of indices, truncated, moves them; spec 2.1).
    ///
    /// # Errors
    /// If a teacher tensor has no partner of the same shape and kind, a student tensor is neither in the teacher nor
    /// listed as the student's own, or a name falls under no prefix of the rule.
    pub fn pair(student: &Parameters, teacher: &Parameters, rule: &Rule) -> Result<Ema> {
        if let Some(name) = student.names().find(|n| teacher.get(n).is_none() && !rule.is_student_only(n)) {
            return Err(Error::StudentOnly { name: name.into() });
        }
        let (mut averaged, mut copied) = (Pairs::default(), Pairs::default());
        let mut untouched = Vec::new();
        for (name, theirs) in teacher.iter() {
            let describe = |t: &Tensor| format!("{:?} {:?}", t.kind(), t.size());
            let ours = student.get(name).filter(|t| t.size() == theirs.size() && t.kind() == theirs.kind());
            let ours = ours.ok_or_else(|| Error::Unmatched {
                name: name.into(),
                teacher: describe(theirs),
                student: student.get(name).map_or("none".into(), describe),
            })?;
            let fate = match rule.fate(name).ok_or_else(|| Error::NoRule { name: name.into() })? {
                Fate::Averaged if !theirs.is_floating_point() => Fate::Copied,
                fate => fate,
            };
            let pairs = match fate {
                Fate::Averaged => &mut averaged,
                Fate::Copied => &mut copied,
                Fate::Untouched => {
                    untouched.push(name.to_owned());
                    continue;
                }
            };
            pairs.names.push(name.to_owned());
            pairs.teacher.push(theirs.shallow_clone());
            pairs.student.push(ours.detach());
        }
        Ok(Ema { averaged, copied, untouched })
    }

    /// One update: `teacher = tau · teacher + (1 - tau) · student` for averaged tensors, `teacher = student` for
    /// copied ones. `tau = 1` freezes the whole teacher: nothing is touched, shared parts neither.
    ///
    /// # Errors
    /// If `tau` lies outside `[0, 1]`.
    pub fn update(&self, tau: f64) -> Result<()> {
        self.move_by(tau, foreach::lerp)
    }

    /// [`Ema::update`], but nothing moves where `skip`, a one-element f32 tensor on the tensors' device, is 1 (else 0):
    /// the student has not moved either. A device is not waited for.
    ///
    /// # Errors
    /// As [`Ema::update`].
    pub fn update_unless(&self, tau: f64, skip: &Tensor) -> Result<()> {
        self.move_by(tau, |teacher, student, weight| foreach::lerp_unless(teacher, student, weight, skip))
    }

    fn move_by(
        &self,
        tau: f64,
        lerp: impl FnOnce(&[Tensor], &[Tensor], f64) -> d2v_torch::Result<()>,
    ) -> Result<()> {
        if !(0.0..=1.0).contains(&tau) {
            return Err(Error::Tau { key: "tau", value: tau, rule: "must be in [0, 1]" });
        }
        if tau == 1.0 {
            return Ok(());
        }
        lerp(&self.averaged.teacher, &self.averaged.student, 1.0 - tau)?;
        self.share()
    }

    /// Copies the shared tensors alone.
    ///
    /// # Errors
    /// If libtorch refuses.
    pub fn share(&self) -> Result<()> {
        Ok(foreach::copy(&self.copied.teacher, &self.copied.student)?)
    }

    /// Makes the teacher an exact copy of the student (the start of a run), all tensors of it.
    ///
    /// # Errors
    /// If libtorch refuses.
    pub fn start(&self) -> Result<()> {
        foreach::copy(&self.averaged.teacher, &self.averaged.student)?;
        self.share()
    }

    /// Names of a kind, in order.
    pub fn names(&self, fate: Fate) -> &[String] {
        match fate {
            Fate::Averaged => &self.averaged.names,
            Fate::Copied => &self.copied.names,
            Fate::Untouched => &self.untouched,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use d2v_torch::seed::seeded;
    use proptest::prelude::*;
    use tch::{Device, Kind};

    fn parameters(entries: &[(&str, &[i64])], seed: u64) -> Parameters {
        let random = |shape: &[i64]| seeded(&[seed], || Tensor::randn(shape, (Kind::Double, Device::Cpu)));
        entries.iter().map(|(name, shape)| ((*name).to_owned(), random(shape))).collect()
    }

    fn worst(a: &Tensor, b: &Tensor) -> f64 {
        (a - b).abs().max().double_value(&[])
    }

    proptest! {
        #[test]
        fn a_constant_student_gives_the_closed_form(tau in 0.0..1.0f64, n in 1u32..20) {
            let student = parameters(&[("w", &[5])], 1);
            let teacher = parameters(&[("w", &[5])], 2);
            let start = teacher.get("w").unwrap().copy();
            let ema = Ema::pair(&student, &teacher, &Rule::average_all()).unwrap();
            for _ in 0..n {
                ema.update(tau).unwrap();
            }
            let left = tau.powi(n as i32);
            let expected = start * left + student.get("w").unwrap() * (1.0 - left);
            prop_assert!(worst(teacher.get("w").unwrap(), &expected) < 1e-12, "tau^n law");
        }

        #[test]
        fn the_teacher_stays_between_itself_and_the_student(tau in 0.0..=1.0f64) {
            let student = parameters(&[("w", &[50])], 3);
            let teacher = parameters(&[("w", &[50])], 4);
            let (s, before) = (student.get("w").unwrap(), teacher.get("w").unwrap().copy());
            Ema::pair(&student, &teacher, &Rule::average_all()).unwrap().update(tau).unwrap();
            let after = teacher.get("w").unwrap();
            let (low, high) = (s.minimum(&before) - 1e-12, s.maximum(&before) + 1e-12);
            prop_assert!(after.ge_tensor(&low).all().int64_value(&[]) == 1 && after.le_tensor(&high).all().int64_value(&[]) == 1);
        }
    }

    #[test]
    fn shared_tensors_are_bit_equal_and_others_move_or_stay() {
        let entries: &[(&str, &[i64])] = &[("encoder.w", &[3]), ("front.w", &[3]), ("front.fixed", &[2])];
        let mut student = parameters(entries, 1);
        student.insert_all("head.", &parameters(&[("w", &[2])], 5)).unwrap();
        let teacher = parameters(entries, 2);
        let rule = Rule::average_all()
            .with("front.", Fate::Copied)
            .with("front.fixed", Fate::Untouched)
            .student_only("head.");
        let fixed = teacher.get("front.fixed").unwrap().copy();
        let ema = Ema::pair(&student, &teacher, &rule).unwrap();
        assert_eq!(ema.names(Fate::Averaged), ["encoder.w"], "averaged");
        assert_eq!(ema.names(Fate::Copied), ["front.w"], "copied");
        assert_eq!(ema.names(Fate::Untouched), ["front.fixed"], "untouched");
        ema.update(0.9).unwrap();
        assert!(teacher.get("front.w").unwrap().equal(student.get("front.w").unwrap()), "shared");
        assert!(teacher.get("front.fixed").unwrap().equal(&fixed), "untouched");
        assert!(!teacher.get("encoder.w").unwrap().equal(student.get("encoder.w").unwrap()), "averaged");
        ema.start().unwrap();
        assert!(teacher.get("encoder.w").unwrap().equal(student.get("encoder.w").unwrap()), "start");
    }

    #[test]
    fn tau_one_freezes_everything() {
        let student = parameters(&[("a.w", &[3]), ("b.w", &[3])], 1);
        let teacher = parameters(&[("a.w", &[3]), ("b.w", &[3])], 2);
        let before: Vec<Tensor> = teacher.tensors().iter().map(Tensor::copy).collect();
        let rule = Rule::average_all().with("b.", Fate::Copied);
        Ema::pair(&student, &teacher, &rule).unwrap().update(1.0).unwrap();
        assert!(teacher.tensors().iter().zip(&before).all(|(a, b)| a.equal(b)), "moved");
    }

    #[test]
    fn mismatches_are_refused_by_name() {
        let check = |student: &[(&str, &[i64])], teacher: &[(&str, &[i64])], expected: &str| {
            let got = Ema::pair(&parameters(student, 1), &parameters(teacher, 2), &Rule::average_all());
            let message = got.unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        };
        check(&[("w", &[3])], &[("w", &[4])], "`w` (Double [4])");
        check(&[("w", &[3])], &[("w", &[3]), ("v", &[1])], "`v`");
        check(&[("w", &[3]), ("u", &[1])], &[("w", &[3])], "`u` is not in the teacher");
    }

    #[test]
    fn integers_are_copied_and_no_gradient_reaches_the_teacher() {
        let index =
            |values: [i64; 2]| [("index".to_owned(), Tensor::from_slice(&values))].into_iter().collect();
        let (student, teacher): (Parameters, Parameters) = (index([5, 9]), index([0, 0]));
        let ema = Ema::pair(&student, &teacher, &Rule::average_all()).unwrap();
        ema.update(0.9998).unwrap();
        assert!(teacher.get("index").unwrap().equal(student.get("index").unwrap()), "copied whole");

        let student = parameters(&[("w", &[3])], 1);
        student.set_requires_grad(true);
        let teacher = parameters(&[("w", &[3])], 2);
        Ema::pair(&student, &teacher, &Rule::average_all()).unwrap().update(0.5).unwrap();
        assert!(!teacher.get("w").unwrap().requires_grad(), "gradient");
    }
}
