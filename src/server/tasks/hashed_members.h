// HashedMembers: which members of a struct count in a hash that is kept over an upgrade. A member
// that a later version adds counts only where it is not the default, so that what could be asked
// before keeps its hash.
#pragma once

#include <boost/pfr.hpp>

#include <string>
#include <string_view>
#include <tuple>

#include "control/codec.h"

namespace altlas::server {

// One member that was added later.
template <class T, class M>
struct LaterMember {
  std::string_view name;
  M T::*member;
};
template <class T, class M>
LaterMember(std::string_view, M T::*) -> LaterMember<T, M>;

// To be specialized for each struct: `first` has the members of the first version that kept hashes,
// in their order then, which always count; `later` has a LaterMember for each one since.
template <class T>
struct HashedMembers;

template <class T>
concept HasHashedMembers = requires {
  HashedMembers<T>::first;
};

// What a hash is made of. First come all members of the first versions, then later ones by name.
struct HashedBytes {
  std::string first, later;
};

template <class T>
void add_hashed(HashedBytes& out, const T& value) {
  if constexpr (!HasHashedMembers<T>) {
    control::codec::write(out.first, value);
  } else {
    using Members = HashedMembers<T>;
    static_assert(
        std::tuple_size_v<decltype(Members::first)> + std::tuple_size_v<decltype(Members::later)> ==
            boost::pfr::tuple_size_v<T>,
        "a new member belongs in `later`, or the hashes of earlier versions are lost");
    std::apply([&](auto... member) { (add_hashed(out, value.*member), ...); }, Members::first);
    const T fresh{};
    const auto add_later = [&](const auto& row) {
      if (value.*row.member == fresh.*row.member) return;
      control::codec::write(out.later, std::string(row.name));
      HashedBytes own;
      add_hashed(own, value.*row.member);
      out.later += own.first + own.later;
    };
    std::apply([&](const auto&... row) { (add_later(row), ...); }, Members::later);
  }
}

}  // namespace altlas::server
