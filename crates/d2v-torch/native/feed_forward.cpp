// fc2(gelu(fc1(x))) as one function of autograd that keeps fc1's output alone.
//
// Composed of operators, autograd keeps the activation as well, the widest tensor of a block. It is cheap to make
// again next to the products around it. The same operators in the same order give the same bits.

#include <ATen/autocast_mode.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/gelu_backward.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <torch/csrc/autograd/custom_function.h>

#include "guarded.h"

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

class FeedForward final : public torch::autograd::Function<FeedForward> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& w1, const at::Tensor& b1,
                            const at::Tensor& w2, const at::Tensor& b2) {
    const auto device = x.device().type();
    const bool cast = at::autocast::is_autocast_enabled(device);
    const auto kind = cast ? at::autocast::get_autocast_dtype(device) : x.scalar_type();
    // Cast here rather than by autocast, whose cached copies would outlive what backward keeps.
    c10::impl::ExcludeDispatchKeyGuard no_autocast(at::autocast_dispatch_keyset);
    auto x_low = x.to(kind), w1_low = w1.to(kind), w2_low = w2.to(kind);
    auto hidden = at::linear(x_low, w1_low, b1.to(kind));
    auto out = at::linear(at::gelu(hidden), w2_low, b2.to(kind));
    context->save_for_backward({x_low, w1_low, w2_low, hidden});
    context->saved_data["x"] = x.scalar_type();
    context->saved_data["w"] = w1.scalar_type();
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto &x = saved[0], &w1 = saved[1], &w2 = saved[2], &hidden = saved[3];
    const auto x_kind = context->saved_data["x"].toScalarType(), w_kind = context->saved_data["w"].toScalarType();
    auto flat = [](const at::Tensor& t) { return t.reshape({-1, t.size(-1)}); };
    const auto d_out = flat(gradients[0]);
    auto d_w2 = d_out.t().mm(flat(at::gelu(hidden))).to(w_kind);
    auto d_b2 = d_out.sum(0).to(w_kind);
    auto d_hidden = d_out.mm(w2);
    at::gelu_backward_out(d_hidden, d_hidden, flat(hidden));
    auto d_w1 = d_hidden.t().mm(flat(x)).to(w_kind);
    auto d_b1 = d_hidden.sum(0).to(w_kind);
    auto d_x = context->needs_input_grad(0) ? d_hidden.mm(w1).view(x.sizes()).to(x_kind) : at::Tensor();
    return {d_x, d_w1, d_b1, d_w2, d_b2};
  }
};

}  // namespace

extern "C" {

// Writes a new tensor, fc2(gelu(fc1(x))), to `out`.
char* d2v_feed_forward(void* x, void* w1, void* b1, void* w2, void* b2, void** out) {
  return guarded([&] {
    auto tensor = [](void* pointer) -> const at::Tensor& { return *static_cast<at::Tensor*>(pointer); };
    *out = new at::Tensor(FeedForward::apply(tensor(x), tensor(w1), tensor(b1), tensor(w2), tensor(b2)));
  });
}

}  // extern "C"
