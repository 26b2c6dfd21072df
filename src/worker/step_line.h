// How the leading worker of a replica and the others go through steps together: plans go out,
// results come back, each over a collective group of all workers, of which rank 0 leads.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "collective/group.h"
#include "engine/executor.h"

namespace altlas::worker {

// A plan or an answer has at most this many bytes as a message.
inline constexpr uint64_t kStepMessageMax = uint64_t{1} << 30;

// One thing that is said over a group: how long it is, then the words themselves.
struct StepMessage {
  enum class Kind : uint32_t {
    kPlan = 1,     // To a follower: a proto::StepPlan to launch.
    kDropAdapter,  // To a follower: the adapter's number, in four bytes.
    kEnd,          // To a follower: no further message comes.
    kResult,       // To the leader: a proto::StepResult of the oldest step.
    kFailed,       // To the leader: why the oldest step failed; nothing follows.
  };
  Kind kind = Kind::kEnd;
  std::string bytes;
};
// Errors: as collective::Group::send and receive; kInvalid for what is no such message.
Result<void> send_message(collective::Group& group, int to, const StepMessage& message);
Result<StepMessage> receive_message(collective::Group& group, int from);

// The two groups of all workers of a replica, by the workers' indices. A follower waits for plans
// as long as there is nothing to do, so that `plans` has no timeout to speak of.
struct StepLine {
  std::shared_ptr<collective::Group> plans;
  std::shared_ptr<collective::Group> results;
};

// The leader's executor of all ranks. Its result is the worker's that has the rank that gives
// results, with the busy times of all ranks. Threads: as Executor.
class LeadingExecutor final : public engine::Executor {
 public:
  // own: carries out the plans on the leader's ranks; its limits are those of all ranks.
  // workers: the worker of each rank; answering: the rank that gives results.
  LeadingExecutor(std::unique_ptr<engine::Executor> own, StepLine line,
                  std::vector<uint32_t> workers, uint32_t answering);
  ~LeadingExecutor() override;

  const engine::ReplicaLimits& limits() const override { return own_->limits(); }
  void launch(StepPlan plan) override;
  // Errors: kDevice, also where another worker failed or did not answer in time.
  Result<StepResult> collect() override;
  int in_flight() const override { return own_->in_flight(); }
  int depth() const override { return own_->depth(); }
  // Errors: kUnsupported: adapters come with the replica.
  Result<uint64_t> load_adapter(uint32_t id, const std::string& path) override;
  void drop_adapter(uint32_t id) override;

 private:
  void tell(const StepMessage& message);
  Result<StepResult> answer_of(uint32_t worker);
  Result<StepResult> gather();

  const std::unique_ptr<engine::Executor> own_;
  const StepLine line_;
  const std::vector<uint32_t> workers_;
  const uint32_t answering_;
  std::optional<Error> failed_;
};

// Carries out what the leader sends on `own`, and answers, until the leader ends it. Errors: those
// of the groups, and of the step that failed. Threads: blocks; line's groups may be aborted by any.
Result<void> follow(engine::Executor& own, const StepLine& line);

}  // namespace altlas::worker
