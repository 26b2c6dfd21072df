// altlas perplexity.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <memory>

#include "base/utf8.h"
#include "cli/command.h"
#include "cli/local_engine.h"
#include "cli/perplexity_text.h"
#include "config/document.h"

namespace altlas::cli {
namespace {

constexpr uint64_t kTextBytesMax = uint64_t{64} << 20;

struct Options {
  SettingFlags settings;
  std::string file;
  bool ids = false;
  bool json = false;
};

Result<std::vector<int32_t>> read_ids(const LocalEngine& engine, const Options& options,
                                      const std::string& text) {
  if (options.ids) return parse_ids(text, engine.tokenizer().vocab_size());
  text::EncodeOptions encode;
  encode.add_special = true;
  return engine.tokenizer().encode(text, encode);
}

Result<Perplexity> measure(LocalEngine& engine, std::vector<int32_t> ids) {
  if (ids.size() < 2)
    return invalid(fmt::format(
        "--file: it has {} tokens, at least 2 are needed: the first one has no probability",
        ids.size()));
  ALTLAS_TRY_VOID(engine.load());
  // The engine also generates one token after the text; it is not used.
  if (ids.size() + 1 > engine.model_len_max())
    return invalid(
        fmt::format("--file: it has {} tokens, the model takes {} here: give a shorter text, or a "
                    "larger --max-model-len",
                    ids.size(), engine.model_len_max() - 1));
  engine::SubmitSequence sequence;
  sequence.prompt = ids;
  sequence.tokens_max = 1;
  sequence.sampling.temperature = 0;
  sequence.sampling.logprobs = 1;
  sequence.sampling.prompt_logprobs = 0;
  ALTLAS_TRY(const LocalAnswer answer,
             engine.run(std::move(sequence), [](std::string_view) { return true; }));
  if (answer.canceled) return Error(ErrorCode::kCanceled, "stopped by Ctrl-C");
  return make_perplexity_of(std::move(ids), answer.result.prompt_logprobs);
}

int run(const Options& options) {
  const auto text = read_text_file(options.file, "--file", kTextBytesMax);
  if (!text.ok()) return fail(text.error());
  if (!is_valid_utf8(*text))
    return fail(invalid(fmt::format("--file: '{}' is not UTF-8 text", options.file)));
  watch_interrupts();
  const auto engine = LocalEngine::open(options.settings);
  if (!engine.ok()) return fail(engine.error());
  auto ids = read_ids(**engine, options, *text);
  if (!ids.ok()) return fail(ids.error());
  const auto perplexity = measure(**engine, *std::move(ids));
  if (!perplexity.ok()) return fail(perplexity.error());
  if (options.json) {
    fmt::print("{}\n", to_json(*perplexity));
    return kExitOk;
  }
  for (size_t i = 0; i < perplexity->logprobs.size(); ++i)
    fmt::print("{:>6} {:>8} {:>10.4f}\n", i + 1, perplexity->ids[i + 1], perplexity->logprobs[i]);
  fmt::print("tokens {}  nll {:.6f}  perplexity {:.4f}\n", perplexity->ids.size(), perplexity->nll,
             std::exp(perplexity->nll));
  return kExitOk;
}

}  // namespace

Run make_perplexity(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("--file", options->file, "The text, UTF-8")->required();
  app.add_flag("--ids", options->ids,
               "The file is a JSON list of token ids; nothing is added to it");
  app.add_flag("--json", options->json,
               R"(Print {"ids":[...],"logprobs":[...],"top1":[...],"nll":x})");
  add_setting_flags(app, options->settings, FlagSet::kEngine);
  return [options] { return run(*options); };
}

}  // namespace altlas::cli
