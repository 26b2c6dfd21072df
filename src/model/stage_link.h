// StageLink: ties the ranks of one pipeline stage that compute in this process to those that
// compute in others. What ranks of one process gather by a barrier, it carries between processes.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "collective/group.h"
#include "model/shard_plan.h"

namespace altlas::model {

// Where the ranks of a stage are, and how this process reaches the others.
struct StageLinkOptions {
  // The worker of each tensor-parallel rank of the stage; those of one worker lie together.
  std::vector<uint32_t> workers;
  uint32_t worker = 0;  // The worker that this process is.
  // One rank for each worker of the stage, in their order. Null where no other worker has ranks of
  // the stage, and for planning.
  std::shared_ptr<collective::Group> ranks;
  // From the stage before: its first worker is rank 0, this process another one. Null where this
  // process has ranks of the stage before, and for planning.
  std::shared_ptr<collective::Group> before;
  // To the stage behind: this process is rank 0, the others have no rank of this stage. Null where
  // there are none, where this is not the stage's first worker, and for planning.
  std::shared_ptr<collective::Group> behind;
};

// A group of the workers of a replica: those that share a stage, or those that hidden states go
// to from the stage before and, first, the one that they come from.
struct WorkerGroup {
  uint32_t stage = 0;
  bool enters = false;            // Hidden states enter the stage over it.
  std::vector<uint32_t> workers;  // By the group's rank; at least two.
};
// All groups of a replica whose rank r is in worker workers[r], each stage with tp_size ranks. All
// workers get the same list, and join what they are in in its order.  Errors: kInvalid where the
// ranks that a stage has in one worker do not lie together.
Result<std::vector<WorkerGroup>> worker_groups(std::span<const uint32_t> workers, uint32_t tp_size);

// join(group, this worker's rank in it): how a worker becomes a member.
using JoinGroup =
    std::function<Result<std::shared_ptr<collective::Group>>(const WorkerGroup&, int rank)>;
// Joins what `own` is in; the groups of each stage.  Errors: as worker_groups and join.
Result<std::vector<StageLinkOptions>> join_stages(std::span<const uint32_t> workers,
                                                  uint32_t tp_size, uint32_t own,
                                                  const JoinGroup& join);

// The part of a matrix that one rank has written.
struct Rectangle {
  size_t row_begin = 0, row_end = 0;    // Rows.
  size_t byte_begin = 0, byte_end = 0;  // Within each row.

  size_t width() const { return byte_end - byte_begin; }
};

// What fails once has failed for good: later calls return at once, and what they should have
// gathered is left as it is. So no thread stays behind at a barrier; failure() says what happened.
// Threads: each call from the first thread of the group's first rank, but failure() and
// failed() from any.
class StageLink {
 public:
  // Bytes of one process's block that a gather moves at once.
  static constexpr size_t kBlockBytes = size_t{1} << 20;

  explicit StageLink(StageLinkOptions options);
  StageLink(const StageLink&) = delete;
  StageLink& operator=(const StageLink&) = delete;

  // The number of workers that share the stage.
  uint32_t processes() const { return static_cast<uint32_t>(first_ranks_.size() - 1); }
  // Whether the ranks of the stage are in more than one process.
  bool splits() const { return processes() > 1; }
  // The index of this process among them.
  uint32_t index() const { return own_; }
  // The first tensor-parallel rank that this process has, and how many.
  uint32_t first_rank() const { return first_ranks_[own_]; }
  uint32_t rank_count() const { return first_ranks_[own_ + 1] - first_ranks_[own_]; }
  bool receives() const { return options_.before != nullptr; }
  bool sends() const { return options_.behind != nullptr; }

  // What each rank of the stage has. While loading, before the first step.
  void set_plans(std::vector<ShardPlan> plans) { plans_ = std::move(plans); }
  const std::vector<ShardPlan>& plans() const { return plans_; }
  // Memory of staging_bytes(): outlives the steps.
  void set_staging(std::byte* memory) { staging_ = memory; }
  uint64_t staging_bytes() const { return splits() ? processes() * kBlockBytes : 0; }

  // data: rows of `stride` bytes. parts: of each rank of the stage; on return all are there.
  void gather(std::byte* data, size_t stride, std::span<const Rectangle> parts);
  // One block of every process, in their order; this one's is there already.
  void gather_blocks(std::span<std::byte> all);
  // Merges values of which one process has each, where the others have zeros.
  void merge(std::span<std::byte> values);
  // True if every process says so.
  bool all(bool ready);
  // Hidden states, from the stage before and to the stage behind.
  void receive(std::span<std::byte> rows);
  void send(std::span<const std::byte> rows);

  bool failed() const { return failed_.load(std::memory_order_acquire); }
  // Ok until a call failed. Errors: as collective::Group's, with the workers.
  Result<void> failure() const;
  // Ends the groups on every process; who waits wakes. Any thread.
  void abort(const std::string& why);

 private:
  void check(const Result<void>& result, const char* between);
  // Copies a piece of a process's rectangles between the matrix and its packed block.
  void copy_block(std::byte* data, size_t stride, std::span<const Rectangle> parts,
                  uint32_t process, size_t at, std::span<std::byte> block, bool pack) const;

  const StageLinkOptions options_;
  std::vector<uint32_t> first_ranks_;  // [processes + 1]
  std::vector<uint32_t> names_;        // The worker of each process.
  uint32_t own_ = 0;
  std::vector<ShardPlan> plans_;
  std::byte* staging_ = nullptr;
  std::atomic<bool> failed_{false};
  mutable std::mutex mutex_;  // Guards failure_.
  std::optional<Error> failure_;
};

}  // namespace altlas::model
