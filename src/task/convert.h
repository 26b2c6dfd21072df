// Task parts to and from their protobuf messages, for the journal and the worker protocol.
#pragma once

#include <fmt/format.h>

#include <string_view>

#include "base/result.h"
#include "config/names.h"
#include "task/task.h"
#include "task/task.pb.h"

namespace altlas {

// An enum value written as a number.  Errors: kInvalid above `last`.
template <class E>
Result<E> to_enum(uint32_t value, E last, std::string_view field) {
  if (value > static_cast<uint32_t>(last))
    return invalid(fmt::format("{} is {}, the last one known is {}", field, value,
                               static_cast<uint32_t>(last)));
  return static_cast<E>(value);
}
// The same for an enum that has names: a number without one is unknown.
template <NamedEnum E>
Result<E> to_enum(uint32_t value, std::string_view field) {
  if (value > UINT8_MAX || name_of(names_of(E{}), static_cast<uint8_t>(value)).empty())
    return invalid(fmt::format("{} is {}, known are {}", field, value, list_names(names_of(E{}))));
  return static_cast<E>(value);
}

// Errors: kInvalid for a hash of another length, and for more places than a prompt may have.
void write_prompt(const Prompt& from, google::protobuf::RepeatedPtrField<proto::PromptSegment>* to);
Result<Prompt> read_prompt(const google::protobuf::RepeatedPtrField<proto::PromptSegment>& from);
void write_sampling(const SamplingParams& from, proto::Sampling* to);
Result<SamplingParams> read_sampling(const proto::Sampling& from);
void write_logprobs(const TokenLogprobs& from, proto::TokenLogprobs* to);
TokenLogprobs read_logprobs(const proto::TokenLogprobs& from);
void write_result(const TaskResult& from, proto::TaskResult* to);
Result<TaskResult> read_result(const proto::TaskResult& from);

}  // namespace altlas
