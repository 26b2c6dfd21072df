// SimExecutor: ranks that compute nothing: deterministic tokens, and time and memory as the
// modelled device would take.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "base/clock.h"
#include "engine/executor.h"
#include "engine/sim_model.h"
#include "text/tokenizer/tokenizer.h"

namespace altlas::engine {

enum class SimTime : uint8_t {
  kVirtual,  // collect() returns at once; busy_us tells what the step costs. For the simulator.
  kReal,     // collect() waits until the step would be done.
};

// A token is a function of (prompt, the adapter's path, position, seed): resumed anywhere, it goes
// on alike. It never ends a generation, unless a grammar allows its end.
class SimExecutor final : public Executor {
 public:
  // tokenizer: only read here; null: any id of the vocabulary. With one, ids that are whole
  // printable text. clock: outlives it. Errors: as sim_limits.
  static Result<std::unique_ptr<SimExecutor>> create(const SimOptions& options,
                                                     const text::Tokenizer* tokenizer, SimTime time,
                                                     const Clock& clock);

  const ReplicaLimits& limits() const override { return limits_; }
  void launch(StepPlan plan) override;
  Result<StepResult> collect() override;
  int in_flight() const override { return static_cast<int>(flying_.size()); }
  // An adapter takes no memory; its file is not opened.
  Result<uint64_t> load_adapter(uint32_t id, const std::string& path) override;
  // A later step of a slot that was started with it aborts.
  void drop_adapter(uint32_t id) override;
  // When the oldest step in flight is done; the devices carry out one after the other.
  TimeUs oldest_due() const { return flying_.front().due; }
  int depth() const override { return static_cast<int>(options_.depth); }

  // What a plan costs; changes nothing.
  int64_t step_cost_us(const StepPlan& plan) const { return sim_step_us(options_, plan); }

 private:
  struct Slot {
    std::shared_ptr<const SequenceRequest> request;
    uint64_t prompt_hash = 0;  // Of the prompt and the adapter.
  };
  struct Flying {
    StepResult result;
    TimeUs due = 0;
  };
  SimExecutor(const SimOptions& options, ReplicaLimits limits, const text::Tokenizer* tokenizer,
              SimTime time, const Clock& clock);
  StepResult run(const StepPlan& plan);
  uint64_t prompt_hash(const SequenceRequest& request);
  uint64_t adapter_hash(uint32_t id);
  std::vector<float> embedding(const Slot& slot) const;
  SampledToken sample(const StepEntry& entry) const;
  TokenLogprobs logprobs(const Slot& slot, uint32_t position, int32_t token) const;
  int32_t token_at(const Slot& slot, uint32_t position, uint32_t draw) const;
  int32_t allowed_token(const Slot& slot, uint32_t position,
                        const std::vector<uint64_t>& allowed) const;
  bool guesses_right(const Slot& slot, int32_t guess, uint32_t position) const;

  const SimOptions options_;
  const ReplicaLimits limits_;
  const SimTime time_;
  const Clock& clock_;
  std::vector<int32_t> ids_;  // To draw from; empty: [0, vocab).
  std::vector<Slot> slots_;
  std::mutex adapters_mutex_;
  std::map<uint32_t, uint64_t> adapters_;  // Id to the hash of its path.
  std::deque<Flying> flying_;
  TimeUs last_due_ = 0;
};

}  // namespace altlas::engine
