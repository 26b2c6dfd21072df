#include "text/normal_form.h"

#include <utf8proc.h>

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "base/utf8.h"

namespace altlas::text {

// Below U+0300 no character combines or decomposes under NFC, and lead bytes up to 0xCB encode just
// those characters.
bool is_surely_nfc(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<uint8_t>(c) < 0xCC; });
}

std::string to_nfc(std::string_view text) { return to_form(text, NormalForm::kNfc); }

std::string to_form(std::string_view text, NormalForm form) {
  const bool compatible = form == NormalForm::kNfkc || form == NormalForm::kNfkd;
  const bool compose = form == NormalForm::kNfc || form == NormalForm::kNfkc;
  const auto decompose = static_cast<utf8proc_option_t>(
      UTF8PROC_DECOMPOSE | (compatible ? static_cast<int>(UTF8PROC_COMPAT) : 0));
  std::vector<utf8proc_int32_t> points;
  points.reserve(text.size() + 1);
  for (size_t i = 0; i < text.size();) {
    const Utf8Char c = decode_utf8(text.substr(i));
    ALTLAS_CHECK(c.kind == Utf8Char::kValid, "normal forms need valid UTF-8");
    i += c.length;
    // The longest compatibility decomposition, that of U+FDFA, has 18 characters.
    utf8proc_int32_t parts[32];
    int boundclass = 0;
    const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c.code_point), parts,
                                               32, decompose, &boundclass);
    ALTLAS_CHECK(count >= 0 && count <= 32, "a decomposition has at most 18 characters");
    points.insert(points.end(), parts, parts + count);
  }
  // utf8proc's own ordering pass is quadratic in a run of marks, and a user may send one, so runs
  // are sorted here.
  const auto combining_class = [](utf8proc_int32_t c) {
    return utf8proc_get_property(c)->combining_class;
  };
  for (size_t begin = 0; begin < points.size();) {
    size_t end = begin;
    while (end < points.size() && combining_class(points[end]) != 0) ++end;
    if (end - begin > 1)
      std::stable_sort(points.begin() + static_cast<ptrdiff_t>(begin),
                       points.begin() + static_cast<ptrdiff_t>(end),
                       [&](auto a, auto b) { return combining_class(a) < combining_class(b); });
    begin = end + 1;
  }
  auto count = static_cast<utf8proc_ssize_t>(points.size());
  if (compose)
    count = utf8proc_normalize_utf32(
        points.data(), count, static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
  ALTLAS_CHECK(count >= 0, "utf8proc refused to compose");
  std::string out;
  out.reserve(text.size());
  for (utf8proc_ssize_t i = 0; i < count; ++i)
    append_utf8(out, static_cast<char32_t>(points[static_cast<size_t>(i)]));
  return out;
}

}  // namespace altlas::text
