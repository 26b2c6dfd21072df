// TokenTrie: the bytes of a vocabulary's tokens as a tree, in preorder.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "text/tokenizer/tokenizer.h"

namespace altlas::text::grammar {

// Immutable; any thread.
class TokenTrie {
 public:
  // rows: of the model's head; 0: the vocabulary. Control tokens, ends of generation and tokens
  // without bytes are not in it. O(bytes of the vocabulary).
  explicit TokenTrie(const Tokenizer& tokenizer, uint32_t rows = 0);

  struct Node {
    uint8_t byte = 0;
    uint16_t depth = 0;        // 1 for the first byte.
    uint16_t token_count = 0;  // Tokens that end here: tokens()[first_token …].
    uint32_t first_token = 0;
    uint32_t end = 0;  // The node after all below this one.
  };
  std::span<const Node> nodes() const { return nodes_; }
  std::span<const int32_t> tokens() const { return tokens_; }
  std::span<const int32_t> end_of_generation() const { return ends_; }
  uint32_t rows() const { return rows_; }
  uint32_t depth_max() const { return depth_max_; }
  // Control tokens and ends of generation.
  bool is_barred(int32_t token) const {
    return tokenizer_->is_control(token) || tokenizer_->is_end_of_generation(token);
  }
  std::string_view bytes_of(int32_t token) const { return tokenizer_->token_bytes(token); }

 private:
  const Tokenizer* tokenizer_;
  uint32_t rows_;
  uint32_t depth_max_ = 0;
  std::vector<Node> nodes_;
  std::vector<int32_t> tokens_;
  std::vector<int32_t> ends_;
};

}  // namespace altlas::text::grammar
