// A model loaded into this process, for commands that need no server.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/channel.h"
#include "base/result.h"
#include "cli/setup.h"
#include "engine/replica.h"

namespace altlas::cli {

// True from the first Ctrl-C after watch_interrupts() or clear_interrupt(); a second one ends the
// process.
void watch_interrupts();
bool interrupted();
void clear_interrupt();

// What one sequence came to.
struct LocalAnswer {
  TaskResult result;
  std::vector<int32_t> ids;  // Generated.
  uint32_t prompt_tokens = 0;
  int64_t prefill_us = 0;  // Until the first token.
  int64_t decode_us = 0;   // From the first to the last.
  bool canceled = false;   // By Ctrl-C; the result holds what was said until then.
};
// "prompt 12 tokens in 0.03 s (400.0 tokens/s), answer 64 tokens in 0.60 s (105.0 tokens/s),
// length, seed 7".
std::string speed_line(const LocalAnswer& answer, uint64_t seed);

// Threads: one at a time.
class LocalEngine {
 public:
  // Reads the configuration, checks devices and layout, fetches the model where it must, reads its
  // tokenizer. Errors: those of setup.h and make_load.
  static Result<std::unique_ptr<LocalEngine>> open(const SettingFlags& flags);
  // Loads the weights; on a terminal with a progress bar.  Errors: those of engine::load_replica.
  Result<void> load();
  ~LocalEngine();

  const text::Tokenizer& tokenizer() const { return *text_.tokenizer; }
  const text::ChatTemplate* chat_template() const { return text_.chat_template.get(); }
  const std::string& chat_template_error() const { return text_.chat_template_error; }
  const std::string& model_name() const { return model_name_; }
  uint32_t model_len_max() const { return loaded_.model_len_max; }  // Once loaded.

  // Once loaded. Runs one sequence to its end; text goes to `say` as it becomes certain.
  // Errors: kInvalid with the numbers for one that is too long, what the engine says, kIo when
  // `say` returned false.
  using Say = std::function<bool(std::string_view text)>;
  Result<LocalAnswer> run(engine::SubmitSequence sequence, const Say& say);

 private:
  LocalEngine() : reports_(kReportsMax) {}
  static constexpr size_t kReportsMax = size_t{1} << 20;  // One sequence says less.

  ParsedModelText text_;
  std::string model_name_;
  engine::LoadReplica load_;
  engine::ReplicaLoaded loaded_;
  uint64_t next_sequence_ = 1;
  Channel<engine::Report> reports_;  // From the replica's thread.
  std::unique_ptr<engine::Replica> replica_;
};

// What to load, but for the model's path: the first tensor * pipeline devices, one rank each.
// Errors: kInvalid with both numbers where there are fewer.
Result<engine::LoadReplica> make_load(const config::EngineConfig& config,
                                      const std::vector<control::DeviceSetup>& devices);

// Flags of sampling, shared by generate and chat.
struct SamplingFlags {
  double temperature = 0.7, top_p = 1, min_p = 0, repetition_penalty = 1;
  int64_t top_k = 0, max_tokens = 128;
  int64_t seed = -1;  // Below 0: drawn.
  std::vector<std::string> stop;
  bool ignore_eos = false;
};
void add_sampling_flags(CLI::App& app, SamplingFlags& out);
// The seed is drawn here where the flags give none.
SamplingParams to_sampling(const SamplingFlags& flags);

}  // namespace altlas::cli
