// Executor: carries out planned steps on a replica's ranks, in two phases so that the next step can
// be planned, or even launched, while this one runs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "replica/limits.h"
#include "step/step_plan.h"

namespace altlas::engine {

using replica::ReplicaLimits;

// Threads: all calls but load_adapter() from the replica's leading thread.
class Executor {
 public:
  virtual ~Executor() = default;
  virtual const ReplicaLimits& limits() const = 0;
  // Hands a plan to the ranks and returns at once. At most depth() may be in flight.
  virtual void launch(StepPlan plan) = 0;
  // Waits for the oldest launched step.  Errors: kDevice: the replica must restart.
  virtual Result<StepResult> collect() = 0;
  virtual int in_flight() const = 0;
  virtual int depth() const = 0;  // ≥ 1.
  // Reads a LoRA adapter's file for every rank, beside the steps; SequenceRequest::adapter may name
  // `id` from then on. Gives its bytes on one device. From one other thread. After an error no rank
  // holds it.  Errors: as model::Rank::load_adapter.
  virtual Result<uint64_t> load_adapter(uint32_t id, const std::string& path) = 0;
  // No plan in flight or to come names it. Unknown ids are ignored.
  virtual void drop_adapter(uint32_t id) = 0;
};

}  // namespace altlas::engine
