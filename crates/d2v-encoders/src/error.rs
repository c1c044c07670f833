//! What can be wrong with a configuration or an input.

/// Errors of `d2v-encoders`.
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
    /// A tensor of another shape than the front end takes.
    #[error("{what}: expected {expected}, got {got:?}")]
    Shape {
        /// Which tensor.
        what: &'static str,
        /// The shape in words.
        expected: String,
        /// The shape given.
        got: Vec<i64>,
    },
    /// A parameter could not be made.
    #[error(transparent)]
    Torch(#[from] d2v_torch::Error),
    /// A layer shared with the Transformer could not be made.
    #[error(transparent)]
    Transformer(#[from] d2v_transformer::Error),
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Tch(#[from] tch::TchError),
}
