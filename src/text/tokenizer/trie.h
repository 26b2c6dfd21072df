// A byte trie over tokens: every token that a text begins with, in one walk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace altlas::text {

// Immutable after the constructor; any thread.
class Trie {
 public:
  // (text, id); of equal texts the first counts, empty ones are left out.
  explicit Trie(std::vector<std::pair<std::string_view, int32_t>> entries);

  // Calls fn(length, id) for each entry that `text` begins with, shortest first.
  template <class Fn>
  void walk(std::string_view text, Fn fn) const {
    uint32_t node = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      node = child(node, static_cast<uint8_t>(text[i]));
      if (node == 0) return;
      if (ids_[node] >= 0) fn(i + 1, ids_[node]);
    }
  }

 private:
  // The node below `node`, 0 if there is none (0 is the root, nobody's child).
  uint32_t child(uint32_t node, uint8_t byte) const;

  // Nodes are numbered level by level, so the children of one lie side by side.
  std::vector<uint32_t> first_child_;  // [nodes + 1].
  std::vector<uint8_t> label_;         // [nodes]: the byte that leads here.
  std::vector<int32_t> ids_;           // [nodes]: -1 where no entry ends.
};

}  // namespace altlas::text
