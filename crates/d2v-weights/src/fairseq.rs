//! Networks in checkpoints of fairseq 1.0 and of the original image code: student, teacher, prediction head.

use crate::names::{Source, to_ours};
use crate::torch_file::TorchFile;
use crate::{Error, Result, Tensors};
use std::path::Path;

/// Which of the two networks of a checkpoint. The published fine-tunings start from the student (spec 7.5.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// The network that was trained.
    Student,
    /// Its moving average. Where only a part was averaged, the rest is the student's.
    Teacher,
}

/// One network of a checkpoint, under our names.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Whose names the file used, which also says the modality.
    pub source: Source,
    /// Weights by our names, f32, with the prediction head where the file has one. Numbers of heads, strides and
    /// epsilons are not in them; they come from the configuration that the weights are loaded into.
    pub tensors: Tensors,
    /// What is not there, what was passed over, what is the student's; one sentence each.
    pub notes: Vec<String>,
}

/// Where the weights of the student stand: pretrained, fine-tuned image networks.
const STATES: [&str; 2] = ["model", "module"];
/// Names of the teacher's state: beside the student's tensors in fairseq, beside the student in the image code.
const TEACHERS_WITHIN: [&str; 2] = ["_ema", "encoder._ema"];
const TEACHER_BESIDE: &str = "model_ema";
/// What a student's name begins with where the teacher's does not.
const TEACHER_PREFIXES: [&str; 3] = ["", "encoder.", "encoder.sentence_encoder."];

impl Checkpoint {
    /// Reads one network of a `.pt` file. No code in the file is run.
    ///
    /// # Errors
    /// When the file is no torch archive of today's form, holds anything but tensors among the weights, uses none of the
    /// known namings, or has no teacher and one is asked for.
    pub fn read(path: &Path, network: Network) -> Result<Checkpoint> {
        let mut file = TorchFile::open(path)?;
        let keys = file.keys(&[])?;
        let state: Vec<&str> =
            STATES.iter().copied().filter(|state| keys.iter().any(|key| key == state)).take(1).collect();
        let student = file.tensors(&state, &TEACHERS_WITHIN)?;
        let source = Source::of_checkpoint(&student)?;
        let (theirs, mut notes) = match network {
            Network::Student => (student, Vec::new()),
            Network::Teacher => {
                let within =
                    file.keys(&state)?.into_iter().find(|key| TEACHERS_WITHIN.contains(&key.as_str()));
                let place = match &within {
                    Some(key) => [&state[..], &[key.as_str()]].concat(),
                    None if keys.iter().any(|key| key == TEACHER_BESIDE) => vec![TEACHER_BESIDE],
                    None => {
                        return Err(Error::NoTeacher { path: path.to_owned() });
                    }
                };
                with_teacher(source, student, file.tensors(&place, &[])?)?
            }
        };
        let mapped = to_ours(source, None, &theirs)?;
        notes.extend(mapped.notes);
        Ok(Checkpoint { source, tensors: mapped.tensors, notes })
    }
}

/// The student's tensors with those that the teacher has replaced, and a note on the others.
///
/// # Errors
/// [`Error::Names`] when the teacher has names that the student does not.
fn with_teacher(source: Source, student: Tensors, teacher: Tensors) -> Result<(Tensors, Vec<String>)> {
    let unknown = |prefix: &str| {
        teacher
            .keys()
            .filter(|name| !student.contains_key(&format!("{prefix}{name}")))
            .cloned()
            .collect::<Vec<_>>()
    };
    let (prefix, unexpected) = TEACHER_PREFIXES
        .iter()
        .map(|prefix| (prefix, unknown(prefix)))
        .min_by_key(|(_, unknown)| unknown.len())
        .expect("there are prefixes");
    if !unexpected.is_empty() {
        return Err(Error::Names { model: source.describe(), missing: Vec::new(), unexpected });
    }
    let mut merged = student;
    let own = teacher.len();
    for (name, tensor) in teacher {
        merged.insert(format!("{prefix}{name}"), tensor);
    }
    let notes = vec![format!("{own} tensors are the teacher's, {} the student's", merged.len() - own)];
    Ok((merged, notes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tensor;

    fn named(pairs: &[(&str, f32)]) -> Tensors {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Tensor::from_f32(vec![1], &[*value]).unwrap()))
            .collect()
    }

    #[test]
    fn a_partial_teacher_is_completed_by_the_student() {
        let student = named(&[("encoder.a", 1.0), ("encoder.b", 2.0), ("c", 3.0)]);
        let (merged, notes) = with_teacher(Source::FairseqAudio, student, named(&[("a", 9.0)])).unwrap();
        assert_eq!(merged, named(&[("encoder.a", 9.0), ("encoder.b", 2.0), ("c", 3.0)]));
        assert_eq!(notes, ["1 tensors are the teacher's, 2 the student's"]);
    }

    #[test]
    fn a_teacher_of_another_network_is_refused() {
        let error =
            with_teacher(Source::FairseqText, named(&[("encoder.a", 1.0)]), named(&[("a", 1.0), ("z", 1.0)]));
        assert!(matches!(error, Err(Error::Names { unexpected, .. }) if unexpected == ["z"]));
    }
}
