#include "model/layer_stream.h"

#include <sys/mman.h>

#include <algorithm>
#include <utility>

#include "base/integers.h"

namespace altlas::model {
namespace {

constexpr size_t kAtOnce = 3;  // The layer before, this one, the next one.
constexpr uint64_t kPage = 4096;

}  // namespace

StreamPlan stream_plan(const DecoderWeights& weights, const ShardPlan& shard,
                       const replica::ReplicaSettings& settings) {
  StreamPlan out;
  const uint32_t own = shard.layers.size();
  const uint32_t count = settings.stream_weights ? own : std::min(own, settings.offload_layers);
  if (count == 0) return out;
  out.first_layer = shard.layers.end - count;
  for (uint32_t l = out.first_layer; l < shard.layers.end; ++l) {
    out.layers.push_back(weights.layers[l].bytes);
    out.streamed_bytes += out.layers.back().size();
  }
  for (size_t i = 0; i < count; ++i) {
    uint64_t window = 0;
    for (size_t k = 0; k < std::min<size_t>(kAtOnce, count); ++k)
      window += out.layers[(i + k) % count].size();
    out.window_bytes = std::max(out.window_bytes, window);
  }
  return out;
}

LayerStream::LayerStream(std::byte* data, StreamPlan plan)
    : data_(data), plan_(std::move(plan)), thread_([this] { run(); }) {}

LayerStream::~LayerStream() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void LayerStream::enter(uint32_t layer) {
  // Before the first streamed layer the step has time to fetch it.
  const size_t index =
      layer < plan_.first_layer ? plan_.layers.size() - 1 : layer - plan_.first_layer;
  {
    const std::lock_guard lock(mutex_);
    if (wanted_ == index) return;
    wanted_ = index;
    moved_ = true;
  }
  changed_.notify_one();
}

void LayerStream::run() {
  const size_t count = plan_.layers.size();
  for (size_t i = 0; i < count; ++i) leave(i);  // Packing or checking has touched them all.
  while (true) {
    size_t now = 0;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return moved_ || ends_; });
      if (ends_) return;
      moved_ = false;
      now = wanted_;
    }
    // Steps also touch layers that were passed over while this thread was behind: all others leave.
    const size_t before = (now + count - 1) % count, next = (now + 1) % count;
    for (size_t i = 0; i < count; ++i)
      if (i != before && i != now && i != next) leave(i);
    fetch(now);
    fetch(next);
  }
}

// Pages that a layer shares with its neighbours come along.
void LayerStream::fetch(size_t index) {
  const Range& bytes = plan_.layers[index];
  const uint64_t begin = bytes.begin / kPage * kPage;
  const uint64_t end = round_up(bytes.end, kPage);
#ifdef MADV_POPULATE_READ
  if (::madvise(data_ + begin, end - begin, MADV_POPULATE_READ) == 0) return;
#endif
  // Older kernels: reading a byte of each page has the same effect.
  for (uint64_t at = begin; at < end; at += kPage)
    static_cast<void>(*const_cast<const volatile std::byte*>(data_ + at));
}

void LayerStream::leave(size_t index) {
  const Range& bytes = plan_.layers[index];
  const uint64_t begin = round_up(bytes.begin, kPage);
  const uint64_t end = bytes.end / kPage * kPage;
  if (begin < end) ::madvise(data_ + begin, end - begin, MADV_DONTNEED);
}

}  // namespace altlas::model
