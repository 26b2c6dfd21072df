// The steps of the tokenizers that GGUF files name by `tokenizer.ggml.model` and `.pre`.
#pragma once

#include "base/result.h"
#include "text/tokenizer/steps.h"
#include "text/tokenizer/vocabulary.h"

namespace altlas::text {

// Errors: kInvalid naming the unknown model or pre-tokenizer and what is supported.
Result<Steps> steps_of_names(const Vocabulary& vocabulary);

// GPT-2's expression, ByteLevel's own.
std::string_view gpt2_expression();

}  // namespace altlas::text
