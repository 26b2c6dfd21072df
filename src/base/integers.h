// Arithmetic of whole numbers that needs a name.
#pragma once

#include <concepts>
#include <type_traits>

namespace altlas {

// a / b rounded up, for a >= 0 and b > 0; a + b must not overflow.
template <std::integral T>
constexpr T ceil_div(T a, std::type_identity_t<T> b) {
  return static_cast<T>((a + b - 1) / b);
}

// The smallest multiple of `unit` that is not below `a`.
template <std::integral T>
constexpr T round_up(T a, std::type_identity_t<T> unit) {
  return static_cast<T>(ceil_div(a, unit) * unit);
}

}  // namespace altlas
