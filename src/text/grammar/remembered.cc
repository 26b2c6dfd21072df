#include "text/grammar/remembered.h"

#include <algorithm>

namespace altlas::text::grammar {

RememberedTexts::RememberedTexts() : texts_(1), sets_(1) {}

uint32_t RememberedTexts::link(std::vector<Link>& links,
                               std::unordered_map<uint64_t, uint32_t>& ids, uint32_t parent,
                               uint32_t value) {
  const auto [at, fresh] =
      ids.try_emplace(uint64_t{parent} << 32 | value, static_cast<uint32_t>(links.size()));
  if (fresh) {
    links.push_back({parent, value});
    bytes_ += sizeof(Link) + 48;
  }
  return at->second;
}

uint32_t RememberedTexts::extended(uint32_t text, uint8_t byte) {
  return link(texts_, text_ids_, text, byte);
}

uint32_t RememberedTexts::with(uint32_t set, uint32_t text) {
  return link(sets_, set_ids_, set, text);
}

std::string RememberedTexts::text(uint32_t text) const {
  std::string out;
  for (; text != 0; text = texts_[text].parent) out += static_cast<char>(texts_[text].value);
  std::ranges::reverse(out);
  return out;
}

std::vector<std::string> RememberedTexts::texts(uint32_t set) const {
  std::vector<std::string> out;
  for (; set != 0; set = sets_[set].parent) out.push_back(text(sets_[set].value));
  std::ranges::reverse(out);
  return out;
}

uint32_t RememberedTexts::text_of(std::string_view bytes) {
  uint32_t out = 0;
  for (const char c : bytes) out = extended(out, static_cast<uint8_t>(c));
  return out;
}

const std::vector<std::string>& RememberedTexts::continuations(uint32_t set, uint32_t text) {
  static const std::vector<std::string> kNone;
  if (set == 0) return kNone;
  const uint64_t key = uint64_t{set} << 32 | text;
  if (const auto known = continuations_.find(key); known != continuations_.end())
    return known->second;
  std::vector<std::string> made;
  if (text == 0) {
    made = texts(set);
  } else {
    const auto byte = static_cast<char>(texts_[text].value);
    const std::vector<std::string>& before = continuations(set, texts_[text].parent);
    if (before.empty()) return kNone;
    for (const std::string& one : before)
      if (one.starts_with(byte)) made.push_back(one.substr(1));
  }
  if (made.empty()) return kNone;
  bytes_ += 64;
  for (const std::string& one : made) bytes_ += one.size() + sizeof one;
  return continuations_.emplace(key, std::move(made)).first->second;
}

}  // namespace altlas::text::grammar
