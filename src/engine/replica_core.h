// ReplicaCore: everything a replica decides. Commands and step results in; step plans and reports
// out.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/hash.h"
#include "engine/adapter_job.h"
#include "engine/executor.h"
#include "engine/grammar_cache.h"
#include "engine/grammar_compiler.h"
#include "engine/messages.h"
#include "engine/sequence_output.h"
#include "engine/thinking.h"
#include "scheduler/batch.h"
#include "text/tokenizer/tokenizer.h"

namespace altlas::engine {

struct CoreOptions {
  std::string model;  // What messages call it: the name of its file.
  bool prefix_caching = true;
  uint64_t cache_salt = 0;  // Model and KV type.
  uint32_t sequences_waiting_max = 65'536;
  uint32_t micro_batches = 1;         // As scheduler::BatchOptions has it.
  uint32_t speculative_tokens = 0;    // Guessed ahead per step and sequence; 0: none.
  std::vector<std::string> adapters;  // Names; the ranks loaded them as 1, 2, …
};

// Pure: no thread, clock or device. One writer: the replica's leading thread, or the simulator.
// Loop: handle() what arrived; hand out jobs; plan(); launch it unless it is empty; commit() the
// oldest result; take_reports().
class ReplicaCore {
 public:
  // tokenizer: outlives the core; null: text is " t<id>" per token.
  ReplicaCore(const ReplicaLimits& limits, const CoreOptions& options,
              const text::Tokenizer* tokenizer);

  // A sequence that can't run is answered by SequenceFailed. LoadReplica is a bug here: it is what
  // made the core.
  void handle(Command command);
  // Empty if there is nothing to compute now.
  StepPlan plan();
  // Results come in the order of the plans.
  void commit(const StepResult& result);
  // What was said since the last call, in order.
  std::vector<Report> take_reports();

  // Adapters: files to be read, each answered by adapter_read(); ids that no plan from here on
  // names, in flight ones apart.
  std::vector<AdapterJob> take_adapter_jobs();
  void adapter_read(uint32_t id, const Result<uint64_t>& bytes);
  std::vector<uint32_t> take_dropped_adapters();
  // Names that sequences may have, and those that sequences still have while they leave.
  std::vector<std::string> adapters() const;
  // A file is being read.
  bool reads_adapter() const;

  // Grammars: the next to be compiled, without its thinking, answered by grammar_compiled(); none
  // while one is being compiled. Its sequences, which wait meanwhile, are not in the batch.
  std::optional<Grammar> take_grammar_job();
  void grammar_compiled(const CompiledGrammar& compiled);
  // What compiles them.
  GrammarCompiler grammar_compiler() const { return {tokenizer_, limits_.vocab_size}; }

  ReplicaStats stats() const;
  // Sequences that are not over.
  size_t sequences() const { return live_.size() + held_.size(); }
  bool drained() const { return draining_ && sequences() == 0; }
  // Pairs with ReplicaLoaded's numbers.
  ReplicaLoaded loaded(std::string simd) const;
  const ReplicaLimits& limits() const { return limits_; }
  const scheduler::BatchScheduler& batch() const { return batch_; }

  uint64_t hash() const;
  void check_integrity() const;

 private:
  struct Live {
    SequenceOutput output;
    bool wants_logprobs = false;
    std::vector<TokenLogprobs> prompt_logprobs;
    std::optional<text::grammar::Matcher> matcher = std::nullopt;  // Where it has a grammar.
    std::optional<Thinking> thinking = std::nullopt;               // Before what the grammar holds.
    bool ignore_eos = false;
    uint32_t min_tokens = 0;
    uint32_t adapter = 0;  // As SequenceRequest has it.
  };
  struct HeldAdapter {
    enum class State : uint8_t { kReading, kReady, kLeaving } state = State::kReady;
    uint32_t id = 0;  // Never used again: it tells cached prefixes apart, too.
    std::string name;
    uint64_t bytes = 0;    // On each rank, beside its weights.
    bool reading = false;  // Whether the file of one that leaves is still being read.
    uint64_t load = 0;     // LoadAdapter's number.
  };
  // The order of service, as BatchScheduler has it.
  struct HeldOrder {
    TimeUs turn = 0;
    uint64_t arrival = 0;
    friend auto operator<=>(const HeldOrder&, const HeldOrder&) = default;
  };
  struct HeldSequence {
    SubmitSequence command;
    uint32_t adapter = 0;  // As SequenceRequest has it.
  };
  using TokenGrammarPtr = std::shared_ptr<text::grammar::TokenGrammar>;
  void submit(SubmitSequence command);
  Result<void> start(SubmitSequence& command);
  Result<void> begin(SubmitSequence& command, uint32_t adapter, TokenGrammarPtr grammar,
                     std::optional<uint64_t> arrival);
  Result<void> wait_for_grammar(SubmitSequence command, uint32_t adapter);
  HeldSequence take_held(const HeldOrder& order);
  void cancel_held(SequenceId id);
  Result<void> check_kind(const SubmitSequence& command) const;
  Result<void> check_tokens(const SubmitSequence& command) const;
  Result<void> check_tokens(std::span<const int32_t> tokens) const;
  Result<void> check_payloads(const SubmitSequence& command) const;
  void cancel(SequenceId id);
  void take_tokens(std::map<SequenceId, Live>::iterator live, scheduler::SampledSequence& sampled);
  Result<uint32_t> adapter_id(const std::string& name) const;
  HeldAdapter* find_adapter(const std::string& name);
  void load_adapter(LoadAdapter command);
  void unload_adapter(const std::string& name);
  void say_adapter(std::string name, uint64_t load, const Result<uint64_t>& bytes);
  void hold_to_grammar(const SubmitSequence& command, TokenGrammarPtr grammar, Live& live);
  Error not_finite(const Live& live) const;
  Result<void> take_token(Live& live, int32_t token);
  Result<void> allow_next(SequenceId id, Live& live);
  void finish(SequenceId id, Live& live);
  std::optional<uint32_t> tightest_group() const;
  void say_drained();

  const ReplicaLimits limits_;
  const CoreOptions options_;
  const text::Tokenizer* const tokenizer_;
  scheduler::BatchScheduler batch_;
  GrammarCache grammars_;
  std::optional<GrammarKey> compiling_;
  // Sequences whose grammar is not compiled yet; then the ways to find them.
  std::map<HeldOrder, HeldSequence> held_;
  std::map<SequenceId, HeldOrder> held_orders_;
  std::map<GrammarKey, std::set<HeldOrder>> wanted_grammars_;
  std::map<SequenceId, Live> live_;
  std::vector<HeldAdapter> adapters_;
  uint32_t next_adapter_ = 1;
  std::vector<AdapterJob> adapter_jobs_;
  std::vector<uint32_t> dropped_adapters_;
  std::vector<Report> reports_;
  std::vector<int64_t> busy_us_;  // By rank.
  uint64_t not_finite_ = 0;       // Sequences that failed, as their output was not finite.
  bool draining_ = false;
  bool said_drained_ = false;
};

}  // namespace altlas::engine
