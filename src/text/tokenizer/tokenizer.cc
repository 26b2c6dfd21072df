#include "text/tokenizer/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/drop.h"
#include "base/utf8.h"
#include "text/tokenizer/byte_spelling.h"
#include "text/tokenizer/families.h"
#include "text/tokenizer/normalizer.h"
#include "text/tokenizer/pretokenizer.h"
#include "text/tokenizer/score_merges.h"
#include "text/tokenizer/special_tokens.h"
#include "text/tokenizer/spelling_index.h"
#include "text/tokenizer/word_model.h"

namespace altlas::text {
namespace {

// Control tokens that end an answer in the models that have them, whatever the file's metadata
// says.
constexpr std::string_view kEndNames[] = {
    "<|im_end|>", "<|endoftext|>",   "<|eot_id|>", "<|eom_id|>",
    "<|end|>",    "<end_of_turn>",   "</s>",       "<eos>",
    "<|eot|>",    "<|end_of_text|>", "<|return|>", "<｜end▁of▁sentence｜>"};
constexpr size_t kTokenBytesMax = 4096;

// Texts that WordPiece's decoder shortens, before punctuation and in contractions.
constexpr std::string_view kCleanups[] = {" .",  " ?",   " !",   " ,",  " 'm",
                                          " 's", " 've", " 're", " n't"};

// Appends `token`, with " " for every `space`.
void append_with_spaces(std::string_view token, std::string_view space, std::string& out) {
  for (size_t at; (at = token.find(space)) != std::string_view::npos;) {
    out += token.substr(0, at);
    out += ' ';
    token.remove_prefix(at + space.size());
  }
  out += token;
}

void append_word_piece(std::string_view token, const Steps& steps, std::string& out) {
  const std::string& begins = steps.word_prefix;
  if (!begins.empty() && !token.starts_with(begins)) {
    out += token;
  } else if (begins.empty() && token.starts_with(steps.subword_prefix)) {
    out += token.substr(steps.subword_prefix.size());
  } else {
    const std::string shown = " " + std::string(token.substr(begins.size()));
    const bool clean = steps.cleanup && std::ranges::find(kCleanups, shown) != std::end(kCleanups);
    out += clean ? std::string_view(shown).substr(1) : std::string_view(shown);
  }
}

}  // namespace

Tokenizer::Tokenizer(Vocabulary vocabulary, Steps steps)
    : vocabulary_(std::move(vocabulary)), steps_(std::make_unique<const Steps>(std::move(steps))) {}
Tokenizer::~Tokenizer() = default;

Result<std::unique_ptr<const Tokenizer>> Tokenizer::create(Vocabulary vocabulary,
                                                           TokenizerUse use) {
  Steps steps;
  if (vocabulary.steps) {
    steps = *std::move(vocabulary.steps);
    vocabulary.steps.reset();
  } else {
    ALTLAS_TRY(steps, steps_of_names(vocabulary));
  }
  std::unique_ptr<Tokenizer> made(new Tokenizer(std::move(vocabulary), std::move(steps)));
  ALTLAS_TRY_VOID(made->check());
  if (use == TokenizerUse::kAll) {
    ALTLAS_TRY_VOID(made->make_parts());
    made->find_fim_tokens();
  }
  made->make_texts();
  made->collect_end_of_generation();
  drop(made->vocabulary_.scores);
  drop(made->vocabulary_.merges);
  drop(made->vocabulary_.charsmap);
  return std::unique_ptr<const Tokenizer>(std::move(made));
}

Result<void> Tokenizer::make_parts() {
  ALTLAS_TRY(SpellingIndex spellings, SpellingIndex::create(vocabulary_.tokens));
  spellings_ = std::make_unique<const SpellingIndex>(std::move(spellings));
  ALTLAS_TRY(normalizer_, Normalizer::create(steps_->normalizers));
  ALTLAS_TRY(pretokenizer_, Pretokenizer::create(steps_->splits));
  switch (steps_->model) {
    case ModelKind::kBpe: {
      ALTLAS_TRY(model_, make_bpe(vocabulary_, *steps_, *spellings_));
      break;
    }
    case ModelKind::kUnigram: {
      ALTLAS_TRY(model_, make_unigram(vocabulary_, *steps_));
      break;
    }
    case ModelKind::kWordPiece: {
      ALTLAS_TRY(model_, make_word_piece(vocabulary_, *steps_));
      break;
    }
  }
  find_special_tokens();
  return {};
}

Result<void> Tokenizer::check() const {
  const size_t count = vocabulary_.tokens.size();
  if (count == 0 || count > kVocabularyTokensMax)
    return invalid(fmt::format("the vocabulary has {} tokens; 1 to {} can be used", count,
                               kVocabularyTokensMax),
                   "tokenizer.ggml.tokens");
  if (!vocabulary_.types.empty() && vocabulary_.types.size() != count)
    return invalid(fmt::format("{} token types for {} tokens; one each is right",
                               vocabulary_.types.size(), count),
                   "tokenizer.ggml.token_type");
  if (!vocabulary_.scores.empty() && vocabulary_.scores.size() != count)
    return invalid(
        fmt::format("{} scores for {} tokens; one each is right", vocabulary_.scores.size(), count),
        "tokenizer.ggml.scores");
  for (size_t i = 0; i < count; ++i)
    if (vocabulary_.tokens[i].size() > kTokenBytesMax)
      return invalid(fmt::format("token {} has {} bytes; at most {} can be used", i,
                                 vocabulary_.tokens[i].size(), kTokenBytesMax),
                     "tokenizer.ggml.tokens");
  const auto check_id = [&](int32_t id, const char* what) -> Result<void> {
    if (id >= -1 && id < static_cast<int32_t>(count)) return {};
    return invalid(fmt::format("{} is {}, the vocabulary has {} tokens", what, id, count),
                   fmt::format("tokenizer.ggml.{}", what));
  };
  ALTLAS_TRY_VOID(check_id(vocabulary_.bos, "bos_token_id"));
  ALTLAS_TRY_VOID(check_id(vocabulary_.eos, "eos_token_id"));
  ALTLAS_TRY_VOID(check_id(vocabulary_.pad, "padding_token_id"));
  ALTLAS_TRY_VOID(check_id(vocabulary_.unk, "unknown_token_id"));
  for (const int32_t id : vocabulary_.end_of_generation)
    ALTLAS_TRY_VOID(check_id(id, "eot_token_id"));
  const FimTokens& fim = vocabulary_.fim;
  for (const int32_t id : {fim.prefix, fim.suffix, fim.middle, fim.repository, fim.file, fim.pad})
    ALTLAS_TRY_VOID(check_id(id, "fim token id"));
  for (const auto& ids : {steps_->before, steps_->after})
    for (const int32_t id : ids)
      if (id < 0 || static_cast<size_t>(id) >= count)
        return invalid(fmt::format("token {} is to stand around every text; the vocabulary has {}",
                                   id, count));
  return {};
}

int32_t Tokenizer::type_of(size_t id) const {
  return vocabulary_.types.empty() ? int32_t{kTokenNormal} : vocabulary_.types[id];
}

// Appends the bytes that a token stands for; for a control token its spelling.
void Tokenizer::append_text(size_t id, std::string& out) const {
  const std::string_view token = vocabulary_.tokens[id];
  const int32_t type = type_of(id);
  if (type == kTokenUnused || type == kTokenUnknown) return;
  if (type == kTokenControl) {
    out += token;
    return;
  }
  const int32_t byte = type == kTokenUserDefined ? -1 : byte_of_token(token);
  if (byte >= 0 && (type == kTokenByte || steps_->byte_fallback)) {
    out += static_cast<char>(byte);
    return;
  }
  switch (steps_->decoder) {
    case DecoderKind::kPlain:
      out += token;
      return;
    case DecoderKind::kByteLevel:
      if (type == kTokenUserDefined) {
        out += token;
      } else {
        append_bytes_of_letters(token, out);
      }
      return;
    case DecoderKind::kMetaspace:
      append_with_spaces(token, steps_->space, out);
      return;
    case DecoderKind::kWordPiece:
      append_word_piece(token, *steps_, out);
      return;
  }
}

// Whether a token may stand for more of a text than its own bytes.
bool Tokenizer::may_shrink() const {
  if (steps_->model != ModelKind::kBpe) return true;
  for (const NormalizerStep& step : steps_->normalizers)
    if (step.kind != NormalizerStep::kNfc && step.kind != NormalizerStep::kPrepend &&
        (step.kind != NormalizerStep::kReplace || step.is_regex || step.pattern != " "))
      return true;
  for (const SplitStep& step : steps_->splits)
    if (step.behavior == SplitBehavior::kRemoved) return true;
  for (const WholeTokenRule& rule : steps_->rules)
    if (rule.strip_left || rule.strip_right) return true;
  if (steps_->byte_level) return false;
  return !steps_->byte_fallback || [&] {
    const std::vector<int32_t> ids = find_byte_tokens(vocabulary_);
    return std::ranges::find(ids, -1) != ids.end();
  }();
}

void Tokenizer::make_texts() {
  const size_t count = vocabulary_.tokens.size();
  text_.reserve(count, vocabulary_.tokens.bytes());
  for (size_t i = 0; i < count; ++i) {
    text_.append([&](std::string& out) { append_text(i, out); });
    token_bytes_max_ = std::max(token_bytes_max_, text_[i].size());
  }
  if (may_shrink()) token_bytes_max_ = kEncodeBytesMax;
  strips_first_space_ = steps_->strip_first_space;
  adds_bos_ = !steps_->before.empty() && steps_->before.front() == vocabulary_.bos;
}

void Tokenizer::find_special_tokens() {
  std::vector<SpecialTokens::Entry> special, normalized;
  std::vector<WholeTokenRule> rules = steps_->rules;
  std::ranges::stable_sort(rules, {}, &WholeTokenRule::id);
  for (size_t i = 0; i < vocabulary_.types.size(); ++i) {
    const std::string_view token = vocabulary_.tokens[i];
    const auto id = static_cast<int32_t>(i);
    const int32_t type = type_of(i);
    const bool control = type == kTokenControl || (type == kTokenUnknown && id == vocabulary_.unk);
    if ((!control && type != kTokenUserDefined) || token.empty()) continue;
    const auto found = std::ranges::lower_bound(rules, id, {}, &WholeTokenRule::id);
    const WholeTokenRule rule = found != rules.end() && found->id == id ? *found : WholeTokenRule{};
    // A run of spaces is an ordinary piece; only one that is spelled as in the vocabulary is
    // matched.
    const bool blank = steps_->merges_from_scores && is_blank_piece(vocabulary_, i);
    SpecialTokens::Entry entry{blank ? piece_spelling(token) : std::string(token),
                               id,
                               control,
                               rule.strip_left,
                               rule.strip_right,
                               rule.single_word};
    if (!rule.normalized || control) {
      special.push_back(std::move(entry));
    } else {
      WorkBudget budget(token.size());
      const auto text = normalizer_->apply(std::string(token), budget);
      if (!text.ok() || text->empty()) continue;
      entry.text = *text;
      normalized.push_back(std::move(entry));
    }
  }
  specials_ = std::make_unique<SpecialTokens>(std::move(special));
  normalized_specials_ = std::make_unique<SpecialTokens>(std::move(normalized));
}

void Tokenizer::collect_end_of_generation() {
  auto& ids = end_of_generation_;
  ids = vocabulary_.end_of_generation;
  ids.push_back(vocabulary_.eos);
  for (size_t i = 0; i < vocabulary_.types.size(); ++i)
    if (vocabulary_.types[i] == kTokenControl &&
        std::ranges::find(kEndNames, vocabulary_.tokens[i]) != std::end(kEndNames))
      ids.push_back(static_cast<int32_t>(i));
  std::erase_if(ids, [](int32_t id) { return id < 0; });
  std::ranges::sort(ids);
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
}

// Finds the tokens by name. A name counts if the file says that its token is no ordinary text; Code
// Llama's files call theirs ordinary.
void Tokenizer::find_fim_tokens() {
  const auto find = [&](std::string_view name) {
    const int32_t id = spellings_->find(name);
    if (id < 0 || vocabulary_.types.empty() || name.starts_with("▁<")) return id;
    const int32_t type = type_of(static_cast<size_t>(id));
    return type == kTokenControl || type == kTokenUserDefined ? id : -1;
  };
  complete_fim(find, vocabulary_.fim);
}

// Memory that encoding one text needs on the way.
struct Tokenizer::Scratch {
  WorkBudget budget;
  ModelScratch model;
};

Result<std::vector<int32_t>> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  std::string repaired;
  if (text.size() <= kEncodeBytesMax && !is_valid_utf8(text)) {
    repaired = repair_utf8(text);
    text = repaired;
  }
  const std::pair<size_t, size_t> all(0, text.size());
  return encode_joined(text, options.parse_special ? std::span(&all, 0) : std::span(&all, 1),
                       options);
}

