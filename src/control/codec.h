// A binary codec of plain structs by reflection, for the event log and for the saved state of the
// core's parts: numbers little-endian as they are, text, lists, sets and maps with their length
// before them, variants with their index. A class with private members names those to be written in
// `static auto saved(auto& self)`, which returns std::tie of them; `bool rebuild()`, where it has
// one, makes the others after a read. Only event_log.cc,
// message_members.h, core/saved_part.h and server/tasks/hashed_members.h include it.
#pragma once

#include <boost/pfr.hpp>

#include <array>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "base/hash.h"

namespace altlas::control::codec {

template <class T, template <class...> class Of>
inline constexpr bool kIs = false;
template <template <class...> class Of, class... Args>
inline constexpr bool kIs<Of<Args...>, Of> = true;

// A struct that describes its members by rows of fields().
template <class T>
concept HasFields = requires { T::fields([](auto&&...) {}); };
// Members that a struct adds to a base with fields(): pointers to them in a tuple. To be
// specialized where there are any.
template <class T>
inline constexpr auto kOwnMembers = std::tuple<>();
// Calls visit(pointer to member) for each member of a struct with fields().
template <HasFields T>
constexpr void for_each_member(auto&& visit) {
  T::fields([&](const char*, auto member, auto&&...) { visit(member); });
  std::apply([&](auto... member) { (visit(member), ...); }, kOwnMembers<T>);
}

template <class T>
inline constexpr bool kIsArray = false;
template <class T, size_t N>
inline constexpr bool kIsArray<std::array<T, N>> = true;
template <class T>
inline constexpr bool kIsTree = kIs<T, std::map> || kIs<T, std::set>;
template <class T>
concept Saved = requires(T& value) { T::saved(value); };

template <class T>
void write(std::string& out, const T& value) {
  if constexpr (Saved<T>) {
    std::apply([&](const auto&... fields) { (write(out, fields), ...); }, T::saved(value));
  } else if constexpr (kIsArray<T>) {
    for (const auto& element : value) write(out, element);
  } else if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T>) {
    char bytes[sizeof(T)];
    std::memcpy(bytes, &value, sizeof(T));
    out.append(bytes, sizeof(T));
  } else if constexpr (std::is_same_v<T, std::string> || kIs<T, std::vector> ||
                       kIs<T, std::deque> || kIsTree<T>) {
    write(out, static_cast<uint64_t>(value.size()));
    if constexpr (std::is_same_v<T, std::string>) {
      out += value;
    } else {
      for (const auto& element : value) write(out, element);
    }
  } else if constexpr (kIs<T, std::optional>) {
    write(out, static_cast<uint8_t>(value.has_value()));
    if (value) write(out, *value);
  } else if constexpr (kIs<T, std::variant>) {
    write(out, static_cast<uint8_t>(value.index()));
    std::visit([&](const auto& one) { write(out, one); }, value);
  } else if constexpr (kIs<T, std::pair>) {
    write(out, value.first);
    write(out, value.second);
  } else if constexpr (HasFields<T>) {
    for_each_member<T>([&](auto member) { write(out, value.*member); });
  } else {
    boost::pfr::for_each_field(value, [&](const auto& field) { write(out, field); });
  }
}

// Reads from the front of `in`. False: it is cut short or says something that can't be.
template <class T>
bool read(std::string_view& in, T& value);

template <size_t I, class... Args>
bool read_alternative(std::string_view& in, std::variant<Args...>& value, size_t index) {
  if constexpr (I < sizeof...(Args)) {
    if (index != I) return read_alternative<I + 1>(in, value, index);
    return read(in, value.template emplace<I>());
  }
  return false;
}

// Keys must come in their order, each once: anything else was not written by write().
template <class T>
bool read_tree(std::string_view& in, T& value) {
  value.clear();
  uint64_t size = 0;
  if (!read(in, size) || size > in.size()) return false;
  for (uint64_t i = 0; i < size; ++i) {
    if constexpr (kIs<T, std::map>) {
      typename T::key_type key{};
      if (!read(in, key)) return false;
      const auto added = value.emplace_hint(value.end(), std::move(key), typename T::mapped_type{});
      if (value.size() != i + 1 || !read(in, added->second)) return false;
    } else {
      typename T::value_type element{};
      if (!read(in, element)) return false;
      value.emplace_hint(value.end(), std::move(element));
      if (value.size() != i + 1) return false;
    }
  }
  return true;
}

