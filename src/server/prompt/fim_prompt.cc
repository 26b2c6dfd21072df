#include "server/prompt/fim_prompt.h"

#include <fmt/format.h>

#include <algorithm>

namespace altlas::server {

namespace {

// llama-server's text between files, for models without a token for it.
constexpr std::string_view kSnippet = "\n\n--- snippet ---\n\n";
// llama-server's names for what the request does not name.
constexpr std::string_view kRepository = "myproject", kFile = "filename";

// A list of ids. Text is encoded as the continuation of what is there.
class Ids {
 public:
  explicit Ids(const text::Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  void token(int32_t id) {
    if (id >= 0) ids_.push_back(id);
  }
  void ids(const std::vector<int32_t>& more) { ids_.insert(ids_.end(), more.begin(), more.end()); }
  Result<void> text(std::string_view text) {
    ALTLAS_TRY(const std::vector<int32_t> more, tokenizer_.encode(text, {.continues = true}));
    ids(more);
    return {};
  }
  std::vector<int32_t>& get() { return ids_; }

 private:
  const text::Tokenizer& tokenizer_;
  std::vector<int32_t> ids_;
};

// Returns the files' ids, and the mark of the file with the gap.
Result<std::vector<int32_t>> encode_files(const text::Tokenizer& tokenizer,
                                          const std::vector<FimFile>& files) {
  const text::FimTokens& fim = tokenizer.fim();
  Ids out(tokenizer);
  if (files.empty()) return out.get();
  if (fim.repository >= 0) {
    out.token(fim.repository);
    ALTLAS_TRY_VOID(out.text(std::string(kRepository) + "\n"));
  }
  for (const FimFile& file : files) {
    out.token(fim.file);
    ALTLAS_TRY_VOID(out.text(fim.file >= 0 ? file.name + "\n" : std::string(kSnippet)));
    ALTLAS_TRY_VOID(out.text(file.text));
  }
  if (fim.file >= 0) {
    out.token(fim.file);
    ALTLAS_TRY_VOID(out.text(std::string(kFile) + "\n"));
  }
  return out.get();
}

}  // namespace

Result<std::vector<int32_t>> encode_gap(const text::Tokenizer& tokenizer,
                                        std::vector<int32_t> prefix, const Gap& gap,
                                        uint32_t tokens_max) {
  const text::FimTokens& fim = tokenizer.fim();
  Ids front(tokenizer), back(tokenizer);
  front.token(fim.prefix);
  front.ids(prefix);
  ALTLAS_TRY_VOID(front.text(gap.begun));
  back.token(fim.suffix);
  ALTLAS_TRY_VOID(back.text(gap.suffix));
  ALTLAS_TRY(const std::vector<int32_t> files, encode_files(tokenizer, gap.files));
  const int32_t bos = tokenizer.adds_bos() ? tokenizer.bos() : -1;
  const size_t taken = front.get().size() + back.get().size() + size_t{gap.answer_tokens} + 2;
  const size_t room = std::min(files.size(), tokens_max > taken ? tokens_max - taken : 0);
  Ids out(tokenizer);
  out.token(bos);
  out.ids({files.end() - static_cast<std::ptrdiff_t>(room), files.end()});
  out.ids(fim.suffix_first ? back.get() : front.get());
  out.ids(fim.suffix_first ? front.get() : back.get());
  if (!fim.suffix_first) out.token(fim.middle);
  return std::move(out.get());
}

Result<void> check_fills(const text::Tokenizer& tokenizer, const std::string& model,
                         const std::string& field) {
  if (tokenizer.fim().known()) return {};
  return invalid(fmt::format("{}: model '{}' has no tokens for filling in the middle: leave it out, "
                             "or name a model that has them, such as a coder",
                             field, model),
                 field);
}

}  // namespace altlas::server
