// The tokenizer of a model file.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "text/tokenizer.h"

namespace altlas::engine {

// `path`: a GGUF file, or the first of a split model.
// Errors: as GgufFile::open, model::read_vocabulary and Tokenizer::create.
Result<std::unique_ptr<const text::Tokenizer>> open_tokenizer(const std::string& path);

}  // namespace altlas::engine
