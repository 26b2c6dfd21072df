#include "text/grammar/token_trie.h"

#include <algorithm>

#include "base/check.h"

namespace altlas::text::grammar {

TokenTrie::TokenTrie(const Tokenizer& tokenizer, uint32_t rows)
    : tokenizer_(&tokenizer),
      rows_(rows == 0 ? static_cast<uint32_t>(tokenizer.vocab_size()) : rows) {
  const auto known = std::min(rows_, static_cast<uint32_t>(tokenizer.vocab_size()));
  std::vector<std::pair<std::string_view, int32_t>> sorted;
  for (int32_t id = 0; id < static_cast<int32_t>(known); ++id) {
    if (tokenizer.is_end_of_generation(id)) {
      ends_.push_back(id);
      continue;
    }
    const std::string_view bytes = tokenizer.token_bytes(id);
    if (bytes.empty() || bytes.size() > UINT16_MAX || tokenizer.is_control(id)) continue;
    sorted.emplace_back(bytes, id);
  }
  std::ranges::sort(sorted);
  std::vector<uint32_t> path;  // The nodes of the token before.
  std::string_view before;
  const auto close = [&](size_t depth) {
    for (; path.size() > depth; path.pop_back())
      nodes_[path.back()].end = static_cast<uint32_t>(nodes_.size());
  };
  for (const auto& [bytes, id] : sorted) {
    const auto fork = std::ranges::mismatch(before, bytes);
    const auto shared = static_cast<size_t>(fork.in1 - before.begin());
    close(shared);
    for (size_t i = shared; i < bytes.size(); ++i) {
      path.push_back(static_cast<uint32_t>(nodes_.size()));
      nodes_.push_back({.byte = static_cast<uint8_t>(bytes[i]),
                        .depth = static_cast<uint16_t>(i + 1),
                        .token_count = 0,
                        .first_token = static_cast<uint32_t>(tokens_.size()),
                        .end = 0});
    }
    Node& node = nodes_[path.back()];
    if (node.token_count == 0) node.first_token = static_cast<uint32_t>(tokens_.size());
    ALTLAS_CHECK(node.token_count < UINT16_MAX, "fewer tokens of the same bytes");
    ++node.token_count;
    tokens_.push_back(id);
    depth_max_ = std::max(depth_max_, static_cast<uint32_t>(bytes.size()));
    before = bytes;
  }
  close(0);
}

}  // namespace altlas::text::grammar
