//! What can go wrong between Rust and libtorch.

/// Errors of `d2v-torch`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// libtorch refused an operation; the message is its own, without the C++ backtrace.
    #[error("libtorch: {0}")]
    Libtorch(String),
    /// tch refused an operation.
    #[error("libtorch: {0}")]
    Tch(#[from] tch::TchError),
    /// A parameter was registered twice; tch would have renamed it silently.
    #[error("parameter `{name}` is defined twice; every parameter needs its own name")]
    DuplicateParameter {
        /// The full name.
        name: String,
    },
    /// A parameter is missing or has another shape than expected.
    #[error("parameter `{name}`: expected {expected}, got {got}")]
    ParameterMismatch {
        /// The full name.
        name: String,
        /// What the network has.
        expected: String,
        /// What was given.
        got: String,
    },
    /// Two lists that belong together differ in length.
    #[error("{what}: {left} tensors on one side, {right} on the other; they go together one by one")]
    ListLength {
        /// The operation.
        what: &'static str,
        /// Length of the first list.
        left: usize,
        /// Length of the second list.
        right: usize,
    },
    /// The number of bytes does not fit a shape and kind.
    #[error("a tensor of shape {shape:?} and kind {kind:?} has {expected} bytes, got {got}")]
    ByteLength {
        /// Shape asked for.
        shape: Vec<i64>,
        /// Element kind.
        kind: tch::Kind,
        /// Bytes that shape and kind need.
        expected: usize,
        /// Bytes given.
        got: usize,
    },
    /// A device name that is not `cpu`, `cuda` or `cuda:N`.
    #[error("unknown device `{0}`; write cpu, cuda or cuda:N")]
    UnknownDevice(String),
    /// CUDA was asked for and cannot be used.
    #[error("CUDA cannot be used: {0}; `d2v doctor` tells what was looked for")]
    CudaUnavailable(String),
    /// Streams exist on CUDA devices alone.
    #[error("{0} has no streams; only CUDA devices have")]
    NoStreams(String),
}
