// Methods of strings, with their arguments.
#include "text/template/functions.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <string>
#include <vector>

#include "base/utf8.h"
#include "text/template/access.h"
#include "text/template/string_methods.h"

namespace altlas::text {

namespace {

// startswith and endswith take one string or a tuple of them.
Result<Value> has_affix(Rendering& rendering, std::string_view text, std::string_view name,
                        const Arguments& arguments) {
  const Value* affix = arguments.get(0, "prefix");
  std::vector<Value> options;
  if (affix != nullptr && affix->is_string()) options = {*affix};
  if (affix != nullptr && affix->is_list()) options = affix->items();
  if (affix == nullptr || (!affix->is_string() && !affix->is_list()))
    return rendering.fail(fmt::format("{}() takes a str or a tuple of them", name));
  rendering.budget().spend(options.size());
  for (const Value& option : options) {
    rendering.budget().spend(option.is_string() ? option.view().size() / 64 : 0);
    ALTLAS_TRY_VOID(rendering.check_budget());
    if (!option.is_string())
      return rendering.fail(fmt::format("{}() takes str, not {}", name, option.kind_name()));
    if (name == "startswith" ? text.starts_with(option.view()) : text.ends_with(option.view()))
      return Value(true);
  }
  return Value(false);
}

Result<Value> join(Rendering& rendering, const TaggedText& glue, const Arguments& arguments) {
  const Value* over = arguments.get(0, "iterable");
  if (over == nullptr) return rendering.fail("join() takes a list of str");
  ALTLAS_TRY(const std::vector<Value> items, items_of(rendering, *over));
  TaggedText out;
  for (size_t i = 0; i < items.size(); ++i) {
    if (!items[i].is_string())
      return rendering.fail(fmt::format("join() takes str, not {}", items[i].kind_name()));
    const size_t more = items[i].view().size() + (i > 0 ? glue.bytes.size() : 0);
    ALTLAS_TRY_VOID(rendering.check_size(out.bytes.size() + more));
    ALTLAS_TRY_VOID(rendering.reserve_text(more));
    if (i > 0) out.append(glue);
    out.append(items[i].text());
  }
  return Value(std::move(out));
}

Result<Value> partition(Rendering& rendering, const TaggedText& text, bool from_right,
                        const Arguments& arguments) {
  const TaggedText* separator = arguments.text(0, "sep");
  if (separator == nullptr || separator->bytes.empty())
    return rendering.fail("partition() takes a separator");
  rendering.budget().spend(text.bytes.size() / (from_right ? 4 : 16));
  ALTLAS_TRY_VOID(rendering.reserve_text(text.bytes.size()));
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

// "{} {0} {name}".format(...), with plain fields only.
Result<Value> format_braces(Rendering& rendering, const TaggedText& text,
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
      return rendering.fail("format(): a lone brace");
    const std::string_view field = bytes.substr(brace + 1, end - brace - 1);
    const bool numbered =
        !field.empty() && field.size() < 4 && field.find_first_not_of("0123456789") == field.npos;
    const size_t position = field.empty() ? automatic++
                            : numbered    ? std::stoul(std::string(field))
                                          : ~size_t{0};
    const Value* value = arguments.get(position, field.empty() ? "}" : field);
    if (value == nullptr)
      return rendering.fail(fmt::format("format(): no value for '{{{}}}'", field));
    ALTLAS_TRY(const TaggedText piece, rendering.to_text(*value));
    ALTLAS_TRY_VOID(rendering.check_size(out.bytes.size() + piece.bytes.size()));
    out.append(piece);
    at = end + 1;
  }
  return Value(std::move(out));
}

Result<Value> pad(Rendering& rendering, const TaggedText& text, std::string_view name,
                  const Arguments& arguments) {
  const int64_t width = arguments.integer(0, "width", 0);
  const TaggedText* fill = arguments.text(1, "fillchar");
  const auto size = static_cast<int64_t>(count_code_points(text.bytes));
  if (width <= size) return Value(text);
  const TaggedText unit = name == "zfill"   ? TaggedText::of("0", false)
                          : fill != nullptr ? *fill
                                            : TaggedText::of(" ", false);
  if (count_code_points(unit.bytes) != 1)
    return rendering.fail(fmt::format("{}() fills with one character", name));
  const int64_t blanks = width - size;
  const int64_t left = name == "ljust"    ? 0
                       : name == "center" ? blanks / 2 + (blanks & width & 1)
                                          : blanks;
  ALTLAS_TRY_VOID(rendering.check_size(static_cast<size_t>(width)));
  ALTLAS_TRY_VOID(
      rendering.reserve_text(text.bytes.size() + static_cast<size_t>(blanks) * unit.bytes.size()));
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
Result<Value> search(Rendering& rendering, std::string_view text, std::string_view part,
                     std::string_view name) {
  rendering.budget().spend((text.size() + part.size()) / (name == "rfind" ? 4 : 16));
  ALTLAS_TRY_VOID(rendering.check_budget());
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
    return name == "index" ? Result<Value>(rendering.fail("index(): not found")) : Value(-1);
  return Value(static_cast<int64_t>(count_code_points(text.substr(0, at))));
}

}  // namespace

Result<Value> call_string_method(Rendering& rendering, const TaggedText& text,
                                 std::string_view name, const Arguments& arguments) {
  const std::string_view bytes = text.bytes;
  const TaggedText* first = arguments.text(0, "sep");
  const std::string_view chars =
      first != nullptr ? std::string_view(first->bytes) : std::string_view();
  const bool strips = name.ends_with("strip");
  if (strips || is_one_of(name, {"upper", "lower", "title", "capitalize"})) {
    // The work is per character; strip() compares each with all the characters that it may drop.
    rendering.budget().spend(bytes.size() * (strips ? 1 + chars.size() / 64 : 1));
    rendering.budget().take(2 * bytes.size());
  } else if (name.starts_with("is") || name.starts_with("remove")) {
    rendering.budget().spend(bytes.size() / 4);
  }
  ALTLAS_TRY_VOID(rendering.check_budget());
  if (name == "strip" || name == "lstrip" || name == "rstrip")
    return Value(strip(text, chars, name != "rstrip", name != "lstrip"));
  if (name == "split" || name == "rsplit") {
    if (first != nullptr && chars.empty())
      return rendering.fail("split() needs a separator that is not empty");
    std::vector<Value> parts = split(text, chars, arguments.integer(1, "maxsplit", -1),
                                     name == "rsplit", rendering.budget());
    ALTLAS_TRY_VOID(rendering.check_budget());
    return Value::list(std::move(parts));
  }
  if (name == "splitlines") {
    std::vector<Value> lines =
        split_lines(text, arguments.truth(0, "keepends", false), rendering.budget());
    ALTLAS_TRY_VOID(rendering.check_budget());
    return Value::list(std::move(lines));
  }
  if (name == "replace") {
    const TaggedText *from = arguments.text(0, "old"), *to = arguments.text(1, "new");
    if (from == nullptr || to == nullptr) return rendering.fail("replace() takes two str");
    TaggedText out = replace(text, from->bytes, *to, arguments.integer(2, "count", -1),
                             rendering.limits().output_bytes, rendering.budget());
    ALTLAS_TRY_VOID(rendering.check_size(out.bytes.size()));
    return Value(std::move(out));
  }
  if (name == "upper") return Value(change_case(text, Case::kUpper));
  if (name == "lower") return Value(change_case(text, Case::kLower));
  if (name == "title") return Value(change_case(text, Case::kTitle));
  if (name == "capitalize") return Value(change_case(text, Case::kCapitalize));
  if (name == "startswith" || name == "endswith")
    return has_affix(rendering, bytes, name, arguments);
  if (name == "join") return join(rendering, text, arguments);
  if (name == "format") return format_braces(rendering, text, arguments);
  if (name == "partition" || name == "rpartition")
    return partition(rendering, text, name == "rpartition", arguments);
  if (name == "ljust" || name == "rjust" || name == "center" || name == "zfill")
    return pad(rendering, text, name, arguments);
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
    if (first == nullptr) return rendering.fail(fmt::format("{}() takes a str", name));
    if (name == "removeprefix")
      return bytes.starts_with(chars) ? Value(text.slice(chars.size(), bytes.size())) : Value(text);
    if (name == "removesuffix")
      return bytes.ends_with(chars) ? Value(text.slice(0, bytes.size() - chars.size()))
                                    : Value(text);
    return search(rendering, bytes, chars, name);
  }
  return rendering.fail(fmt::format("str has no method '{}' that templates may call", name));
}

}  // namespace altlas::text
