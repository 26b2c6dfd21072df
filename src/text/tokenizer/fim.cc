#include "text/tokenizer/fim.h"

#include <algorithm>
#include <span>

namespace altlas::text {
namespace {

// A family's spellings; the three belong together.
struct Names {
  std::string_view prefix, suffix, middle;
};
constexpr Names kNames[] = {
    {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"},  // Qwen, CodeGemma.
    {"<fim_prefix>", "<fim_suffix>", "<fim_middle>"},        // StarCoder, Granite.
    {"<fim-prefix>", "<fim-suffix>", "<fim-middle>"},        // SantaCoder.
    {"<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"},  // DeepSeek.
    {"▁<PRE>", "▁<SUF>", "▁<MID>"},                          // Code Llama.
    {"<PRE>", "<SUF>", "<MID>"},
    {"<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"},  // GLM.
    {"[PREFIX]", "[SUFFIX]", ""},                               // Codestral.
};
constexpr std::string_view kRepositories[] = {"<|repo_name|>", "<|fim_repo|>", "<repo_name>",
                                              "<reponame>",    "<fim-repo>",   "<REPO>"};
constexpr std::string_view kFiles[] = {"<|file_sep|>", "<|file_separator|>", "<file_sep>",
                                       "<filename>"};
constexpr std::string_view kPads[] = {"<|fim_pad|>", "<fim_pad>", "<fim-pad>"};
constexpr std::string_view kEnds[] = {"▁<EOT>", "<EOT>"};

int32_t first_of(const std::function<int32_t(std::string_view)>& find,
                 std::span<const std::string_view> names) {
  for (const std::string_view name : names)
    if (const int32_t id = find(name); id >= 0) return id;
  return -1;
}

}  // namespace

void complete_fim(const std::function<int32_t(std::string_view)>& find, FimTokens& tokens) {
  if (tokens.prefix < 0 && tokens.suffix < 0 && tokens.middle < 0) {
    for (const Names& names : kNames) {
      FimTokens found;
      found.prefix = find(names.prefix);
      found.suffix = find(names.suffix);
      found.middle = names.middle.empty() ? -1 : find(names.middle);
      found.suffix_first = names.middle.empty();
      if (!found.known()) continue;
      tokens.prefix = found.prefix;
      tokens.suffix = found.suffix;
      tokens.middle = found.middle;
      tokens.suffix_first = found.suffix_first;
      break;
    }
  }
  if (!tokens.known()) return;
  if (tokens.repository < 0) tokens.repository = first_of(find, kRepositories);
  if (tokens.file < 0) tokens.file = first_of(find, kFiles);
  if (tokens.pad < 0) tokens.pad = first_of(find, kPads);
  // A filled gap is followed by padding, the next file or another gap.
  tokens.ends = {tokens.repository, tokens.file,   tokens.pad,
                 tokens.prefix,     tokens.suffix, tokens.middle};
  for (const std::string_view name : kEnds) tokens.ends.push_back(find(name));
  std::erase_if(tokens.ends, [](int32_t id) { return id < 0; });
  std::ranges::sort(tokens.ends);
  const auto doubles = std::ranges::unique(tokens.ends);
  tokens.ends.erase(doubles.begin(), doubles.end());
}

}  // namespace altlas::text
