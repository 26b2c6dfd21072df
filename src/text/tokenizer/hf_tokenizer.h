// A tokenizer and its chat template, from the files of a Hugging Face folder.
#pragma once

#include <string>

#include "base/result.h"
#include "text/tokenizer/vocabulary.h"

namespace altlas::text {

// Texts of the folder's files; empty where it has none. Only tokenizer.json is needed.
struct HfTokenizerFiles {
  std::string tokenizer_json;
  std::string tokenizer_config_json;
  std::string special_tokens_map_json;
  std::string generation_config_json;
  std::string chat_template_jinja;
};

struct HfTokenizer {
  Vocabulary vocabulary;      // With its steps.
  std::string chat_template;  // Empty if the folder has none.
};

inline constexpr size_t kTokenizerJsonBytesMax = 256u << 20;

// What stands around a text is what tokenizer.json's post-processor says, as in transformers.
// Errors: kInvalid naming the file, the faulty part, and for a normalizer, pre-tokenizer, model,
// post-processor or decoder of an unknown type what is supported; kTooLarge.
Result<HfTokenizer> read_hf_tokenizer(const HfTokenizerFiles& files);

}  // namespace altlas::text
