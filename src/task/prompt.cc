#include "task/prompt.h"

#include <algorithm>

namespace altlas {

void Prompt::add_payload(std::string content, uint32_t tokens) {
  const ContentHash hash = content_hash(content);
  add_payload(hash, std::move(content), tokens);
}

void Prompt::add_payload(const ContentHash& hash, std::string content, uint32_t tokens) {
  payloads_.push_back({hash, static_cast<uint32_t>(tokens_.size()), tokens, std::move(content)});
  tokens_.insert(tokens_.end(), tokens, kTokenPayload);
}

std::vector<PromptSegment> Prompt::segments() const {
  const std::span<const int32_t> all(tokens_);
  std::vector<PromptSegment> out;
  size_t done = 0;
  for (const Payload& payload : payloads_) {
    if (payload.first > done) out.push_back({all.subspan(done, payload.first - done), nullptr});
    out.push_back({{}, &payload});
    done = size_t{payload.first} + payload.tokens;
  }
  if (done < all.size()) out.push_back({all.subspan(done), nullptr});
  return out;
}

void Prompt::add_to(Hasher& hasher) const {
  hasher.add(std::span<const int32_t>(tokens_)).add(payloads_.size());
  for (const Payload& payload : payloads_) {
    hasher.add(payload.first).add(payload.tokens);
    hasher.add(std::string_view(reinterpret_cast<const char*>(payload.hash.bytes.data()),
                                payload.hash.bytes.size()));
  }
}

bool Prompt::rebuild() const {
  size_t done = 0;
  for (const Payload& payload : payloads_) {
    if (payload.first < done || payload.first > tokens_.size() ||
        payload.tokens > tokens_.size() - payload.first)
      return false;
    done = size_t{payload.first} + payload.tokens;
    const auto begin = tokens_.begin() + payload.first;
    if (!std::all_of(begin, begin + payload.tokens, [](int32_t id) { return id == kTokenPayload; }))
      return false;
  }
  return true;
}

}  // namespace altlas
