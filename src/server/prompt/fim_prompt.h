// Prompts that ask for what stands between two texts, from the model's own tokens for it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "text/tokenizer/tokenizer.h"

namespace altlas::server {

// A file that the model sees before the one with the gap.
struct FimFile {
  std::string name;
  std::string text;
};

// What stands behind the gap, and around its file. Texts are content: no control token is read in
// them.
struct Gap {
  std::string suffix;
  std::string begun;  // What was written in the gap already; goes on from there.
  // Files of which only the last tokens come along where room is short.
  std::vector<FimFile> files;
  uint32_t answer_tokens = 1;  // Room that `files` leave for the answer.
};

// The file's last tokens go first where the prompt would be longer than `tokens_max`.
// `prefix`: the ids of the text in front of the gap.  Errors: as Tokenizer::encode.
Result<std::vector<int32_t>> encode_gap(const text::Tokenizer& tokenizer,
                                        std::vector<int32_t> prefix, const Gap& gap,
                                        uint32_t tokens_max);

// Errors: kInvalid, field `field`, for a model without the tokens.
Result<void> check_fills(const text::Tokenizer& tokenizer, const std::string& model,
                         const std::string& field);

}  // namespace altlas::server
