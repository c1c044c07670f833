// softmax(scale · q kᵀ + bias) v on the CPU as one function of autograd, straight from the packed product of query,
// key and value to the packed gradient of it.
//
// Composed of operators, a bias that learns costs a dozen passes over [B, H, L, L]: scaling, sum, softmax, and the
// backward of each. Here the logits of some rows of one head stay in the core's own cache from the product to the
// softmax to the next product, and none are kept: the backward pass makes them again from the rows' log-sum-exp (Dao
// et al. 2022, section 3.1). The matrix products are those of the BLAS inside libtorch.

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>

#include "attention_rows.h"
#include "blas.h"
#include "guarded.h"
#include "pool.h"

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Logits of as many rows as this are held at once; a third of a second-level cache, so that the two halves of the
// backward pass fit with the keys and values.
constexpr int64_t tile_bytes = 192 * 1024;
// Samples whose gradients of a shared bias are summed in one place: fixed, so that bits do not depend on threads.
constexpr int64_t bias_groups = 4;

// Where everything of one call lies. `qkv` is [B, L, 3, H, E], `out` [B, L, H, E], both contiguous; `bias` is what is
// added to the logits, [B, H, L, L] by strides.
template <typename T>
struct Problem {
  int64_t batch, length, heads, head_width;
  T scale;
  Dropout dropout;
  const T* qkv;
  const T* bias = nullptr;
  int64_t bias_b = 0, bias_h = 0, bias_i = 0;

  Problem(const at::Tensor& packed, int64_t heads, const std::optional<at::Tensor>& added, Dropout dropout)
      : batch(packed.size(0)),
        length(packed.size(1)),
        heads(heads),
        head_width(packed.size(2) / (3 * heads)),
        scale(static_cast<T>(1.0 / std::sqrt(static_cast<double>(head_width)))),
        dropout(dropout),
        qkv(packed.const_data_ptr<T>()) {
    if (!added) return;
    auto wide = added->expand({batch, heads, length, length});
    bias = wide.const_data_ptr<T>();
    bias_b = wide.stride(0), bias_h = wide.stride(1), bias_i = wide.stride(2);
  }

  int64_t width() const { return heads * head_width; }
  // Between rows of query, key or value.
  int64_t qkv_row() const { return 3 * width(); }
  int64_t tile_rows() const {
    const int64_t fit = tile_bytes / static_cast<int64_t>(sizeof(T)) / length;
    return std::min(length, std::max<int64_t>(fit, 16));
  }
  // 0 query, 1 key, 2 value, from position `i` on.
  int64_t qkv_offset(int64_t b, int64_t h, int64_t which, int64_t i = 0) const {
    return (b * length + i) * qkv_row() + which * width() + h * head_width;
  }
  int64_t out_offset(int64_t b, int64_t h, int64_t i) const { return (b * length + i) * width() + h * head_width; }
  const T* bias_row(int64_t b, int64_t h, int64_t i) const {
    return bias ? bias + b * bias_b + h * bias_h + i * bias_i : nullptr;
  }
  RowDropout row_dropout(int64_t b, int64_t h, int64_t i) const {
    return dropout.of_row(static_cast<uint64_t>(b * heads + h), static_cast<uint64_t>(i));
  }
};

// Rows `i..i+rows` of one head: logits, without bias, into `tile`.
template <typename T>
void logits(const Problem<T>& p, int64_t b, int64_t h, int64_t i, int64_t rows, T* tile) {
  gemm(Rows<T>{p.qkv + p.qkv_offset(b, h, 0, i), p.qkv_row()}, Transposed<T>{p.qkv + p.qkv_offset(b, h, 1), p.qkv_row()},
       rows, p.length, p.head_width, p.scale, T(0), tile, p.length);
}

