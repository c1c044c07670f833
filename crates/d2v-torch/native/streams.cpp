// Streams and events of CUDA through libtorch's device-independent interface, which needs neither CUDA's headers nor its
// libraries when this is compiled: what is called is what libtorch_cuda registered when it was loaded.

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/Stream.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <cstdint>

#include "guarded.h"

namespace {

c10::Device cuda(int index) { return c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(index)); }

c10::Stream stream(int device, int64_t id) { return c10::Stream(c10::Stream::UNSAFE, cuda(device), id); }

// Throws where CUDA is not loaded.
const c10::impl::DeviceGuardImplInterface& guard() { return *c10::impl::getDeviceGuardImpl(c10::kCUDA); }

c10::Event& event(void* pointer) { return *static_cast<c10::Event*>(pointer); }

}  // namespace

extern "C" {

char* d2v_stream_from_pool(int device, int64_t* id) {
  return guarded([&] { *id = guard().getStreamFromGlobalPool(cuda(device)).id(); });
}

char* d2v_stream_current(int device, int64_t* id) {
  return guarded([&] { *id = guard().getStream(cuda(device)).id(); });
}

// Makes a stream the current one of its device in this thread.
char* d2v_stream_exchange(int device, int64_t id, int64_t* previous) {
  return guarded([&] { *previous = guard().exchangeStream(stream(device, id)).id(); });
}

char* d2v_stream_synchronize(int device, int64_t id) {
  return guarded([&] { guard().synchronizeStream(stream(device, id)); });
}

// Memory of `tensor` is not reused before what the stream has been given up to its release is done.
char* d2v_record_stream(void* tensor, int device, int64_t id) {
  return guarded([&] { static_cast<at::Tensor*>(tensor)->record_stream(stream(device, id)); });
}

char* d2v_event_new(bool timed, void** out) {
  return guarded([&] {
    *out = new c10::Event(c10::kCUDA, timed ? c10::EventFlag::BACKEND_DEFAULT : c10::EventFlag::PYTORCH_DEFAULT);
  });
}

void d2v_event_free(void* pointer) { delete static_cast<c10::Event*>(pointer); }

char* d2v_event_record(void* pointer, int device, int64_t id) {
  return guarded([&] { event(pointer).record(stream(device, id)); });
}

// Work given to the stream from now on waits for the event.
char* d2v_event_block(void* pointer, int device, int64_t id) {
  return guarded([&] { event(pointer).block(stream(device, id)); });
}

char* d2v_event_done(void* pointer, bool* done) {
  return guarded([&] { *done = event(pointer).query(); });
}

char* d2v_event_synchronize(void* pointer) {
  return guarded([&] { event(pointer).synchronize(); });
}

char* d2v_event_elapsed_ms(void* first, void* second, double* ms) {
  return guarded([&] { *ms = event(first).elapsedTime(event(second)); });
}

char* d2v_inference_enter(void** guard) {
  return guarded([&] { *guard = new c10::InferenceMode(true); });
}

void d2v_inference_leave(void* guard) { delete static_cast<c10::InferenceMode*>(guard); }

}  // extern "C"
