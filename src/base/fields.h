// fields_complete(): whether a struct's fields() list names every member.
#pragma once

#include <boost/pfr/tuple_size.hpp>

#include <cstddef>

namespace altlas {

// For a plain struct whose `static constexpr void fields(auto&& field)` calls field(...) once per
// member; the members are counted by Boost.PFR. Stands in a static_assert beside the struct.
template <class Struct>
consteval bool fields_complete() {
  size_t count = 0;
  Struct::fields([&count](auto&&...) { ++count; });
  return count == boost::pfr::tuple_size_v<Struct>;
}

}  // namespace altlas
