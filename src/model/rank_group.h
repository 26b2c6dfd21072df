// RankGroup: the tensor-parallel ranks of one stage that compute in one process. They share the
// workspace of a step: every rank's threads write their part of each buffer, which gathers it
// without a copy, and all threads meet at one barrier.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "base/result.h"
#include "device/cpu/team.h"
#include "device/device.h"
#include "model/arena.h"
#include "model/forward.h"
#include "model/shard_plan.h"
#include "ops/sample/row_sampler.h"

namespace altlas::model {

struct DecoderWeights;

// Threads: those of all ranks; what each call asks for is said with it. Ranks hold it together.
class RankGroup {
 public:
  // What a rank shows the others; it outlives every step of the group.
  struct Shard {
    const DecoderWeights* weights = nullptr;
    ShardRange vocab;
  };
  // What all ranks use in a step, made by the first that asks.
  struct Shared {
    std::vector<ops::RowSampler> samplers;  // Begun by rank 0.
    std::vector<HeadAnswer> answers;        // As many; written by whichever thread finishes a row.
  };

  // team_sizes: the number of threads of each rank.
  explicit RankGroup(std::span<const uint32_t> team_sizes);
  RankGroup(const RankGroup&) = delete;
  RankGroup& operator=(const RankGroup&) = delete;
  ~RankGroup();

  uint32_t size() const { return static_cast<uint32_t>(shards_.size()); }
  // The number of threads of all ranks.
  uint32_t threads() const { return first_thread_.back(); }
  // The index of the rank's first thread among all.
  uint32_t first_thread(uint32_t rank) const { return first_thread_[rank]; }

  // Threads: all of all ranks.
  void barrier() { barrier_.meet(); }
  // True if every rank says so, and has in every call before. Threads: the leader of each rank's
  // team.
  bool all(bool ready);

  // This rank's part of a workspace that all share, booked on its device: equal parts of whole
  // pages, `bytes` each, one behind the other. Threads: each rank's leader, once, while loading.
  // Errors: kBusy where the device has no room, kDevice where the system has none.
  Result<device::Buffer> share_workspace(uint32_t rank, uint64_t bytes, device::Device& device);
  // All parts together, once this rank's was taken.
  std::byte* workspace() const { return workspace_; }

  // Threads: each rank's leader while loading; the rest once all ranks are loaded.
  void publish(uint32_t rank, const Shard& shard) { shards_[rank] = shard; }
  std::span<const Shard> shards() const { return shards_; }
  // Calls make(Shared&) for the first rank that asks. Threads: each rank's leader while loading.
  template <class Make>
  Shared& shared(Make&& make) {
    const std::scoped_lock lock(mutex_);
    if (!made_) make(shared_);
    made_ = true;
    return shared_;
  }

 private:
  std::vector<uint32_t> first_thread_;  // [ranks + 1]
  std::vector<Shard> shards_;
  std::vector<uint8_t> taken_;  // By rank: 1 where its part of the workspace is its buffer.
  device::Barrier barrier_;
  device::Barrier leaders_;
  std::atomic<uint32_t> refused_{0};
  std::mutex mutex_;  // Guards what loading ranks make.
  bool made_ = false;
  Shared shared_;
  std::byte* workspace_ = nullptr;
  uint64_t part_bytes_ = 0;
};

// The threads of one rank within its group.
struct RankTeam {
  device::Team* team = nullptr;  // Null while measuring.
  RankGroup* group = nullptr;
  uint32_t rank = 0;

  // Calls fn(thread, group thread) on every thread of the rank's team, once all ranks of the group
  // have come to this call; returns when all ranks are done.
  template <class Fn>
  void run(Fn&& fn) const {
    team->run([&](uint32_t thread) {
      if (group->size() > 1) group->barrier();
      fn(thread, group->first_thread(rank) + thread);
      if (group->size() > 1) group->barrier();
    });
  }
};

}  // namespace altlas::model
