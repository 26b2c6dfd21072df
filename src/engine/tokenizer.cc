#include "engine/tokenizer.h"

#include <utility>

#include "model/vocabulary.h"
#include "weights/gguf.h"

namespace altlas::engine {

Result<std::unique_ptr<const text::Tokenizer>> open_tokenizer(const std::string& path) {
  ALTLAS_TRY(const weights::GgufFile file, weights::GgufFile::open(path));
  ALTLAS_TRY(text::Vocabulary vocabulary, model::read_vocabulary(file));
  return text::Tokenizer::create(std::move(vocabulary));
}

}  // namespace altlas::engine
