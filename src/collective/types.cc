#include "collective/types.h"

#include <fmt/format.h>

#include <algorithm>

namespace altlas::collective {
namespace {

constexpr std::string_view kCollectiveNames[] = {"all_reduce", "all_gather", "reduce_scatter",
                                                 "broadcast",  "all_to_all", "send/recv",
                                                 "barrier"};
constexpr std::string_view kTypeNames[] = {"int8",   "uint8", "int32", "uint32", "int64",
                                           "uint64", "half",  "float", "double", "bfloat16"};
constexpr std::string_view kTypeShortNames[] = {"i8",  "u8",  "i32", "u32", "i64",
                                                "u64", "f16", "f32", "f64", "bf16"};
constexpr std::string_view kOpNames[] = {"sum", "prod", "min", "max", "avg"};
constexpr std::string_view kAlgorithmNames[] = {"auto", "fixed", "ring", "tree"};
constexpr size_t kTypeBytes[] = {1, 1, 4, 4, 8, 8, 2, 4, 8, 2};

template <class Names>
std::string list_of(const Names& names) {
  std::string out;
  for (const std::string_view name : names) out += (out.empty() ? "" : ", ") + std::string(name);
  return out;
}

template <class Enum, class Names>
Result<Enum> parse(std::string_view what, std::string_view name, const Names& names) {
  const auto* found = std::ranges::find(names, name);
  if (found != std::end(names)) return static_cast<Enum>(found - std::begin(names));
  return invalid(fmt::format("'{}' is no {}: use one of {}", name, what, list_of(names)));
}

template <class Names>
std::string_view name_at(const Names& names, uint64_t index) {
  return index < std::size(names) ? names[index] : std::string_view("?");
}

}  // namespace

std::string_view to_string(Collective collective) {
  return name_at(kCollectiveNames, static_cast<uint64_t>(collective));
}
std::string_view to_string(ElementType type) {
  return name_at(kTypeNames, static_cast<uint64_t>(type));
}
std::string_view to_string(ReduceOp op) { return name_at(kOpNames, static_cast<uint64_t>(op)); }
std::string_view to_string(Algorithm algorithm) {
  return name_at(kAlgorithmNames, static_cast<uint64_t>(algorithm));
}

Result<ElementType> parse_element_type(std::string_view name) {
  const auto* found = std::ranges::find(kTypeShortNames, name);
  if (found != std::end(kTypeShortNames))
    return static_cast<ElementType>(found - std::begin(kTypeShortNames));
  return parse<ElementType>("element type", name, kTypeNames);
}
Result<ReduceOp> parse_reduce_op(std::string_view name) {
  return parse<ReduceOp>("reduction", name, kOpNames);
}
Result<Algorithm> parse_algorithm(std::string_view name) {
  return parse<Algorithm>("algorithm", name, kAlgorithmNames);
}

size_t element_bytes(ElementType type) { return kTypeBytes[static_cast<size_t>(type)]; }

Signature signature_of(const Call& call) {
  const auto byte = [](auto value, int place) { return static_cast<uint64_t>(value) << place; };
  return {byte(call.collective, 0) | byte(call.type, 8) | byte(call.op, 16) |
              byte(call.algorithm, 24) | byte(static_cast<uint16_t>(call.root), 32),
          call.bytes};
}

std::string describe(const Signature& signature) {
  const uint64_t collective = signature.what & 0xff, type = signature.what >> 8 & 0xff;
  std::string out(name_at(kCollectiveNames, collective));
  if (collective == static_cast<uint64_t>(Collective::kBarrier)) return out;
  out += fmt::format(" of {} bytes of {}", signature.bytes, name_at(kTypeNames, type));
  if (collective == static_cast<uint64_t>(Collective::kBroadcast))
    out += fmt::format(" from rank {}", signature.what >> 32 & 0xffff);
  if (collective == static_cast<uint64_t>(Collective::kAllReduce) ||
      collective == static_cast<uint64_t>(Collective::kReduceScatter))
    out += fmt::format(", {}, {}", name_at(kOpNames, signature.what >> 16 & 0xff),
                       name_at(kAlgorithmNames, signature.what >> 24 & 0xff));
  return out;
}

std::string place_of(const Call& call) {
  return fmt::format("{}, step {}", to_string(call.collective), call.step);
}

Range part_of(uint64_t count, int parts, int index) {
  const auto n = static_cast<uint64_t>(parts), i = static_cast<uint64_t>(index);
  const uint64_t each = count / n, more = count % n;
  const uint64_t begin = each * i + std::min(i, more);
  return {begin, begin + each + (i < more ? 1 : 0)};
}

}  // namespace altlas::collective
