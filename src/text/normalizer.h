// The steps that a text goes through before it is cut into words.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/charsmap.h"
#include "text/regex.h"
#include "text/steps.h"

namespace altlas::text {

// Immutable; any thread.
class Normalizer {
 public:
  // Errors: kInvalid for an expression or a character map that can't be used.
  static Result<std::unique_ptr<const Normalizer>> create(const std::vector<NormalizerStep>& steps);

  // `text`: valid UTF-8. Errors: kTooLarge if a limit on matching is hit, or if the text grows
  // beyond kNormalizedBytesMax.
  Result<std::string> apply(std::string text) const;
  // Whether apply leaves out the first character of `text`: what follows is no text's begin then.
  bool drops_first(std::string_view text) const;

 private:
  struct Step {
    NormalizerStep step;
    std::unique_ptr<const Regex> regex;
    std::unique_ptr<const Charsmap> charsmap;
  };
  static Result<std::string> apply_step(const Step& step, std::string text);
  Normalizer() = default;
  std::vector<Step> steps_;
};

inline constexpr size_t kNormalizedBytesMax = 256u << 20;

}  // namespace altlas::text
