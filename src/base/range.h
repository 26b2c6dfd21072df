// Range: some of what is counted from 0, from one index to before another.
#pragma once

#include <cstddef>

namespace altlas {

struct Range {
  size_t begin = 0, end = 0;
  constexpr size_t size() const { return end - begin; }
};

}  // namespace altlas
