// The tokenizer's facts and the chat template, from a GGUF file's metadata.
#pragma once

#include <string>

#include "base/result.h"
#include "text/tokenizer/tokenizer.h"
#include "text/tokenizer/vocabulary.h"
#include "weights/gguf.h"

namespace altlas::model {

// Read for decoding it has no scores and no merges.  Errors: kNotFound for a file without a
// vocabulary; kInvalid for one that contradicts itself.
Result<text::Vocabulary> read_vocabulary(const weights::GgufFile& head,
                                         text::TokenizerUse use = text::TokenizerUse::kAll);
// `tokenizer.chat_template`, empty if the model has none.  Errors: kInvalid if it is not text.
Result<std::string> read_chat_template(const weights::GgufFile& head);

}  // namespace altlas::model
