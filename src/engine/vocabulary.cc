#include "engine/vocabulary.h"

#include <optional>
#include <utility>
#include <vector>

namespace altlas::engine {

namespace {

constexpr std::string_view kPrefix = "tokenizer.ggml.";

// Reads keys below tokenizer.ggml.; the first error is kept.
class Reader {
 public:
  explicit Reader(const weights::GgufFile& file) : file_(file) {}

  std::string text(std::string_view name, std::string_view fallback) {
    return std::string(keep(file_.string_or(key(name), fallback), fallback));
  }
  bool flag(std::string_view name, bool fallback) {
    return keep(file_.boolean_or(key(name), fallback), fallback);
  }
  // A token id, -1 where there is none.
  int32_t id(std::string_view name) {
    const int64_t value = keep(file_.int64_or(key(name), -1), int64_t{-1});
    // The converters write 2^32 - 1 for "none".
    return value < 0 || value > INT32_MAX ? -1 : static_cast<int32_t>(value);
  }
  std::vector<std::string> texts(std::string_view name, bool required) {
    if (!required && !file_.has(key(name))) return {};
    const auto views = keep(file_.strings(key(name)), {});
    return {views.begin(), views.end()};
  }
  std::vector<int32_t> integers(std::string_view name) {
    if (!file_.has(key(name))) return {};
    const auto values = keep(file_.integers(key(name)), {});
    return {values.begin(), values.end()};
  }
  std::vector<float> floats(std::string_view name) {
    if (!file_.has(key(name))) return {};
    return keep(file_.floats(key(name)), {});
  }
  Result<void> result() const { return error_ ? Result<void>(*error_) : Result<void>(); }

 private:
  static std::string key(std::string_view name) { return std::string(kPrefix) + std::string(name); }
  template <class T>
  T keep(Result<T> result, T fallback) {
    if (result.ok()) return std::move(result).value();
    if (!error_) error_ = result.error();
    return fallback;
  }
  const weights::GgufFile& file_;
  std::optional<Error> error_;
};

}  // namespace

Result<text::Vocabulary> read_vocabulary(const weights::GgufFile& file) {
  Reader reader(file);
  text::Vocabulary v;
  v.model = reader.text("model", "");
  v.pre = reader.text("pre", "");
  const bool sentence_piece = v.model == "llama";
  v.tokens = reader.texts("tokens", /*required=*/true);
  v.types = reader.integers("token_type");
  v.scores = reader.floats("scores");
  v.merges = reader.texts("merges", /*required=*/false);
  v.bos = reader.id("bos_token_id");
  v.eos = reader.id("eos_token_id");
  v.pad = reader.id("padding_token_id");
  v.unk = reader.id("unknown_token_id");
  for (const std::string_view name : {"eot_token_id", "eom_token_id"}) {
    if (const int32_t id = reader.id(name); id >= 0) v.end_of_generation.push_back(id);
  }
  v.add_bos = reader.flag("add_bos_token", sentence_piece);
  v.add_eos = reader.flag("add_eos_token", false);
  v.add_space_prefix = reader.flag("add_space_prefix", sentence_piece);
  ALTLAS_TRY_VOID(reader.result());
  return v;
}

Result<std::unique_ptr<const text::Tokenizer>> open_tokenizer(const std::string& path) {
  ALTLAS_TRY(const weights::GgufFile file, weights::GgufFile::open(path));
  ALTLAS_TRY(text::Vocabulary vocabulary, read_vocabulary(file));
  return text::Tokenizer::create(std::move(vocabulary));
}

}  // namespace altlas::engine
