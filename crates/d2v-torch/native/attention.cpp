// softmax(scale · q kᵀ + bias) v on the CPU as one function of autograd, straight from the packed product of query,
// key and value to the packed gradient of it.
//
// Composed of operators, a bias that learns costs a dozen passes over [B, H, L, L]: scaling, sum, softmax, and the
// backward of each. Here the logits of some rows of one head stay in the core's own cache from the product to the
// softmax to the next product, and none are kept: the backward pass makes them again from the rows' log-sum-exp (Dao
// et al. 2022, section 3.1).

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>

#include "attention_rows.h"
#include "guarded.h"
#include "pool.h"
#include "tile_products.h"

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

// Memory that one thread works in, made when it is first asked for.
template <typename T>
class Buffer {
 public:
  T* of(int64_t size) {
    if (size > size_) data_.reset(new T[size]), size_ = size;
    return data_.get();
  }

  // `matrix`, [k, n], times `factor`, as right operand of products.
  const T* packed(Matrix<T> matrix, int64_t k, int64_t n, T factor) {
    pack(matrix, k, n, factor, of(packed_size(k, n)));
    return data_.get();
  }

 private:
  std::unique_ptr<T[]> data_;
  int64_t size_ = 0;
};

// Logits of some rows of a head with their gradients, and the packed operands of the products.
template <typename T>
struct Workspace {
  Buffer<T> tile, d_tile, keys_t, values_t, keys, values, queries, d_out;
};

template <typename T>
void forward_head(const Problem<T>& p, int64_t b, int64_t h, Workspace<T>& work, T* out, T* log_sum) {
  const int64_t l = p.length, e = p.head_width;
  const T* keys_t = work.keys_t.packed(transposed(p.qkv + p.qkv_offset(b, h, 1), p.qkv_row()), e, l, p.scale);
  const T* values = work.values.packed(rows(p.qkv + p.qkv_offset(b, h, 2), p.qkv_row()), l, e, T(1));
  T* tile = work.tile.of(p.tile_rows() * l);
  for (int64_t i = 0; i < l; i += p.tile_rows()) {
    const int64_t count = std::min(p.tile_rows(), l - i);
    const auto query = rows(p.qkv + p.qkv_offset(b, h, 0, i), p.qkv_row());
    multiply(TileProduct<T>{query, keys_t, count, l, e, tile, l, false});
    for (int64_t r = 0; r < count; ++r) {
      log_sum[i + r] = softmax_row(tile + r * l, p.bias_row(b, h, i + r), l, p.row_dropout(b, h, i + r));
    }
    multiply(TileProduct<T>{rows(tile, l), values, count, e, l, out + p.out_offset(b, h, i), p.width(), false});
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
void backward_head(const Problem<T>& p, const Gradients<T>& g, int64_t b, int64_t h, Workspace<T>& work, T* d_bias,
                   bool adds) {
  const int64_t l = p.length, e = p.head_width, row = p.qkv_row();
  const T* log_sum = g.log_sum + (b * p.heads + h) * l;
  const T *k = p.qkv + p.qkv_offset(b, h, 1), *v = p.qkv + p.qkv_offset(b, h, 2);
  const T* keys_t = work.keys_t.packed(transposed(k, row), e, l, p.scale);
  const T* values_t = work.values_t.packed(transposed(v, row), e, l, T(1));
  const T* keys = work.keys.packed(rows(k, row), l, e, p.scale);
  T *d_k = g.d_qkv + p.qkv_offset(b, h, 1), *d_v = g.d_qkv + p.qkv_offset(b, h, 2);
  T *tile = work.tile.of(p.tile_rows() * l), *d_tile = work.d_tile.of(p.tile_rows() * l);
  for (int64_t i = 0; i < l; i += p.tile_rows()) {
    const int64_t count = std::min(p.tile_rows(), l - i);
    const bool sums = i > 0;
    const auto query = rows(p.qkv + p.qkv_offset(b, h, 0, i), row);
    const T *out = g.out + p.out_offset(b, h, i), *d_out = g.d_out + p.out_offset(b, h, i);
    multiply(TileProduct<T>{query, keys_t, count, l, e, tile, l, false});
    multiply(TileProduct<T>{rows(d_out, p.width()), values_t, count, l, e, d_tile, l, false});
    for (int64_t r = 0; r < count; ++r) {
      const T mean = dot(out + r * p.width(), d_out + r * p.width(), e);
      softmax_row_backward(tile + r * l, d_tile + r * l, p.bias_row(b, h, i + r), l, log_sum[i + r], mean,
                           p.row_dropout(b, h, i + r));
    }
    const T* d_out_packed = work.d_out.packed(rows(d_out, p.width()), count, e, T(1));
    multiply(TileProduct<T>{transposed(tile, l), d_out_packed, l, e, count, d_v, row, sums});
    multiply(TileProduct<T>{rows(d_tile, l), keys, count, e, l, g.d_qkv + p.qkv_offset(b, h, 0, i), row, false});
    const T* queries = work.queries.packed(query, count, e, p.scale);
    multiply(TileProduct<T>{transposed(d_tile, l), queries, l, e, count, d_k, row, sums});
    if (d_bias && adds) {
      add_to(d_bias + i * l, d_tile, count * l);
    } else if (d_bias) {
      std::copy_n(d_tile, count * l, d_bias + i * l);
    }
  }
}

template <typename T>
void forward_all(const Problem<T>& p, at::Tensor& out, at::Tensor& log_sum) {
  T *to = out.mutable_data_ptr<T>(), *sums = log_sum.mutable_data_ptr<T>();
  in_pool(p.batch * p.heads, [&](int64_t first, int64_t last) {
    Workspace<T> work;
    for (int64_t n = first; n < last; ++n) {
      forward_head(p, n / p.heads, n % p.heads, work, to, sums + n * p.length);
    }
  });
}

// The gradient of a bias comes in `groups` partial sums of consecutive samples, [groups, H, L, L].
template <typename T>
void backward_all(const Problem<T>& p, const Gradients<T>& g, T* d_bias, int64_t groups) {
  in_pool(groups * p.heads, [&](int64_t first, int64_t last) {
    Workspace<T> work;
    for (int64_t n = first; n < last; ++n) {
      const int64_t group = n / p.heads, h = n % p.heads;
      const int64_t begin = group * p.batch / groups, end = (group + 1) * p.batch / groups;
      T* sum = d_bias ? d_bias + n * p.length * p.length : nullptr;
      for (int64_t b = begin; b < end; ++b) backward_head(p, g, b, h, work, sum, b > begin);
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
