// The tokens with which a model is asked for what stands between two texts (fill in the middle).
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

namespace altlas::text {

// Ids; -1 where the model has no such token.
struct FimTokens {
  int32_t prefix = -1;      // Before the text in front of the gap,
  int32_t suffix = -1;      // before the one behind it,
  int32_t middle = -1;      // and at the end, before what the model writes.
  int32_t repository = -1;  // Before the name of a repository,
  int32_t file = -1;        // and before each file of it.
  int32_t pad = -1;
  // Mistral's order: [SUFFIX]…[PREFIX]…, with nothing at the end.
  bool suffix_first = false;
  // After one of these the gap is filled, beside the model's ends of generation. Sorted.
  std::vector<int32_t> ends = {};

  bool known() const { return prefix >= 0 && suffix >= 0 && (middle >= 0 || suffix_first); }
};

// What the file did not say, by the names that families of models have. `find`: the id of a
// spelling, or -1. Names are only looked for where the file named none of the three.
void complete_fim(const std::function<int32_t(std::string_view)>& find, FimTokens& tokens);

}  // namespace altlas::text
