// CpuExecutor: real computation on slices of the CPU, one thread (and its team) per rank.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "device/device.h"
#include "device/spec.h"
#include "engine/executor.h"
#include "model/rank.h"
#include "model/stage_link.h"

namespace altlas::engine {

struct CpuRankOptions {
  device::DeviceSpec device;  // Kind kCpu.
  DeviceId device_id;
  model::LoadOptions load;  // `progress` is ignored: see open().
};

// What a replica can hold whose ranks hold so much: of every number that the ranks share, the
// least. There is at least one rank.
ReplicaLimits limits_of(std::span<const model::ReplicaShape> ranks);

// Where the ranks of a replica of several workers are.
struct RankWorkers {
  std::vector<uint32_t> workers;  // The worker of each rank; empty: all ranks are in this one.
  uint32_t own = 0;               // The worker that this process is.
  // How this process reaches the others: by pipeline stage, those parts of model::StageLinkOptions
  // that are groups. Empty for planning.
  std::vector<model::StageLinkOptions> links;
};

// Leading thread calls, but collect(), which may be another's: one thread each. Each rank loads and
// runs on a thread of its own, which owns its device.
class CpuExecutor final : public Executor {
 public:
  using Progress = std::function<void(std::string_view phase, double fraction)>;
  // One rank for each place in the layout that its options name, stage after stage; the first of
  // the last stage gives the results. depth >= 1.
  // progress: of the leading rank, called from the calling thread.
  // With `workers` the ranks of this process are loaded and carry out steps, in groups with those
  // of the other processes, which load and launch the same; limits() are of all ranks. Results have
  // `sampled` in the process that has the rank that gives them, else nothing but busy times.
  // Errors: as model::load_rank.
  static Result<std::unique_ptr<CpuExecutor>> open(std::vector<CpuRankOptions> ranks,
                                                   uint32_t depth, const Progress& progress,
                                                   const RankWorkers& workers = {});
  ~CpuExecutor() override;
  // What such ranks would hold, from the file's metadata.  Errors: as open(), but for what only a
  // load finds.
  static Result<ReplicaLimits> plan(std::vector<CpuRankOptions> ranks, uint32_t depth,
                                    const RankWorkers& workers = {});

  // Whether this process has the rank whose results count.
  bool answers() const { return answers_ < ranks_.size(); }
  // What each rank's device has booked, by rank of this process. Any thread.
  std::vector<device::MemoryUse> memory_use() const;
  const ReplicaLimits& limits() const override { return limits_; }
  void launch(StepPlan plan) override;
  Result<StepResult> collect() override;
  int in_flight() const override { return in_flight_; }
  int depth() const override { return depth_; }
  Result<uint64_t> load_adapter(uint32_t id, const std::string& path) override;
  void drop_adapter(uint32_t id) override;

 private:
  class RankThread;
  CpuExecutor(std::vector<std::unique_ptr<RankThread>> ranks, size_t answers, ReplicaLimits limits,
              uint32_t depth);

  std::vector<std::unique_ptr<RankThread>> ranks_;
  const size_t answers_;  // The index of the rank whose results count; past the end: none here.
  const ReplicaLimits limits_;
  const int depth_;
  std::atomic<int> in_flight_ = 0;
};

}  // namespace altlas::engine