template <typename T>
void forward_head(const Problem<T>& p, int64_t b, int64_t h, T* tile, T* out, T* log_sum) {
  for (int64_t i = 0; i < p.length; i += p.tile_rows()) {
    const int64_t rows = std::min(p.tile_rows(), p.length - i);
    logits(p, b, h, i, rows, tile);
    for (int64_t r = 0; r < rows; ++r) {
      log_sum[i + r] = softmax_row(tile + r * p.length, p.bias_row(b, h, i + r), p.length, p.row_dropout(b, h, i + r));
    }
    gemm(Rows<T>{tile, p.length}, Rows<T>{p.qkv + p.qkv_offset(b, h, 2), p.qkv_row()}, rows, p.head_width, p.length, T(1),
         T(0), out + p.out_offset(b, h, i), p.width());
  }
}

// What the backward pass reads and writes beside the problem.
template <typename T>
struct Gradients {
  const T *out, *d_out, *log_sum;
  T* d_qkv;
};

// `d_bias` is [L, L] of this head, or null; `adds` tells whether something is there already.
template <typename T>
void backward_head(const Problem<T>& p, const Gradients<T>& g, int64_t b, int64_t h, T* tile, T* d_tile, T* d_bias,
                   bool adds) {
  const int64_t l = p.length, e = p.head_width, row = p.qkv_row();
  const T* log_sum = g.log_sum + (b * p.heads + h) * l;
  const T *k = p.qkv + p.qkv_offset(b, h, 1), *v = p.qkv + p.qkv_offset(b, h, 2);
  T *d_k = g.d_qkv + p.qkv_offset(b, h, 1), *d_v = g.d_qkv + p.qkv_offset(b, h, 2);
  for (int64_t i = 0; i < l; i += p.tile_rows()) {
    const int64_t rows = std::min(p.tile_rows(), l - i);
    const T beta = i == 0 ? T(0) : T(1);
    const T *q = p.qkv + p.qkv_offset(b, h, 0, i), *out = g.out + p.out_offset(b, h, i);
    const T* d_out = g.d_out + p.out_offset(b, h, i);
    logits(p, b, h, i, rows, tile);
    gemm(Rows<T>{d_out, p.width()}, Transposed<T>{v, row}, rows, l, e, T(1), T(0), d_tile, l);
    for (int64_t r = 0; r < rows; ++r) {
      const T mean = dot(out + r * p.width(), d_out + r * p.width(), e);
      softmax_row_backward(tile + r * l, d_tile + r * l, p.bias_row(b, h, i + r), l, log_sum[i + r], mean,
                           p.row_dropout(b, h, i + r));
    }
    gemm(Transposed<T>{tile, l}, Rows<T>{d_out, p.width()}, l, e, rows, T(1), beta, d_v, row);
    gemm(Rows<T>{d_tile, l}, Rows<T>{k, row}, rows, e, l, p.scale, T(0), g.d_qkv + p.qkv_offset(b, h, 0, i), row);
    gemm(Transposed<T>{d_tile, l}, Rows<T>{q, row}, l, e, rows, p.scale, beta, d_k, row);
    if (d_bias && adds) {
      add_to(d_bias + i * l, d_tile, rows * l);
    } else if (d_bias) {
      std::copy_n(d_tile, rows * l, d_bias + i * l);
    }
  }
}

template <typename T>
std::unique_ptr<T[]> tile_of(const Problem<T>& p) {
  return std::unique_ptr<T[]>(new T[p.tile_rows() * p.length]);
}

template <typename T>
void forward_all(const Problem<T>& p, at::Tensor& out, at::Tensor& log_sum) {
  T *to = out.mutable_data_ptr<T>(), *sums = log_sum.mutable_data_ptr<T>();
  in_pool(p.batch * p.heads, [&](int64_t first, int64_t last) {
    auto tile = tile_of(p);
    for (int64_t n = first; n < last; ++n) {
      forward_head(p, n / p.heads, n % p.heads, tile.get(), to, sums + n * p.length);
    }
  });
}

