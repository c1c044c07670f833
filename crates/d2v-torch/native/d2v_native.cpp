// The C++ side of d2v-torch: thin calls into ATen that tch does not bind.
//
// Every function returns nullptr, or a malloc'ed message when ATen threw; no exception crosses the boundary.
// A `void*` standing for a tensor is an `at::Tensor*` owned by the caller. Nothing here keeps one.

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/_foreach_copy.h>
#include <ATen/ops/_foreach_div.h>
#include <ATen/ops/_foreach_lerp.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_foreach_zero.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/GradMode.h>
#include <torch/version.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <optional>
#include <vector>

#include "guarded.h"

namespace {

std::vector<at::Tensor> list(void* const* tensors, size_t count) {
  std::vector<at::Tensor> out;
  out.reserve(count);
  for (size_t i = 0; i < count; ++i) out.push_back(*static_cast<at::Tensor*>(tensors[i]));
  return out;
}

std::optional<at::Tensor> optional(void* tensor) {
  return tensor ? std::optional(*static_cast<at::Tensor*>(tensor)) : std::nullopt;
}

}  // namespace

extern "C" {

const char* d2v_libtorch_version() { return TORCH_VERSION; }

void d2v_free_message(char* message) { std::free(message); }

// One AdamW step over a group. `step` is a one-element f32 tensor holding the number of this step, 1 for the first.
// `divisor` (may be null) divides the gradients, and `skip` (may be null), where it is 1, leaves everything as it was;
// both are one-element tensors on the parameters' device, so that nobody waits for them: f32, or f64 for the divisor of
// gradients in f64.
char* d2v_fused_adamw(void* const* params, void* const* grads, void* const* exp_avgs, void* const* exp_avg_sqs,
                      size_t count, void* step, void* divisor, void* skip, double lr, double beta1, double beta2,
                      double weight_decay, double eps) {
  return guarded([&] {
    c10::NoGradGuard no_grad;
    auto p = list(params, count), g = list(grads, count), m = list(exp_avgs, count), v = list(exp_avg_sqs, count);
    std::vector<at::Tensor> steps(count, *static_cast<at::Tensor*>(step));
    if (divisor && count && g[0].scalar_type() == at::kDouble) {
      // The kernel divides by numbers of f32 alone.
      at::_foreach_div_(g, *static_cast<at::Tensor*>(divisor));
      divisor = nullptr;
    }
    at::_fused_adamw_(p, g, m, v, {}, steps, lr, beta1, beta2, weight_decay, eps, /*amsgrad=*/false,
                      /*maximize=*/false, optional(divisor), optional(skip));
  });
}

// self[i] += weight * (other[i] - self[i])
char* d2v_foreach_lerp(void* const* self, void* const* other, size_t count, double weight) {
  return guarded([&] {
    c10::NoGradGuard no_grad;
    at::_foreach_lerp_(list(self, count), list(other, count), at::Scalar(weight));
  });
}

// As d2v_foreach_lerp, but nothing moves where the one-element tensor `skip` is 1. `on_device`: without reading it.
char* d2v_foreach_lerp_unless(void* const* self, void* const* other, size_t count, double weight, void* skip,
                              bool on_device) {
  return guarded([&] {
    c10::NoGradGuard no_grad;
    const auto& skipped = *static_cast<at::Tensor*>(skip);
    auto to = list(self, count), from = list(other, count);
    if (!on_device) {
      if (skipped.item<double>() == 0) at::_foreach_lerp_(to, from, at::Scalar(weight));
      return;
    }
    std::vector<at::Tensor> weights;
    weights.reserve(count);
    const auto moved = (1 - skipped) * weight;
    for (const auto& tensor : to) weights.push_back(moved.to(tensor.scalar_type()).squeeze());
    at::_foreach_lerp_(to, from, weights);
  });
}

char* d2v_foreach_copy(void* const* self, void* const* source, size_t count) {
  return guarded([&] {
    c10::NoGradGuard no_grad;
    at::_foreach_copy_(list(self, count), list(source, count));
  });
}

char* d2v_foreach_mul(void* const* self, size_t count, double factor) {
  return guarded([&] {
    c10::NoGradGuard no_grad;
    at::_foreach_mul_(list(self, count), at::Scalar(factor));
  });
}

char* d2v_foreach_zero(void* const* self, size_t count) {
  return guarded([&] {
    c10::NoGradGuard no_grad;
    at::_foreach_zero_(list(self, count));
  });
}

// Makes the gradients undefined, so that the next backward pass hands over its buffers instead of adding to ours.
char* d2v_clear_grads(void* const* tensors, size_t count) {
  return guarded([&] {
    for (size_t i = 0; i < count; ++i) static_cast<at::Tensor*>(tensors[i])->mutable_grad().reset();
  });
}

// Writes a new scalar tensor, the L2 norm over all elements of all tensors, to `out`.
char* d2v_global_norm(void* const* tensors, size_t count, void** out) {
  return guarded([&] {
    c10::NoGradGuard no_grad;
    auto norms = at::_foreach_norm(list(tensors, count), 2);
    *out = new at::Tensor(at::linalg_vector_norm(at::stack(norms)));
  });
}

// Autocast of one device type; returns the previous state through the out arguments.
char* d2v_autocast_enter(int device_type, int scalar_type, bool* was_enabled, int* previous_type) {
  return guarded([&] {
    auto device = static_cast<at::DeviceType>(device_type);
    *was_enabled = at::autocast::is_autocast_enabled(device);
    *previous_type = static_cast<int>(at::autocast::get_autocast_dtype(device));
    at::autocast::set_autocast_enabled(device, true);
    at::autocast::set_autocast_dtype(device, static_cast<at::ScalarType>(scalar_type));
    at::autocast::increment_nesting();
  });
}

// Whether autocast is on for a device type, and to what.
char* d2v_autocast_state(int device_type, bool* enabled, int* type) {
  return guarded([&] {
    auto device = static_cast<at::DeviceType>(device_type);
    *enabled = at::autocast::is_autocast_enabled(device);
    *type = static_cast<int>(at::autocast::get_autocast_dtype(device));
  });
}

char* d2v_autocast_leave(int device_type, bool was_enabled, int previous_type) {
  return guarded([&] {
    auto device = static_cast<at::DeviceType>(device_type);
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(device, was_enabled);
    at::autocast::set_autocast_dtype(device, static_cast<at::ScalarType>(previous_type));
  });
}

char* d2v_set_deterministic(bool on) {
  return guarded([&] {
    at::globalContext().setDeterministicAlgorithms(on, /*warn_only=*/true);
    // Otherwise every new tensor is first filled with NaN, to expose kernels that read what nobody wrote.
    at::globalContext().setDeterministicFillUninitializedMemory(false);
    at::globalContext().setBenchmarkCuDNN(!on);
  });
}

// Allows these kernels of attention: 1 flash, 2 memory-efficient, 4 cuDNN, 8 products and softmax.
char* d2v_sdpa_allow(int kernels, int* before) {
  return guarded([&] {
    auto& context = at::globalContext();
    *before = (context.userEnabledFlashSDP() ? 1 : 0) | (context.userEnabledMemEfficientSDP() ? 2 : 0) |
              (context.userEnabledCuDNNSDP() ? 4 : 0) | (context.userEnabledMathSDP() ? 8 : 0);
    context.setSDPUseFlash(kernels & 1);
    context.setSDPUseMemEfficient(kernels & 2);
    context.setSDPUseCuDNN(kernels & 4);
    context.setSDPUseMath(kernels & 8);
  });
}

char* d2v_set_tf32(bool on) {
  return guarded([&] {
    at::globalContext().setFloat32MatmulPrecision(on ? "high" : "highest");
    at::globalContext().setAllowTF32CuDNN(on);
  });
}

// Bytes held by tensors now and at most since the last reset, and the device's total, on a CUDA device.
char* d2v_cuda_memory(int device, int64_t* allocated, int64_t* peak, int64_t* total) {
  return guarded([&] {
    auto* allocator = c10::getDeviceAllocator(at::kCUDA);
    auto stats = allocator->getDeviceStats(static_cast<c10::DeviceIndex>(device));
    auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    *allocated = stats.allocated_bytes[all].current;
    *peak = stats.allocated_bytes[all].peak;
    *total = static_cast<int64_t>(allocator->getMemoryInfo(static_cast<c10::DeviceIndex>(device)).second);
  });
}

char* d2v_cuda_reset_peak(int device) {
  return guarded([&] { c10::getDeviceAllocator(at::kCUDA)->resetPeakStats(static_cast<c10::DeviceIndex>(device)); });
}

}  // extern "C"
