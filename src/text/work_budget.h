// WorkBudget: what normalizing one text and cutting it into words may cost, spent before the work.
#pragma once

#include <cstddef>

#include "base/result.h"

namespace altlas::text {

class WorkBudget {
 public:
  explicit WorkBudget(size_t text_bytes) : left_(kLeast + kPerByte * text_bytes) {}

  // Bytes to be read or written, or steps of a match.  Errors: kTooLarge once all is spent.
  Result<void> spend(size_t work) {
    if (work <= left_) {
      left_ -= work;
      return {};
    }
    left_ = 0;
    return Error(ErrorCode::kTooLarge,
                 "the text takes too much work: the normalizers or expressions of the model's "
                 "tokenizer grow or search it again and again");
  }

 private:
  static constexpr size_t kLeast = 8u << 20;
  static constexpr size_t kPerByte = 64;
  size_t left_;
};

}  // namespace altlas::text
