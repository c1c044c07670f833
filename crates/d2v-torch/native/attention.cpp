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
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

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

// The queries of all samples one behind the other, in the order of their positions.
struct Queries {
  // Those of sample b are first[b]..first[b + 1].
  std::vector<int64_t> first;
  // Of each, its index into the B · L positions; null: every position is a query.
  const int64_t* positions = nullptr;

  Queries(int64_t batch, int64_t length, const at::Tensor& chosen) : first(batch + 1) {
    if (!chosen.defined()) {
      for (int64_t b = 0; b <= batch; ++b) first[b] = b * length;
      return;
    }
    positions = chosen.const_data_ptr<int64_t>();
    const auto* end = positions + chosen.numel();
    TORCH_CHECK(chosen.is_contiguous() && std::is_sorted(positions, end) &&
                    (positions == end || (*positions >= 0 && end[-1] < batch * length)),
                "positions of queries must ascend and lie within ", batch, " x ", length);
    for (int64_t b = 0; b <= batch; ++b) first[b] = std::lower_bound(positions, end, b * length) - positions;
  }

  int64_t count() const { return first.back(); }
  int64_t of(int64_t b) const { return first[b + 1] - first[b]; }
};

// Where everything of one call lies. `query` is [N, H, E] for the N queries, `key_value` [B, L, 2, H, E], each by the
// stride of its rows; `bias` is what is added to the logits, [B, H, L, L] by strides.
template <typename T>
struct Problem {
  const Queries& queries;
  int64_t batch, length, heads, head_width;
  T scale;
  Dropout dropout;
  const T *query, *key_value;
  int64_t query_row, key_value_row;
  const T* bias = nullptr;
  int64_t bias_b = 0, bias_h = 0, bias_i = 0;

  Problem(const Queries& queries, const at::Tensor& query_in, const at::Tensor& key_value_in, int64_t heads,
          const at::Tensor& added, Dropout dropout)
      : queries(queries),
        batch(key_value_in.size(0)),
        length(key_value_in.size(1)),
        heads(heads),
        head_width(query_in.size(-1) / heads),
        scale(static_cast<T>(1.0 / std::sqrt(static_cast<double>(head_width)))),
        dropout(dropout),
        query(query_in.const_data_ptr<T>()),
        key_value(key_value_in.const_data_ptr<T>()),
        query_row(query_in.stride(-2)),
        key_value_row(key_value_in.stride(1)) {
    if (!added.defined()) return;
    auto wide = added.expand({batch, heads, length, length});
    bias = wide.const_data_ptr<T>();
    bias_b = wide.stride(0), bias_h = wide.stride(1), bias_i = wide.stride(2);
  }

