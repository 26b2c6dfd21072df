// The normalizer, pre-tokenizer, post-processor and decoder of tokenizer.json. Included by hf_*.cc
// only.
#pragma once

#include <boost/json.hpp>

#include "base/result.h"
#include "text/tokenizer/steps.h"

namespace altlas::text::hf {

inline constexpr size_t kStepsMax = 64;  // Normalizers, or pre-tokenizers, nested ones included.

// Each takes the member's value, null if there is none, and fills its part of `steps`.
// Errors: kInvalid naming what is wrong, and for an unknown type what is supported.
Result<void> read_normalizer(const boost::json::value* value, Steps& steps);
Result<void> read_pre_tokenizer(const boost::json::value* value, Steps& steps);
Result<void> read_post_processor(const boost::json::value* value, Steps& steps);
Result<void> read_decoder(const boost::json::value* value, Steps& steps);

}  // namespace altlas::text::hf
