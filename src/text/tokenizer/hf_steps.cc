#include "text/tokenizer/hf_steps.h"

#include <array>
#include <functional>

#include "text/tokenizer/families.h"
#include "text/tokenizer/hf_json.h"

namespace altlas::text::hf {
namespace {

constexpr int kNestingMax = 8;
constexpr std::string_view kPunctuation = R"([\p{P}!-/:-@\[-`{-~])";

// Calls read(object, type) for `value`, or for each part if it is a Sequence.
Result<void> each_step(
    const json::value* value, std::string_view where, std::string_view list, int depth,
    const std::function<Result<void>(const json::object&, std::string_view)>& read) {
  if (value == nullptr || value->is_null()) return {};
  ALTLAS_TRY(const json::object* object, object_of(value, where));
  ALTLAS_TRY(const std::string type, string_or(*object, "type", "", where));
  if (type != "Sequence") return read(*object, type);
  const json::value* parts = member(*object, list);
  if (parts == nullptr || !parts->is_array())
    return invalid(fmt::format("tokenizer.json: a Sequence in {} needs {}", where, list));
  if (depth == kNestingMax || parts->get_array().size() > kStepsMax)
    return invalid(fmt::format("tokenizer.json: {} is nested deeper than {} or longer than {}",
                               where, kNestingMax, kStepsMax));
  for (const json::value& part : parts->get_array())
    ALTLAS_TRY_VOID(each_step(&part, where, list, depth + 1, read));
  return {};
}

// Reads {"String": "x"} or {"Regex": "x"}.
Result<void> read_pattern(const json::object& object, std::string_view where, std::string& pattern,
                          bool& is_regex) {
  const json::value* found = member(object, "pattern");
  if (found != nullptr && found->is_string() && !found->get_string().empty()) {
    pattern = view(found->get_string());
    is_regex = false;
    return {};
  }
  ALTLAS_TRY(const json::object* inner, object_of(found, where));
  const json::value* regex = member(*inner, "Regex");
  const json::value* text = member(*inner, "String");
  const json::value* either = regex != nullptr ? regex : text;
  if (either == nullptr || !either->is_string() || either->get_string().empty())
    return invalid(fmt::format("tokenizer.json: {}.pattern must hold a String or a Regex", where));
  pattern = view(either->get_string());
  is_regex = regex != nullptr;
  return {};
}

Result<void> read_normalizer_step(const json::object& object, std::string_view type, Steps& steps) {
  struct Simple {
    std::string_view type;
    NormalizerStep::Kind kind;
  };
  constexpr std::array<Simple, 7> kSimple = {{{"NFC", NormalizerStep::kNfc},
                                              {"NFD", NormalizerStep::kNfd},
                                              {"NFKC", NormalizerStep::kNfkc},
                                              {"NFKD", NormalizerStep::kNfkd},
                                              {"Lowercase", NormalizerStep::kLowercase},
                                              {"StripAccents", NormalizerStep::kStripAccents},
                                              {"Nmt", NormalizerStep::kNmt}}};
  constexpr std::string_view kWhere = "normalizer";
  NormalizerStep step;
  const auto simple = std::ranges::find(kSimple, type, &Simple::type);
  if (simple != kSimple.end()) {
    step.kind = simple->kind;
  } else if (type == "Strip") {
    step.kind = NormalizerStep::kStrip;
    ALTLAS_TRY(step.left, bool_or(object, "strip_left", true, kWhere));
    ALTLAS_TRY(step.right, bool_or(object, "strip_right", true, kWhere));
  } else if (type == "Replace") {
    step.kind = NormalizerStep::kReplace;
    ALTLAS_TRY_VOID(read_pattern(object, kWhere, step.pattern, step.is_regex));
    ALTLAS_TRY(step.content, string_or(object, "content", "", kWhere));
  } else if (type == "Prepend") {
    step.kind = NormalizerStep::kPrepend;
    ALTLAS_TRY(step.content, string_or(object, "prepend", "", kWhere));
  } else if (type == "BertNormalizer") {
    step.kind = NormalizerStep::kBert;
    ALTLAS_TRY(step.clean_text, bool_or(object, "clean_text", true, kWhere));
    ALTLAS_TRY(step.chinese_chars, bool_or(object, "handle_chinese_chars", true, kWhere));
    ALTLAS_TRY(step.lowercase, bool_or(object, "lowercase", true, kWhere));
    ALTLAS_TRY(step.strip_accents, bool_or(object, "strip_accents", step.lowercase, kWhere));
  } else if (type == "Precompiled") {
    step.kind = NormalizerStep::kCharsmap;
    ALTLAS_TRY(const std::string base64, string_or(object, "precompiled_charsmap", "", kWhere));
    ALTLAS_TRY(step.content, decode_base64(base64));
  } else {
    return invalid(fmt::format(
        "tokenizer.json: unknown normalizer '{}'; supported are Sequence, NFC, NFD, NFKC, NFKD, "
        "Lowercase, StripAccents, Strip, Replace, Prepend, BertNormalizer, Nmt, Precompiled",
        type));
  }
  steps.normalizers.push_back(std::move(step));
  return {};
}

Result<SplitBehavior> read_behavior(const json::object& object, std::string_view fallback) {
  ALTLAS_TRY(const std::string name, string_or(object, "behavior", fallback, "pre_tokenizer"));
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  return invalid(
      fmt::format("tokenizer.json: unknown split behavior '{}'; supported are Removed, "
                  "Isolated, MergedWithPrevious, MergedWithNext, Contiguous",
                  name));
}

Result<PrefixScheme> read_scheme(const json::object& object, std::string_view where) {
  ALTLAS_TRY(const bool old, bool_or(object, "add_prefix_space", true, where));
  ALTLAS_TRY(const std::string name,
             string_or(object, "prepend_scheme", old ? "always" : "never", where));
  if (name == "always") return PrefixScheme::kAlways;
  if (name == "first") return PrefixScheme::kFirst;
  if (name == "never") return PrefixScheme::kNever;
  return invalid(fmt::format(
      "tokenizer.json: unknown prepend_scheme '{}'; supported are always, first, never", name));
}

Result<void> read_byte_level(const json::object& object, Steps& steps) {
  ALTLAS_TRY(const bool prefix, bool_or(object, "add_prefix_space", true, "pre_tokenizer"));
  ALTLAS_TRY(const bool regex, bool_or(object, "use_regex", true, "pre_tokenizer"));
  if (steps.byte_level) return invalid("tokenizer.json: ByteLevel stands twice in pre_tokenizer");
  if (prefix) steps.splits.push_back({.kind = SplitStep::kPrefixSpace});
  if (regex) steps.splits.push_back({.pattern = std::string(gpt2_expression())});
  steps.byte_level = true;
  return {};
}

Result<void> read_split(const json::object& object, std::string_view type, Steps& steps) {
  constexpr std::string_view kWhere = "pre_tokenizer";
  SplitStep step;
  // Steps after ByteLevel see the letters that stand for bytes.
  step.on_letters = steps.byte_level;
  if (type == "ByteLevel") return read_byte_level(object, steps);
  if (type == "Split") {
    ALTLAS_TRY_VOID(read_pattern(object, kWhere, step.pattern, step.is_regex));
    ALTLAS_TRY(step.behavior, read_behavior(object, ""));
    ALTLAS_TRY(step.invert, bool_or(object, "invert", false, kWhere));
  } else if (type == "Metaspace") {
    step.kind = SplitStep::kMetaspace;
    ALTLAS_TRY(step.pattern, string_or(object, "replacement", "▁", kWhere));
    ALTLAS_TRY(step.prefix, read_scheme(object, kWhere));
    ALTLAS_TRY(step.split, bool_or(object, "split", true, kWhere));
    if (step.on_letters) return invalid("tokenizer.json: Metaspace after ByteLevel");
  } else if (type == "Whitespace") {
    step.pattern = R"(\w+|[^\w\s]+)";
    step.behavior = SplitBehavior::kRemoved;
    step.invert = true;
  } else if (type == "WhitespaceSplit") {
    step.pattern = R"(\s)";
    step.behavior = SplitBehavior::kRemoved;
  } else if (type == "BertPreTokenizer") {
    step.pattern = R"(\s)";
    step.behavior = SplitBehavior::kRemoved;
    steps.splits.push_back(step);
    step.pattern = kPunctuation;
    step.behavior = SplitBehavior::kIsolated;
  } else if (type == "Punctuation") {
    step.pattern = kPunctuation;
    ALTLAS_TRY(step.behavior, read_behavior(object, "Isolated"));
  } else if (type == "Digits") {
    step.pattern = R"(\p{N})";
    ALTLAS_TRY(const bool individual, bool_or(object, "individual_digits", false, kWhere));
    step.behavior = individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous;
  } else if (type == "CharDelimiterSplit") {
    ALTLAS_TRY(step.pattern, string_or(object, "delimiter", "", kWhere));
    step.is_regex = false;
    step.behavior = SplitBehavior::kRemoved;
  } else {
    return invalid(fmt::format(
        "tokenizer.json: unknown pre-tokenizer '{}'; supported are Sequence, ByteLevel, Split, "
        "Metaspace, Whitespace, WhitespaceSplit, BertPreTokenizer, Punctuation, Digits, "
        "CharDelimiterSplit",
        type));
  }
  steps.splits.push_back(std::move(step));
  return {};
}

// Reads ["[SEP]", 102], as in BertProcessing and RobertaProcessing.
Result<int32_t> read_pair_id(const json::object& object, std::string_view name) {
  const json::value* found = member(object, name);
  if (found == nullptr || !found->is_array() || found->get_array().size() != 2 ||
      !found->get_array()[1].is_int64())
    return invalid(fmt::format("tokenizer.json: post_processor.{} must be [token, id]", name));
  return static_cast<int32_t>(found->get_array()[1].get_int64());
}

Result<void> read_template_part(const json::object& part, const json::object* special, bool& seen,
                                Steps& steps) {
  if (member(part, "Sequence") != nullptr) {
    if (seen) return invalid("tokenizer.json: the text stands twice in post_processor.single");
    seen = true;
    return {};
  }
  ALTLAS_TRY(const json::object* token,
             object_of(member(part, "SpecialToken"), "post_processor.single"));
  ALTLAS_TRY(const std::string name, string_or(*token, "id", "", "post_processor.single"));
  const json::value* entry = special == nullptr ? nullptr : member(*special, name);
  const json::value* ids =
      entry != nullptr && entry->is_object() ? member(entry->get_object(), "ids") : nullptr;
  if (ids == nullptr || !ids->is_array() || ids->get_array().size() > kStepsMax)
    return invalid(
        fmt::format("tokenizer.json: post_processor.special_tokens has no ids of '{}'", name));
  for (const json::value& id : ids->get_array()) {
    if (!id.is_int64() || id.get_int64() < 0 || id.get_int64() > INT32_MAX)
      return invalid(fmt::format("tokenizer.json: an id of '{}' is no token id", name));
    (seen ? steps.after : steps.before).push_back(static_cast<int32_t>(id.get_int64()));
  }
  return {};
}

Result<void> read_template(const json::object& object, Steps& steps) {
  const json::value* single = member(object, "single");
  if (single == nullptr || !single->is_array() || single->get_array().size() > kStepsMax)
    return invalid("tokenizer.json: post_processor.single must be a list of parts");
  const json::value* special = member(object, "special_tokens");
  bool seen = false;
  for (const json::value& part : single->get_array()) {
    ALTLAS_TRY(const json::object* parts, object_of(&part, "post_processor.single"));
    ALTLAS_TRY_VOID(read_template_part(*parts, special != nullptr ? special->if_object() : nullptr,
                                       seen, steps));
  }
  if (!seen) return invalid("tokenizer.json: post_processor.single has no place for the text");
  return {};
}

Result<void> read_processor(const json::object& object, std::string_view type, Steps& steps) {
  if (type == "ByteLevel") return {};  // It only moves offsets.
  if (type == "TemplateProcessing") return read_template(object, steps);
  if (type == "BertProcessing" || type == "RobertaProcessing") {
    ALTLAS_TRY(const int32_t cls, read_pair_id(object, "cls"));
    ALTLAS_TRY(const int32_t sep, read_pair_id(object, "sep"));
    steps.before = {cls};
    steps.after = {sep};
    return {};
  }
  return invalid(
      fmt::format("tokenizer.json: unknown post-processor '{}'; supported are Sequence, ByteLevel, "
                  "TemplateProcessing, BertProcessing, RobertaProcessing",
                  type));
}

Result<void> read_decoder_step(const json::object& object, std::string_view type, Steps& steps) {
  constexpr std::string_view kWhere = "decoder";
  if (type == "ByteFallback" || type == "Fuse") return {};
  if (type == "ByteLevel") {
    steps.decoder = DecoderKind::kByteLevel;
  } else if (type == "Metaspace") {
    steps.decoder = DecoderKind::kMetaspace;
    ALTLAS_TRY(steps.space, string_or(object, "replacement", "▁", kWhere));
    if (steps.space.empty())
      return invalid("tokenizer.json: decoder.replacement must be a character");
    ALTLAS_TRY(const PrefixScheme scheme, read_scheme(object, kWhere));
    steps.strip_first_space = scheme != PrefixScheme::kNever;
  } else if (type == "WordPiece") {
    steps.decoder = DecoderKind::kWordPiece;
    ALTLAS_TRY(steps.cleanup, bool_or(object, "cleanup", true, kWhere));
    steps.strip_first_space = true;
  } else if (type == "Replace") {
    bool is_regex = false;
    ALTLAS_TRY_VOID(read_pattern(object, kWhere, steps.space, is_regex));
    ALTLAS_TRY(const std::string content, string_or(object, "content", "", kWhere));
    if (is_regex || content != " ")
      return invalid("tokenizer.json: decoder Replace is supported only for a String by ' '");
    steps.decoder = DecoderKind::kMetaspace;
  } else if (type == "Strip") {
    ALTLAS_TRY(const std::string content, string_or(object, "content", "", kWhere));
    ALTLAS_TRY(const int64_t start, integer_or(object, "start", 0, kWhere));
    ALTLAS_TRY(const int64_t stop, integer_or(object, "stop", 0, kWhere));
    if (content != " " || start < 0 || start > 1 || stop != 0)
      return invalid("tokenizer.json: decoder Strip is supported only for one ' ' at the start");
    steps.strip_first_space = start == 1;
  } else {
    return invalid(
        fmt::format("tokenizer.json: unknown decoder '{}'; supported are Sequence, ByteLevel, "
                    "Metaspace, WordPiece, Replace, Strip, ByteFallback, Fuse",
                    type));
  }
  return {};
}

}  // namespace

Result<void> read_normalizer(const json::value* value, Steps& steps) {
  return each_step(value, "normalizer", "normalizers", 0,
                   [&](const json::object& object, std::string_view type) {
                     return read_normalizer_step(object, type, steps);
                   });
}

Result<void> read_pre_tokenizer(const json::value* value, Steps& steps) {
  return each_step(value, "pre_tokenizer", "pretokenizers", 0,
                   [&](const json::object& object, std::string_view type) {
                     return read_split(object, type, steps);
                   });
}

Result<void> read_post_processor(const json::value* value, Steps& steps) {
  return each_step(value, "post_processor", "processors", 0,
                   [&](const json::object& object, std::string_view type) {
                     return read_processor(object, type, steps);
                   });
}

Result<void> read_decoder(const json::value* value, Steps& steps) {
  return each_step(value, "decoder", "decoders", 0,
                   [&](const json::object& object, std::string_view type) {
                     return read_decoder_step(object, type, steps);
                   });
}

}  // namespace altlas::text::hf