  int64_t width() const { return heads * head_width; }
  int64_t tile_rows() const {
    const int64_t fit = tile_bytes / static_cast<int64_t>(sizeof(T)) / length;
    return std::min(length, std::max<int64_t>(fit, 16));
  }
  // Query `n` of all; key (0) or value (1) of a sample.
  int64_t query_offset(int64_t n, int64_t h) const { return n * query_row + h * head_width; }
  int64_t key_value_offset(int64_t b, int64_t h, int64_t which) const {
    return b * length * key_value_row + which * width() + h * head_width;
  }
  // Within output, [N, H, E], and the logarithms of sums, [H, N].
  int64_t out_offset(int64_t n, int64_t h) const { return n * width() + h * head_width; }
  int64_t log_sum_offset(int64_t n, int64_t h) const { return h * queries.count() + n; }
  // Of query `n`, which belongs to sample `b`.
  int64_t position(int64_t b, int64_t n) const {
    return (queries.positions ? queries.positions[n] : n) - b * length;
  }
  const T* bias_row(int64_t b, int64_t h, int64_t position) const {
    return bias ? bias + b * bias_b + h * bias_h + position * bias_i : nullptr;
  }
  RowDropout row_dropout(int64_t b, int64_t h, int64_t position) const {
    return dropout.of_row(static_cast<uint64_t>(b * heads + h), static_cast<uint64_t>(position));
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
  if (p.queries.of(b) == 0) return;
  const int64_t l = p.length, e = p.head_width, row = p.key_value_row;
  const T* keys_t = work.keys_t.packed(transposed(p.key_value + p.key_value_offset(b, h, 0), row), e, l, p.scale);
  const T* values = work.values.packed(rows(p.key_value + p.key_value_offset(b, h, 1), row), l, e, T(1));
  T* tile = work.tile.of(p.tile_rows() * l);
  for (int64_t n = p.queries.first[b]; n < p.queries.first[b + 1]; n += p.tile_rows()) {
    const int64_t count = std::min(p.tile_rows(), p.queries.first[b + 1] - n);
    const auto query = rows(p.query + p.query_offset(n, h), p.query_row);
    multiply(TileProduct<T>{query, keys_t, count, l, e, tile, l, false});
    for (int64_t r = 0; r < count; ++r) {
      const int64_t i = p.position(b, n + r);
      log_sum[p.log_sum_offset(n + r, h)] =
          softmax_row(tile + r * l, p.bias_row(b, h, i), l, p.row_dropout(b, h, i));
    }
    multiply(TileProduct<T>{rows(tile, l), values, count, e, l, out + p.out_offset(n, h), p.width(), false});
  }
}

// What the backward pass reads and writes beside the problem; gradients lie as what they are of.
template <typename T>
struct Gradients {
  const T *out, *d_out, *log_sum;
  T *d_query, *d_key_value;
};

// `d_bias` is [L, L] of this head, or null; `adds` tells whether something is there already.
template <typename T>
void backward_head(const Problem<T>& p, const Gradients<T>& g, int64_t b, int64_t h, Workspace<T>& work, T* d_bias,
                   bool adds) {
  const int64_t l = p.length, e = p.head_width, row = p.key_value_row;
  const int64_t key_at = p.key_value_offset(b, h, 0), value_at = p.key_value_offset(b, h, 1);
  T *d_key = g.d_key_value + key_at, *d_value = g.d_key_value + value_at;
  const int64_t first = p.queries.first[b], last = p.queries.first[b + 1];
  if (first == last) {
    for (int64_t i = 0; i < l; ++i) std::fill_n(d_key + i * row, e, T(0)), std::fill_n(d_value + i * row, e, T(0));
    return;
  }
  const T* keys_t = work.keys_t.packed(transposed(p.key_value + key_at, row), e, l, p.scale);
  const T* values_t = work.values_t.packed(transposed(p.key_value + value_at, row), e, l, T(1));
  const T* keys = work.keys.packed(rows(p.key_value + key_at, row), l, e, p.scale);
  T *tile = work.tile.of(p.tile_rows() * l), *d_tile = work.d_tile.of(p.tile_rows() * l);
  for (int64_t n = first; n < last; n += p.tile_rows()) {
    const int64_t count = std::min(p.tile_rows(), last - n);
    const bool sums = n > first;
    const auto query = rows(p.query + p.query_offset(n, h), p.query_row);
    const T *out = g.out + p.out_offset(n, h), *d_out = g.d_out + p.out_offset(n, h);
    multiply(TileProduct<T>{query, keys_t, count, l, e, tile, l, false});
    multiply(TileProduct<T>{rows(d_out, p.width()), values_t, count, l, e, d_tile, l, false});
    for (int64_t r = 0; r < count; ++r) {
      const T mean = dot(out + r * p.width(), d_out + r * p.width(), e);
      const int64_t i = p.position(b, n + r);
      softmax_row_backward(tile + r * l, d_tile + r * l, p.bias_row(b, h, i), l, g.log_sum[p.log_sum_offset(n + r, h)],
                           mean, p.row_dropout(b, h, i));
    }
    const T* d_out_packed = work.d_out.packed(rows(d_out, p.width()), count, e, T(1));
    multiply(TileProduct<T>{transposed(tile, l), d_out_packed, l, e, count, d_value, row, sums});
    multiply(TileProduct<T>{rows(d_tile, l), keys, count, e, l, g.d_query + p.query_offset(n, h), p.query_row, false});
    const T* queries = work.queries.packed(query, count, e, p.scale);
    multiply(TileProduct<T>{transposed(d_tile, l), queries, l, e, count, d_key, row, sums});
    for (int64_t r = 0; d_bias && r < count; ++r) {
      T* to = d_bias + p.position(b, n + r) * l;
      adds ? add_to(to, d_tile + r * l, l) : void(std::copy_n(d_tile + r * l, l, to));
    }
  }
}

template <typename T>
void forward_all(const Problem<T>& p, at::Tensor& out, at::Tensor& log_sum) {
  T *to = out.mutable_data_ptr<T>(), *sums = log_sum.mutable_data_ptr<T>();
  in_pool(p.batch * p.heads, [&](int64_t first, int64_t last) {
    Workspace<T> work;
    for (int64_t n = first; n < last; ++n) forward_head(p, n / p.heads, n % p.heads, work, to, sums);
  });
}

// The gradient of a bias comes in `groups` partial sums of consecutive samples, [groups, H, L, L]; `adds` tells whether
// they hold zeros to begin with.
template <typename T>
void backward_all(const Problem<T>& p, const Gradients<T>& g, T* d_bias, int64_t groups, bool adds) {
  in_pool(groups * p.heads, [&](int64_t first, int64_t last) {
    Workspace<T> work;
    for (int64_t n = first; n < last; ++n) {
      const int64_t group = n / p.heads, h = n % p.heads;
      const int64_t begin = group * p.batch / groups, end = (group + 1) * p.batch / groups;
      T* sum = d_bias ? d_bias + n * p.length * p.length : nullptr;
      for (int64_t b = begin; b < end; ++b) backward_head(p, g, b, h, work, sum, adds || b > begin);
    }
  });
}

// Query and key with value: either two tensors, or parts of one that holds all three.
std::pair<at::Tensor, at::Tensor> split(const at::Tensor& query, const at::Tensor& key_value) {
  if (key_value.defined()) return {query, key_value};
  const int64_t width = query.size(2) / 3;
  return {query.narrow(2, 0, width), query.narrow(2, width, 2 * width)};
}

using Optional = std::optional<at::Tensor>;

class Attention final : public torch::autograd::Function<Attention> {
 public:
  // `query_in` is [B, L, 3·D] where `key_value_in` and `positions_in` are absent, else [M, D].
  static at::Tensor forward(AutogradContext* context, const at::Tensor& query_in, const Optional& key_value_in,
                            const Optional& bias_in, const Optional& positions_in, int64_t heads, double rate, int64_t key) {
    const auto given = query_in.contiguous();
    const auto given_key_value = key_value_in ? key_value_in->contiguous() : at::Tensor();
    const auto bias = bias_in.value_or(at::Tensor()), positions = positions_in.value_or(at::Tensor());
    const auto [query, key_value] = split(given, given_key_value);
    const Queries queries(key_value.size(0), key_value.size(1), positions);
    const Dropout dropout(rate, static_cast<uint64_t>(key));
    auto out = at::empty(query.sizes(), query.options());
    auto log_sum = at::empty({heads, queries.count()}, query.options());
    AT_DISPATCH_FLOATING_TYPES(query.scalar_type(), "attention", [&] {
      forward_all(Problem<scalar_t>(queries, query, key_value, heads, bias, dropout), out, log_sum);
    });
    context->save_for_backward({given, given_key_value, bias, positions, out, log_sum});
    context->saved_data["heads"] = heads;
    context->saved_data["rate"] = rate;
    context->saved_data["key"] = key;
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto &given = saved[0], &given_key_value = saved[1], &bias = saved[2], &positions = saved[3];
    const auto &out = saved[4], &log_sum = saved[5];
    const auto [query, key_value] = split(given, given_key_value);
    const int64_t heads = context->saved_data["heads"].toInt(), b = key_value.size(0), l = key_value.size(1);
    const Queries queries(b, l, positions);
    const Dropout dropout(context->saved_data["rate"].toDouble(),
                          static_cast<uint64_t>(context->saved_data["key"].toInt()));
    const auto d_out = gradients[0].contiguous();
    // Counted among the tensors that are there.
    const bool learns = bias.defined() && context->needs_input_grad(given_key_value.defined() ? 2 : 1);
    const bool shared = learns && bias.size(0) == 1;
    const int64_t groups = shared ? std::min(b, bias_groups) : b;
    auto d_given = at::empty_like(given);
    auto d_given_key_value = given_key_value.defined() ? at::empty_like(given_key_value) : at::Tensor();
    auto [d_query, d_key_value] = split(d_given, d_given_key_value);
    at::Tensor d_bias;
    // Rows of the bias that no query has have no gradient.
    if (learns) d_bias = positions.defined() ? at::zeros({groups, heads, l, l}, query.options())
                                             : at::empty({groups, heads, l, l}, query.options());
    AT_DISPATCH_FLOATING_TYPES(query.scalar_type(), "attention_backward", [&] {
      const Problem<scalar_t> problem(queries, query, key_value, heads, bias, dropout);
      const Gradients<scalar_t> all{out.const_data_ptr<scalar_t>(), d_out.const_data_ptr<scalar_t>(),
                                    log_sum.const_data_ptr<scalar_t>(), d_query.mutable_data_ptr<scalar_t>(),
                                    d_key_value.mutable_data_ptr<scalar_t>()};
      backward_all(problem, all, learns ? d_bias.mutable_data_ptr<scalar_t>() : nullptr, groups, positions.defined());
    });
    if (shared) d_bias = d_bias.sum(0, /*keepdim=*/true);
    return {d_given, d_given_key_value, d_bias, at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

Optional tensor_or_none(void* pointer) {
  return pointer ? Optional(*static_cast<at::Tensor*>(pointer)) : std::nullopt;
}

}  // namespace

extern "C" {

// Writes a new tensor to `out`: [B, L, D] of the packed [B, L, 3·D] in `query`, or [M, D] of `query`, [M, D], with
// `key_value`, [B, L, 2·D], and the ascending `positions`, int64 [M], of the queries. `bias` may be null.
char* d2v_attention(void* query, void* key_value, void* bias, void* positions, int64_t heads, double dropout, uint64_t key,
                    void** out) {
  return guarded([&] {
    auto added = tensor_or_none(bias);
    // Rows are read one after the other.
    if (added && added->stride(3) != 1) added = added->contiguous();
    *out = new at::Tensor(Attention::apply(*static_cast<at::Tensor*>(query), tensor_or_none(key_value), added,
                                           tensor_or_none(positions), heads, dropout, static_cast<int64_t>(key)));
  });
}

}  // extern "C"