Result<std::vector<int32_t>> Tokenizer::encode_segments(std::span<const Segment> segments,
                                                        bool add_special) const {
  std::string text;
  std::vector<std::pair<size_t, size_t>> plain;
  for (const Segment& segment : segments) {
    if (segment.text.empty()) continue;
    const size_t begin = text.size();
    text += is_valid_utf8(segment.text) ? segment.text : repair_utf8(segment.text);
    if (!segment.is_content) continue;
    if (!plain.empty() && plain.back().second == begin) {
      plain.back().second = text.size();
    } else {
      plain.emplace_back(begin, text.size());
    }
  }
  return encode_joined(text, plain, {.add_special = add_special});
}

Result<std::vector<int32_t>> Tokenizer::encode_joined(
    std::string_view text, std::span<const std::pair<size_t, size_t>> plain,
    EncodeOptions options) const {
  ALTLAS_CHECK(model_ != nullptr, "a tokenizer made to encode");
  if (text.size() > kEncodeBytesMax)
    return Error(ErrorCode::kTooLarge,
                 fmt::format("the text has {} bytes; at most {} can be tokenized", text.size(),
                             kEncodeBytesMax));
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 3 + 2);
  const bool parsed = plain.empty() || plain.front().first > 0;
  bool begins_with_token = false;
  Scratch scratch{.budget = WorkBudget(text.size()), .model = {}};
  for (size_t at = 0; at < text.size();) {
    const auto match = specials_->find(text, at, plain);
    const size_t end = match ? match->begin : text.size();
    if (end > at)
      ALTLAS_TRY_VOID(
          encode_fragment(text.substr(at, end - at), at == 0 && !options.continues, scratch, ids));
    if (match) ids.push_back(match->id);
    begins_with_token |= match && match->begin == 0 && parsed;
    at = match ? match->end : end;
  }
  if (options.add_special) put_around(begins_with_token, ids);
  return ids;
}

