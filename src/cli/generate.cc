// altlas generate.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "base/utf8.h"
#include "cli/command.h"
#include "cli/local_engine.h"
#include "config/document.h"

namespace altlas::cli {
namespace {

struct Options {
  SettingFlags settings;
  SamplingFlags sampling;
  std::string prompt;
};

Result<LocalAnswer> generate(LocalEngine& engine, const Options& options,
                             const SamplingParams& sampling) {
  engine::SubmitSequence sequence;
  text::EncodeOptions encode;
  encode.add_special = encode.parse_special = true;
  ALTLAS_TRY(sequence.prompt, engine.tokenizer().encode(options.prompt, encode));
  if (sequence.prompt.empty())
    return invalid("--prompt: it has no tokens: write at least one character");
  ALTLAS_TRY_VOID(engine.load());
  sequence.tokens_max = static_cast<int32_t>(options.sampling.max_tokens);
  sequence.sampling = sampling;
  return engine.run(std::move(sequence), [](std::string_view text) {
    return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() &&
           std::fflush(stdout) == 0;
  });
}

}  // namespace

Run make_generate(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("--prompt", options->prompt, "The text to go on from")->required();
  add_sampling_flags(app, options->sampling);
  add_setting_flags(app, options->settings, FlagSet::kEngine);
  return [options] {
    if (!is_valid_utf8(options->prompt)) return fail(invalid("--prompt: it is not UTF-8 text"));
    watch_interrupts();
    const auto engine = LocalEngine::open(options->settings);
    if (!engine.ok()) return fail(engine.error());
    const SamplingParams sampling = to_sampling(options->sampling);
    const auto answer = generate(**engine, *options, sampling);
    if (!answer.ok()) return fail(answer.error());
    fmt::print("\n");
    std::fflush(stdout);
    fmt::print(stderr, "{}\n", speed_line(*answer, sampling.seed));
    return answer->canceled ? kExitFailed : kExitOk;
  };
}

}  // namespace altlas::cli
