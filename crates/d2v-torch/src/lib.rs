//! What tch lacks of libtorch, in safe Rust: named parameters, fused optimizer, foreach kernels, autocast, run-time CUDA
