// Activation checkpointing: a function whose inner activations are not kept but made again in the backward pass.
//
// Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost". What is run is a closure of the caller's.

#include <ATen/core/ivalue.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "guarded.h"

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Runs the closure on `count` tensors and writes a new tensor to `out`; returns a message when it failed.
using Run = char* (*)(void* closure, void* const* inputs, size_t count, void** out);
using Drop = void (*)(void* closure);

// The closure, dropped when nobody can run it any more.
struct Body final : torch::CustomClassHolder {
  Body(void* closure, Run run, Drop drop) : closure(closure), run(run), drop(drop) {}
  ~Body() override { drop(closure); }

  at::Tensor operator()(variable_list& inputs) const {
    std::vector<void*> pointers;
    for (auto& input : inputs) pointers.push_back(&input);
    void* out = nullptr;
    if (char* message = run(closure, pointers.data(), pointers.size(), &out)) {
      std::string text(message);
      std::free(message);
      throw std::runtime_error(text);
    }
    auto* owned = static_cast<at::Tensor*>(out);
    at::Tensor tensor = *owned;
    delete owned;
    return tensor;
  }

  void* closure;
  Run run;
  Drop drop;
};

class Checkpoint final : public torch::autograd::Function<Checkpoint> {
 public:
  // A `TensorList`, since autograd does not see the tensors of a vector.
  static at::Tensor forward(AutogradContext* context, at::TensorList inputs, c10::intrusive_ptr<Body> body) {
    variable_list list(inputs.begin(), inputs.end());
    context->save_for_backward(list);
    context->saved_data["body"] = c10::IValue::make_capsule(body);
    return (*body)(list);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    variable_list inputs;
    for (const auto& saved : context->get_saved_variables()) {
      inputs.push_back(saved.detach().requires_grad_(saved.requires_grad()));
    }
    auto body = c10::static_intrusive_pointer_cast<Body>(context->saved_data["body"].toCapsule());
    at::Tensor out;
    {
      at::AutoGradMode with_gradients(true);
      out = (*body)(inputs);
    }
    // Parameters are leaves: this adds to their gradients as the outer pass would.
    torch::autograd::backward({out}, {gradients[0]});
    variable_list input_gradients;
    for (const auto& input : inputs) input_gradients.push_back(input.grad());
    input_gradients.emplace_back();  // of the closure
    return input_gradients;
  }
};

}  // namespace

extern "C" {

// Takes over `closure` in any case. Writes a new tensor to `out`.
char* d2v_checkpoint(void* const* inputs, size_t count, void* closure, Run run, Drop drop, void** out) {
  auto body = c10::make_intrusive<Body>(closure, run, drop);
  return guarded([&] {
    variable_list list;
    for (size_t i = 0; i < count; ++i) list.push_back(*static_cast<at::Tensor*>(inputs[i]));
    *out = new at::Tensor(Checkpoint::apply(at::TensorList(list), body));
  });
}

// A copy of `text` that d2v_free_message frees.
char* d2v_message(const char* text) { return strdup(text); }

}  // extern "C"
