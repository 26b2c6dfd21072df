// altlas chat: a conversation in the terminal.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <optional>
#include <utility>

#include "base/byte_order_mark.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "cli/command.h"
#include "cli/local_engine.h"
#include "config/document.h"

namespace altlas::cli {
namespace {

constexpr size_t kLineBytesMax = size_t{1} << 20;

struct Options {
  SettingFlags settings;
  SamplingFlags sampling;
  std::string system;
};
struct Turn {
  std::string role, content;
};

enum class LineEnd : uint8_t { kLine, kEnd, kInterrupted, kTooLong };

// Reads one line of standard input, without its end. The terminal lets the user edit it.
LineEnd read_line(std::string& line) {
  line.clear();
  while (true) {
    char c = 0;
    const ssize_t got = read(STDIN_FILENO, &c, 1);
    if (got < 0 && errno == EINTR) return LineEnd::kInterrupted;
    if (got <= 0) return line.empty() ? LineEnd::kEnd : LineEnd::kLine;
    if (c == '\n') return LineEnd::kLine;
    if (line.size() >= kLineBytesMax) return LineEnd::kTooLong;
    line += c;
  }
}

Result<std::vector<int32_t>> encode_turns(const LocalEngine& engine,
                                          const std::vector<Turn>& turns) {
  text::ChatInput input;
  std::vector<text::Value> messages;
  for (const Turn& turn : turns) {
    std::vector<std::pair<std::string, text::Value>> entries;
    entries.emplace_back("role", text::Value::trusted(turn.role));
    entries.emplace_back("content", text::Value(turn.content));
    messages.push_back(text::Value::object_of(std::move(entries)));
  }
  input.messages = text::Value::list(std::move(messages));
  input.bos_token = std::string(engine.tokenizer().bos_text());
  input.eos_token = std::string(engine.tokenizer().eos_text());
  input.now_us = system_clock().now();
  ALTLAS_TRY(const auto segments, engine.chat_template()->render_segments(input));
  return engine.tokenizer().encode_segments(segments, /*add_special=*/false);
}

// Answers the last turn and adds the answer to `turns`.
Result<LocalAnswer> answer_turn(LocalEngine& engine, const Options& options,
                                const SamplingParams& sampling, std::vector<Turn>& turns) {
  engine::SubmitSequence sequence;
  ALTLAS_TRY(sequence.prompt, encode_turns(engine, turns));
  const auto left =
      static_cast<int64_t>(engine.model_len_max()) - static_cast<int64_t>(sequence.prompt.size());
  if (left < 1)
    return invalid(
        fmt::format("the conversation has {} tokens and the model takes {} with the answer: /new "
                    "begins another",
                    sequence.prompt.size(), engine.model_len_max()));
  sequence.tokens_max = static_cast<int32_t>(std::min(options.sampling.max_tokens, left));
  sequence.sampling = sampling;
  std::string said;
  auto answer = engine.run(std::move(sequence), [&said](std::string_view text) {
    said += text;
    return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() &&
           std::fflush(stdout) == 0;
  });
  if (answer.ok()) turns.push_back({"assistant", std::move(said)});
  return answer;
}

void begin(const Options& options, std::vector<Turn>& turns) {
  turns.clear();
  if (!options.system.empty()) turns.push_back({"system", options.system});
}

int talk(LocalEngine& engine, const Options& options) {
  const bool terminal = isatty(STDIN_FILENO) != 0;
  if (terminal)
    fmt::print(stderr, "{}: /exit or Ctrl-D ends, /new begins again, Ctrl-C stops an answer\n",
               engine.model_name());
  const SamplingParams sampling = to_sampling(options.sampling);
  std::vector<Turn> turns;
  begin(options, turns);
  bool first = true;
  for (std::string line;;) {
    clear_interrupt();
    if (terminal) fmt::print(stderr, "> ");
    const LineEnd end = read_line(line);
    if (end == LineEnd::kEnd || line == "/exit") return kExitOk;
    if (end == LineEnd::kInterrupted) {
      fmt::print(stderr, "\n/exit or Ctrl-D ends\n");
      continue;
    }
    if (end == LineEnd::kTooLong)
      return fail(
          Error(ErrorCode::kTooLarge, fmt::format("a line has more than {} bytes", kLineBytesMax)));
    if (std::exchange(first, false) && !terminal) {
      const auto plain = skip_byte_order_mark(line, "the input");
      if (!plain.ok()) return fail(plain.error());
      line = std::string(*plain);
    }
    if (line == "/new") begin(options, turns);
    if (line.empty() || line == "/new") continue;
    if (!is_valid_utf8(line)) {
      fmt::print(stderr, "altlas: that is not UTF-8 text\n");
      continue;
    }
    turns.push_back({"user", line});
    const auto answer = answer_turn(engine, options, sampling, turns);
    if (!answer.ok()) {
      const bool goes_on = terminal && answer.error().code() == ErrorCode::kInvalid;
      if (!goes_on) return fail(answer.error());
      turns.pop_back();
      fmt::print(stderr, "altlas: {}\n", answer.error().message());
      continue;
    }
    fmt::print("\n");
    std::fflush(stdout);
    fmt::print(stderr, "{}\n", speed_line(*answer, sampling.seed));
  }
}

}  // namespace

Run make_chat(CLI::App& app) {
  auto options = std::make_shared<Options>();
  options->sampling.max_tokens = 1024;
  app.add_option("--system", options->system, "The system message, said first");
  add_sampling_flags(app, options->sampling);
  add_setting_flags(app, options->settings, FlagSet::kEngine);
  return [options] {
    if (!is_valid_utf8(options->system)) return fail(invalid("--system: it is not UTF-8 text"));
    watch_interrupts();
    const auto engine = LocalEngine::open(options->settings);
    if (!engine.ok()) return fail(engine.error());
    if ((*engine)->chat_template() == nullptr)
      return fail(invalid(
          fmt::format("model '{}' has no chat template that can be used{}{}: try altlas generate",
                      (*engine)->model_name(),
                      (*engine)->chat_template_error().empty() ? "" : ": ",
                      (*engine)->chat_template_error())));
    if (const auto loaded = (*engine)->load(); !loaded.ok()) return fail(loaded.error());
    return talk(**engine, *options);
  };
}

}  // namespace altlas::cli
