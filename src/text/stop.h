// Stop strings over a text that arrives in pieces: what may become one is held back.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace altlas::text {

inline constexpr size_t kStopStringsMax = 1024;
inline constexpr size_t kStopStringBytesMax = 4096;
inline constexpr size_t kStopBytesMax = 64u << 10;  // The limit of all together.

// The first stop string to be complete wins, the longest of those that end together; so the result
// does not depend on how the text was cut into pieces. One thread at a time.
class StopStrings {
 public:
  struct Step {
    std::string emit;  // Certain to be output; never reaches into a stop string.
    bool stopped = false;
    int32_t which = -1;  // Index of the stop string that ended the text.
  };

  // Errors: kInvalid (field "stop") for an empty string, one that is not UTF-8 or too long, or too
  // many.
  static Result<StopStrings> create(std::vector<std::string> strings);
  StopStrings() = default;  // No stop strings: everything is emitted at once.

  // `text`: whole characters. After a stop nothing is emitted any more.
  Step push(std::string_view text);
  // The end without a stop: what was held back.
  std::string flush();
  bool stopped() const { return stopped_; }

 private:
  struct Matcher {
    std::string text;
    std::vector<uint16_t>
        fallback;          // Knuth-Morris-Pratt: length of the longest proper border of text[0, i].
    uint16_t matched = 0;  // Bytes of `text` that end the stream so far.
  };
  std::vector<Matcher> matchers_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace altlas::text
