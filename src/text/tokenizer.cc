#include "text/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>

#include "text/piece_encoder.h"
#include "text/special_tokens.h"
#include "text/utf8.h"

namespace altlas::text {
namespace {

// Control tokens that end an answer in the models that have them, whatever the file's metadata
// says.
constexpr std::string_view kEndNames[] = {
    "<|im_end|>", "<|endoftext|>",   "<|eot_id|>", "<|eom_id|>",
    "<|end|>",    "<end_of_turn>",   "</s>",       "<eos>",
    "<|eot|>",    "<|end_of_text|>", "<|return|>", "<｜end▁of▁sentence｜>"};
constexpr size_t kTokenBytesMax = 4096;

}  // namespace

Tokenizer::Tokenizer(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {}
Tokenizer::~Tokenizer() = default;

Result<std::unique_ptr<const Tokenizer>> Tokenizer::create(Vocabulary vocabulary) {
  std::unique_ptr<Tokenizer> made(new Tokenizer(std::move(vocabulary)));
  ALTLAS_TRY_VOID(made->check());
  if (made->vocabulary_.model == "gpt2") {
    ALTLAS_TRY(made->encoder_, make_byte_bpe(made->vocabulary_));
  } else {
    return invalid(
        fmt::format("unknown tokenizer model '{}'; supported is gpt2", made->vocabulary_.model),
        "tokenizer.ggml.model");
  }
  ALTLAS_TRY_VOID(made->index());
  made->collect_end_of_generation();
  return std::unique_ptr<const Tokenizer>(std::move(made));
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
  return {};
}

Result<void> Tokenizer::index() {
  std::vector<SpecialTokens::Entry> special;
  text_.reserve(vocabulary_.tokens.size());
  sorted_.reserve(vocabulary_.tokens.size());
  for (size_t i = 0; i < vocabulary_.tokens.size(); ++i) {
    const std::string& token = vocabulary_.tokens[i];
    const auto id = static_cast<int32_t>(i);
    sorted_.emplace_back(token, id);
    const int32_t type = vocabulary_.types.empty() ? int32_t{kTokenNormal} : vocabulary_.types[i];
    const bool whole = type == kTokenControl || type == kTokenUserDefined;
    if (whole && !token.empty()) special.push_back({token, id, type == kTokenControl});
    text_.push_back(whole                                           ? token
                    : type == kTokenUnused || type == kTokenUnknown ? ""
                                                                    : encoder_->bytes_of(token));
    token_bytes_max_ = std::max(token_bytes_max_, text_.back().size());
  }
  std::ranges::sort(sorted_);
  specials_ = std::make_unique<SpecialTokens>(std::move(special));
  return {};
}

void Tokenizer::collect_end_of_generation() {
  auto& ids = end_of_generation_;
  ids = vocabulary_.end_of_generation;
  ids.push_back(vocabulary_.eos);
  for (const std::string_view name : kEndNames)
    if (const int32_t id = id_of(name); id >= 0 && is_control(id)) ids.push_back(id);
  std::erase_if(ids, [](int32_t id) { return id < 0; });
  std::ranges::sort(ids);
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
}

Result<std::vector<int32_t>> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  std::string repaired;
  if (text.size() <= kEncodeBytesMax && !is_valid_utf8(text)) {
    repaired = repair_utf8(text);
    text = repaired;
  }
  const std::pair<size_t, size_t> all(0, text.size());
  return encode_joined(text, options.parse_special ? std::span(&all, 0) : std::span(&all, 1),
                       options.add_special);
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
  return encode_joined(text, plain, add_special);
}

Result<std::vector<int32_t>> Tokenizer::encode_joined(
    std::string_view text, std::span<const std::pair<size_t, size_t>> plain,
    bool add_special) const {
  if (text.size() > kEncodeBytesMax)
    return Error(ErrorCode::kTooLarge,
                 fmt::format("the text has {} bytes; at most {} can be tokenized", text.size(),
                             kEncodeBytesMax));
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 3 + 2);
  if (add_special && vocabulary_.add_bos && vocabulary_.bos >= 0) ids.push_back(vocabulary_.bos);
  for (size_t at = 0; at < text.size();) {
    const auto match = specials_->find(text, at, plain);
    const size_t end = match ? match->begin : text.size();
    if (end > at) ALTLAS_TRY_VOID(encoder_->encode(text.substr(at, end - at), at == 0, ids));
    if (match) ids.push_back(match->id);
    at = match ? match->end : end;
  }
  if (add_special && vocabulary_.add_eos && vocabulary_.eos >= 0) ids.push_back(vocabulary_.eos);
  return ids;
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
  const auto it = std::ranges::lower_bound(sorted_, std::pair(token, int32_t{0}));
  return it != sorted_.end() && it->first == token ? it->second : -1;
}

}  // namespace altlas::text
