#include "cli/local_engine.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <climits>

#include "base/log.h"
#include "base/random.h"
#include "cli/command.h"
#include "cli/model_checks.h"
#include "cli/terminal.h"
#include "control/setup.h"

namespace altlas::cli {
namespace {

std::atomic<bool> interrupt_seen{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler sets it");

void on_interrupt(int) {
  if (interrupt_seen.exchange(true)) _exit(kExitFailed);
}

double per_second(uint32_t count, int64_t us) {
  return us <= 0 ? 0 : static_cast<double>(count) * 1e6 / static_cast<double>(us);
}
double seconds(int64_t us) { return static_cast<double>(us) / 1e6; }

// Returns the report as a T, or null if it is of another kind.
template <class T>
T* as(engine::Report& report) {
  return std::get_if<T>(&report);
}

}  // namespace

void watch_interrupts() {
  struct sigaction action{};
  action.sa_handler = on_interrupt;  // Without SA_RESTART a signal ends a waiting read.
  sigaction(SIGINT, &action, nullptr);
}
bool interrupted() { return interrupt_seen.load(); }
void clear_interrupt() { interrupt_seen.store(false); }

std::string speed_line(const LocalAnswer& answer, uint64_t seed) {
  const auto tokens = static_cast<uint32_t>(answer.ids.size());
  const uint32_t decoded = tokens > 0 ? tokens - 1 : 0;  // The first one comes with the prompt.
  return fmt::format(
      "prompt {} tokens in {:.2f} s ({:.1f} tokens/s), answer {} tokens, {:.2f} s after the first "
      "({:.1f} tokens/s), {}, seed {}",
      answer.prompt_tokens, seconds(answer.prefill_us),
      per_second(answer.prompt_tokens, answer.prefill_us), tokens, seconds(answer.decode_us),
      per_second(decoded, answer.decode_us),
      answer.canceled ? "canceled" : to_string(answer.result.finish_reason), seed);
}

Result<engine::LoadReplica> make_load(const config::EngineConfig& config,
                                      const std::vector<control::DeviceSetup>& devices) {
  const auto ranks =
      static_cast<size_t>(config.tensor_parallel_size * config.pipeline_parallel_size);
  if (ranks > devices.size())
    return invalid(
        fmt::format("tensor_parallel_size {} times pipeline_parallel_size {} needs {} devices, "
                    "there {} {}: give --devices cpu:{}",
                    config.tensor_parallel_size, config.pipeline_parallel_size, ranks,
                    devices.size() == 1 ? "is" : "are", devices.size(), ranks));
  engine::LoadReplica load = control::load_of(config);
  for (size_t i = 0; i < ranks; ++i) load.ranks.push_back(control::rank_place(devices[i]));
  load.sequences_max = 1;  // These commands run one sequence at a time.
  for (const auto& [name, path] : config.lora_modules) load.adapters.push_back({name, path});
  return load;
}

Result<void> LocalEngine::load() {
  engine::ReplicaOptions options;
  options.load = load_;
  options.loader = engine::load_replica;
  options.report = [this](engine::Report report) {
    if (as<engine::ReplicaStats>(report) == nullptr)
      static_cast<void>(reports_.try_send(std::move(report)));
  };
  options.ended = [this](const Result<void>&) { reports_.close(); };
  replica_ = std::make_unique<engine::Replica>(std::move(options));
  replica_->start();
  // In a log file the bar would stand before every error.
  const bool shown = isatty(STDERR_FILENO) != 0;
  ProgressBar bar("loading");
  while (true) {
    for (engine::Report& report : reports_.wait_drain(std::chrono::milliseconds(100))) {
      const auto* progress = as<engine::LoadProgress>(report);
      if (progress != nullptr && shown) bar.update_fraction(progress->phase, progress->fraction);
      if (const auto* failed = as<engine::LoadFailed>(report)) {
        bar.finish();
        return Error(failed->code, failed->message);
      }
      if (const auto* loaded = as<engine::ReplicaLoaded>(report)) {
        bar.finish();
        loaded_ = *loaded;
        return {};
      }
    }
    if (reports_.closed())
      return Error(ErrorCode::kDevice, "the engine ended while it loaded the model");
    if (interrupted()) _exit(kExitFailed);  // Loading can't be interrupted otherwise.
  }
}

Result<std::unique_ptr<LocalEngine>> LocalEngine::open(const SettingFlags& flags) {
  ALTLAS_TRY(const config::Loaded loaded, load_config(flags));
  log::set_level(log::Level::kWarn);
  ALTLAS_TRY_VOID(apply_simd(loaded.config));
  warn_of_simd();
  ALTLAS_TRY(const auto devices, make_devices(loaded.config));
  std::unique_ptr<LocalEngine> out(new LocalEngine);
  ALTLAS_TRY(out->load_, make_load(loaded.config.engine, devices));
  out->load_.repack_folder = repack_folder(loaded.config.engine);
  const config::ModelConfig* entry = find_model(loaded.config, flags.model);
  ALTLAS_TRY(out->load_.model_path, model_file(entry == nullptr ? flags.model : entry->path));
  ALTLAS_TRY_VOID(check_dtype(loaded.config.engine.dtype, out->load_.model_path));
  if (entry != nullptr) {
    ALTLAS_TRY_VOID(check_sha256(*entry, out->load_.model_path));
    out->load_.tokenizer_path = entry->tokenizer;
  }
  if (const std::string& draft = loaded.config.engine.draft_model; !draft.empty()) {
    ALTLAS_TRY(out->load_.draft_model_path, model_file(draft));
  }
  ALTLAS_TRY(out->text_, load_model_text(out->load_.model_path, entry));
  out->model_name_ = !flags.served_model_name.empty() ? flags.served_model_name
                     : !flags.model.empty()           ? flags.model
                                                      : std::string(weights::kDefaultModel);
  return out;
}

LocalEngine::~LocalEngine() {
  if (replica_) replica_->stop();
}

Result<LocalAnswer> LocalEngine::run(engine::SubmitSequence sequence, const Say& say) {
  LocalAnswer answer;
  answer.prompt_tokens = static_cast<uint32_t>(sequence.prompt.size());
  sequence.sequence = SequenceId{next_sequence_++};
  if (!load_.adapters.empty()) sequence.adapter = load_.adapters.back().name;
  const SequenceId id = sequence.sequence;
  const TimeUs started = system_clock().now();
  TimeUs first = 0;
  if (!replica_->send(engine::Command(std::move(sequence))))
    return Error(ErrorCode::kDevice, "the engine has ended");
  bool cancel_sent = false, closed = false;
  while (true) {
    for (engine::Report& report : reports_.wait_drain(std::chrono::milliseconds(50))) {
      if (auto* tokens = as<engine::SequenceTokens>(report);
          tokens != nullptr && tokens->sequence == id) {
        const TimeUs now = system_clock().now();
        if (first == 0) answer.prefill_us = (first = now) - started;
        answer.decode_us = now - first;
        answer.ids.insert(answer.ids.end(), tokens->delta.ids.begin(), tokens->delta.ids.end());
        if (!tokens->delta.text.empty() && !closed) closed = !say(tokens->delta.text);
      } else if (auto* finished = as<engine::SequenceFinished>(report);
                 finished != nullptr && finished->sequence == id) {
        answer.result = std::move(finished->result);
        if (closed) return io_error("the output can't be written");
        return answer;
      } else if (auto* failed = as<engine::SequenceFailed>(report);
                 failed != nullptr && failed->sequence == id) {
        return Error(failed->code, failed->message);
      } else if (auto* canceled = as<engine::SequenceCanceled>(report);
                 canceled != nullptr && canceled->sequence == id) {
        if (closed) return io_error("the output can't be written");
        answer.canceled = true;
        return answer;
      } else if (auto* broken = as<engine::LoadFailed>(report)) {
        return Error(broken->code, broken->message);
      }
    }
    if (reports_.closed() && reports_.size() == 0)
      return Error(ErrorCode::kDevice, "the engine has ended");
    if ((interrupted() || closed) && !cancel_sent)
      cancel_sent = replica_->send(engine::Command(engine::CancelSequence{id}));
  }
}

void add_sampling_flags(CLI::App& app, SamplingFlags& out) {
  app.add_option(
         "--max-tokens", out.max_tokens,
         std::string("Tokens to generate at most (default ") + std::to_string(out.max_tokens) + ")")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 27));
  app.add_option("--temperature", out.temperature,
                 "0 takes the most likely token (0 to 2, default 0.7)")
      ->check(CLI::Range(0.0, 2.0));
  app.add_option("--top-p", out.top_p, "Likely tokens that make up this share (0 to 1, default 1)")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--top-k", out.top_k, "So many likely tokens; 0: all")
      ->check(CLI::Range(int64_t{0}, int64_t{INT_MAX}));
  app.add_option("--min-p", out.min_p,
                 "Tokens at least so likely, relative to the likeliest (0 to 1)")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--repetition-penalty", out.repetition_penalty,
                 "Above 1 avoids tokens seen before (0.01 to 100)")
      ->check(CLI::Range(0.01, 100.0));
  app.add_option("--seed", out.seed, "The same seed gives the same text; drawn if none is given")
      ->check(CLI::Range(int64_t{0}, INT64_MAX));
  app.add_option("--stop", out.stop, "Text that ends the answer; may be given several times")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_flag("--ignore-eos", out.ignore_eos, "Go on past the model's own end");
}

SamplingParams to_sampling(const SamplingFlags& flags) {
  SamplingParams sampling;
  sampling.temperature = static_cast<float>(flags.temperature);
  sampling.top_p = static_cast<float>(flags.top_p);
  sampling.min_p = static_cast<float>(flags.min_p);
  sampling.top_k = static_cast<int32_t>(flags.top_k);
  sampling.repetition_penalty = static_cast<float>(flags.repetition_penalty);
  sampling.stop = flags.stop;
  sampling.ignore_eos = flags.ignore_eos;
  sampling.seed = static_cast<uint64_t>(flags.seed);
  if (flags.seed < 0) sampling.seed = random_bits() & INT64_MAX;  // --seed takes these 63 bits.
  return sampling;
}

}  // namespace altlas::cli
