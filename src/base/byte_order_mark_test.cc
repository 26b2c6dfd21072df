// Goal: a text's own mark is no part of it, and what is not UTF-8 is called by its name. Method:
// texts as editors and shells write them.
#include "base/byte_order_mark.h"

#include <gtest/gtest.h>

namespace altlas {
namespace {

using namespace std::string_view_literals;

TEST(ByteOrderMark, IsSkippedOnce) {
  const std::pair<std::string_view, std::string_view> rows[] = {
      {"\xEF\xBB\xBF{\"a\": 1}", "{\"a\": 1}"},
      {"\xEF\xBB\xBFö", "ö"},
      {"\xEF\xBB\xBF", ""},
      {"\xEF\xBB\xBF\xEF\xBB\xBFx", "\xEF\xBB\xBFx"},
      {"\xEF\xBB", "\xEF\xBB"},
      {"", ""},
      {"x", "x"},
      {"\0"sv, "\0"sv},
      {"ab\0c"sv, "ab\0c"sv},
      {"a\0\0b"sv, "a\0\0b"sv},
      {"\0\0\0\0"sv, "\0\0\0\0"sv},
      {"a\0\0\0b"sv, "a\0\0\0b"sv},
      {"a\0b"sv, "a\0b"sv},
      {"x\xEF\xBB\xBF", "x\xEF\xBB\xBF"},
  };
  for (const auto& [text, want] : rows) {
    const auto rest = skip_byte_order_mark(text, "it");
    ASSERT_TRUE(rest.ok()) << text;
    EXPECT_EQ(*rest, want);
  }
}

TEST(ByteOrderMark, OtherEncodingsAreNamed) {
  const std::pair<std::string_view, const char*> rows[] = {
      {"\xFF\xFE{\0}\0"sv, "UTF-16, little-endian"},
      {"\xFF\xFE", "UTF-16, little-endian"},
      {"{\0\"\0a\0"sv, "UTF-16, little-endian"},
      {"\xFE\xFF\0{\0}"sv, "UTF-16, big-endian"},
      {"\0{\0\"\0a"sv, "UTF-16, big-endian"},
      {"\0{"sv, "UTF-16, big-endian"},
      {"\xFE\xFF\xD8\x3D\xDE\x00"sv, "UTF-16, big-endian"},
      {"\xFF\xFE\0\0{\0\0\0"sv, "UTF-32"},
      {"\0\0\xFE\xFF\0\0\0{"sv, "UTF-32"},
      {"{\0\0\0"sv, "UTF-32"},
      {"\0\0\0{\0\0\0}"sv, "UTF-32"},
      {"[\0\0\0\x05\0\0\0"sv, "UTF-32"},
  };
  for (const auto& [text, want] : rows) {
    const auto rest = skip_byte_order_mark(text, "the file");
    ASSERT_FALSE(rest.ok()) << want;
    EXPECT_EQ(rest.error().message(), std::string("the file is ") + want + ": it should be UTF-8");
    EXPECT_EQ(rest.error().reason(), kUnsupportedEncoding);
  }
}

}  // namespace
}  // namespace altlas
