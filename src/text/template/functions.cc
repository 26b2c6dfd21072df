// Global functions of chat templates, and the methods of strings, lists and objects.
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <initializer_list>

#include "base/utf8.h"
#include "text/template/eval.h"
#include "text/template/string_methods.h"

namespace altlas::text {
namespace {

constexpr size_t kTimeFormatBytesMax = 256;

Result<Value> range(Evaluator& evaluator, const Arguments& arguments) {
  const auto& given = arguments.positional;
  if (given.empty() || given.size() > 3) return evaluator.fail("range() takes 1 to 3 integers");
  for (const Value& value : given)
    if (!value.is_integral())
      return evaluator.fail(fmt::format("range() takes integers, not {}", value.kind_name()));
  const int64_t from = given.size() > 1 ? given[0].as_int() : 0;
  const int64_t to = given.size() > 1 ? given[1].as_int() : given[0].as_int();
  const int64_t step = given.size() > 2 ? given[2].as_int() : 1;
  if (step == 0) return evaluator.fail("range()'s step must not be 0");
  const bool any = step > 0 ? from < to : from > to;
  const uint64_t distance = any ? step > 0 ? static_cast<uint64_t>(to) - static_cast<uint64_t>(from)
                                           : static_cast<uint64_t>(from) - static_cast<uint64_t>(to)
                                : 0;
  const uint64_t stride = step > 0 ? static_cast<uint64_t>(step) : 0 - static_cast<uint64_t>(step);
  ALTLAS_TRY_VOID(evaluator.reserve_items(any ? (distance - 1) / stride + 1 : 0));
  std::vector<Value> items;
  for (int64_t i = from; step > 0 ? i < to : i > to;) {
    items.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return Value::list(std::move(items));
}

Result<Value> format_time(Evaluator& evaluator, const Arguments& arguments) {
  const TaggedText* format = arguments.text(0, "format");
  if (format == nullptr || format->bytes.size() > kTimeFormatBytesMax)
    return evaluator.fail(
        fmt::format("strftime_now() takes a format of at most {} bytes", kTimeFormatBytesMax));
  const std::time_t seconds = evaluator.now_us() / 1'000'000;
  std::tm parts{};
  if (gmtime_r(&seconds, &parts) == nullptr)
    return evaluator.fail("strftime_now() has no valid time");
  char buffer[8 * kTimeFormatBytesMax];
  const size_t size = std::strftime(buffer, sizeof buffer, format->bytes.c_str(), &parts);
  return Value::trusted(std::string_view(buffer, size));
}

// Objects given by position are merged first, then named values.
Result<Value> make_object(Evaluator& evaluator, const Arguments& arguments) {
  std::vector<Value::Entry> entries;
  for (const Value& value : arguments.positional) {
    if (!value.is_object()) return evaluator.fail("dict() takes objects and named values");
    ALTLAS_TRY_VOID(evaluator.reserve_items(2 * value.entries().size()));
    entries.insert(entries.end(), value.entries().begin(), value.entries().end());
  }
  for (const auto& [name, value] : arguments.named)
    entries.emplace_back(Value::trusted(name), value);
  return Value::object(std::move(entries));
}

Result<Value> object_method(Evaluator& evaluator, const Value& object, std::string_view name,
                            const Arguments& arguments) {
  if (name == "get") {
    const Value* key = arguments.get(0, "key");
    if (key == nullptr) return evaluator.fail("get() takes a key");
    const Value* found = key->is_string() ? object.find(key->view()) : nullptr;
    const Value* fallback = arguments.get(1, "default");
    return found != nullptr ? *found : fallback != nullptr ? *fallback : Value();
  }
  if (name == "copy") return object;
  ALTLAS_TRY_VOID(evaluator.reserve_items(4 * object.entries().size()));
  std::vector<Value> items;
  for (const auto& [key, value] : object.entries())
    items.push_back(name == "keys"     ? key
                    : name == "values" ? value
                                       : Value::list({key, value}, /*is_tuple=*/true));
  return Value::list(std::move(items));
}

Result<Value> list_method(Evaluator& evaluator, const Value& list, std::string_view name,
                          const Arguments& arguments) {
  const Value* sought = arguments.get(0, "value");
  if (sought == nullptr) return evaluator.fail(fmt::format("{}() takes a value", name));
  int64_t count = 0;
  for (size_t i = 0; i < list.items().size(); ++i) {
    if (!equal(list.items()[i], *sought, evaluator.budget())) continue;
    if (name == "index") return Value(static_cast<int64_t>(i));
    ++count;
  }
  if (name == "index") return evaluator.fail("index(): the value is not in the list");
  return Value(count);
}

// startswith and endswith take one string or a tuple of them.
Result<Value> has_affix(Evaluator& evaluator, std::string_view text, std::string_view name,
                        const Arguments& arguments) {
  const Value* affix = arguments.get(0, "prefix");
  std::vector<Value> options;
  if (affix != nullptr && affix->is_string()) options = {*affix};
  if (affix != nullptr && affix->is_list()) options = affix->items();
  if (affix == nullptr || (!affix->is_string() && !affix->is_list()))
    return evaluator.fail(fmt::format("{}() takes a str or a tuple of them", name));
  evaluator.budget().spend(options.size());
  for (const Value& option : options) {
    evaluator.budget().spend(option.is_string() ? option.view().size() / 64 : 0);
    ALTLAS_TRY_VOID(evaluator.check_budget());
    if (!option.is_string())
      return evaluator.fail(fmt::format("{}() takes str, not {}", name, option.kind_name()));
    if (name == "startswith" ? text.starts_with(option.view()) : text.ends_with(option.view()))
      return Value(true);
  }
  return Value(false);
}

Result<Value> join(Evaluator& evaluator, const TaggedText& glue, const Arguments& arguments) {
  const Value* over = arguments.get(0, "iterable");
  if (over == nullptr) return evaluator.fail("join() takes a list of str");
  ALTLAS_TRY(const std::vector<Value> items, evaluator.iterate(*over));
  TaggedText out;
  for (size_t i = 0; i < items.size(); ++i) {
    if (!items[i].is_string())
      return evaluator.fail(fmt::format("join() takes str, not {}", items[i].kind_name()));
    const size_t more = items[i].view().size() + (i > 0 ? glue.bytes.size() : 0);
    ALTLAS_TRY_VOID(evaluator.check_size(out.bytes.size() + more));
    ALTLAS_TRY_VOID(evaluator.reserve_text(more));
    if (i > 0) out.append(glue);
    out.append(items[i].text());
  }
  return Value(std::move(out));
}

Result<Value> partition(Evaluator& evaluator, const TaggedText& text, bool from_right,
                        const Arguments& arguments) {
  const TaggedText* separator = arguments.text(0, "sep");
  if (separator == nullptr || separator->bytes.empty())
    return evaluator.fail("partition() takes a separator");
  evaluator.budget().spend(text.bytes.size() / (from_right ? 4 : 16));
  ALTLAS_TRY_VOID(evaluator.reserve_text(text.bytes.size()));
  const size_t at = from_right ? find_last_text(text.bytes, separator->bytes)
                               : find_text(text.bytes, separator->bytes);
  const Value empty = Value::trusted("");
  if (at == std::string::npos)
    return from_right ? Value::list({empty, empty, Value(text)}, true)
                      : Value::list({Value(text), empty, empty}, true);
  const size_t after = at + separator->bytes.size();
  return Value::list(
      {Value(text.slice(0, at)), Value(*separator), Value(text.slice(after, text.bytes.size()))},
      true);
}

// "{} {0} {name}".format(...): plain fields only.
Result<Value> format_braces(Evaluator& evaluator, const TaggedText& text,
                            const Arguments& arguments) {
  TaggedText out;
  const std::string_view bytes = text.bytes;
  size_t automatic = 0;
  for (size_t at = 0; at < bytes.size();) {
    const size_t brace = std::min(bytes.find_first_of("{}", at), bytes.size());
    out.append(text, at, brace);
    if (brace == bytes.size()) break;
    if (brace + 1 < bytes.size() && bytes[brace + 1] == bytes[brace]) {
      out.append(text, brace, brace + 1);
      at = brace + 2;
      continue;
    }
    const size_t end = bytes.find('}', brace);
    if (bytes[brace] == '}' || end == std::string_view::npos)
      return evaluator.fail("format(): a lone brace");
    const std::string_view field = bytes.substr(brace + 1, end - brace - 1);
    const bool numbered =
        !field.empty() && field.size() < 4 && field.find_first_not_of("0123456789") == field.npos;
    const size_t position = field.empty() ? automatic++
                            : numbered    ? std::stoul(std::string(field))
                                          : ~size_t{0};
    const Value* value = arguments.get(position, field.empty() ? "}" : field);
    if (value == nullptr)
      return evaluator.fail(fmt::format("format(): no value for '{{{}}}'", field));
    ALTLAS_TRY(const TaggedText piece, evaluator.to_text(*value));
    ALTLAS_TRY_VOID(evaluator.check_size(out.bytes.size() + piece.bytes.size()));
    out.append(piece);
    at = end + 1;
  }
  return Value(std::move(out));
}

Result<Value> pad(Evaluator& evaluator, const TaggedText& text, std::string_view name,
                  const Arguments& arguments) {
  const int64_t width = arguments.integer(0, "width", 0);
  const TaggedText* fill = arguments.text(1, "fillchar");
  const auto size = static_cast<int64_t>(count_code_points(text.bytes));
  if (width <= size) return Value(text);
  const TaggedText unit = name == "zfill"   ? TaggedText::of("0", false)
                          : fill != nullptr ? *fill
                                            : TaggedText::of(" ", false);
  if (count_code_points(unit.bytes) != 1)
    return evaluator.fail(fmt::format("{}() fills with one character", name));
  const int64_t blanks = width - size;
  const int64_t left = name == "ljust"    ? 0
                       : name == "center" ? blanks / 2 + (blanks & width & 1)
                                          : blanks;
  ALTLAS_TRY_VOID(evaluator.check_size(static_cast<size_t>(width)));
  ALTLAS_TRY_VOID(
      evaluator.reserve_text(text.bytes.size() + static_cast<size_t>(blanks) * unit.bytes.size()));
  TaggedText out;
  for (int64_t i = 0; i < left; ++i) out.append(unit);
  out.append(text);
  for (int64_t i = left; i < blanks; ++i) out.append(unit);
  return Value(std::move(out));
}

bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::ranges::find(names, name) != names.end();
}

// Looks for `part` in `text`: count(), find(), rfind(), index().
Result<Value> search(Evaluator& evaluator, std::string_view text, std::string_view part,
                     std::string_view name) {
  evaluator.budget().spend((text.size() + part.size()) / (name == "rfind" ? 4 : 16));
  ALTLAS_TRY_VOID(evaluator.check_budget());
  if (name == "count") {
    if (part.empty()) return Value(static_cast<int64_t>(count_code_points(text)) + 1);
    int64_t count = 0;
    for (size_t at = 0; (at = find_text(text, part, at)) != std::string_view::npos;
         at += part.size())
      ++count;
    return Value(count);
  }
  const size_t at = name == "rfind" ? find_last_text(text, part) : find_text(text, part);
  if (at == std::string_view::npos)
    return name == "index" ? Result<Value>(evaluator.fail("index(): not found")) : Value(-1);
  return Value(static_cast<int64_t>(count_code_points(text.substr(0, at))));
}

}  // namespace

Result<Value> Evaluator::call_global(std::string_view name, const Arguments& arguments) {
  if (name == "range") return range(*this, arguments);
  if (name == "strftime_now") return format_time(*this, arguments);
  if (name == "dict") return make_object(*this, arguments);
  if (name == "raise_exception") {
    const TaggedText* message = arguments.text(0, "message");
    return invalid(
        fmt::format("the model's chat template refuses these messages: {}",
                    message != nullptr ? std::string_view(message->bytes) : "no reason given"),
        "messages");
  }
  return fail(fmt::format("unknown function '{}'", name));
}

Result<Value> Evaluator::call_method(const Value& receiver, std::string_view name,
                                     const Arguments& arguments) {
  if (receiver.is_object()) return object_method(*this, receiver, name, arguments);
  if (receiver.is_list()) return list_method(*this, receiver, name, arguments);
  budget_.spend(receiver.view().size() / 16);
  ALTLAS_TRY_VOID(check_budget());
  return call_string_method(receiver.text(), name, arguments);
}

Result<Value> Evaluator::call_string_method(const TaggedText& text, std::string_view name,
                                            const Arguments& arguments) {
  const std::string_view bytes = text.bytes;
  const TaggedText* first = arguments.text(0, "sep");
  const std::string_view chars =
      first != nullptr ? std::string_view(first->bytes) : std::string_view();
  const bool strips = name.ends_with("strip");
  if (strips || is_one_of(name, {"upper", "lower", "title", "capitalize"})) {
    // Character by character; of each that strip() drops, all that it may be are looked at.
    budget_.spend(bytes.size() * (strips ? 1 + chars.size() / 64 : 1));
    budget_.take(2 * bytes.size());
  } else if (name.starts_with("is") || name.starts_with("remove")) {
    budget_.spend(bytes.size() / 4);
  }
  ALTLAS_TRY_VOID(check_budget());
  if (name == "strip" || name == "lstrip" || name == "rstrip")
    return Value(strip(text, chars, name != "rstrip", name != "lstrip"));
  if (name == "split" || name == "rsplit") {
    if (first != nullptr && chars.empty())
      return fail("split() needs a separator that is not empty");
    std::vector<Value> parts =
        split(text, chars, arguments.integer(1, "maxsplit", -1), name == "rsplit", budget_);
    ALTLAS_TRY_VOID(check_budget());
    return Value::list(std::move(parts));
  }
  if (name == "splitlines") {
    std::vector<Value> lines = split_lines(text, arguments.truth(0, "keepends", false), budget_);
    ALTLAS_TRY_VOID(check_budget());
    return Value::list(std::move(lines));
  }
  if (name == "replace") {
    const TaggedText *from = arguments.text(0, "old"), *to = arguments.text(1, "new");
    if (from == nullptr || to == nullptr) return fail("replace() takes two str");
    TaggedText out = replace(text, from->bytes, *to, arguments.integer(2, "count", -1),
                             limits_.output_bytes, budget_);
    ALTLAS_TRY_VOID(check_size(out.bytes.size()));
    return Value(std::move(out));
  }
  if (name == "upper") return Value(change_case(text, Case::kUpper));
  if (name == "lower") return Value(change_case(text, Case::kLower));
  if (name == "title") return Value(change_case(text, Case::kTitle));
  if (name == "capitalize") return Value(change_case(text, Case::kCapitalize));
  if (name == "startswith" || name == "endswith") return has_affix(*this, bytes, name, arguments);
  if (name == "join") return join(*this, text, arguments);
  if (name == "format") return format_braces(*this, text, arguments);
  if (name == "partition" || name == "rpartition")
    return partition(*this, text, name == "rpartition", arguments);
  if (name == "ljust" || name == "rjust" || name == "center" || name == "zfill")
    return pad(*this, text, name, arguments);
  if (name == "isdigit" || name == "isdecimal" || name == "isnumeric")
    return Value(all_points(bytes, is_digit_point));
  if (name == "isalpha") return Value(all_points(bytes, is_alpha_point));
  if (name == "isalnum")
    return Value(
        all_points(bytes, [](char32_t c) { return is_alpha_point(c) || is_digit_point(c); }));
  if (name == "isspace") return Value(all_points(bytes, is_space_point));
  if (name == "isupper") return Value(is_upper_text(bytes));
  if (name == "islower") return Value(is_lower_text(bytes));
  if (name == "removeprefix" || name == "removesuffix" || name == "find" || name == "rfind" ||
      name == "index" || name == "count") {
    if (first == nullptr) return fail(fmt::format("{}() takes a str", name));
    if (name == "removeprefix")
      return bytes.starts_with(chars) ? Value(text.slice(chars.size(), bytes.size())) : Value(text);
    if (name == "removesuffix")
      return bytes.ends_with(chars) ? Value(text.slice(0, bytes.size() - chars.size()))
                                    : Value(text);
    return search(*this, bytes, chars, name);
  }
  return fail(fmt::format("str has no method '{}' that templates may call", name));
}

}  // namespace altlas::text
