#include "text/template/access.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "base/utf8.h"

namespace altlas::text {

using VKind = Value::Kind;

namespace {

Value loop_attribute(const Loop& loop, const std::string& name, const Value& self) {
  const auto index = static_cast<int64_t>(loop.index),
             size = static_cast<int64_t>(loop.items.size());
  if (name == "index") return Value(index + 1);
  if (name == "index0") return Value(index);
  if (name == "revindex") return Value(size - index);
  if (name == "revindex0") return Value(size - index - 1);
  if (name == "first") return Value(index == 0);
  if (name == "last") return Value(index + 1 == size);
  if (name == "length") return Value(size);
  if (name == "depth") return Value(loop.depth);
  if (name == "depth0") return Value(loop.depth - 1);
  if (name == "previtem")
    return index > 0 ? loop.items[loop.index - 1] : Value::undefined("loop.previtem");
  if (name == "nextitem")
    return index + 1 < size ? loop.items[loop.index + 1] : Value::undefined("loop.nextitem");
  if (name == "cycle" || name == "changed") return Value::function({name, self});
  return Value::undefined(name);
}

}  // namespace

Result<Value> attribute_of(Rendering& rendering, const Value& value, const std::string& name) {
  constexpr std::string_view kObjectMethods[] = {"items", "keys", "values", "get", "copy"};
  constexpr std::string_view kStringMethods[] = {
      "strip",        "lstrip",  "rstrip",  "split",     "rsplit",     "splitlines",
      "replace",      "upper",   "lower",   "title",     "capitalize", "startswith",
      "endswith",     "join",    "format",  "partition", "rpartition", "ljust",
      "rjust",        "center",  "zfill",   "isdigit",   "isdecimal",  "isnumeric",
      "isalpha",      "isalnum", "isspace", "isupper",   "islower",    "removeprefix",
      "removesuffix", "find",    "rfind",   "index",     "count"};
  constexpr std::string_view kMutators[] = {"append",  "extend",  "insert",    "remove",
                                            "pop",     "clear",   "update",    "sort",
                                            "reverse", "popitem", "setdefault"};
  switch (value.kind()) {
    case VKind::kUndefined:
      return rendering.fail(
          fmt::format("'{}' is undefined, it has no attribute '{}'", value.undefined_name(), name));
    case VKind::kNamespace: {
      const Scope& space = rendering.namespaces[value.index()];
      rendering.budget().spend(space.variables.size() / 8);
      const Value* found = space.find(name);
      return found != nullptr ? *found : Value::undefined(name);
    }
    case VKind::kLoop:
      return loop_attribute(rendering.loops[value.index()], name, value);
    case VKind::kObject: {
      for (const std::string_view method : kObjectMethods)
        if (name == method) return Value::function({name, value});
      const Value* found = value.find(name);
      if (found != nullptr) return *found;
      break;
    }
    case VKind::kList:
      if (name == "index" || name == "count") return Value::function({name, value});
      break;
    case VKind::kString:
      for (const std::string_view method : kStringMethods)
        if (name == method) return Value::function({name, value});
      break;
    default:
      break;
  }
  if (value.is_list() || value.is_object())
    for (const std::string_view mutator : kMutators)
      if (name == mutator)
        return rendering.fail(
            fmt::format("{}() would change a value, which a template must not", name));
  return Value::undefined(name);
}

Result<std::vector<Value>> items_of(Rendering& rendering, const Value& value) {
  std::vector<Value> items;
  switch (value.kind()) {
    case VKind::kUndefined:
      break;
    case VKind::kList:
      ALTLAS_TRY_VOID(rendering.reserve_items(value.items().size()));
      items = value.items();
      break;
    case VKind::kObject:
      ALTLAS_TRY_VOID(rendering.reserve_items(value.entries().size()));
      for (const auto& [key, item] : value.entries()) items.push_back(key);
      break;
    case VKind::kString: {
      ALTLAS_TRY_VOID(rendering.reserve_items(value.view().size()));
      rendering.budget().take(value.view().size() * sizeof(TaggedText));
      ALTLAS_TRY_VOID(rendering.check_budget());
      for (size_t i = 0; i < value.view().size();) {
        const size_t length = decode_utf8(value.view().substr(i)).length;
        items.emplace_back(value.text().slice(i, i + length));
        i += length;
      }
      break;
    }
    default:
      return rendering.fail(fmt::format("a {} can't be looped over", value.kind_name()));
  }
  ALTLAS_TRY_VOID(rendering.check_budget());
  return items;
}

Result<Value> item_at(Rendering& rendering, const Value& value, const Value& key) {
  if (value.is_undefined())
    return rendering.fail(
        fmt::format("'{}' is undefined, it has no items", value.undefined_name()));
  if (value.is_object()) {
    if (const Value* found = value.find_key(key)) return *found;
    if (!key.is_string()) return Value::undefined("item");
    return attribute_of(rendering, value, std::string(key.view()));
  }
  if (key.is_string()) return attribute_of(rendering, value, std::string(key.view()));
  if ((!value.is_list() && !value.is_string()) || !key.is_integral())
    return Value::undefined("item");
  const bool is_list = value.is_list();
  if (!is_list) rendering.budget().spend(value.view().size() / 16);
  const auto size =
      static_cast<int64_t>(is_list ? value.items().size() : count_code_points(value.view()));
  int64_t at = key.as_int();
  if (at < 0) at += size;
  if (at < 0 || at >= size) return Value::undefined("item");
  if (is_list) return value.items()[static_cast<size_t>(at)];
  return slice_of(rendering, value, Value(at), Value(at + 1), Value());
}

Result<Value> slice_of(Rendering& rendering, const Value& value, const Value& begin,
                       const Value& end, const Value& step) {
  if (!value.is_list() && !value.is_string())
    return rendering.fail(fmt::format("a {} has no slices", value.kind_name()));
  for (const Value* bound : {&begin, &end, &step})
    if (!bound->is_none() && !bound->is_integral())
      return rendering.fail("a slice's bounds must be integers");
  const int64_t stride = step.is_none() ? 1 : step.as_int();
  if (stride == 0) return rendering.fail("a slice's step must not be 0");
  std::vector<size_t> starts;  // The byte offsets of the characters, and of the end.
  if (value.is_string()) {
    rendering.budget().spend(value.view().size() / 4);
    ALTLAS_TRY_VOID(rendering.check_budget());
    for (size_t i = 0; i < value.view().size(); i += decode_utf8(value.view().substr(i)).length)
      starts.push_back(i);
    starts.push_back(value.view().size());
  }
  const auto size =
      static_cast<int64_t>(value.is_list() ? value.items().size() : starts.size() - 1);
  const int64_t low = stride > 0 ? 0 : -1, high = stride > 0 ? size : size - 1;
  const auto bound = [&](const Value& v, int64_t fallback) {
    if (v.is_none()) return fallback;
    const int64_t at = v.as_int();
    return std::clamp(at < 0 ? std::max(at, -size - 1) + size : std::min(at, size), low, high);
  };
  const int64_t from = bound(begin, stride > 0 ? 0 : size - 1),
                to = bound(end, stride > 0 ? size : -1);
  TaggedText text;
  std::vector<Value> items;
  if (value.is_string() && stride == 1)
    return rendering.text_value(value.text().slice(
        starts[static_cast<size_t>(from)], starts[static_cast<size_t>(std::max(from, to))]));
  for (int64_t i = from; stride > 0 ? i < to : i > to;) {
    const auto at = static_cast<size_t>(i);
    ALTLAS_TRY_VOID(rendering.reserve_items(1));
    if (value.is_list()) {
      items.push_back(value.items()[at]);
    } else {
      text.append(value.text(), starts[at], starts[at + 1]);
    }
    if (__builtin_add_overflow(i, stride, &i)) break;
  }
  return value.is_list() ? Result<Value>(Value::list(std::move(items), value.is_tuple()))
                         : rendering.text_value(std::move(text));
}

}  // namespace altlas::text