// Tokens that the text already begins with are not put there again.
void Tokenizer::put_around(bool begins_with_token, std::vector<int32_t>& ids) const {
  const auto& before = steps_->before;
  auto end = before.end();
  if (begins_with_token) end = std::ranges::find(before, ids.front());
  ids.insert(ids.begin(), before.begin(), end);
  ids.insert(ids.end(), steps_->after.begin(), steps_->after.end());
}

Result<void> Tokenizer::encode_fragment(std::string_view text, bool at_start, Scratch& scratch,
                                        std::vector<int32_t>& out) const {
  at_start = at_start && !normalizer_->drops_first(text, scratch.budget);
  ALTLAS_TRY(std::string normalized, normalizer_->apply(std::string(text), scratch.budget));
  if (normalized_specials_->empty())
    return encode_words(std::move(normalized), at_start, scratch, out);
  for (size_t at = 0; at < normalized.size();) {
    const auto match = normalized_specials_->find(normalized, at, {});
    const size_t end = match ? match->begin : normalized.size();
    if (end > at)
      ALTLAS_TRY_VOID(
          encode_words(normalized.substr(at, end - at), at_start && at == 0, scratch, out));
    if (match) out.push_back(match->id);
    at = match ? match->end : end;
  }
  return {};
}

Result<void> Tokenizer::encode_words(std::string text, bool at_start, Scratch& scratch,
                                     std::vector<int32_t>& out) const {
  SplitText split{.text = std::move(text)};
  ALTLAS_TRY_VOID(pretokenizer_->split(at_start, split, scratch.budget));
  const std::string_view whole = split.text;
  for (const auto& [begin, end] : split.words)
    ALTLAS_TRY_VOID(model_->encode(whole.substr(begin, end - begin), scratch.model, out));
  return {};
}

std::string_view Tokenizer::token_text(int32_t id) const {
  return id < 0 || id >= vocab_size() ? std::string_view() : text_[static_cast<size_t>(id)];
}

std::string_view Tokenizer::token_bytes(int32_t id) const {
  return is_control(id) ? std::string_view() : token_text(id);
}

bool Tokenizer::is_control(int32_t id) const {
  return id >= 0 && id < vocab_size() && !vocabulary_.types.empty() &&
         vocabulary_.types[static_cast<size_t>(id)] == kTokenControl;
}

bool Tokenizer::is_end_of_generation(int32_t id) const {
  return std::ranges::binary_search(end_of_generation_, id);
}

int32_t Tokenizer::id_of(std::string_view token) const {
  ALTLAS_CHECK(spellings_ != nullptr, "a tokenizer made to encode");
  return spellings_->find(token);
}

}  // namespace altlas::text
