// The tokenizer and the chat template of a model on disk.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "text/tokenizer/tokenizer.h"

namespace altlas::engine {

struct ModelText {
  std::unique_ptr<const text::Tokenizer> tokenizer;
  std::string chat_template;  // Jinja; empty if the model has none.
};

// `path`: a GGUF file, the first of a split model, or a Hugging Face folder with a tokenizer.json.
// Errors: as GgufFile::open, model::read_vocabulary, text::read_hf_tokenizer and Tokenizer::create;
// kTooLarge for a file beyond text::kTokenizerJsonBytesMax.
Result<ModelText> open_model_text(const std::string& path);

// Its chat template alone.
Result<std::string> open_chat_template(const std::string& path);

// Its tokenizer alone, for decoding only.
Result<std::unique_ptr<const text::Tokenizer>> open_detokenizer(const std::string& path);

}  // namespace altlas::engine