template <class T>
bool read(std::string_view& in, T& value) {
  if constexpr (Saved<T>) {
    const bool ok =
        std::apply([&](auto&... fields) { return (read(in, fields) && ...); }, T::saved(value));
    if constexpr (requires { value.rebuild(); }) return ok && value.rebuild();
    return ok;
  } else if constexpr (kIsTree<T>) {
    return read_tree(in, value);
  } else if constexpr (kIsArray<T>) {
    for (auto& element : value)
      if (!read(in, element)) return false;
    return true;
  } else if constexpr (std::is_same_v<T, bool>) {
    uint8_t byte = 0;
    if (!read(in, byte) || byte > 1) return false;
    value = byte == 1;
    return true;
  } else if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T>) {
    if (in.size() < sizeof(T)) return false;
    std::memcpy(&value, in.data(), sizeof(T));
    in.remove_prefix(sizeof(T));
    return true;
  } else if constexpr (std::is_same_v<T, std::string> || kIs<T, std::vector> ||
                       kIs<T, std::deque>) {
    uint64_t size = 0;
    if (!read(in, size) || size > in.size()) return false;  // An element is at least a byte.
    if constexpr (std::is_same_v<T, std::string>) {
      value.assign(in.substr(0, size));
      in.remove_prefix(size);
    } else {
      value.clear();  // A default may not be empty.
      for (uint64_t i = 0; i < size; ++i)
        if (!read(in, value.emplace_back())) return false;
    }
    return true;
  } else if constexpr (kIs<T, std::optional>) {
    uint8_t has = 0;
    if (!read(in, has) || has > 1) return false;
    return has == 0 || read(in, value.emplace());
  } else if constexpr (kIs<T, std::variant>) {
    uint8_t index = 0;
    return read(in, index) && read_alternative<0>(in, value, index);
  } else if constexpr (kIs<T, std::pair>) {
    return read(in, value.first) && read(in, value.second);
  } else if constexpr (HasFields<T>) {
    bool ok = true;
    for_each_member<T>([&](auto member) { ok = ok && read(in, value.*member); });
    return ok;
  } else {
    bool ok = true;
    boost::pfr::for_each_field(value, [&](auto& field) { ok = ok && read(in, field); });
    return ok;
  }
}

// A fingerprint of a type's layout: another one means that bytes can't be exchanged.
template <class T>
void fingerprint(Hasher& hasher) {
  if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T>) {
    hasher.add(sizeof(T)).add(std::is_floating_point_v<T>);
  } else if constexpr (std::is_same_v<T, std::string>) {
    hasher.add(101);
  } else if constexpr (kIs<T, std::vector> || kIs<T, std::optional>) {
    hasher.add(kIs<T, std::vector> ? 102 : 103);
    fingerprint<typename T::value_type>(hasher);
  } else if constexpr (kIs<T, std::variant>) {
    [&]<class... Args>(std::variant<Args...>*) {
      hasher.add(104).add(sizeof...(Args));
      (fingerprint<Args>(hasher), ...);
    }(static_cast<T*>(nullptr));
  } else if constexpr (kIs<T, std::pair>) {
    fingerprint<typename T::first_type>(hasher);
    fingerprint<typename T::second_type>(hasher);
  } else if constexpr (Saved<T>) {
    [&]<class... Members>(std::tuple<Members&...>*) {
      (fingerprint<Members>(hasher.add(107)), ...);
    }(static_cast<decltype(T::saved(std::declval<T&>()))*>(nullptr));
  } else if constexpr (kIsArray<T>) {
    hasher.add(108).add(std::tuple_size_v<T>);
    fingerprint<typename T::value_type>(hasher);
  } else if constexpr (HasFields<T>) {
    for_each_member<T>([&]<class M, class Base>(M Base::*) { fingerprint<M>(hasher.add(106)); });
  } else {
    hasher.add(105).add(boost::pfr::tuple_size_v<T>);
    [&]<size_t... I>(std::index_sequence<I...>) {
      (fingerprint<boost::pfr::tuple_element_t<I, T>>(hasher), ...);
    }(std::make_index_sequence<boost::pfr::tuple_size_v<T>>{});
  }
}

}  // namespace altlas::control::codec
