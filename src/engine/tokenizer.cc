#include "engine/tokenizer.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <utility>

#include "base/byte_order_mark.h"
#include "model/vocabulary.h"
#include "text/tokenizer/hf_tokenizer.h"
#include "weights/gguf.h"

namespace altlas::engine {
namespace {

namespace fs = std::filesystem;

// Returns the file's text, or "" if there is no such file.
Result<std::string> read_text(const fs::path& path) {
  std::error_code error;
  const uintmax_t size = fs::file_size(path, error);
  if (error) return std::string();
  if (size > text::kTokenizerJsonBytesMax)
    return Error(ErrorCode::kTooLarge,
                 fmt::format("{} has {} bytes; at most {} can be used", path.string(), size,
                             text::kTokenizerJsonBytesMax));
  std::ifstream in(path, std::ios::binary);
  std::string out(size, '\0');
  in.read(out.data(), static_cast<std::streamsize>(size));
  if (static_cast<uintmax_t>(in.gcount()) != size)
    return io_error(fmt::format("{} can't be read", path.string()));
  ALTLAS_TRY(const std::string_view plain, skip_byte_order_mark(out, path.string()));
  return std::string(plain);
}

// Only WordPiece models embed; all others answer, and must know when to end.
Result<void> check_ends(const text::Tokenizer& tokenizer, std::string_view key) {
  if (!tokenizer.end_of_generation().empty()) return {};
  return invalid(
      fmt::format("{} is missing, and no token is a known end: no answer would ever end", key),
      std::string(key));
}

Result<text::HfTokenizer> read_folder(const std::string& path) {
  text::HfTokenizerFiles files;
  const fs::path folder = path;
  ALTLAS_TRY(files.tokenizer_json, read_text(folder / "tokenizer.json"));
  ALTLAS_TRY(files.tokenizer_config_json, read_text(folder / "tokenizer_config.json"));
  ALTLAS_TRY(files.special_tokens_map_json, read_text(folder / "special_tokens_map.json"));
  ALTLAS_TRY(files.generation_config_json, read_text(folder / "generation_config.json"));
  ALTLAS_TRY(files.chat_template_jinja, read_text(folder / "chat_template.jinja"));
  auto read = text::read_hf_tokenizer(files);
  if (!read.ok()) return Error(read.error()).with_context(path);
  return read;
}

Result<ModelText> open_folder(const std::string& path, text::TokenizerUse use) {
  ALTLAS_TRY(text::HfTokenizer read, read_folder(path));
  ModelText out;
  out.chat_template = std::move(read.chat_template);
  const bool answers = read.vocabulary.steps->model != text::ModelKind::kWordPiece;
  ALTLAS_TRY(out.tokenizer, text::Tokenizer::create(std::move(read.vocabulary), use));
  if (answers) ALTLAS_TRY_VOID(check_ends(*out.tokenizer, "tokenizer_config.json: eos_token"));
  return out;
}

Result<ModelText> open_text(const std::string& path, text::TokenizerUse use) {
  std::error_code error;
  if (fs::is_directory(path, error)) return open_folder(path, use);
  ALTLAS_TRY(const weights::GgufFile file, weights::GgufFile::open(path));
  ALTLAS_TRY(text::Vocabulary vocabulary, model::read_vocabulary(file, use));
  ModelText out;
  ALTLAS_TRY(out.chat_template, model::read_chat_template(file));
  const bool answers = vocabulary.model != "bert";
  ALTLAS_TRY(out.tokenizer, text::Tokenizer::create(std::move(vocabulary), use));
  if (answers) ALTLAS_TRY_VOID(check_ends(*out.tokenizer, "tokenizer.ggml.eos_token_id"));
  return out;
}

}  // namespace

Result<ModelText> open_model_text(const std::string& path) {
  return open_text(path, text::TokenizerUse::kAll);
}

Result<std::string> open_chat_template(const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) {
    ALTLAS_TRY(text::HfTokenizer read, read_folder(path));
    return std::move(read.chat_template);
  }
  ALTLAS_TRY(const weights::GgufFile file, weights::GgufFile::open(path));
  return model::read_chat_template(file);
}

Result<std::unique_ptr<const text::Tokenizer>> open_detokenizer(const std::string& path) {
  ALTLAS_TRY(ModelText made, open_text(path, text::TokenizerUse::kDecode));
  return std::move(made.tokenizer);
}

}  // namespace altlas::engine
