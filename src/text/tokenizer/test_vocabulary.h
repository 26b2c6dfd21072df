// Vocabularies for this room's tests: the small trained one of testdata, and that of a GGUF file if
// there is one.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "text/tokenizer/vocabulary.h"

namespace altlas::text::testing_support {

// Lines of a file of testdata (or of an absolute path). Aborts if it can't be read.
std::vector<std::string> read_lines(const std::string& file);

// A byte-level BPE of 645 tokens, pre "qwen2".
Vocabulary tiny_vocabulary();

// From a GGUF file; nothing if it can't be read.
std::optional<Vocabulary> gguf_vocabulary(const std::string& path);
// From a GGUF file or a Hugging Face folder. Errors: kInvalid, kNotFound.
Result<Vocabulary> open_vocabulary(const std::string& path);
// From the GGUF file that ALTLAS_TEST_MODEL names; nothing if it is unset or can't be read.
std::optional<Vocabulary> model_vocabulary();

}  // namespace altlas::text::testing_support
