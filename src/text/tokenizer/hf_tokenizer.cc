#include "text/tokenizer/hf_tokenizer.h"

#include <algorithm>
#include <array>

#include "base/utf8.h"
#include "text/tokenizer/hf_json.h"
#include "text/tokenizer/hf_steps.h"
#include "text/tokenizer/tokenizer.h"
#include "text/tokenizer/word_model.h"

namespace altlas::text {
namespace {

using hf::member;
using hf::view;
namespace json = boost::json;

constexpr size_t kJsonDepthMax = 64;

Result<json::value> parse(const std::string& text, std::string_view file) {
  if (text.size() > kTokenizerJsonBytesMax)
    return Error(ErrorCode::kTooLarge, fmt::format("{} has {} bytes; at most {} can be used", file,
                                                   text.size(), kTokenizerJsonBytesMax));
  json::error_code error;
  json::parse_options options;
  options.max_depth = kJsonDepthMax;
  json::value value = json::parse({text.data(), text.size()}, error,
                                  json::make_shared_resource<json::monotonic_resource>(), options);
  if (error) return invalid(fmt::format("{} is not JSON: {}", file, error.message()));
  if (!value.is_object()) return invalid(fmt::format("{} must hold an object", file));
  return value;
}

// Reads one tokenizer.json and the files beside it.
class Reader {
 public:
  Result<HfTokenizer> read(const HfTokenizerFiles& files);

 private:
  Result<void> read_model(const json::object& model);
  Result<void> read_bpe(const json::object& model);
  Result<void> read_unigram(const json::object& model);
  Result<void> read_word_piece(const json::object& model);
  Result<void> read_vocabulary(const json::object& model);
  Result<void> read_merges(const json::object& model);
  Result<void> check_merges() const;
  Result<void> read_added_tokens(const json::value* list);
  Result<void> read_added_token(const json::object& token, int64_t id);
  void read_config(const json::object& config);
  void read_named_tokens(const json::object& config);
  void read_generation_config(const json::object& config);
  Result<void> put(int64_t id, std::string_view token);
  int32_t find(std::string_view token) const;

