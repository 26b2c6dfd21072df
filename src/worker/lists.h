// Lists of numbers to and from repeated fields of messages.
#pragma once

#include <vector>

namespace altlas::worker {

template <class Repeated, class T>
void write_all(const std::vector<T>& from, Repeated* to) {
  to->Add(from.begin(), from.end());
}
template <class T, class Repeated>
std::vector<T> read_all(const Repeated& from) {
  return std::vector<T>(from.begin(), from.end());
}

}  // namespace altlas::worker
