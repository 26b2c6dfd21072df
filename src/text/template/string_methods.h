// Python's string operations on texts that remember which bytes are content.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "text/template/value.h"

namespace altlas::text {

// Where `part` is found first at or after `from`, or last; npos. In one pass, unlike
// string_view::find, which may take the product of both lengths.
size_t find_text(std::string_view text, std::string_view part, size_t from = 0);
size_t find_last_text(std::string_view text, std::string_view part);

// Without the characters of `drop` (empty: white space) at the sides asked for.
TaggedText strip(const TaggedText& text, std::string_view drop, bool left, bool right);

// str.split: by `separator`, or by runs of white space where it is empty. At most `count` cuts;
// negative: all. Stops early, as the next two do, where the budget ends.
std::vector<Value> split(const TaggedText& text, std::string_view separator, int64_t count,
                         bool from_right, RenderBudget& budget);
std::vector<Value> split_lines(const TaggedText& text, bool keep_ends, RenderBudget& budget);

// str.replace; negative `count`: all. Stops early past `bytes_max`, too.
TaggedText replace(const TaggedText& text, std::string_view from, const TaggedText& to,
                   int64_t count, size_t bytes_max, RenderBudget& budget);

// Each character mapped; all is content if any byte was. `at_word` tells that it begins a word.
enum class Case : uint8_t { kLower, kUpper, kTitle, kCapitalize };
TaggedText change_case(const TaggedText& text, Case kind);

bool is_space_point(char32_t c);  // Python's str.isspace.
// True if `text` is not empty and each character passes.
bool all_points(std::string_view text, const std::function<bool(char32_t)>& passes);
bool is_alpha_point(char32_t c);
bool is_digit_point(char32_t c);
bool is_upper_text(std::string_view text);
bool is_lower_text(std::string_view text);

}  // namespace altlas::text