// The gradient of a bias comes in `groups` partial sums of consecutive samples, [groups, H, L, L].
template <typename T>
void backward_all(const Problem<T>& p, const Gradients<T>& g, T* d_bias, int64_t groups) {
  in_pool(groups * p.heads, [&](int64_t first, int64_t last) {
    auto tile = tile_of(p), d_tile = tile_of(p);
    for (int64_t n = first; n < last; ++n) {
      const int64_t group = n / p.heads, h = n % p.heads;
      const int64_t begin = group * p.batch / groups, end = (group + 1) * p.batch / groups;
      T* sum = d_bias ? d_bias + n * p.length * p.length : nullptr;
      for (int64_t b = begin; b < end; ++b) backward_head(p, g, b, h, tile.get(), d_tile.get(), sum, b > begin);
    }
  });
}

class Attention final : public torch::autograd::Function<Attention> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& qkv_in, const std::optional<at::Tensor>& bias,
                            int64_t heads, double rate, int64_t key) {
    const auto qkv = qkv_in.contiguous();
    const int64_t b = qkv.size(0), l = qkv.size(1);
    const Dropout dropout(rate, static_cast<uint64_t>(key));
    auto out = at::empty({b, l, qkv.size(2) / 3}, qkv.options());
    auto log_sum = at::empty({b, heads, l}, qkv.options());
    AT_DISPATCH_FLOATING_TYPES(qkv.scalar_type(), "attention", [&] {
      forward_all(Problem<scalar_t>(qkv, heads, bias, dropout), out, log_sum);
    });
    context->save_for_backward({qkv, bias.value_or(at::Tensor()), out, log_sum});
    context->saved_data["heads"] = heads;
    context->saved_data["rate"] = rate;
    context->saved_data["key"] = key;
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto &qkv = saved[0], &bias = saved[1], &out = saved[2], &log_sum = saved[3];
    const int64_t heads = context->saved_data["heads"].toInt(), b = qkv.size(0), l = qkv.size(1);
    const Dropout dropout(context->saved_data["rate"].toDouble(),
                          static_cast<uint64_t>(context->saved_data["key"].toInt()));
    const auto d_out = gradients[0].contiguous();
    const bool learns = bias.defined() && context->needs_input_grad(1);
    const bool shared = learns && bias.size(0) == 1;
    const int64_t groups = shared ? std::min(b, bias_groups) : b;
    auto d_qkv = at::empty_like(qkv);
    auto d_bias = learns ? at::empty({groups, heads, l, l}, qkv.options()) : at::Tensor();
    AT_DISPATCH_FLOATING_TYPES(qkv.scalar_type(), "attention_backward", [&] {
      const auto added = bias.defined() ? std::optional(bias) : std::nullopt;
      const Problem<scalar_t> problem(qkv, heads, added, dropout);
      const Gradients<scalar_t> all{out.const_data_ptr<scalar_t>(), d_out.const_data_ptr<scalar_t>(),
                                    log_sum.const_data_ptr<scalar_t>(), d_qkv.mutable_data_ptr<scalar_t>()};
      backward_all(problem, all, learns ? d_bias.mutable_data_ptr<scalar_t>() : nullptr, groups);
    });
    if (shared) d_bias = d_bias.sum(0, /*keepdim=*/true);
    return {d_qkv, d_bias, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

extern "C" {

// Whether the BLAS that this needs is in the process.
bool d2v_attention_available() { return blas_available(); }

// Writes a new tensor [B, L, D] to `out`. `bias` may be null.
char* d2v_attention(void* qkv, void* bias, int64_t heads, double dropout, uint64_t key, void** out) {
  return guarded([&] {
    const auto& packed = *static_cast<at::Tensor*>(qkv);
    std::optional<at::Tensor> added;
    if (bias) {
      added = *static_cast<at::Tensor*>(bias);
      // Rows are read one after the other.
      if (added->stride(3) != 1) added = added->contiguous();
    }
    *out = new at::Tensor(Attention::apply(packed, added, heads, dropout, static_cast<int64_t>(key)));
  });
}

}  // extern "C"
