// The plain facts a tokenizer is built from, as a model file states them; whoever reads the file
// fills it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "text/tokenizer/fim.h"
#include "text/tokenizer/steps.h"
#include "text/tokenizer/string_list.h"

namespace altlas::text {

// The numbers of GGUF's `tokenizer.ggml.token_type`.
enum TokenType : int32_t {
  kTokenUndefined = 0,
  kTokenNormal = 1,
  kTokenUnknown = 2,
  kTokenControl = 3,      // Steers the model; never shown, never made from user text.
  kTokenUserDefined = 4,  // Matched as a whole in any text, and shown.
  kTokenUnused = 5,
  kTokenByte = 6,  // "<0x0A>": one byte, for what the vocabulary can't spell.
};

struct Vocabulary {
  // tokenizer.ggml.model: "gpt2" (byte-level BPE), "llama" (SentencePiece BPE), "t5" (Unigram),
  // "bert" (WordPiece), "gemma4" (BPE over characters). Not looked at where `steps` are given.
  std::string model;
  std::string pre;             // tokenizer.ggml.pre, for "gpt2": "qwen2", "llama-bpe", "gpt-2", ...
  StringList tokens;           // Text of token i, spelled as the file spells it.
  std::vector<int32_t> types;  // TokenType of token i; empty means all normal.
  std::vector<float> scores;   // SentencePiece only: of token i.
  StringList merges;           // BPE only: "left right", most important first.
  int32_t bos = -1;            // Ids; -1 where the model has none.
  int32_t eos = -1;
  int32_t pad = -1;
  int32_t unk = -1;
  // Tokens that end an answer, besides `eos` and the control tokens known by name (<|im_end|>,
  // <|eot_id|>, ...).
  std::vector<int32_t> end_of_generation;
  FimTokens fim;         // As the file names them; those that have known names are found without.
  bool add_bos = false;  // What add_special puts before and after a text.
  bool add_eos = false;
  // SentencePiece only: a text begins as if a space stood before it.
  bool add_space_prefix = false;
  int32_t cls = -1;  // WordPiece only: what add_bos and add_eos stand for.
  int32_t sep = -1;
  std::string charsmap;                   // Unigram only: tokenizer.ggml.precompiled_charsmap.
  bool remove_extra_whitespaces = false;  // Unigram only.
  std::string name;            // general.name or the architecture: some quirks hang on it.
  std::optional<Steps> steps;  // As tokenizer.json says them; without, `model` and `pre` do.
};

}  // namespace altlas::text
