#include "server/tasks/body_hash.h"

#include <boost/json.hpp>
#include <cmath>
#include <map>

#include "base/hash.h"
#include "control/codec.h"
#include "server/tasks/task_json.h"

namespace altlas::server {

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
  std::string bytes;
  control::codec::write(bytes, spec);
  const PromptSource& prompt = task.prompt;
  hasher.add(std::string_view(bytes)).add(task.seed_drawn);
  hasher.add(static_cast<uint8_t>(prompt.kind)).add(std::string_view(prompt.text));
  hasher.add(prompt.parse_special).add(prompt.add_special);
  return hasher.value();
}

}  // namespace altlas::server
