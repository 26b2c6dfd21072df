// The enums that YAML and requests name, each with one table of names: parsing, printing and
// messages use it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace altlas {

// How a device is chosen for a task.
enum class Strategy : uint8_t {
  kRoundRobin,
  kLeastLoaded,
  kMemoryOptimized,
  kTaskSpecific,
  kRandom,
  kPrefixAffinity,
  kEarliestFinish,
};
enum class Priority : uint8_t { kHigh, kNormal, kLow };
enum class Role : uint8_t { kUser, kAdmin, kMetrics };
// Element type of the weights and activations; kAuto keeps what the model file has.
enum class WeightType : uint8_t { kAuto, kF32, kF16, kBf16 };
// Element type of the KV cache.
enum class KvType : uint8_t { kF16, kBf16, kF32, kQ8_0 };
// How layers are cut into pipeline stages: by what they cost, or in equal numbers.
enum class PipelineSplit : uint8_t { kBalanced, kEven };
// In which processes the ranks of a replica compute: one for all, or one each.
enum class ExecutorBackend : uint8_t { kUni, kMp };
// When generated tokens reach the journal: within 50 ms, before they are sent, or only with the
// result.
enum class TokenJournal : uint8_t { kAsync, kSync, kOff };
// How the autoscaler condenses the ongoing requests of its look-back period.
enum class Aggregation : uint8_t { kMean, kMax, kMin };
// The notation in which a model writes tool calls; kAuto: what its chat template shows.
enum class ToolCallParser : uint8_t {
  kAuto,
  kHermes,
  kLlama3Json,
  kMistral,
  kDeepSeek,
  kPhi,
  kPythonic
};

// One spelling of one value. The first spelling of a value is the one that is printed.
struct EnumName {
  std::string_view name;
  uint8_t value;
};

inline constexpr EnumName kStrategyNames[] = {
    {"round_robin", 0}, {"least_loaded", 1},    {"memory_optimized", 2}, {"task_specific", 3},
    {"random", 4},      {"prefix_affinity", 5}, {"earliest_finish", 6}};
inline constexpr EnumName kPriorityNames[] = {{"high", 0}, {"normal", 1}, {"low", 2}};
inline constexpr EnumName kRoleNames[] = {{"user", 0}, {"admin", 1}, {"metrics", 2}};
inline constexpr EnumName kWeightTypeNames[] = {{"auto", 0},    {"f32", 1},     {"f16", 2},
                                                {"bf16", 3},    {"float32", 1}, {"float", 1},
                                                {"float16", 2}, {"half", 2},    {"bfloat16", 3}};
inline constexpr EnumName kKvTypeNames[] = {
    {"f16", 0}, {"bf16", 1}, {"f32", 2}, {"q8_0", 3}, {"q8", 3}};
inline constexpr EnumName kPipelineSplitNames[] = {{"balanced", 0}, {"even", 1}};
inline constexpr EnumName kExecutorBackendNames[] = {{"uni", 0}, {"mp", 1}};
inline constexpr EnumName kTokenJournalNames[] = {{"async", 0}, {"sync", 1}, {"off", 2}};
inline constexpr EnumName kAggregationNames[] = {{"mean", 0}, {"max", 1}, {"min", 2}};
inline constexpr EnumName kToolCallParserNames[] = {
    {"auto", 0},           {"hermes", 1},         {"llama3_json", 2},
    {"mistral", 3},        {"deepseek", 4},       {"phi", 5},
    {"pythonic", 6},       {"llama4_json", 2},    {"deepseek_v3", 4},
    {"phi4_mini_json", 5}, {"llama4_pythonic", 6}};

// The table of an enum, found by the type of its (unused) argument.
constexpr std::span<const EnumName> names_of(Strategy) { return kStrategyNames; }
constexpr std::span<const EnumName> names_of(Priority) { return kPriorityNames; }
constexpr std::span<const EnumName> names_of(Role) { return kRoleNames; }
constexpr std::span<const EnumName> names_of(WeightType) { return kWeightTypeNames; }
constexpr std::span<const EnumName> names_of(KvType) { return kKvTypeNames; }
constexpr std::span<const EnumName> names_of(PipelineSplit) { return kPipelineSplitNames; }
constexpr std::span<const EnumName> names_of(ExecutorBackend) { return kExecutorBackendNames; }
constexpr std::span<const EnumName> names_of(TokenJournal) { return kTokenJournalNames; }
constexpr std::span<const EnumName> names_of(Aggregation) { return kAggregationNames; }
constexpr std::span<const EnumName> names_of(ToolCallParser) { return kToolCallParserNames; }

template <class E>
concept NamedEnum = requires(E e) { names_of(e); };

inline constexpr size_t kStrategyCount = std::size(kStrategyNames);
inline constexpr size_t kPriorityCount = std::size(kPriorityNames);

// The first spelling of `value`, "" if the table lacks it.
std::string_view name_of(std::span<const EnumName> table, uint8_t value);
// The index into `table` of the row spelled `text`. Errors: kInvalid: "'x' is not one of a, b (did
// you mean a?)".
Result<size_t> find_name(std::span<const EnumName> table, std::string_view text);
// The name nearest to `text` (two neighbouring letters swapped count as one slip), "" if none is
// near.
std::string_view nearest_name(std::string_view text, std::span<const std::string_view> names);
// "a, b, c": every printed spelling.
std::string list_names(std::span<const EnumName> table);

template <NamedEnum E>
std::string_view to_string(E value) {
  return name_of(names_of(E{}), static_cast<uint8_t>(value));
}
// Errors: kInvalid, with the allowed names and the nearest one.
template <NamedEnum E>
Result<E> parse_enum(std::string_view text) {
  ALTLAS_TRY(const size_t row, find_name(names_of(E{}), text));
  return static_cast<E>(names_of(E{})[row].value);
}

}  // namespace altlas
