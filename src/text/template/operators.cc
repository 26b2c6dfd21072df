#include "text/template/operators.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "text/template/string_methods.h"

namespace altlas::text {

namespace {

// Formats Python's "..." % values: %s %r %d %i %f %x %%, with width and precision.
class Formatter {
 public:
  Formatter(Rendering& rendering, const TaggedText& format, const Value& values)
      : rendering_(rendering), format_(format), values_(values) {}

  Result<Value> run() {
    const std::string_view bytes = format_.bytes;
    for (size_t at = 0; at < bytes.size();) {
      const size_t percent = std::min(bytes.find('%', at), bytes.size());
      out_.append(format_, at, percent);
      if (percent == bytes.size()) break;
      at = percent + 1;
      ALTLAS_TRY(at, directive(at));
    }
    return rendering_.text_value(std::move(out_));
  }

 private:
  Result<Value> next() {
    if (!values_.is_tuple())
      return used_++ == 0 ? Result<Value>(values_) : rendering_.fail("too few values for %");
    if (used_ >= values_.items().size()) return rendering_.fail("too few values for %");
    return values_.items()[used_++];
  }

  Result<size_t> directive(size_t at) {
    const std::string_view bytes = format_.bytes;
    std::string spec;
    while (at < bytes.size() &&
           std::string_view("-+ 0.123456789").find(bytes[at]) != std::string_view::npos)
      spec += bytes[at++];
    if (at == bytes.size() || spec.size() > 8)
      return rendering_.fail("a format ends inside a % directive");
    const char type = bytes[at++];
    if (type == '%') {
      out_.append("%", false);
      return at;
    }
    ALTLAS_TRY(const Value value, next());
    int width = 0, precision = -1;
    bool left = false, zero = false, plus = false;
    size_t i = 0;
    for (; i < spec.size() && std::string_view("-+ 0").find(spec[i]) != std::string_view::npos;
         ++i) {
      left |= spec[i] == '-';
      zero |= spec[i] == '0';
      plus |= spec[i] == '+';
    }
    for (; i < spec.size() && spec[i] != '.'; ++i) width = width * 10 + (spec[i] - '0');
    if (i < spec.size())
      for (precision = 0, ++i; i < spec.size() && spec[i] >= '0'; ++i)
        precision = precision * 10 + (spec[i] - '0');
    if (width > 1000 || precision > 100) return rendering_.fail("a % directive wider than 1000");
    TaggedText text;
    ALTLAS_TRY(text, converted(type, value, precision, plus));
    const size_t blanks = static_cast<size_t>(width) > text.bytes.size()
                              ? static_cast<size_t>(width) - text.bytes.size()
                              : 0;
    ALTLAS_TRY_VOID(rendering_.check_size(out_.bytes.size() + blanks + text.bytes.size()));
    ALTLAS_TRY_VOID(rendering_.reserve_text(blanks + text.bytes.size()));
    const std::string pad(blanks, zero && !left ? '0' : ' ');
    if (!left) out_.append(pad, false);
    out_.append(text);
    if (left) out_.append(pad, false);
    return at;
  }

  Result<TaggedText> converted(char type, const Value& value, int precision, bool plus) {
    if (type == 's') return rendering_.to_text(value);
    if (type == 'r') {
      TaggedText text;
      append_repr(text, value, rendering_.budget());
      return text;
    }
    if (!value.is_number())
      return rendering_.fail(fmt::format("%{} needs a number, not {}", type, value.kind_name()));
    const std::string sign = plus && value.as_double() >= 0 ? "+" : "";
    if (type == 'f' || type == 'F')
      return TaggedText::of(
          sign + fmt::format("{:.{}f}", value.as_double(), precision < 0 ? 6 : precision), false);
    if (std::abs(value.as_double()) > 9e18) return rendering_.fail("an integer beyond 64 bits");
    const int64_t integer =
        value.is_integral() ? value.as_int() : static_cast<int64_t>(value.as_double());
    if (type == 'd' || type == 'i') return TaggedText::of(sign + fmt::to_string(integer), false);
    if (type == 'x') return TaggedText::of(fmt::format("{:x}", integer), false);
    return rendering_.fail(fmt::format("unknown format %{}; %s %r %d %i %f %x are known", type));
  }

