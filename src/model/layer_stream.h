// LayerStream: layers whose weights lie in a mapped file and are in memory only around their turn.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "base/range.h"
#include "model/decoder_weights.h"
#include "model/shard_plan.h"
#include "replica/settings.h"

namespace altlas::model {

// Which layers of a rank are streamed, and what that saves.
struct StreamPlan {
  uint32_t first_layer = 0;   // The model's number of the first of `layers`.
  std::vector<Range> layers;  // Their bytes within the rank's weights; empty: none is streamed.
  uint64_t streamed_bytes = 0;
  uint64_t window_bytes = 0;  // The most that is in memory of them at once.

  uint64_t saved_bytes() const { return streamed_bytes - window_bytes; }
};
// The last offload_layers of the rank's layers, all with stream_weights. weights: laid out or
// measured, of the shard.
StreamPlan stream_plan(const DecoderWeights& weights, const ShardPlan& shard,
                       const replica::ReplicaSettings& settings);

// Keeps the layer of the current step, the one before it (slower threads may still read it) and the
// one after it in memory; the others leave, and come back from the file. The last layer is followed
// by the first one, of the next step.
// Threads: enter() from one; a thread of its own reads ahead until the end of the object.
class LayerStream {
 public:
  // data: the rank's weights, mapped from a file, not written any more; outlives the object.
  LayerStream(std::byte* data, StreamPlan plan);
  ~LayerStream();
  LayerStream(const LayerStream&) = delete;
  LayerStream& operator=(const LayerStream&) = delete;

  // A step begins with this layer of the model, streamed or not. Returns at once.
  void enter(uint32_t layer);

 private:
  void run();
  void fetch(size_t index);
  void leave(size_t index);

  std::byte* const data_;
  const StreamPlan plan_;
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t wanted_ = 0;  // The index of the layer that was entered last.
  bool moved_ = true;  // It is new.
  bool ends_ = false;
  std::thread thread_;  // The last member, since it uses the others.
};

}  // namespace altlas::model
