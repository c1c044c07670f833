// x wᵀ + b with its backward, each product by the fastest library (products.h).

#include "products.h"

#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <torch/csrc/autograd/custom_function.h>

#include <string_view>

#include "guarded.h"

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Products of fewer operations are not worth the look into oneDNN's cache of kernels.
constexpr int64_t few_operations = 1 << 22;

bool processor_suits() {
#if defined(__x86_64__) && defined(__GNUC__)
  __builtin_cpu_init();
  return !__builtin_cpu_is("intel") && __builtin_cpu_supports("avx512f");
#else
  return false;
#endif
}

using Pointwise = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, std::string_view,
                             c10::List<std::optional<at::Scalar>>, std::optional<std::string_view>);

// oneDNN's product, or nothing where libtorch was built without it or the processor is better served otherwise.
const std::optional<c10::OperatorHandle>& onednn() {
  static const auto found = processor_suits()
                                ? c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""})
                                : std::nullopt;
  return found;
}

class Linear final : public torch::autograd::Function<Linear> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& w, const at::Tensor& b) {
    context->save_for_backward({x, w});
    auto size = x.sizes().vec();
    size.back() = w.size(0);
    return product(flat(x), w, b).view(size);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto &x = saved[0], &w = saved[1];
    const auto d_out = flat(gradients[0]);
    auto d_x = context->needs_input_grad(0) ? product(d_out, w.t()).view(x.sizes()) : at::Tensor();
    auto d_w = context->needs_input_grad(1) ? weight_gradient(d_out, flat(x)) : at::Tensor();
    auto d_b = context->needs_input_grad(2) ? d_out.sum(0) : at::Tensor();
    return {d_x, d_w, d_b};
  }
};

}  // namespace

bool product_is_ours(const at::Tensor& x, const at::Tensor& w) {
  return x.is_cpu() && w.is_cpu() && x.scalar_type() == at::kFloat && w.scalar_type() == at::kFloat && w.dim() == 2 &&
         x.numel() * w.size(0) >= few_operations && onednn();
}

at::Tensor product(const at::Tensor& x, const at::Tensor& w, const std::optional<at::Tensor>& bias) {
  if (!product_is_ours(x, w)) return at::linear(x, w, bias);
  static const auto pointwise = onednn()->typed<Pointwise>();
  return pointwise.call(x, w, bias, "none", c10::List<std::optional<at::Scalar>>(), "");
}

at::Tensor weight_gradient(const at::Tensor& d_out, const at::Tensor& x) {
  // oneDNN's product of two transposes is the faster one where the weight is wider than it is high.
  const bool wide = x.size(1) > d_out.size(1);
  return wide && product_is_ours(d_out.t(), x.t()) ? product(d_out.t(), x.t()) : d_out.t().mm(x);
}

extern "C" {

// Writes a new tensor, x wᵀ + b, to `out`.
char* d2v_linear(void* x, void* w, void* b, void** out) {
  return guarded([&] {
    auto tensor = [](void* pointer) -> const at::Tensor& { return *static_cast<at::Tensor*>(pointer); };
    const auto &input = tensor(x), &weight = tensor(w), &bias = tensor(b);
    const bool plain = !at::autocast::is_autocast_enabled(input.device().type()) && input.dim() >= 2 &&
                       input.size(-1) == weight.size(-1) && bias.scalar_type() == weight.scalar_type();
    *out = new at::Tensor(plain && product_is_ours(input, weight) ? Linear::apply(input, weight, bias)
                                                                  : at::linear(input, weight, bias));
  });
}

}  // extern "C"
