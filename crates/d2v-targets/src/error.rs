//! What can be wrong with targets and losses.

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
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Tch(#[from] tch::TchError),
}
