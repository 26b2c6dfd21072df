// Prompt: what a task is asked with. It is a list of segments: runs of token ids, and payloads,
// which are bytes that no tokenizer reads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/content_hash.h"
#include "base/hash.h"

namespace altlas {

// Stands among a prompt's token ids at each place that a payload takes.
inline constexpr int32_t kTokenPayload = -3;
// The most places that one payload takes.
inline constexpr uint32_t kPayloadTokensMax = 1u << 20;

// Bytes in a prompt: the JSON body that an engine without a model answers, or what a model's own
// encoder turns into `tokens` rows.
struct Payload {
  ContentHash hash;     // The content's. It stands for the content wherever prompts are compared.
  uint32_t first = 0;   // Place of its first row among the prompt's tokens.
  uint32_t tokens = 0;  // Places that it takes; 0 where no model reads it.
  std::string content;
  friend bool operator==(const Payload&, const Payload&) = default;
};

// A run of token ids, or one payload.
struct PromptSegment {
  std::span<const int32_t> tokens;
  const Payload* payload = nullptr;  // Null: it is a run of tokens.
};

// A prompt reads as the list of its token ids, kTokenPayload at the places of payloads, so that
// whatever counts or cuts tokens needs to know nothing of payloads. Copies are deep.
class Prompt {
 public:
  Prompt() = default;
  Prompt(std::vector<int32_t> tokens) : tokens_(std::move(tokens)) {}
  Prompt(std::initializer_list<int32_t> tokens) : tokens_(tokens) {}

  // Behind what is there. An id that is no token of the model is refused by the replica.
  void push_back(int32_t token) { tokens_.push_back(token); }
  void add_tokens(std::span<const int32_t> tokens) {
    tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  }
  // Takes `tokens` places.
  void add_payload(std::string content, uint32_t tokens);
  // One whose hash is known already.
  void add_payload(const ContentHash& hash, std::string content, uint32_t tokens);

  // Token ids, places of payloads counted.
  size_t size() const { return tokens_.size(); }
  bool empty() const { return tokens_.empty(); }
  int32_t operator[](size_t place) const { return tokens_[place]; }
  const int32_t* data() const { return tokens_.data(); }
  const int32_t* begin() const { return tokens_.data(); }
  const int32_t* end() const { return tokens_.data() + tokens_.size(); }
  const std::vector<int32_t>& tokens() const { return tokens_; }

  // In the order of their places.
  const std::vector<Payload>& payloads() const { return payloads_; }
  // All segments in order; valid until the prompt changes.
  std::vector<PromptSegment> segments() const;

  // Adds the token ids and the payloads' hashes.
  void add_to(Hasher& hasher) const;

  friend bool operator==(const Prompt&, const Prompt&) = default;
  static auto saved(auto& self) { return std::tie(self.tokens_, self.payloads_); }
  bool rebuild() const;  // False: this was never saved.

 private:
  std::vector<int32_t> tokens_;
  std::vector<Payload> payloads_;
};

}  // namespace altlas
