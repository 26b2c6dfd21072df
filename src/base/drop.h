// drop(): leaves a value as a new one and gives its memory back.
#pragma once

#include <utility>

namespace altlas {

// `value = {}` does not: for std::vector and std::string that assigns an empty list, which keeps
// the capacity of what was there.
template <class T>
void drop(T& value) {
  T fresh{};
  std::swap(value, fresh);
}

}  // namespace altlas
