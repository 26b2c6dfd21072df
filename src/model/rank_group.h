// RankGroup: the tensor-parallel ranks of one pipeline stage that compute in one process. They
// share the workspace of a step: every rank's threads write their part of each buffer, which
// gathers it without a copy, and all threads meet at one barrier. Where the stage has ranks in
// other processes too, each process has a workspace of its own, and a StageLink brings what the
// others wrote; rows between products are then computed in every process.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "base/result.h"
#include "device/cpu/team.h"
#include "device/device.h"
#include "model/arena.h"
#include "model/forward.h"
#include "model/shard_plan.h"
#include "model/stage_link.h"
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

  // team_sizes: the number of threads of each rank. next: the ranks of the stage behind this one;
  // null: no such rank is in this process. depth: steps on their way between the two at most.
  // link: to the stage's ranks, and to stages, in other processes; null: there are none.
  explicit RankGroup(std::span<const uint32_t> team_sizes,
                     std::shared_ptr<RankGroup> next = nullptr, uint32_t depth = 1,
                     std::shared_ptr<StageLink> link = nullptr);
  RankGroup(const RankGroup&) = delete;
  RankGroup& operator=(const RankGroup&) = delete;
  ~RankGroup();

  uint32_t size() const { return static_cast<uint32_t>(shards_.size()); }
  // The first of the stage's tensor-parallel ranks that is in this process; `rank` below counts
  // from it.
  uint32_t first_rank() const { return link_ ? link_->first_rank() : 0; }
  // To other processes; null: all ranks of the replica are in this one.
  StageLink* link() const { return link_.get(); }
  // Whether the stage has ranks in other processes.
  bool splits() const { return link_ && link_->splits(); }
  // The number of threads of all ranks.
  uint32_t threads() const { return first_thread_.back(); }
  // The index of the rank's first thread among all.
  uint32_t first_thread(uint32_t rank) const { return first_thread_[rank]; }

  // Threads: all of all ranks.
  void barrier() { barrier_.meet(); }
  // All threads meet; the one whose index among all is 0 calls carry(StageLink&) meanwhile, where
  // the stage has ranks in other processes. Threads: all of all ranks.
  template <class Carry>
  void meet_all(uint32_t thread, Carry&& carry) {
    barrier();
    if (!splits()) return;
    if (thread == 0) carry(*link_);
    barrier();
  }
  // True if every rank says so, those of other processes too, and has in every call before.
  // Threads: the leader of each rank's team.
  bool all(uint32_t rank, bool ready);

  // This rank's part of a workspace that all share, booked on its device: equal parts of whole
  // pages, `bytes` each, one behind the other. Threads: each rank's leader, once, while loading.
  // Errors: kBusy where the device has no room, kDevice where the system has none.
  Result<device::Buffer> share_workspace(uint32_t rank, uint64_t bytes, device::Device& device);
  // All parts together, once this rank's was taken.
  std::byte* workspace() const { return workspace_; }

  // The stage behind this one; null: this process has no rank of one.
  RankGroup* next() const { return next_.get(); }
  // Steps that a stage before this one may be ahead.
  uint32_t depth() const { return depth_; }
  // Where the stage before this one leaves hidden states, rows of every step on its way.
  // Threads: each rank's leader while loading; read once all ranks are loaded.
  void open_inbox(Rows<float> rows) { inbox_ = rows; }
  const Rows<float>& inbox() const { return inbox_; }
  // The hidden states of one more step are in the inbox. Threads: one of the stage before.
  void deliver() { delivered_.advance(); }
  // Returns once `count` steps have been delivered, counted modulo 2^32. Threads: this stage's
  // leaders.
  void wait_delivered(uint32_t count) {
    for (uint32_t seen = delivered_.value(); static_cast<int32_t>(seen - count) < 0;
         seen = delivered_.value())
      delivered_.wait_while(seen);
  }

  // Threads: each rank's leader while loading; the rest once all ranks are loaded.
  void publish(uint32_t rank, const Shard& shard) { shards_[rank] = shard; }
  // What the rank shows that has the token id, one of the vocabulary; null: it is in another
  // process.
  const Shard* shard_of(uint32_t id) const {
    const auto found =
        std::ranges::find_if(shards_, [id](const Shard& one) { return one.vocab.holds(id); });
    return found == shards_.end() ? nullptr : &*found;
  }
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
  const std::shared_ptr<RankGroup> next_;
  const uint32_t depth_;
  const std::shared_ptr<StageLink> link_;
  Rows<float> inbox_;
  device::Gate delivered_;
  device::Barrier barrier_;
  device::Barrier leaders_;
  std::atomic<uint32_t> refused_{0};
  bool all_processes_ = true;  // Written by rank 0 between two meetings of the leaders.
  std::mutex mutex_;           // Guards what loading ranks make.
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
