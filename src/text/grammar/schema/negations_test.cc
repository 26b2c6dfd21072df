// Goal: what a schema does not allow is kept out. Method: texts inside and outside of small
// languages.
#include <gtest/gtest.h>

#include "text/grammar/test_grammar.h"

namespace altlas::text::grammar::schema {
namespace {

using testing_support::expect_schema;

TEST(SchemaNegations, KeepOutWhatIsNotAllowed) {
  // No number is allowed: while it is being written, a fraction can't be told from 1.0.
  expect_schema(R"({"not":{"type":["string","integer"]}})", {"null", "[]", "{}", "true"},
                {"1", "\"a\""});
  expect_schema(R"({"type":["string","null"],"not":{"type":"null"}})", {"\"a\""}, {"null"});
  expect_schema(R"({"enum":["a","b",3],"not":{"const":"b"}})", {"\"a\"", "3"}, {"\"b\""});
  expect_schema(R"({"enum":["a","b",3],"not":{"enum":[3,"a"]}})", {"\"b\""}, {"\"a\"", "3"});
}

}  // namespace
}  // namespace altlas::text::grammar::schema
