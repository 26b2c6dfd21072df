#include "server/tasks/body_hash.h"

#include <boost/json.hpp>
#include <cmath>
#include <map>

#include "base/hash.h"
#include "server/tasks/hashed_members.h"
#include "server/tasks/task_json.h"

namespace altlas::server {

template <>
struct HashedMembers<Grammar> {
  static constexpr std::tuple first{&Grammar::kind, &Grammar::text, &Grammar::think_begin,
                                    &Grammar::think_end};
  static constexpr std::tuple<> later{};
};

template <>
struct HashedMembers<SamplingParams> {
  using S = SamplingParams;
  static constexpr std::tuple first{&S::temperature,
                                    &S::top_p,
                                    &S::top_k,
                                    &S::min_p,
                                    &S::repetition_penalty,
                                    &S::presence_penalty,
                                    &S::frequency_penalty,
                                    &S::seed,
                                    &S::logprobs,
                                    &S::prompt_logprobs,
                                    &S::ignore_eos,
                                    &S::min_tokens,
                                    &S::skip_special_tokens,
                                    &S::shown_tokens,
                                    &S::stop_token_ids,
                                    &S::stop,
                                    &S::logit_bias,
                                    &S::grammar};
  static constexpr std::tuple<> later{};
};

template <>
struct HashedMembers<TaskSpec> {
  using S = TaskSpec;
  static constexpr std::tuple first{&S::id,          &S::owner,
                                    &S::type,        &S::deployment,
                                    &S::priority,    &S::deadline,
                                    &S::asked,       &S::idempotency_key,
                                    &S::body_hash,   &S::estimated_memory,
                                    &S::strategy,    &S::specific_device,
                                    &S::batch_group, &S::durable,
                                    &S::prompt,      &S::tokens_max,
                                    &S::sampling,    &S::adapter,
                                    &S::embeds};
  static constexpr std::tuple<> later{};
};

namespace json = boost::json;

namespace {

enum class Kind : uint8_t { kNull, kFalse, kTrue, kInteger, kReal, kText, kArray, kObject };

void add_value(Hasher& hasher, const json::value& value);

void add_kind(Hasher& hasher, Kind kind) { hasher.add(static_cast<uint8_t>(kind)); }

void add_number(Hasher& hasher, double number) {
  if (std::trunc(number) == number && std::abs(number) < 0x1p63) {
    add_kind(hasher, Kind::kInteger);
    hasher.add(static_cast<int64_t>(number));
  } else {
    add_kind(hasher, Kind::kReal);
    hasher.add(number);
  }
}

void add_object(Hasher& hasher, const json::object& object) {
  std::map<std::string_view, const json::value*> members;
  for (const auto& [key, value] : object) members[key] = &value;
  add_kind(hasher, Kind::kObject);
  hasher.add(members.size());
  for (const auto& [key, value] : members) {
    hasher.add(key);
    add_value(hasher, *value);
  }
}

void add_value(Hasher& hasher, const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return add_kind(hasher, Kind::kNull);
    case json::kind::bool_:
      return add_kind(hasher, value.get_bool() ? Kind::kTrue : Kind::kFalse);
    case json::kind::int64:
      add_kind(hasher, Kind::kInteger);
      hasher.add(value.get_int64());
      return;
    case json::kind::uint64:  // All of these are above int64's largest.
      return add_number(hasher, static_cast<double>(value.get_uint64()));
    case json::kind::double_:
      return add_number(hasher, value.get_double());
    case json::kind::string:
      add_kind(hasher, Kind::kText);
      hasher.add(std::string_view(value.get_string()));
      return;
    case json::kind::array:
      add_kind(hasher, Kind::kArray);
      hasher.add(value.get_array().size());
      for (const json::value& item : value.get_array()) add_value(hasher, item);
      return;
    case json::kind::object:
      return add_object(hasher, value.get_object());
  }
}

}  // namespace

uint64_t value_hash(const json::value& value) {
  Hasher hasher;
  add_value(hasher, value);
  return hasher.value();
}

uint64_t body_hash(const PendingTask& task, Strategy default_strategy) {
  // The hash covers the task, without what another request for the same would not share.
  TaskSpec spec = task.spec;
  spec.id = {};
  spec.owner = spec.idempotency_key = {};
  spec.body_hash = 0;
  spec.asked = 0;
  spec.deadline = task.deadline_after;
  spec.strategy = spec.strategy.value_or(default_strategy);
  if (task.seed_drawn) spec.sampling.seed = 0;
  Hasher hasher;
  Grammar& grammar = spec.sampling.grammar;
  if (grammar.kind == GrammarKind::kJsonSchema) {
    boost::system::error_code wrong;
    const json::value schema = json::parse(grammar.text, wrong);
    if (!wrong) {
      hasher.add(value_hash(schema));
      grammar.text = {};
    }
  }
  HashedBytes bytes;
  add_hashed(bytes, spec);
  const PromptSource& prompt = task.prompt;
  hasher.add(std::string_view(bytes.first)).add(task.seed_drawn);
  hasher.add(static_cast<uint8_t>(prompt.kind)).add(std::string_view(prompt.text));
  hasher.add(prompt.parse_special).add(prompt.add_special);
  if (!bytes.later.empty()) hasher.add(std::string_view(bytes.later));
  return hasher.value();
}

}  // namespace altlas::server
