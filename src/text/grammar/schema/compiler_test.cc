// Goal: a schema that says nothing allows every value; what can't be held is named, and what can't
// be compiled is refused. Method: one row for each reason.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "text/grammar/test_grammar.h"

namespace altlas::text::grammar::schema {
namespace {

using ::testing::HasSubstr;
using testing_support::compiled;
using testing_support::expect_refused;
using testing_support::expect_schema;

TEST(SchemaCompiler, AnyValueWithoutKeywords) {
  expect_schema(
      "{}", {"1", "-0.5e+3", "\"a\\u00e4\\n\"", "[1,{\"a\":[]}]", "{ \"a\": null,\n  \"b\":true}"},
      {"", "01", "[1,]", "{a:1}", "\"\n\"", "\"\\uD800\"", "tru", "1 "});
}

TEST(SchemaCompiler, SchemasThatCantBeHeldAreNamed) {
  using enum Unheld::Why;
  struct Row {
    std::string schema, pointer, reason;
    Unheld::Why why = kUnsupported;
  };
  const Row rows[] = {
      {R"({"type":"int"})", "/type", "should be one", kMalformed},
      {R"({"properties":[]})", "/properties", "should be an object", kMalformed},
      {R"({"minLength":-1})", "/minLength", "whole number", kMalformed},
      {R"({"uniqueItems":"yes"})", "/uniqueItems", "true or false", kMalformed},
      {R"({"anyOf":[{"properties":{"a":7}}]})", "/anyOf/0/properties/a", "a schema should be",
       kMalformed},
      {R"({"not":{"type":"text"}})", "/not/type", "should be one", kMalformed},
      {R"({"$ref":"#/$defs/none"})", "/$ref", "names nothing", kMalformed},
      {R"({"properties":{"a/b":{"pattern":"(a"}}})", "/properties/a~1b/pattern", "missing",
       kMalformed},
      {R"({"properties":{"a":{"type":"array","uniqueItems":true}}})", "/properties/a/uniqueItems",
       "'uniqueItems'"},
      {R"({"not":{"patternProperties":{"a":{}}}})", "/not", "'not' can't be held"},
      {R"({"not":{"const":[3]}})", "/not", "'not' can't be held"},
      {R"({"if":{"propertyNames":{"maxLength":3}},"then":{}})", "/if", "'if' can't be held"},
      {R"({"type":"object","dependentSchemas":{"a":{"properties":{"b":{}}}},
           "unevaluatedProperties":false})",
       "/unevaluatedProperties", "beside dependentSchemas"},
      {R"({"type":"array","contains":{"const":1},"unevaluatedItems":false})", "/unevaluatedItems",
       "contains"},
      {R"({"$ref":"#/$defs/l","$defs":{"l":{"$id":"l","type":"object","properties":{
           "c":{"$dynamicRef":"#x"}},"$defs":{"o":{"$dynamicAnchor":"x"}}},
           "m":{"$id":"m","$dynamicAnchor":"x"}}})",
       "/$defs/l/properties/c/$dynamicRef", "names nothing"},
      {R"({"type":"array","uniqueItems":true,"items":{"type":"array","uniqueItems":true,
           "items":{"type":"string"}}})",
       "/uniqueItems", "'uniqueItems'"},
      {R"({"$ref":"http://example.com/x"})", "/$ref", "names nothing"},
      {R"x({"items":{"pattern":"(a)\\1"}})x", "/items/pattern", "not supported"},
      {R"({"minProperties":70,"type":"object"})", "/minProperties", "at most 64 members"},
      {R"({"multipleOf":0.0000001234567})", "/multipleOf", "'multipleOf' is supported"},
      {R"x({"type":"string","pattern":"(a{1,500}b{1,500}){1,500}"})x", "/pattern", "", kTooComplex},
      {R"({"type":"string","pattern":".*a.{20}b","maxLength":3000})", "/pattern", "", kTooComplex},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.schema);
    const auto program = compiled(GrammarKind::kJsonSchema, row.schema);
    ASSERT_NE(program, nullptr);
    ASSERT_EQ(program->unheld.size(), 1u);
    EXPECT_EQ(program->unheld[0].pointer, row.pointer);
    EXPECT_THAT(program->unheld[0].reason, HasSubstr(row.reason));
    EXPECT_EQ(program->unheld[0].why, row.why);
  }
  const auto refused = [](const std::string& s, const std::string& reason) {
    expect_refused(GrammarKind::kJsonSchema, s, reason);
  };
  refused("{", "not valid JSON");
  refused("[]", "should be an object");
  refused("false", "no value");
  refused(R"({"type":"array","uniqueItems":true,"items":{"enum":[1,2]},"minItems":3})",
          "no text matches");
  refused(R"({"type":"integer","minimum":5,"maximum":3})", "no text matches");
  refused(R"({"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]})", "never end");
  std::string deep;
  for (int i = 0; i < 200; ++i) deep += R"({"items":)";
  refused(deep, "not valid JSON");
  refused(std::string(kGrammarBytesMax + 1, ' '), "at most");
}

}  // namespace
}  // namespace altlas::text::grammar::schema
