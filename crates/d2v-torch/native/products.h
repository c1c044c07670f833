// Matrix products of whole batches, by the library that does them fastest on this processor.

#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

// x wᵀ + bias, [N, M] of x [N, K] and w [M, K]; rows or columns of both may lie apart. `bias` may be absent.
//
// libtorch hands products to MKL, which on processors of other makers has kernels of half the vectors' width; there
// oneDNN, which is in libtorch too, is a tenth faster. Decided by the processor alone, so that bits are the machine's.
at::Tensor product(const at::Tensor& x, const at::Tensor& w, const std::optional<at::Tensor>& bias = std::nullopt);

// Whether `product` of tensors like these is not libtorch's `linear`.
bool product_is_ours(const at::Tensor& x, const at::Tensor& w);

// The gradient of w in x wᵀ, [M, K], from that of the product, [N, M], and x, [N, K].
at::Tensor weight_gradient(const at::Tensor& d_out, const at::Tensor& x);

// All axes but the last as one.
inline at::Tensor flat(const at::Tensor& t) { return t.reshape({-1, t.size(-1)}); }
