// RememberedTexts: texts that were written and must not come again, and sets of them, as numbers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace altlas::text::grammar {

// 0 is the empty text and the empty set. One thread at a time.
class RememberedTexts {
 public:
  RememberedTexts();

  // `text` with one more byte.
  uint32_t extended(uint32_t text, uint8_t byte);
  // `set` with one more text.
  uint32_t with(uint32_t set, uint32_t text);
  // What `set`'s texts that begin with `text` go on with. Empty where there are none.
  const std::vector<std::string>& continuations(uint32_t set, uint32_t text);

  std::string text(uint32_t text) const;
  // The set's texts, first remembered first.
  std::vector<std::string> texts(uint32_t set) const;
  uint32_t text_of(std::string_view bytes);
  uint64_t bytes() const { return bytes_; }

 private:
  struct Link {
    uint32_t parent = 0;
    uint32_t value = 0;  // A byte of a text, or a text of a set.
  };
  uint32_t link(std::vector<Link>& links, std::unordered_map<uint64_t, uint32_t>& ids,
                uint32_t parent, uint32_t value);

  std::vector<Link> texts_;
  std::vector<Link> sets_;
  std::unordered_map<uint64_t, uint32_t> text_ids_;  // Looked up only, as the next two.
  std::unordered_map<uint64_t, uint32_t> set_ids_;
  std::unordered_map<uint64_t, std::vector<std::string>> continuations_;
  uint64_t bytes_ = 0;
};

}  // namespace altlas::text::grammar
