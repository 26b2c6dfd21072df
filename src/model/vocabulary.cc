#include "model/vocabulary.h"

#include <fmt/format.h>

#include <string_view>
#include <vector>

namespace altlas::model {
namespace {

// Returns a token id of the vocabulary, or -1 if the file names none.
Result<int32_t> token_id(const weights::GgufFile& head, std::string_view name, size_t count) {
  const std::string key = fmt::format("tokenizer.ggml.{}", name);
  if (!head.has(key)) return -1;
  ALTLAS_TRY(const int64_t id, head.int64(key));
  if (id == -1 || id == 0xffffffff) return -1;
  if (id < 0 || static_cast<uint64_t>(id) >= count)
    return invalid(fmt::format("{} is {}: the vocabulary has {} tokens", key, id, count));
  return static_cast<int32_t>(id);
}

// Reads each token under its name, or under the one that older files have for it.
Result<void> read_fim(const weights::GgufFile& head, size_t count, text::FimTokens& fim) {
  const auto read = [&](std::string_view name, std::string_view older) -> Result<int32_t> {
    ALTLAS_TRY(const int32_t id, token_id(head, name, count));
    return id >= 0 || older.empty() ? id : token_id(head, older, count);
  };
  ALTLAS_TRY(fim.prefix, read("fim_pre_token_id", "prefix_token_id"));
  ALTLAS_TRY(fim.suffix, read("fim_suf_token_id", "suffix_token_id"));
  ALTLAS_TRY(fim.middle, read("fim_mid_token_id", "middle_token_id"));
  ALTLAS_TRY(fim.pad, read("fim_pad_token_id", ""));
  ALTLAS_TRY(fim.repository, read("fim_rep_token_id", ""));
  ALTLAS_TRY(fim.file, read("fim_sep_token_id", ""));
  return {};
}

Result<void> read_lists(const weights::GgufFile& head, text::TokenizerUse use,
                        text::Vocabulary& vocabulary) {
  ALTLAS_TRY(const std::vector<std::string_view> tokens, head.strings("tokenizer.ggml.tokens"));
  if (tokens.empty()) return invalid("tokenizer.ggml.tokens is empty", "tokenizer.ggml.tokens");
  vocabulary.tokens = tokens;
  if (head.has("tokenizer.ggml.token_type")) {
    ALTLAS_TRY(const std::vector<int64_t> types, head.integers("tokenizer.ggml.token_type"));
    vocabulary.types.assign(types.begin(), types.end());
  }
  const bool encodes = use == text::TokenizerUse::kAll;
  if (encodes && head.has("tokenizer.ggml.scores")) {
    ALTLAS_TRY(vocabulary.scores, head.floats("tokenizer.ggml.scores"));
  }
  if (encodes && head.has("tokenizer.ggml.merges")) {
    ALTLAS_TRY(const std::vector<std::string_view> merges, head.strings("tokenizer.ggml.merges"));
    vocabulary.merges = merges;
  }
  constexpr std::string_view kCharsmap = "tokenizer.ggml.precompiled_charsmap";
  if (head.has(kCharsmap)) {
    ALTLAS_TRY(const std::vector<int64_t> bytes, head.integers(kCharsmap));
    for (const int64_t byte : bytes) vocabulary.charsmap += static_cast<char>(byte);
  }
  for (const size_t size : {vocabulary.types.size(), vocabulary.scores.size()})
    if (size != 0 && size != tokens.size())
      return invalid(
          fmt::format("the vocabulary has {} tokens, but {} types or scores", tokens.size(), size));
  return {};
}

// Checks what a kind of tokenizer can't do without: if absent or empty it would count as "none",
// and the model would be asked nonsense.
Result<void> check_needed(const weights::GgufFile& head, const text::Vocabulary& vocabulary,
                          bool encodes) {
  const auto need = [&](bool given, std::string_view name, std::string_view why) -> Result<void> {
    if (given) return {};
    const std::string key = fmt::format("tokenizer.ggml.{}", name);
    return invalid(fmt::format("{} {}: {}", key, head.has(key) ? "is empty" : "is missing", why),
                   key);
  };
  const std::string& model = vocabulary.model;
  const bool merges = !vocabulary.merges.empty(), scores = !vocabulary.scores.empty();
  ALTLAS_TRY_VOID(need(!vocabulary.types.empty(), "token_type",
                       "which tokens steer the model can't be told without"));
  if (encodes && (model == "gpt2" || model == "gemma4"))
    ALTLAS_TRY_VOID(need(merges, "merges", "no word can be made of its letters without"));
  if (encodes && (model == "t5" || (model == "llama" && !merges)))
    ALTLAS_TRY_VOID(need(scores, "scores", "which tokens a word is made of can't be told without"));
  if (model == "gpt2")
    ALTLAS_TRY_VOID(need(!vocabulary.pre.empty(), "pre",
                         "how a text is split into words can't be told without"));
  if (model == "bert") {
    ALTLAS_TRY_VOID(need(vocabulary.cls >= 0 || vocabulary.bos >= 0, "cls_token_id",
                         "every text begins with it"));
    ALTLAS_TRY_VOID(need(vocabulary.sep >= 0 || vocabulary.eos >= 0, "seperator_token_id",
                         "every text ends with it"));
    return need(vocabulary.unk >= 0, "unknown_token_id", "it stands for unknown words");
  }
  ALTLAS_TRY_VOID(need(!vocabulary.add_bos || vocabulary.bos >= 0, "bos_token_id",
                       "every text begins with it"));
  return need(!vocabulary.add_eos || vocabulary.eos >= 0, "eos_token_id",
              "every text ends with it");
}

}  // namespace

Result<text::Vocabulary> read_vocabulary(const weights::GgufFile& head, text::TokenizerUse use) {
  text::Vocabulary vocabulary;
  ALTLAS_TRY(const std::string_view model, head.string("tokenizer.ggml.model"));
  vocabulary.model = model;
  ALTLAS_TRY(const std::string_view pre, head.string_or("tokenizer.ggml.pre", ""));
  vocabulary.pre = pre;
  ALTLAS_TRY_VOID(read_lists(head, use, vocabulary));
  const size_t count = vocabulary.tokens.size();
  ALTLAS_TRY(vocabulary.bos, token_id(head, "bos_token_id", count));
  ALTLAS_TRY(vocabulary.eos, token_id(head, "eos_token_id", count));
  ALTLAS_TRY(vocabulary.pad, token_id(head, "padding_token_id", count));
  ALTLAS_TRY(vocabulary.unk, token_id(head, "unknown_token_id", count));
  ALTLAS_TRY(vocabulary.cls, token_id(head, "cls_token_id", count));
  ALTLAS_TRY(vocabulary.sep, token_id(head, "seperator_token_id", count));  // GGUF spells it so.
  for (const std::string_view name : {"eot_token_id", "eom_token_id"}) {
    ALTLAS_TRY(const int32_t id, token_id(head, name, count));
    if (id >= 0) vocabulary.end_of_generation.push_back(id);
  }
  ALTLAS_TRY_VOID(read_fim(head, count, vocabulary.fim));
  // Where a file says nothing, its kind of tokenizer decides.
  const bool sentence_piece = vocabulary.model == "llama";
  const bool unigram = vocabulary.model == "t5";
  const bool adds_bos = sentence_piece || vocabulary.model == "gemma4";
  ALTLAS_TRY(vocabulary.add_bos, head.boolean_or("tokenizer.ggml.add_bos_token", adds_bos));
  ALTLAS_TRY(vocabulary.add_eos, head.boolean_or("tokenizer.ggml.add_eos_token", unigram));
  ALTLAS_TRY(vocabulary.add_space_prefix,
             head.boolean_or("tokenizer.ggml.add_space_prefix", sentence_piece || unigram));
  ALTLAS_TRY(vocabulary.remove_extra_whitespaces,
             head.boolean_or("tokenizer.ggml.remove_extra_whitespaces", unigram));
  ALTLAS_TRY_VOID(check_needed(head, vocabulary, use == text::TokenizerUse::kAll));
  ALTLAS_TRY(const std::string_view architecture, head.string_or("general.architecture", ""));
  ALTLAS_TRY(const std::string_view name, head.string_or("general.name", ""));
  vocabulary.name = fmt::format("{} {}", architecture, name);
  return vocabulary;
}

Result<std::string> read_chat_template(const weights::GgufFile& head) {
  ALTLAS_TRY(const std::string_view text, head.string_or("tokenizer.chat_template", ""));
  return std::string(text);
}

}  // namespace altlas::model
