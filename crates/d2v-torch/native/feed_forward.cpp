// fc2(gelu(fc1(x))) as one function of autograd that keeps fc1's product alone.
//
// Composed of operators, autograd keeps the activation as well, the widest tensor of a block. It is cheap to make
// again next to the products around it. On the CPU the bias, the activation, its derivative and the gradient of the
// bias are one pass over that tensor forward and one backward; elsewhere they are libtorch's operators.

#include <ATen/Dispatch.h>
#include <ATen/autocast_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/gelu_backward.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include "gelu_rows.h"
#include "guarded.h"
#include "pool.h"
#include "products.h"

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Whether the passes over rows are ours.
bool by_rows(const at::Tensor& weight, const at::Tensor& bias) {
  const auto kind = weight.scalar_type();
  return weight.is_cpu() && (kind == at::kFloat || kind == at::kDouble) && bias.scalar_type() == kind &&
         bias.dim() == 1 && bias.size(0) == weight.size(0) && bias.is_contiguous();
}

// gelu(product + bias) in `activation`, which may be `product`.
void activate(const at::Tensor& product, const at::Tensor& bias, at::Tensor& activation) {
  const RowGroups rows(product.size(0));
  const int64_t n = product.size(1);
  AT_DISPATCH_FLOATING_TYPES(product.scalar_type(), "feed_forward", [&] {
    const auto *from = product.const_data_ptr<scalar_t>(), *add = bias.const_data_ptr<scalar_t>();
    auto* to = activation.mutable_data_ptr<scalar_t>();
    in_pool(rows.groups, [&](int64_t first, int64_t last) {
      for (int64_t r = rows.begin(first); r < rows.begin(last); ++r) gelu_row(from + r * n, add, to + r * n, n);
    });
  });
}

// Turns the gradient of the activation into that of the product; returns the activation and the gradient of the bias.
std::pair<at::Tensor, at::Tensor> activate_backward(const at::Tensor& product, const at::Tensor& bias,
                                                    at::Tensor& gradient) {
  const RowGroups rows(product.size(0));
  const int64_t n = product.size(1);
  auto activation = at::empty_like(product);
  auto sums = at::zeros({rows.groups, n}, product.options());
  AT_DISPATCH_FLOATING_TYPES(product.scalar_type(), "feed_forward_backward", [&] {
    const auto *from = product.const_data_ptr<scalar_t>(), *add = bias.const_data_ptr<scalar_t>();
    auto *d = gradient.mutable_data_ptr<scalar_t>(), *to = activation.mutable_data_ptr<scalar_t>();
    auto* sum = sums.mutable_data_ptr<scalar_t>();
    in_pool(rows.groups, [&](int64_t first, int64_t last) {
      for (int64_t group = first; group < last; ++group) {
        for (int64_t r = rows.begin(group); r < rows.begin(group + 1); ++r) {
          gelu_row_backward(from + r * n, add, d + r * n, to + r * n, sum + group * n, n);
        }
      }
    });
  });
  return {activation, sums.sum(0)};
}

class FeedForward final : public torch::autograd::Function<FeedForward> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& w1, const at::Tensor& b1,
                            const at::Tensor& w2, const at::Tensor& b2, bool learns) {
    const auto device = x.device().type();
    const bool cast = at::autocast::is_autocast_enabled(device);
    const auto kind = cast ? at::autocast::get_autocast_dtype(device) : x.scalar_type();
    // Cast here rather than by autocast, whose cached copies would outlive what backward keeps.
    c10::impl::ExcludeDispatchKeyGuard no_autocast(at::autocast_dispatch_keyset);
    auto x_low = x.to(kind), w1_low = w1.to(kind), b1_low = b1.to(kind), w2_low = w2.to(kind);
    // Where the passes are libtorch's, what is kept has its bias already.
    const bool rows = by_rows(w1_low, b1_low);
    auto hidden = rows ? product(flat(x_low), w1_low) : at::linear(flat(x_low), w1_low, b1_low);
    auto activation = hidden;
    if (rows) {
      if (learns) activation = at::empty_like(hidden);
      activate(hidden, b1_low, activation);
    } else {
      activation = at::gelu(hidden);
    }
    auto out = product(activation, w2_low, b2.to(kind));
    context->save_for_backward({x_low, w1_low, w2_low, hidden, rows ? b1_low : at::Tensor()});
    context->saved_data["x"] = x.scalar_type();
    context->saved_data["w"] = w1.scalar_type();
    auto size = x.sizes().vec();
    size.back() = out.size(-1);
    return out.view(size);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto &x = saved[0], &w1 = saved[1], &w2 = saved[2], &hidden = saved[3], &b1 = saved[4];
    const auto x_kind = context->saved_data["x"].toScalarType(), w_kind = context->saved_data["w"].toScalarType();
    const auto d_out = flat(gradients[0]);
    auto d_hidden = product(d_out, w2.t());
    at::Tensor activation, d_b1;
    if (b1.defined()) {
      std::tie(activation, d_b1) = activate_backward(hidden, b1, d_hidden);
    } else {
      activation = at::gelu(hidden);
      at::gelu_backward_out(d_hidden, d_hidden, hidden);
      d_b1 = d_hidden.sum(0);
    }
    auto d_w2 = weight_gradient(d_out, activation).to(w_kind);
    activation.reset();
    auto d_w1 = weight_gradient(d_hidden, flat(x)).to(w_kind);
    auto d_x = context->needs_input_grad(0) ? product(d_hidden, w1.t()).view(x.sizes()).to(x_kind) : at::Tensor();
    return {d_x, d_w1, d_b1.to(w_kind), d_w2, d_out.sum(0).to(w_kind), at::Tensor()};
  }
};

}  // namespace

extern "C" {

// Writes a new tensor, fc2(gelu(fc1(x))), to `out`.
char* d2v_feed_forward(void* x, void* w1, void* b1, void* w2, void* b2, void** out) {
  return guarded([&] {
    auto tensor = [](void* pointer) -> const at::Tensor& { return *static_cast<at::Tensor*>(pointer); };
    const auto &input = tensor(x), &weight = tensor(w1);
    const bool learns = at::GradMode::is_enabled() && (input.requires_grad() || weight.requires_grad());
    *out = new at::Tensor(FeedForward::apply(input, weight, tensor(b1), tensor(w2), tensor(b2), learns));
  });
}

}  // extern "C"
