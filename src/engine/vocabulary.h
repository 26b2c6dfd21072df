// The vocabulary of a model file, and the tokenizer made of it.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "text/tokenizer.h"
#include "text/vocabulary.h"
#include "weights/gguf.h"

namespace altlas::engine {

// Reads the keys tokenizer.ggml.*.  Errors: kInvalid, kNotFound naming the key.
Result<text::Vocabulary> read_vocabulary(const weights::GgufFile& file);
// Errors: as read_vocabulary, GgufFile::open and Tokenizer::create.
Result<std::unique_ptr<const text::Tokenizer>> open_tokenizer(const std::string& path);

}  // namespace altlas::engine
