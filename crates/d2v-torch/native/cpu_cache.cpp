// A caching allocator for large CPU tensors.
//
// A training step asks for the same sizes over and over. Given back to the kernel each time, every block costs a page
// fault per 4 KiB (a fifth of a Base step); kept in the C library's heap, blocks of different life times end up in
// between each other and the heap grows to half as much again as what is in use. Here every large block is a mapping
// of its own, kept when freed and handed out again for a request of nearly its size.

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>
#include <c10/util/Exception.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <unordered_map>

#if defined(__unix__)
#include <sys/mman.h>

namespace {

// Below this the C library's heap is good enough.
constexpr size_t kLarge = 256 << 10;
// Mappings are multiples of this, so that nearly equal sizes are equal.
constexpr size_t kGranule = 64 << 10;
// Blocks would all start at the same place of a page, and kernels that read some and write others wait for stores to
// what looks like the same address (4 KiB aliasing); so each starts at one of several places.
constexpr size_t kPlaces = 16, kPlace = 256;

struct Block {
  char* base;
  size_t size;      // of the mapping
  uint64_t freed;   // when it was freed, in frees
};

class Cache final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    if (bytes < kLarge) {
      void* small = c10::alloc_cpu(bytes);
      return {small, small, &c10::free_cpu, at::kCPU};
    }
    void* data = take(bytes);
    return {data, data, &Cache::give_back, at::kCPU};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &Cache::free_any; }

  void copy_data(void* destination, const void* source, size_t count) const override {
    std::memcpy(destination, source, count);
  }

  void* take(size_t bytes) {
    const size_t size = (bytes + kPlaces * kPlace + kGranule - 1) / kGranule * kGranule;
    std::lock_guard<std::mutex> guard(mutex_);
    Block block{};
    // The smallest kept block that is large enough, unless more than an eighth of it would lie idle.
    auto kept = kept_.lower_bound(size);
    if (kept != kept_.end() && kept->first <= size + size / 8) {
      block = kept->second;
      kept_.erase(kept);
      kept_bytes_ -= block.size;
    } else {
      // What is kept is bounded by a share of the most that was ever in use: sizes that do not come again make room.
      const size_t limit = peak_ + peak_ / 4;
      while (!kept_.empty() && live_ + kept_bytes_ + size > limit) drop_oldest();
      block = map(size);
    }
    live_ += block.size;
    if (live_ > peak_) peak_ = live_;
    char* data = block.base + kPlace * (next_place_++ % kPlaces);
    taken_.emplace(data, block);
    return data;
  }

  bool put(void* data) {
    std::lock_guard<std::mutex> guard(mutex_);
    auto taken = taken_.find(data);
    if (taken == taken_.end()) return false;
    Block block = taken->second;
    taken_.erase(taken);
    live_ -= block.size;
    block.freed = ++frees_;
    kept_bytes_ += block.size;
    kept_.emplace(block.size, block);
    return true;
  }

  void drop_all() {
    std::lock_guard<std::mutex> guard(mutex_);
    while (!kept_.empty()) drop_oldest();
    peak_ = live_;
  }

  void figures(int64_t* live, int64_t* kept, int64_t* peak) {
    std::lock_guard<std::mutex> guard(mutex_);
    *live = static_cast<int64_t>(live_);
    *kept = static_cast<int64_t>(kept_bytes_);
    *peak = static_cast<int64_t>(peak_);
  }

  // Never destroyed: tensors with static lifetime are freed after everything else.
  static Cache& instance() {
    static Cache* cache = new Cache();
    return *cache;
  }

 private:
  static void give_back(void* data) { instance().put(data); }

  static void free_any(void* data) {
    if (data != nullptr && !instance().put(data)) c10::free_cpu(data);
  }

  static Block map(size_t size) {
    void* base = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    TORCH_CHECK(base != MAP_FAILED, "cannot get ", size, " bytes of memory: ", std::strerror(errno));
    return Block{static_cast<char*>(base), size, 0};
  }

  void drop_oldest() {
    auto oldest = kept_.begin();
    for (auto it = kept_.begin(); it != kept_.end(); ++it) {
      if (it->second.freed < oldest->second.freed) oldest = it;
    }
    kept_bytes_ -= oldest->second.size;
    munmap(oldest->second.base, oldest->second.size);
    kept_.erase(oldest);
  }

  std::mutex mutex_;
  std::multimap<size_t, Block> kept_;
  std::unordered_map<void*, Block> taken_;
  size_t live_ = 0, kept_bytes_ = 0, peak_ = 0;
  uint64_t frees_ = 0, next_place_ = 0;
};

}  // namespace

extern "C" {

bool d2v_cache_cpu_memory() {
  c10::SetCPUAllocator(&Cache::instance(), /*priority=*/1);
  return true;
}

void d2v_cpu_memory(int64_t* live, int64_t* kept, int64_t* peak) { Cache::instance().figures(live, kept, peak); }

void d2v_release_cpu_memory() { Cache::instance().drop_all(); }

}  // extern "C"

#else

extern "C" {

bool d2v_cache_cpu_memory() { return false; }

void d2v_cpu_memory(int64_t* live, int64_t* kept, int64_t* peak) { *live = *kept = *peak = 0; }

void d2v_release_cpu_memory() {}

}  // extern "C"

#endif
