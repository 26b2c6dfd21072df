// Goal: listed values, anyOf, allOf and references hold together. Method: texts inside and outside
// of small languages.
#include <gtest/gtest.h>

#include "text/grammar/test_grammar.h"

namespace altlas::text::grammar::schema {
namespace {

using testing_support::expect_schema;

TEST(SchemaChoices, HoldTogether) {
  expect_schema(R"({"enum":[1,"a\"b",null,{"k":[1.5]}]})",
                {"1", R"("a\"b")", "null", R"({"k":[1.5]})"}, {"2", "\"a\"", "{}"});
  expect_schema(R"({"type":"string","enum":["a",1,"bb"],"minLength":2})", {"\"bb\""},
                {"1", "\"a\""});
  expect_schema(R"({"anyOf":[{"type":"integer"},{"type":"string"}],"not":false,"minimum":3})",
                {"3", "\"a\""}, {"2", "null"});
  expect_schema(
      R"({"allOf":[{"properties":{"a":{"type":"integer"}}},{"properties":{"a":{"minimum":3}},
             "required":["a"]}],"type":"object"})",
      {R"({"a":3})"}, {R"({"a":2})", "{}"});
  expect_schema(R"({"$defs":{"node":{"type":"object","properties":{"v":{"type":"integer"},
             "next":{"anyOf":[{"$ref":"#/$defs/node"},{"type":"null"}]}},"required":["v","next"],
             "additionalProperties":false}},"$ref":"#/$defs/node"})",
                {R"({"v":1,"next":null})", R"({"v":1,"next":{"v":2,"next":null}})"},
                {R"({"v":1})", R"({"v":1,"next":{}})"});
}

}  // namespace
}  // namespace altlas::text::grammar::schema
