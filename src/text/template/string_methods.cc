#include "text/template/string_methods.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstring>

#include "base/utf8.h"

namespace altlas::text {
namespace {

struct Point {
  char32_t code;
  size_t begin, end;
};

Point point_at(std::string_view text, size_t at) {
  const Utf8Char c = decode_utf8(text.substr(at));
  return {c.code_point, at, at + c.length};
}
// Returns the character that ends at `end` > 0.
Point point_before(std::string_view text, size_t end) {
  size_t begin = end - 1;
  while (begin > 0 && end - begin < 4 && is_continuation_byte(text[begin])) --begin;
  return {decode_utf8(text.substr(begin)).code_point, begin, end};
}

utf8proc_int32_t as_utf8proc(char32_t c) { return static_cast<utf8proc_int32_t>(c); }

}  // namespace

bool is_space_point(char32_t c) {
  return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}
bool is_alpha_point(char32_t c) {
  const auto category = utf8proc_category(as_utf8proc(c));
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}
bool is_digit_point(char32_t c) {
  return utf8proc_category(as_utf8proc(c)) == UTF8PROC_CATEGORY_ND;
}

bool all_points(std::string_view text, const std::function<bool(char32_t)>& passes) {
  for (size_t i = 0; i < text.size();) {
    const Point point = point_at(text, i);
    if (!passes(point.code)) return false;
    i = point.end;
  }
  return !text.empty();
}

bool is_upper_text(std::string_view text) {
  bool any = false;
  const bool none_lower = all_points(text, [&](char32_t c) {
    const auto category = utf8proc_category(as_utf8proc(c));
    any |= category == UTF8PROC_CATEGORY_LU;
    return category != UTF8PROC_CATEGORY_LL && category != UTF8PROC_CATEGORY_LT;
  });
  return any && none_lower;
}
bool is_lower_text(std::string_view text) {
  bool any = false;
  const bool none_upper = all_points(text, [&](char32_t c) {
    const auto category = utf8proc_category(as_utf8proc(c));
    any |= category == UTF8PROC_CATEGORY_LL;
    return category != UTF8PROC_CATEGORY_LU && category != UTF8PROC_CATEGORY_LT;
  });
  return any && none_upper;
}

TaggedText strip(const TaggedText& text, std::string_view drop, bool left, bool right) {
  const std::string_view bytes = text.bytes;
  const auto drops = [&](const Point& p) {
    return drop.empty()
               ? is_space_point(p.code)
               : drop.find(bytes.substr(p.begin, p.end - p.begin)) != std::string_view::npos;
  };
  size_t begin = 0, end = bytes.size();
  while (left && begin < end) {
    const Point p = point_at(bytes, begin);
    if (!drops(p)) break;
    begin = p.end;
  }
  while (right && begin < end) {
    const Point p = point_before(bytes, end);
    if (!drops(p)) break;
    end = p.begin;
  }
  return text.slice(begin, end);
}

size_t find_text(std::string_view text, std::string_view part, size_t from) {
  if (from > text.size()) return std::string_view::npos;
  if (part.empty()) return from;
  const void* at = memmem(text.data() + from, text.size() - from, part.data(), part.size());
  return at == nullptr ? std::string_view::npos
                       : static_cast<size_t>(static_cast<const char*>(at) - text.data());
}

// The algorithm of Knuth, Morris and Pratt, from the end.
size_t find_last_text(std::string_view text, std::string_view part) {
  if (part.size() > text.size()) return std::string_view::npos;
  const auto of_part = [&](size_t i) { return part[part.size() - 1 - i]; };
  std::vector<size_t> borders(part.size(), 0);
  for (size_t i = 1, k = 0; i < part.size(); ++i) {
    while (k > 0 && of_part(i) != of_part(k)) k = borders[k - 1];
    if (of_part(i) == of_part(k)) ++k;
    borders[i] = k;
  }
  size_t matched = 0, at = text.size();
  while (matched < part.size() && at > 0) {
    --at;
    while (matched > 0 && text[at] != of_part(matched)) matched = borders[matched - 1];
    if (text[at] == of_part(matched)) ++matched;
  }
  return matched == part.size() ? at : std::string_view::npos;
}

namespace {

// Adds a part of a text as a value of its own.
void put_part(const TaggedText& text, size_t begin, size_t end, RenderBudget& budget,
              std::vector<Value>& parts) {
  if (budget.take(sizeof(Value) + sizeof(TaggedText) + (end - begin)))
    parts.emplace_back(text.slice(begin, end));
}

// Makes at most `count` cuts. The uncut rest keeps its white space at the far side.
std::vector<Value> split_blank(const TaggedText& text, int64_t count, bool from_right,
                               RenderBudget& budget) {
  std::vector<Value> parts;
  const std::string_view bytes = text.bytes;
  size_t begin = 0, end = bytes.size();  // The part that is not cut yet.
  const auto blank_first = [&] {
    return begin < end && is_space_point(point_at(bytes, begin).code);
  };
  const auto blank_last = [&] {
    return begin < end && is_space_point(point_before(bytes, end).code);
  };
  for (;;) {
    while (!from_right && blank_first()) begin = point_at(bytes, begin).end;
    while (from_right && blank_last()) end = point_before(bytes, end).begin;
    if (begin == end || budget.exhausted()) break;
    const size_t first = begin, last = end;
    if (static_cast<int64_t>(parts.size()) >= count) {
      put_part(text, first, last, budget, parts);
      break;
    }
    while (!from_right && begin < end && !blank_first()) begin = point_at(bytes, begin).end;
    while (from_right && begin < end && !blank_last()) end = point_before(bytes, end).begin;
    put_part(text, from_right ? end : first, from_right ? last : begin, budget, parts);
  }
  if (from_right) std::ranges::reverse(parts);
  return parts;
}

// Finds all words in one pass.
std::vector<Value> split_blank_all(const TaggedText& text, RenderBudget& budget) {
  std::vector<Value> parts;
  size_t begin = 0;
  for (size_t i = 0; i <= text.bytes.size() && !budget.exhausted();) {
    const Point p = i < text.bytes.size() ? point_at(text.bytes, i) : Point{' ', i, i + 1};
    if (is_space_point(p.code)) {
      if (i > begin) put_part(text, begin, i, budget, parts);
      begin = p.end;
    }
    i = p.end;
  }
  return parts;
}

}  // namespace

std::vector<Value> split(const TaggedText& text, std::string_view separator, int64_t count,
                         bool from_right, RenderBudget& budget) {
  if (separator.empty())
    return count < 0 ? split_blank_all(text, budget) : split_blank(text, count, from_right, budget);
  std::vector<Value> parts;
  const std::string_view bytes = text.bytes;
  if (from_right) {
    size_t end = bytes.size();
    while ((count < 0 || static_cast<int64_t>(parts.size()) < count) && !budget.exhausted()) {
      const size_t at = find_last_text(bytes.substr(0, end), separator);
      if (at == std::string_view::npos) break;
      put_part(text, at + separator.size(), end, budget, parts);
      end = at;
    }
    put_part(text, 0, end, budget, parts);
    std::ranges::reverse(parts);
    return parts;
  }
  size_t begin = 0;
  while ((count < 0 || static_cast<int64_t>(parts.size()) < count) && !budget.exhausted()) {
    const size_t at = find_text(bytes, separator, begin);
    if (at == std::string_view::npos) break;
    put_part(text, begin, at, budget, parts);
    begin = at + separator.size();
  }
  put_part(text, begin, bytes.size(), budget, parts);
  return parts;
}

std::vector<Value> split_lines(const TaggedText& text, bool keep_ends, RenderBudget& budget) {
  std::vector<Value> lines;
  const std::string_view bytes = text.bytes;
  size_t begin = 0;
  for (size_t i = 0; i < bytes.size() && !budget.exhausted();) {
    const Point p = point_at(bytes, i);
    const bool ends = (p.code >= 10 && p.code <= 13) || (p.code >= 0x1C && p.code <= 0x1E) ||
                      p.code == 0x85 || p.code == 0x2028 || p.code == 0x2029;
    size_t after = p.end;
    if (p.code == '\r' && after < bytes.size() && bytes[after] == '\n') ++after;
    if (ends) {
      put_part(text, begin, keep_ends ? after : p.begin, budget, lines);
      begin = after;
    }
    i = after;
  }
  if (begin < bytes.size()) put_part(text, begin, bytes.size(), budget, lines);
  return lines;
}

TaggedText replace(const TaggedText& text, std::string_view from, const TaggedText& to,
                   int64_t count, size_t bytes_max, RenderBudget& budget) {
  TaggedText out;
  const std::string_view bytes = text.bytes;
  size_t at = 0;
  while (count != 0 && out.bytes.size() <= bytes_max) {
    const size_t found = find_text(bytes, from, at);
    if (found == std::string_view::npos) break;
    if (!budget.take(found - at + to.bytes.size()) || !budget.spend(1)) break;
    out.append(text, at, found);
    out.append(to);
    --count;
    at = found + from.size();
    if (!from.empty()) continue;
    // An empty string is found before each character, and last at the end.
    if (at == bytes.size()) break;
    const size_t next = point_at(bytes, at).end;
    out.append(text, at, next);
    at = next;
  }
  out.append(text, at, bytes.size());
  return out;
}

TaggedText change_case(const TaggedText& text, Case kind) {
  std::string out;
  bool in_word = false;
  for (size_t i = 0; i < text.bytes.size();) {
    const Point p = point_at(text.bytes, i);
    i = p.end;
    const bool upper = kind == Case::kUpper || (!in_word && kind != Case::kLower);
    if (p.code == 0xDF && upper) {
      out += kind == Case::kUpper ? "SS" : "Ss";
    } else if (p.code == 0x130 && !upper) {
      out += "i\u0307";
    } else {
      append_utf8(out, static_cast<char32_t>(upper ? utf8proc_toupper(as_utf8proc(p.code))
                                                   : utf8proc_tolower(as_utf8proc(p.code))));
    }
    in_word = kind == Case::kCapitalize || is_alpha_point(p.code);
  }
  return TaggedText::of(out, text.has_content());
}

}  // namespace altlas::text
