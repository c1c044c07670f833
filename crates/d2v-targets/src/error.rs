//! What can be wrong with targets, losses and statistics.

/// Errors of `d2v-targets`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A configuration value out of its range.
    #[error("{key} = {value}: {rule}")]
    Config {
        /// The key, as in the TOML file.
        key: &'static str,
        /// The value given.
        value: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// A tensor of another shape than the function takes.
    #[error("{what}: expected {expected}, got {got:?}")]
    Shape {
        /// Which tensor.
        what: &'static str,
        /// The shape in words.
        expected: String,
        /// The shape given.
        got: Vec<i64>,
    },
    /// A statistic over samples, positions or rows, asked of too few of them to be defined.
    #[error("{what} needs at least {needed} {unit}, got {got}")]
    TooFew {
        /// The statistic.
        what: &'static str,
        /// What is counted, in the plural.
        unit: &'static str,
        /// The smallest number for which the statistic is defined.
        needed: i64,
        /// The number given.
        got: i64,
    },
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Tch(#[from] tch::TchError),
}
