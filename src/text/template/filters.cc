#include "text/template/filters.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string>
#include <vector>

#include "base/utf8.h"
#include "text/template/access.h"
#include "text/template/functions.h"
#include "text/template/operators.h"
#include "text/template/string_methods.h"

namespace altlas::text {

namespace {

Result<Value> to_json(Rendering& rendering, const Value& value, const Arguments& arguments) {
  JsonStyle style;
  style.ensure_ascii = arguments.truth(0, "ensure_ascii", false);
  if (const Value* indent = arguments.get(1, "indent");
      indent != nullptr && indent->is_integral()) {
    if (indent->as_int() > 64) return rendering.fail("tojson's indent may be 64 at most");
    style.indent = static_cast<int>(std::max<int64_t>(indent->as_int(), 0));
    style.item_separator = ",";
  }
  style.sort_keys = arguments.truth(3, "sort_keys", false);
  if (const Value* pair = arguments.get(2, "separators"); pair != nullptr && pair->is_list()) {
    if (pair->items().size() != 2 || !pair->items()[0].is_string() || !pair->items()[1].is_string())
      return rendering.fail("tojson's separators must be two str");
    style.item_separator = pair->items()[0].view();
    style.key_separator = pair->items()[1].view();
  }
  TaggedText out;
  if (!append_json(out, value, style, rendering.budget()))
    return rendering.fail(fmt::format("tojson can't write a {}", value.kind_name()));
  ALTLAS_TRY_VOID(rendering.check_size(out.bytes.size()));
  return Value(std::move(out));
}

// Indents the lines after the first by `width` blanks (or by the given text); blank lines only with
// `blank`.
Result<Value> indent(Rendering& rendering, const TaggedText& text, const Arguments& arguments) {
  const int64_t width = arguments.integer(0, "width", 4);
  if (width < 0 || width > 1000) return rendering.fail("indent takes a width of 0 to 1000");
  const TaggedText* given = arguments.text(0, "width");
  const TaggedText unit = given != nullptr
                              ? *given
                              : TaggedText::of(std::string(static_cast<size_t>(width), ' '), false);
  const bool first = arguments.truth(1, "first", false), blank = arguments.truth(2, "blank", false);
  TaggedText out;
  bool is_first = true;
  std::vector<Value> lines = split_lines(text, false, rendering.budget());
  if (text.bytes.empty() || text.bytes.ends_with('\n')) lines.push_back(Value::trusted(""));
  rendering.budget().spend(text.bytes.size());
  for (const Value& line : lines) {
    ALTLAS_TRY_VOID(
        rendering.check_size(out.bytes.size() + unit.bytes.size() + line.view().size() + 1));
    ALTLAS_TRY_VOID(rendering.reserve_text(unit.bytes.size() + line.view().size() + 1));
    if (!is_first) out.append("\n", false);
    if (is_first ? first : blank || !line.view().empty()) out.append(unit);
    out.append(line.text());
    is_first = false;
  }
  return Value(std::move(out));
}

Result<Value> to_int(Rendering& rendering, const Value& value, const Arguments& arguments) {
  const Value* fallback = arguments.get(0, "default");
  if (value.is_integral()) return Value(value.as_int());
  if (value.is(Value::Kind::kDouble) && std::abs(value.as_double()) < 9e18)
    return Value(static_cast<int64_t>(value.as_double()));
  if (value.is_string()) {
    const TaggedText trimmed = strip(value.text(), "", true, true);
    const char *begin = trimmed.bytes.data(), *end = begin + trimmed.bytes.size();
    int64_t integer = 0;
    double real = 0;
    if (begin != end && *begin == '+') ++begin;
    if (const auto done = std::from_chars(begin, end, integer);
        done.ec == std::errc() && done.ptr == end)
      return Value(integer);
    if (const auto done = std::from_chars(begin, end, real);
        done.ec == std::errc() && done.ptr == end && std::abs(real) < 9e18)
      return Value(static_cast<int64_t>(real));
  }
  if (value.is_undefined())
    return rendering.fail(fmt::format("'{}' is undefined", value.undefined_name()));
  return fallback != nullptr ? *fallback : Value(0);
}

Result<Value> to_float(const Value& value, const Arguments& arguments) {
  if (value.is_number()) return Value(value.as_double());
  if (value.is_string()) {
    const TaggedText trimmed = strip(value.text(), "", true, true);
    const char *begin = trimmed.bytes.data(), *end = begin + trimmed.bytes.size();
    double real = 0;
    if (const auto done = std::from_chars(begin, end, real);
        done.ec == std::errc() && done.ptr == end)
      return Value(real);
  }
  const Value* fallback = arguments.get(0, "default");
  return fallback != nullptr ? *fallback : Value(0.0);
}

Result<Value> round_number(Rendering& rendering, const Value& value, const Arguments& arguments) {
  if (!value.is_number())
    return rendering.fail(fmt::format("round takes a number, not {}", value.kind_name()));
  const int64_t digits = arguments.integer(0, "precision", 0);
  const TaggedText* method = arguments.text(1, "method");
  if (digits < -15 || digits > 15) return rendering.fail("round takes a precision of -15 to 15");
  const double scale = std::pow(10.0, static_cast<double>(digits)),
               scaled = value.as_double() * scale;
  if (method != nullptr && method->bytes == "ceil") return Value(std::ceil(scaled) / scale);
  if (method != nullptr && method->bytes == "floor") return Value(std::floor(scaled) / scale);
  if (value.is_integral() && digits >= 0) return value;
  return Value(std::nearbyint(scaled) / scale);
}

TaggedText escape_html(const TaggedText& text) {
  TaggedText out;
  for (size_t i = 0; i < text.bytes.size(); ++i) {
    const std::string_view entity = text.bytes[i] == '&'    ? "&amp;"
                                    : text.bytes[i] == '<'  ? "&lt;"
                                    : text.bytes[i] == '>'  ? "&gt;"
                                    : text.bytes[i] == '"'  ? "&#34;"
                                    : text.bytes[i] == '\'' ? "&#39;"
                                                            : "";
    if (entity.empty()) {
      out.append(text, i, i + 1);
    } else {
      out.append(entity, text.has_content());
    }
  }
  return out;
}

Result<Value> length(Rendering& rendering, const Value& value) {
  if (value.is_list()) return Value(static_cast<int64_t>(value.items().size()));
  if (value.is_object()) return Value(static_cast<int64_t>(value.entries().size()));
  if (value.is_undefined()) return Value(0);
  if (!value.is_string())
    return rendering.fail(fmt::format("a {} has no length", value.kind_name()));
  rendering.budget().spend(value.view().size() / 16);
  return Value(static_cast<int64_t>(count_code_points(value.view())));
}

Result<Value> text_filter(Rendering& rendering, std::string_view name, const Value& input,
                          const Arguments& arguments) {
  ALTLAS_TRY(TaggedText text, rendering.to_text(input));
  rendering.budget().spend(text.bytes.size() / 16);
  if (name == "string" || name == "safe" || name == "forceescape") return Value(std::move(text));
  if (name == "upper" || name == "lower" || name == "title" || name == "capitalize" ||
      name == "replace")
    return call_string_method(rendering, text, name, arguments);
  if (name == "center") {
    Arguments wide = arguments;
    if (wide.get(0, "width") == nullptr) wide.positional = {Value(80)};
    return call_string_method(rendering, text, name, wide);
  }
  if (name == "trim") return call_string_method(rendering, text, "strip", arguments);
  if (name == "indent") return indent(rendering, text, arguments);
  if (name == "wordcount")
    return Value(static_cast<int64_t>(split(text, "", -1, false, rendering.budget()).size()));
  ALTLAS_TRY_VOID(rendering.reserve_text(2 * text.bytes.size()));
  return rendering.text_value(escape_html(text));
}

}  // namespace

Result<Value> apply_filter(Rendering& rendering, std::string_view name, const Value& input,
                           const Arguments& arguments) {
  if (name == "tojson") return to_json(rendering, input, arguments);
  if (name == "default" || name == "d") {
    const bool missing =
        input.is_undefined() || (arguments.truth(1, "boolean", false) && !input.truthy());
    const Value* fallback = arguments.get(0, "default_value");
    return !missing ? input : fallback != nullptr ? *fallback : Value::trusted("");
  }
  if (name == "length" || name == "count") return length(rendering, input);
  if (name == "int") return to_int(rendering, input, arguments);
  if (name == "float") return to_float(input, arguments);
  if (name == "round") return round_number(rendering, input, arguments);
  if (name == "abs") {
    if (!input.is_number())
      return rendering.fail(fmt::format("abs takes a number, not {}", input.kind_name()));
    if (!input.is_integral()) return Value(std::abs(input.as_double()));
    return input.as_int() < 0 ? apply_operator(rendering, "-", Value(0), input)
                              : Result<Value>(Value(input.as_int()));
  }
  if (name == "format")
    return apply_operator(rendering, "%", input,
                          Value::list(arguments.positional, /*is_tuple=*/true));
  if (name == "attr") {
    const TaggedText* attribute_name = arguments.text(0, "name");
    return attribute_name != nullptr
               ? attribute_of(rendering, input, attribute_name->bytes)
               : Result<Value>(rendering.fail("attr takes an attribute's name"));
  }
  for (const std::string_view text_name :
       {"string", "safe", "upper", "lower", "title", "capitalize", "replace", "center", "trim",
        "indent", "wordcount", "escape", "e", "forceescape"})
    if (name == text_name) return text_filter(rendering, name, input, arguments);
  return apply_list_filter(rendering, name, input, arguments);
}

}  // namespace altlas::text