  Vocabulary vocabulary_ = {.model = "tokenizer.json"};
  Steps steps_;
  // These are views of the file's text.
  std::vector<std::string_view> tokens_;                       // By id.
  // The tokens of the model's vocabulary, sorted by text.
  std::vector<std::pair<std::string_view, int32_t>> by_text_;
  std::string chat_template_;
};

Result<void> Reader::put(int64_t id, std::string_view token) {
  if (id < 0 || static_cast<uint64_t>(id) >= kVocabularyTokensMax)
    return invalid(fmt::format("tokenizer.json: token '{}' has id {}; 0 to {} can be used",
                               token.substr(0, 64), id, kVocabularyTokensMax - 1));
  const auto at = static_cast<size_t>(id);
  if (at >= tokens_.size()) {
    tokens_.resize(at + 1);
    vocabulary_.types.resize(at + 1, kTokenUnused);  // Ids without a token stay unused.
  }
  tokens_[at] = token;
  vocabulary_.types[at] = kTokenNormal;
  return {};
}

int32_t Reader::find(std::string_view token) const {
  const auto it = std::ranges::lower_bound(by_text_, std::pair(token, int32_t{0}));
  return it != by_text_.end() && it->first == token ? it->second : -1;
}

Result<void> Reader::read_vocabulary(const json::object& model) {
  ALTLAS_TRY(const json::object* vocab, hf::object_of(member(model, "vocab"), "model.vocab"));
  size_t ids = 0;
  for (const auto& [token, id] : *vocab) {
    if (!id.is_int64())
      return invalid(fmt::format("tokenizer.json: model.vocab['{}'] must be an id",
                                 std::string_view(token.data(), token.size()).substr(0, 64)));
    // A file with few tokens must not ask for memory for many.
    if (id.get_int64() >= 0 && static_cast<uint64_t>(id.get_int64()) > 16 * vocab->size() + 65536)
      return invalid(fmt::format("tokenizer.json: id {} in a vocabulary of {} tokens",
                                 id.get_int64(), vocab->size()));
    ALTLAS_TRY_VOID(put(id.get_int64(), {token.data(), token.size()}));
    ++ids;
  }
  if (ids == 0) return invalid("tokenizer.json: model.vocab has no token");
  return {};
}

Result<void> Reader::read_merges(const json::object& model) {
  const json::value* merges = member(model, "merges");
  if (merges == nullptr || !merges->is_array())
    return invalid("tokenizer.json: model.merges must be a list");
  for (const json::value& merge : merges->get_array()) {
    if (merge.is_string()) {
      vocabulary_.merges.push_back(view(merge.get_string()));
      continue;
    }
    const json::array* pair = merge.if_array();
    if (pair == nullptr || pair->size() != 2 || !(*pair)[0].is_string() || !(*pair)[1].is_string())
      return invalid(
          fmt::format("tokenizer.json: merge {} must be two tokens", vocabulary_.merges.size()));
    const std::string_view left = view((*pair)[0].get_string());
    const std::string_view right = view((*pair)[1].get_string());
    if (left.find(' ') != left.npos || right.find(' ') != right.npos)
      return invalid(fmt::format("tokenizer.json: merge {} has tokens with spaces: '{}' and '{}'",
                                 vocabulary_.merges.size(), left, right));
    vocabulary_.merges.push_back(fmt::format("{} {}", left, right));
  }
  return {};
}

// Without merges a text becomes single characters only; a vocabulary of bytes needs no more.
Result<void> Reader::check_merges() const {
  if (steps_.model != ModelKind::kBpe || !vocabulary_.merges.empty() || steps_.ignore_merges)
    return {};
  for (size_t i = 0; i < tokens_.size(); ++i) {
    if (vocabulary_.types[i] != kTokenNormal || static_cast<int32_t>(i) == vocabulary_.unk ||
        count_code_points(tokens_[i]) <= 1)
      continue;
    return invalid(
        fmt::format("tokenizer.json: model.merges is empty: no text makes '{}' or another token of "
                    "several characters without",
                    tokens_[i].substr(0, 64)));
  }
  return {};
}

Result<void> Reader::read_bpe(const json::object& model) {
  for (const std::string_view name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    ALTLAS_TRY(const std::string affix, hf::string_or(model, name, "", "model"));
    if (!affix.empty())
      return invalid(fmt::format(
          "tokenizer.json: model.{} '{}' is not supported, only BPE without affixes", name, affix));
  }
  if (const json::value* dropout = member(model, "dropout");
      dropout != nullptr && !(dropout->is_number() && dropout->to_number<double>() == 0))
    return invalid("tokenizer.json: model.dropout is not supported: ids would be random");
  ALTLAS_TRY(steps_.byte_fallback, hf::bool_or(model, "byte_fallback", false, "model"));
  ALTLAS_TRY(steps_.fuse_unk, hf::bool_or(model, "fuse_unk", false, "model"));
  ALTLAS_TRY(steps_.ignore_merges, hf::bool_or(model, "ignore_merges", false, "model"));
  ALTLAS_TRY_VOID(read_vocabulary(model));
  return read_merges(model);
}

Result<void> Reader::read_unigram(const json::object& model) {
  steps_.model = ModelKind::kUnigram;
  ALTLAS_TRY(steps_.byte_fallback, hf::bool_or(model, "byte_fallback", false, "model"));
  const json::value* vocab = member(model, "vocab");
  if (vocab == nullptr || !vocab->is_array() || vocab->get_array().empty())
    return invalid("tokenizer.json: model.vocab of a Unigram must be a list of [token, score]");
  for (const json::value& item : vocab->get_array()) {
    const json::array* pair = item.if_array();
    if (pair == nullptr || pair->size() != 2 || !(*pair)[0].is_string() || !(*pair)[1].is_number())
      return invalid(fmt::format("tokenizer.json: model.vocab[{}] must be [token, score]",
                                 steps_.unigram_scores.size()));
    ALTLAS_TRY_VOID(
        put(static_cast<int64_t>(steps_.unigram_scores.size()), view((*pair)[0].get_string())));
    steps_.unigram_scores.push_back((*pair)[1].to_number<double>());
  }
  ALTLAS_TRY(const int64_t unk, hf::integer_or(model, "unk_id", -1, "model"));
  if (unk < -1 || unk >= static_cast<int64_t>(tokens_.size()))
    return invalid(fmt::format("tokenizer.json: model.unk_id {} is no token", unk));
  vocabulary_.unk = static_cast<int32_t>(unk);
  // No text spells the unknown token.
  if (unk >= 0) vocabulary_.types[static_cast<size_t>(unk)] = kTokenUnknown;
  return {};
}

Result<void> Reader::read_word_piece(const json::object& model) {
  steps_.model = ModelKind::kWordPiece;
  ALTLAS_TRY(steps_.subword_prefix,
             hf::string_or(model, "continuing_subword_prefix", "##", "model"));
  ALTLAS_TRY(const int64_t chars, hf::integer_or(model, "max_input_chars_per_word", 100, "model"));
  if (chars < 1 || chars > 1 << 20)
    return invalid(fmt::format("tokenizer.json: model.max_input_chars_per_word is {}", chars));
  steps_.word_chars_max = static_cast<size_t>(chars);
  return read_vocabulary(model);
}

Result<void> Reader::read_model(const json::object& model) {
  // Old files leave the type out; only BPE has merges.
  ALTLAS_TRY(const std::string type,
             hf::string_or(model, "type", model.contains("merges") ? "BPE" : "", "model"));
  if (type == "BPE") {
    ALTLAS_TRY_VOID(read_bpe(model));
  } else if (type == "Unigram") {
    ALTLAS_TRY_VOID(read_unigram(model));
  } else if (type == "WordPiece") {
    ALTLAS_TRY_VOID(read_word_piece(model));
  } else {
    return invalid(fmt::format(
        "tokenizer.json: unknown model '{}'; supported are BPE, Unigram, WordPiece", type));
  }
  for (size_t i = 0; i < tokens_.size(); ++i) {
    if (vocabulary_.types[i] != kTokenNormal) continue;
    by_text_.emplace_back(tokens_[i], static_cast<int32_t>(i));
    if (steps_.byte_fallback && byte_of_token(tokens_[i]) >= 0) vocabulary_.types[i] = kTokenByte;
  }
  std::ranges::sort(by_text_);
  ALTLAS_TRY(const std::string unk, hf::string_or(model, "unk_token", "", "model"));
  if (!unk.empty()) vocabulary_.unk = find(unk);
  return {};
}

Result<void> Reader::read_added_token(const json::object& token, int64_t id) {
  constexpr std::string_view kWhere = "added_tokens";
  ALTLAS_TRY_VOID(hf::string_or(token, "content", "", kWhere));
  const json::value* spelled = member(token, "content");
  const std::string_view content =
      spelled == nullptr ? std::string_view() : view(spelled->get_string());
  ALTLAS_TRY(const bool special, hf::bool_or(token, "special", false, kWhere));
  WholeTokenRule rule;
  ALTLAS_TRY(rule.strip_left, hf::bool_or(token, "lstrip", false, kWhere));
  ALTLAS_TRY(rule.strip_right, hf::bool_or(token, "rstrip", false, kWhere));
  ALTLAS_TRY(rule.single_word, hf::bool_or(token, "single_word", false, kWhere));
  ALTLAS_TRY(rule.normalized, hf::bool_or(token, "normalized", !special, kWhere));
  if (content.empty()) return {};
  if (id > static_cast<int64_t>(tokens_.size()) + 65536)
    return invalid(fmt::format("tokenizer.json: added token '{}' has id {} after {} tokens",
                               content.substr(0, 64), id, tokens_.size()));
  ALTLAS_TRY_VOID(put(id, content));
  vocabulary_.types[static_cast<size_t>(id)] = special ? kTokenControl : kTokenUserDefined;
  rule.id = static_cast<int32_t>(id);
  steps_.rules.push_back(rule);
  return {};
}

Result<void> Reader::read_added_tokens(const json::value* list) {
  if (list == nullptr) return {};
  if (!list->is_array()) return invalid("tokenizer.json: added_tokens must be a list");
  std::vector<std::pair<int64_t, const json::object*>> tokens;
  for (const json::value& item : list->get_array()) {
    ALTLAS_TRY(const json::object* token, hf::object_of(&item, "added_tokens[]"));
    ALTLAS_TRY(const int64_t id, hf::integer_or(*token, "id", -1, "added_tokens"));
    tokens.emplace_back(id, token);
  }
  std::ranges::stable_sort(tokens, {}, &std::pair<int64_t, const json::object*>::first);
  for (const auto& [id, token] : tokens) ALTLAS_TRY_VOID(read_added_token(*token, id));
  return {};
}

// Returns the text of "<s>" or of {"content": "<s>", ...}.
std::string_view token_text(const json::value* value) {
  if (value != nullptr && value->is_object()) value = member(value->get_object(), "content");
  return value != nullptr && value->is_string() ? view(value->get_string()) : std::string_view();
}

// Tokens that a config names are special tokens, whatever tokenizer.json says.
void Reader::read_named_tokens(const json::object& config) {
  struct Named {
    std::string_view key;
    int32_t Vocabulary::* id;
  };
  constexpr std::array<Named, 7> kNamed = {{{"bos_token", &Vocabulary::bos},
                                            {"eos_token", &Vocabulary::eos},
                                            {"pad_token", &Vocabulary::pad},
                                            {"cls_token", &Vocabulary::cls},
                                            {"sep_token", &Vocabulary::sep},
                                            {"unk_token", nullptr},
                                            {"mask_token", nullptr}}};
  for (const Named& named : kNamed) {
    const std::string_view text = token_text(member(config, named.key));
    if (text.empty()) continue;
    int32_t id = find(text);
    for (const WholeTokenRule& rule : steps_.rules)
      if (tokens_[static_cast<size_t>(rule.id)] == text) id = rule.id;
    if (id < 0) continue;
    vocabulary_.types[static_cast<size_t>(id)] = kTokenControl;
    if (named.id != nullptr) vocabulary_.*named.id = id;
  }
}

void Reader::read_config(const json::object& config) {
  read_named_tokens(config);
  const json::value* found = member(config, "chat_template");
  if (found == nullptr) return;
  if (found->is_string()) chat_template_ = view(found->get_string());
  if (!found->is_array()) return;
  // If there are several templates, the one named "default" is taken.
  for (const json::value& item : found->get_array()) {
    const json::object* entry = item.if_object();
    if (entry == nullptr || token_text(member(*entry, "name")) != "default") continue;
    chat_template_ = token_text(member(*entry, "template"));
  }
}

void Reader::read_generation_config(const json::object& config) {
  const json::value* eos = member(config, "eos_token_id");
  const auto add = [&](const json::value& id) {
    if (!id.is_int64() || id.get_int64() < 0 ||
        id.get_int64() >= static_cast<int64_t>(tokens_.size()))
      return;
    vocabulary_.end_of_generation.push_back(static_cast<int32_t>(id.get_int64()));
    if (vocabulary_.eos < 0) vocabulary_.eos = static_cast<int32_t>(id.get_int64());
  };
  if (eos == nullptr) return;
  if (!eos->is_array()) return add(*eos);
  for (const json::value& id : eos->get_array()) add(id);
}

Result<HfTokenizer> Reader::read(const HfTokenizerFiles& files) {
  ALTLAS_TRY(const json::value root, parse(files.tokenizer_json, "tokenizer.json"));
  const json::object& object = root.get_object();
  ALTLAS_TRY(const json::object* model, hf::object_of(member(object, "model"), "model"));
  ALTLAS_TRY_VOID(read_model(*model));
  ALTLAS_TRY_VOID(read_added_tokens(member(object, "added_tokens")));
  ALTLAS_TRY_VOID(hf::read_normalizer(member(object, "normalizer"), steps_));
  ALTLAS_TRY_VOID(hf::read_pre_tokenizer(member(object, "pre_tokenizer"), steps_));
  ALTLAS_TRY_VOID(hf::read_post_processor(member(object, "post_processor"), steps_));
  ALTLAS_TRY_VOID(hf::read_decoder(member(object, "decoder"), steps_));
  if (!files.special_tokens_map_json.empty()) {
    ALTLAS_TRY(const json::value map,
               parse(files.special_tokens_map_json, "special_tokens_map.json"));
    read_named_tokens(map.get_object());
  }
  if (!files.tokenizer_config_json.empty()) {
    ALTLAS_TRY(const json::value config,
               parse(files.tokenizer_config_json, "tokenizer_config.json"));
    read_config(config.get_object());
  }
  if (!files.generation_config_json.empty()) {
    ALTLAS_TRY(const json::value config,
               parse(files.generation_config_json, "generation_config.json"));
    read_generation_config(config.get_object());
  }
  ALTLAS_TRY_VOID(check_merges());
  if (!files.chat_template_jinja.empty()) chat_template_ = files.chat_template_jinja;
  if (!is_valid_utf8(chat_template_)) return invalid("the chat template is not UTF-8");
  vocabulary_.tokens = tokens_;
  vocabulary_.add_bos = !steps_.before.empty() && steps_.before.front() == vocabulary_.bos;
  vocabulary_.add_eos = !steps_.after.empty() && steps_.after.back() == vocabulary_.eos;
  vocabulary_.steps = std::move(steps_);
  by_text_.clear();
  return HfTokenizer{std::move(vocabulary_), std::move(chat_template_)};
}

}  // namespace

Result<std::string> hf::decode_base64(std::string_view text) {
  const auto value_of = [](char c) -> int32_t {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
  };
  while (text.ends_with('=')) text.remove_suffix(1);
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const int32_t value = value_of(c);
    if (value < 0) return invalid("tokenizer.json: precompiled_charsmap is not base64");
    bits = (bits << 6) | static_cast<uint32_t>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out += static_cast<char>((bits >> count) & 0xFF);
  }
  return out;
}

Result<HfTokenizer> read_hf_tokenizer(const HfTokenizerFiles& files) {
  if (files.tokenizer_json.empty()) return not_found("the folder has no tokenizer.json");
  return Reader().read(files);
}

}  // namespace altlas::text
