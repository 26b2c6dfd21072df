// Goal: lengths, patterns and formats are held, in every spelling of a string. Method: texts inside
// and outside of small languages.
#include <gtest/gtest.h>

#include "text/grammar/test_grammar.h"

namespace altlas::text::grammar::schema {
namespace {

using testing_support::expect_schema;

TEST(SchemaStrings, HaveLengthsPatternsAndFormats) {
  expect_schema(R"({"type":"string","minLength":2,"maxLength":30})",
                {"\"ab\"", "\"ü\\n\"", "\"\\ud83d\\ude00x\""},
                {"\"a\"", "\"" + std::string(31, 'x') + "\""});
  expect_schema(R"({"type":"string","pattern":"^[a-z]+\"$","maxLength":5})", {R"("ab\"")"},
                {R"("ab")", R"("abcde\"")"});
  expect_schema(R"({"type":"string","format":"date-time"})", {"\"2026-11-22T03:04:05Z\""},
                {"\"2026-13-22T03:04:05Z\"", "\"2026-02-30T03:04:05Z\""});
  expect_schema(R"({"type":"string","format":"ipv6"})",
                {"\"::1\"", "\"1:2:3:4:5:6:7:8\"", "\"1::8\""}, {"\"1:2\"", "\"1::2::3\""});
}

}  // namespace
}  // namespace altlas::text::grammar::schema