  Rendering& rendering_;
  const TaggedText& format_;
  const Value& values_;
  size_t used_ = 0;
  TaggedText out_;
};

int64_t floor_divide(int64_t a, int64_t b) {
  return a / b - (a % b != 0 && (a % b < 0) != (b < 0) ? 1 : 0);
}

Result<Value> integer_arithmetic(Rendering& rendering, std::string_view op, int64_t a, int64_t b) {
  int64_t out = 0;
  bool overflow = false;
  if (op == "+") {
    overflow = __builtin_add_overflow(a, b, &out);
  } else if (op == "-") {
    overflow = __builtin_sub_overflow(a, b, &out);
  } else if (op == "*") {
    overflow = __builtin_mul_overflow(a, b, &out);
  } else if (op == "**") {
    if (b < 0) return Value(std::pow(static_cast<double>(a), static_cast<double>(b)));
    out = 1;
    if (b > 64 && a != 0 && a != 1 && a != -1) overflow = true;
    for (int64_t i = 0; i < (b > 64 ? 64 + b % 2 : b) && !overflow; ++i)
      overflow = __builtin_mul_overflow(out, a, &out);
  } else {
    if (b == 0) return rendering.fail("division by zero");
    if (op == "/") return Value(static_cast<double>(a) / static_cast<double>(b));
    if (b == -1) {
      overflow = a == INT64_MIN;
      out = op == "%" || overflow ? 0 : -a;
    } else {
      out = op == "%" ? a - floor_divide(a, b) * b : floor_divide(a, b);
    }
  }
  if (overflow) return rendering.fail("an integer beyond 64 bits");
  return Value(out);
}

Result<Value> real_arithmetic(Rendering& rendering, std::string_view op, double a, double b) {
  if (op == "+") return Value(a + b);
  if (op == "-") return Value(a - b);
  if (op == "*") return Value(a * b);
  if (op == "**") return Value(std::pow(a, b));
  if (b == 0) return rendering.fail("division by zero");
  if (op == "/") return Value(a / b);
  return op == "//" ? Value(std::floor(a / b)) : Value(a - std::floor(a / b) * b);
}

}  // namespace

Result<Value> apply_operator(Rendering& rendering, std::string_view op, const Value& left,
                             const Value& right) {
  if (op == "~") {
    ALTLAS_TRY(TaggedText joined, rendering.to_text(left));
    ALTLAS_TRY(const TaggedText more, rendering.to_text(right));
    ALTLAS_TRY_VOID(rendering.reserve_text(joined.bytes.size() + more.bytes.size()));
    joined.append(more);
    return Value(std::move(joined));
  }
  if (left.is_integral() && right.is_integral())
    return integer_arithmetic(rendering, op, left.as_int(), right.as_int());
  if (left.is_number() && right.is_number())
    return real_arithmetic(rendering, op, left.as_double(), right.as_double());
  if (op == "%" && left.is_string()) return Formatter(rendering, left.text(), right).run();
  if (op == "+" && left.is_string() && right.is_string()) {
    ALTLAS_TRY_VOID(rendering.reserve_text(left.view().size() + right.view().size()));
    TaggedText joined = left.text();
    joined.append(right.text());
    return Value(std::move(joined));
  }
  if (op == "+" && left.is_list() && right.is_list()) {
    ALTLAS_TRY_VOID(rendering.reserve_items(left.items().size() + right.items().size()));
    std::vector<Value> items = left.items();
    items.insert(items.end(), right.items().begin(), right.items().end());
    return Value::list(std::move(items), left.is_tuple());
  }
  if (op == "*" && (left.is_integral() || right.is_integral())) {
    const Value& many = left.is_integral() ? right : left;
    const int64_t count = std::max<int64_t>(0, left.is_integral() ? left.as_int() : right.as_int());
    if (many.is_string()) {
      size_t bytes = 0;
      if (__builtin_mul_overflow(many.view().size(), static_cast<size_t>(count), &bytes))
        bytes = ~size_t{0};
      ALTLAS_TRY_VOID(rendering.reserve_text(bytes));
      TaggedText text;
      for (int64_t i = 0; i < count && !many.view().empty(); ++i) text.append(many.text());
      return Value(std::move(text));
    }
    if (many.is_list()) {
      size_t total = 0;
      if (__builtin_mul_overflow(many.items().size(), static_cast<size_t>(count), &total))
        total = ~size_t{0};
      ALTLAS_TRY_VOID(rendering.reserve_items(total));
      std::vector<Value> items;
      for (int64_t i = 0; i < count && !many.items().empty(); ++i) {
        items.insert(items.end(), many.items().begin(), many.items().end());
      }
      return Value::list(std::move(items), many.is_tuple());
    }
  }
  for (const Value* operand : {&left, &right})
    if (operand->is_undefined())
      return rendering.fail(
          fmt::format("'{}' is undefined, '{}' can't use it", operand->undefined_name(), op));
  return rendering.fail(
      fmt::format("'{}' can't join {} and {}", op, left.kind_name(), right.kind_name()));
}

Result<bool> holds_comparison(Rendering& rendering, std::string_view op, const Value& left,
                              const Value& right) {
  if (op == "==") return equal(left, right, rendering.budget());
  if (op == "!=") return !equal(left, right, rendering.budget());
  if (op == "in" || op == "not in") {
    bool found = false;
    if (right.is_string()) {
      if (!left.is_string())
        return rendering.fail(
            fmt::format("'in <str>' needs a str on its left, not {}", left.kind_name()));
      rendering.budget().spend(right.view().size() / 16 + left.view().size() / 16);
      ALTLAS_TRY_VOID(rendering.check_budget());
      found = find_text(right.view(), left.view()) != std::string_view::npos;
    } else if (right.is_object()) {
      found = right.find_key(left) != nullptr;
    } else if (right.is_list()) {
      const auto same = [&](const Value& other) { return equal(left, other, rendering.budget()); };
      found = std::ranges::any_of(right.items(), same);
    } else if (!right.is_undefined()) {
      return rendering.fail(fmt::format("'in' can't look into a {}", right.kind_name()));
    }
    return found == (op == "in");
  }
  bool comparable = true;
  const bool is_less = op == "<" || op == ">=" ? less(left, right, rendering.budget(), comparable)
                                               : less(right, left, rendering.budget(), comparable);
  if (!comparable)
    return rendering.fail(
        fmt::format("'{}' can't compare {} with {}", op, left.kind_name(), right.kind_name()));
  return op == "<" || op == ">" ? is_less : !is_less;
}

}  // namespace altlas::text
