//! What can be wrong between a student and its teacher.

/// Errors of `d2v-ema`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A teacher parameter has no partner in the student, or one of another shape or kind.
    #[error("teacher parameter `{name}` ({teacher}) has no match in the student ({student})")]
    Unmatched {
        /// The name.
        name: String,
        /// What the teacher has.
        teacher: String,
        /// What the student has.
        student: String,
    },
    /// A student parameter that the teacher lacks is not listed as the student's own.
    #[error(
        "student parameter `{name}` is not in the teacher; list its prefix under `student_only` if that is meant"
    )]
    StudentOnly {
        /// The name.
        name: String,
    },
    /// A name falls under no prefix of the rule.
    #[error("parameter `{name}` falls under none of the prefixes of averaged, copied and untouched tensors")]
    NoRule {
        /// The name.
        name: String,
    },
    /// A tau outside `[0, 1]`, or a schedule that makes no sense.
    #[error("{key} = {value}: {rule}")]
    Tau {
        /// The key, as in the TOML file.
        key: &'static str,
        /// The value given.
        value: f64,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// libtorch refused an operation.
    #[error(transparent)]
    Torch(#[from] d2v_torch::Error),
}
