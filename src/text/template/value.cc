#include "text/template/value.h"

#include <algorithm>

#include "base/check.h"

namespace altlas::text {

TaggedText TaggedText::of(std::string_view bytes, bool is_content) {
  TaggedText made;
  made.append(bytes, is_content);
  return made;
}

void TaggedText::append(std::string_view more, bool is_content) {
  if (more.empty()) return;
  if (is_content) {
    if (!content.empty() && content.back().second == bytes.size()) {
      content.back().second += more.size();
    } else {
      content.emplace_back(bytes.size(), bytes.size() + more.size());
    }
  }
  bytes += more;
}

void TaggedText::append(const TaggedText& from, size_t begin, size_t end) {
  auto it = std::ranges::upper_bound(from.content, begin, {}, &std::pair<size_t, size_t>::second);
  const std::string_view all = from.bytes;
  while (begin < end) {
    const bool inside = it != from.content.end() && it->first <= begin;
    const size_t until = std::min(end, it == from.content.end() ? end
                                       : inside                 ? it->second
                                                                : it->first);
    append(all.substr(begin, until - begin), inside);
    if (inside) ++it;
    begin = until;
  }
}

TaggedText TaggedText::slice(size_t begin, size_t end) const {
  TaggedText made;
  made.append(*this, begin, std::max(begin, end));
  return made;
}

Value::Value(std::string s) : Value(TaggedText::of(s, true)) {}
Value::Value(TaggedText text) : data_(std::make_shared<const TaggedText>(std::move(text))) {}
Value Value::trusted(std::string_view s) { return Value(TaggedText::of(s, false)); }

Value Value::undefined(std::string_view name) {
  Value made;
  made.data_ = Undefined{name.empty() ? nullptr : std::make_shared<const std::string>(name)};
  return made;
}

Value Value::list(std::vector<Value> items, bool is_tuple) {
  ListData data{std::move(items), is_tuple};
  for (const Value& item : data.items) data.depth = std::max(data.depth, item.depth() + 1);
  Value made;
  made.data_ = std::make_shared<const ListData>(std::move(data));
  return made;
}

namespace {

// A key's place in the order of ObjectData::by_key: integers, then strings.
struct KeyOrder {
  bool is_string;
  int64_t integer;
  std::string_view text;
  auto operator<=>(const KeyOrder&) const = default;
};
KeyOrder order_of(const Value& key) {
  if (key.is_integral()) return {false, key.as_int(), ""};
  ALTLAS_CHECK(key.is_string(), "an object's key is a string or an integer");
  return {true, 0, key.view()};
}

}  // namespace

Value Value::object(std::vector<Entry> entries) {
  ObjectData data;
  data.by_key.resize(entries.size());
  for (uint32_t i = 0; i < entries.size(); ++i) data.by_key[i] = i;
  const auto key = [&](uint32_t i) { return order_of(entries[i].first); };
  std::ranges::stable_sort(data.by_key, {}, key);
  bool repeated = false;
  for (size_t i = 0; i + 1 < data.by_key.size(); ++i)
    repeated |= key(data.by_key[i]) == key(data.by_key[i + 1]);
  if (repeated) {
    std::vector<bool> drop(entries.size());
    for (size_t i = 0; i < data.by_key.size();) {
      size_t end = i + 1;
      while (end < data.by_key.size() && key(data.by_key[end]) == key(data.by_key[i]))
        drop[data.by_key[end++]] = true;
      entries[data.by_key[i]].second = entries[data.by_key[end - 1]].second;
      i = end;
    }
    std::vector<Entry> kept;
    for (size_t i = 0; i < entries.size(); ++i)
      if (!drop[i]) kept.push_back(std::move(entries[i]));
    return object(std::move(kept));
  }
  for (const Entry& entry : entries) data.depth = std::max(data.depth, entry.second.depth() + 1);
  data.entries = std::move(entries);
  Value made;
  made.data_ = std::make_shared<const ObjectData>(std::move(data));
  return made;
}

Value Value::object_of(std::vector<std::pair<std::string, Value>> entries) {
  std::vector<Entry> made;
  made.reserve(entries.size());
  for (auto& [key, value] : entries) made.emplace_back(Value(std::move(key)), std::move(value));
  return object(std::move(made));
}

Value Value::name_space(size_t index) {
  Value made;
  made.data_ = NamespaceIndex{index};
  return made;
}
Value Value::loop(size_t index) {
  Value made;
  made.data_ = LoopIndex{index};
  return made;
}
Value Value::function(FunctionData data) {
  Value made;
  made.data_ = std::make_shared<const FunctionData>(std::move(data));
  return made;
}

int64_t Value::as_int() const {
  return is(Kind::kBool) ? int64_t{as_bool()} : std::get<int64_t>(data_);
}
double Value::as_double() const {
  return is(Kind::kDouble) ? std::get<double>(data_) : static_cast<double>(as_int());
}
const std::vector<Value>& Value::items() const {
  return std::get<std::shared_ptr<const ListData>>(data_)->items;
}
bool Value::is_tuple() const {
  return is_list() && std::get<std::shared_ptr<const ListData>>(data_)->is_tuple;
}
const std::vector<Value::Entry>& Value::entries() const {
  return std::get<std::shared_ptr<const ObjectData>>(data_)->entries;
}
const FunctionData& Value::function_data() const {
  return *std::get<std::shared_ptr<const FunctionData>>(data_);
}
size_t Value::index() const {
  return is(Kind::kLoop) ? std::get<LoopIndex>(data_).index : std::get<NamespaceIndex>(data_).index;
}

namespace {

const Value* find_in(const ObjectData& object, const KeyOrder& key) {
  const auto key_of = [&](uint32_t i) { return order_of(object.entries[i].first); };
  const auto it = std::ranges::lower_bound(object.by_key, key, {}, key_of);
  const bool found = it != object.by_key.end() && key_of(*it) == key;
  return found ? &object.entries[*it].second : nullptr;
}

}  // namespace

const Value* Value::find(std::string_view key) const {
  return find_in(*std::get<std::shared_ptr<const ObjectData>>(data_), {true, 0, key});
}
const Value* Value::find_key(const Value& key) const {
  if (!key.is_string() && !key.is_integral()) return nullptr;
  return find_in(*std::get<std::shared_ptr<const ObjectData>>(data_), order_of(key));
}

int Value::depth() const {
  switch (kind()) {
    case Kind::kList:
      return std::get<std::shared_ptr<const ListData>>(data_)->depth;
    case Kind::kObject:
      return std::get<std::shared_ptr<const ObjectData>>(data_)->depth;
    case Kind::kFunction:
      return function_data().receiver.depth() + 1;
    default:
      return 0;
  }
}

bool Value::truthy() const {
  switch (kind()) {
    case Kind::kUndefined:
    case Kind::kNull:
      return false;
    case Kind::kBool:
      return as_bool();
    case Kind::kInt:
      return as_int() != 0;
    case Kind::kDouble:
      return as_double() != 0;
    case Kind::kString:
      return !view().empty();
    case Kind::kList:
      return !items().empty();
    case Kind::kObject:
      return !entries().empty();
    default:
      return true;
  }
}

std::string_view Value::kind_name() const {
  constexpr std::string_view kNames[] = {"undefined", "NoneType", "bool",    "int",
                                         "float",     "str",      "list",    "dict",
                                         "namespace", "loop",     "function"};
  return is_tuple() ? "tuple" : kNames[static_cast<size_t>(kind())];
}

std::string_view Value::undefined_name() const {
  const auto& name = std::get<Undefined>(data_).name;
  return name == nullptr ? std::string_view("value") : std::string_view(*name);
}

bool equal(const Value& a, const Value& b, RenderBudget& budget) {
  if (!budget.spend(1)) return false;
  if (a.is_number() && b.is_number())
    return a.is_integral() && b.is_integral() ? a.as_int() == b.as_int()
                                              : a.as_double() == b.as_double();
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Value::Kind::kString:
      budget.spend(a.view().size() / 64);
      return a.view() == b.view();
    case Value::Kind::kList: {
      if (a.items().size() != b.items().size() || a.is_tuple() != b.is_tuple()) return false;
      for (size_t i = 0; i < a.items().size(); ++i)
        if (!equal(a.items()[i], b.items()[i], budget)) return false;
      return true;
    }
    case Value::Kind::kObject: {
      if (a.entries().size() != b.entries().size()) return false;
      for (const auto& [key, value] : a.entries()) {
        const Value* other = b.find_key(key);
        if (other == nullptr || !equal(value, *other, budget)) return false;
      }
      return true;
    }
    case Value::Kind::kNamespace:
    case Value::Kind::kLoop:
      return a.index() == b.index();
    case Value::Kind::kFunction:
      return &a.function_data() == &b.function_data();
    default:
      return true;
  }
}

bool less(const Value& a, const Value& b, RenderBudget& budget, bool& comparable) {
  if (!budget.spend(1)) return false;
  if (a.is_integral() && b.is_integral()) return a.as_int() < b.as_int();
  if (a.is_number() && b.is_number()) return a.as_double() < b.as_double();
  if (a.is_string() && b.is_string())
    return a.view() < b.view();  // UTF-8 sorts like its code points.
  if (a.is_list() && b.is_list()) {
    const size_t shared = std::min(a.items().size(), b.items().size());
    for (size_t i = 0; i < shared; ++i)
      if (!equal(a.items()[i], b.items()[i], budget))
        return less(a.items()[i], b.items()[i], budget, comparable);
    return a.items().size() < b.items().size();
  }
  comparable = false;
  return false;
}

}  // namespace altlas::text
