// Structs that a fields() list describes, to and from the rows of a frame: a new member is a new
// row there, and neither worker.proto nor a conversion names it.
#pragma once

#include <fmt/format.h>

#include <concepts>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "config/names.h"
#include "kv/group.h"
#include "replica/limits.h"
#include "replica/settings.h"
#include "worker/worker.pb.h"

namespace altlas::worker {

using ProtoValues = google::protobuf::RepeatedPtrField<proto::Value>;

template <std::integral T>
void write_value(T from, proto::Value* to) {
  to->add_numbers(static_cast<uint64_t>(from));
}
template <NamedEnum E>
void write_value(E from, proto::Value* to) {
  to->add_numbers(static_cast<uint64_t>(from));
}
inline void write_value(double from, proto::Value* to) { to->add_reals(from); }
inline void write_value(const std::vector<double>& from, proto::Value* to) {
  for (const double one : from) write_value(one, to);
}
inline void write_value(const std::string& from, proto::Value* to) { to->add_texts(from); }
template <std::integral T>
void write_value(const std::vector<T>& from, proto::Value* to) {
  for (const T number : from) write_value(number, to);
}
inline void write_value(const std::vector<replica::AdapterFile>& from, proto::Value* to) {
  for (const replica::AdapterFile& file : from) {
    to->add_texts(file.name);
    to->add_texts(file.path);
  }
}

inline void write_value(const std::vector<kv::GroupSpec>& from, proto::Value* to) {
  for (const kv::GroupSpec& group : from) {
    to->add_numbers(static_cast<uint64_t>(group.kind));
    to->add_numbers(group.blocks);
    to->add_numbers(group.window);
    to->add_numbers(group.block_bytes);
  }
}

// A rank's numbers: weights, activations, how many groups, and a block of each.
inline void write_value(const std::vector<replica::RankMemory>& from, proto::Value* to) {
  for (const replica::RankMemory& rank : from) {
    to->add_numbers(rank.weights);
    to->add_numbers(rank.activations);
    to->add_numbers(rank.blocks.size());
    for (const uint64_t bytes : rank.blocks) to->add_numbers(bytes);
  }
}

// Errors: kInvalid for a number that the member's type does not hold.
template <std::integral T>
Result<void> read_number(uint64_t from, T& to) {
  to = static_cast<T>(from);
  if (static_cast<uint64_t>(to) != from)
    return invalid(fmt::format("{} is too large for its setting", from));
  return {};
}
template <std::integral T>
Result<void> read_value(const proto::Value& from, T& to) {
  if (from.numbers_size() != 1) return invalid("a number is expected");
  return read_number(from.numbers(0), to);
}
template <NamedEnum E>
Result<void> read_value(const proto::Value& from, E& to) {
  uint8_t number = 0;
  ALTLAS_TRY_VOID(read_value(from, number));
  if (name_of(names_of(E{}), number).empty())
    return invalid(fmt::format("{} is none of {}", number, list_names(names_of(E{}))));
  to = static_cast<E>(number);
  return {};
}
inline Result<void> read_value(const proto::Value& from, double& to) {
  if (from.reals_size() != 1) return invalid("a real number is expected");
  to = from.reals(0);
  return {};
}
inline Result<void> read_value(const proto::Value& from, std::vector<double>& to) {
  to.assign(from.reals().begin(), from.reals().end());
  return {};
}
inline Result<void> read_value(const proto::Value& from, std::string& to) {
  if (from.texts_size() != 1) return invalid("a text is expected");
  to = from.texts(0);
  return {};
}
template <std::integral T>
Result<void> read_value(const proto::Value& from, std::vector<T>& to) {
  to.assign(static_cast<size_t>(from.numbers_size()), T{});
  for (int i = 0; i < from.numbers_size(); ++i)
    ALTLAS_TRY_VOID(read_number(from.numbers(i), to[static_cast<size_t>(i)]));
  return {};
}
inline Result<void> read_value(const proto::Value& from, std::vector<replica::AdapterFile>& to) {
  if (from.texts_size() % 2 != 0) return invalid("a path is expected for every name");
  to.clear();
  for (int i = 0; i < from.texts_size(); i += 2) to.push_back({from.texts(i), from.texts(i + 1)});
  return {};
}
inline Result<void> read_value(const proto::Value& from, std::vector<kv::GroupSpec>& to) {
  if (from.numbers_size() % 4 != 0) return invalid("four numbers are expected for every group");
  to.clear();
  for (int i = 0; i < from.numbers_size(); i += 4) {
    if (from.numbers(i) > static_cast<uint64_t>(kv::GroupKind::kState))
      return invalid(fmt::format("{} is no kind of group", from.numbers(i)));
    kv::GroupSpec group;
    group.kind = static_cast<kv::GroupKind>(from.numbers(i));
    ALTLAS_TRY_VOID(read_number(from.numbers(i + 1), group.blocks));
    ALTLAS_TRY_VOID(read_number(from.numbers(i + 2), group.window));
    group.block_bytes = from.numbers(i + 3);
    to.push_back(group);
  }
  return {};
}
inline Result<void> read_value(const proto::Value& from, std::vector<replica::RankMemory>& to) {
  to.clear();
  const auto numbers = static_cast<uint64_t>(from.numbers_size());
  const auto number = [&](uint64_t i) { return from.numbers(static_cast<int>(i)); };
  for (uint64_t i = 0; i < numbers;) {
    if (numbers - i < 3 || number(i + 2) > numbers - i - 3)
      return invalid("weights, activations and a block of each group are expected for every rank");
    replica::RankMemory& rank = to.emplace_back();
    rank.weights = number(i);
    rank.activations = number(i + 1);
    const uint64_t end = i + 3 + number(i + 2);
    for (i += 3; i < end; ++i) rank.blocks.push_back(number(i));
  }
  return {};
}

// One row per member, in the order of fields().
template <class Struct>
void write_values(const Struct& from, ProtoValues* to) {
  Struct::fields([&](std::string_view name, auto member, auto&&...) {
    proto::Value* row = to->Add();
    row->set_name(std::string(name));
    write_value(from.*member, row);
  });
}

// A member without a row keeps its default.  Errors: kInvalid for a row that names no member, or
// holds what the member can't; the message names the row.
template <class Struct>
Result<Struct> read_values(const ProtoValues& from) {
  Struct out;
  for (const proto::Value& row : from) {
    Result<void> read = invalid("this version does not know it");
    Struct::fields([&](std::string_view name, auto member, auto&&...) {
      if (name == row.name()) read = read_value(row, out.*member);
    });
    if (!read.ok()) return Error(read.error()).with_context(row.name().substr(0, 100));
  }
  return out;
}

}  // namespace altlas::worker
