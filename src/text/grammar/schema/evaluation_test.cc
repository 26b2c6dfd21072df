// Goal: unevaluated… follows from the alternatives that hold. Method: small closed objects.
#include <gtest/gtest.h>

#include "text/grammar/test_grammar.h"

namespace altlas::text::grammar::schema {
namespace {

using testing_support::expect_held_schema;

TEST(SchemaEvaluation, WhatChoicesLeaveUnevaluated) {
  expect_held_schema(R"({"type":"object","properties":{"a":{"const":0}},"required":["a"],
             "anyOf":[{"properties":{"b":{"const":1}},"required":["b"]},
                      {"properties":{"c":{"const":2}},"required":["c"]}],
             "unevaluatedProperties":false})",
                     {R"({"a":0,"b":1})", R"({"a":0,"c":2})", R"({"a":0,"b":1,"c":2})"},
                     {R"({"a":0})", R"({"a":0,"b":1,"d":3})", R"({"a":0,"b":2,"c":2})"});
  expect_held_schema(R"({"type":"object","oneOf":[{"properties":{"k":{"const":"x"},"b":{"const":1}},
             "required":["k"]},{"properties":{"k":{"const":"y"},"c":{"const":2}},
             "required":["k","c"]}],"unevaluatedProperties":false})",
                     {R"({"k":"x"})", R"({"k":"x","b":1})", R"({"k":"y","c":2})"},
                     {R"({"k":"x","c":2})", R"({"k":"y","b":1,"c":2})", R"({"k":"y"})"});
  expect_held_schema(R"({"type":"object","properties":{"k":{"enum":["x","y"]}},"required":["k"],
             "if":{"properties":{"k":{"const":"x"}}},"then":{"properties":{"b":{"const":1}}},
             "else":{"properties":{"c":{"const":2}}},"unevaluatedProperties":false})",
                     {R"({"k":"x","b":1})", R"({"k":"y","c":2})", R"({"k":"y"})"},
                     {R"({"k":"x","c":2})", R"({"k":"y","b":1})"});
  expect_held_schema(
      R"({"$defs":{"cat":{"properties":{"lives":{"const":9}},"required":["lives"]},
             "dog":{"properties":{"tail":{"const":1}},"required":["tail"]}},"type":"object",
             "properties":{"n":{"const":0}},"allOf":[{"anyOf":[{"$ref":"#/$defs/cat"},
             {"$ref":"#/$defs/dog"}]}],"unevaluatedProperties":{"type":"null"}})",
      {R"({"lives":9})", R"({"n":0,"tail":1,"more":null})", R"({"lives":9,"tail":null})"},
      {R"({"n":0})", R"({"tail":1,"more":2})"});
  expect_held_schema(
      R"({"type":"array","anyOf":[{"prefixItems":[{"const":1}]},{"prefixItems":[{"const":2},
             {"const":3}]}],"minItems":1,"unevaluatedItems":false})",
      {"[1]", "[2]", "[2,3]"}, {"[]", "[1,3]", "[2,3,4]", "[2,1]"});
  // A negation evaluates nothing.
  expect_held_schema(
      R"({"type":"object","if":{"required":["b"]},"then":{"properties":{"b":{"const":1}}},
             "else":{"properties":{"c":{"const":2}}},"unevaluatedProperties":false})",
      {"{}", R"({"b":1})", R"({"c":2})"}, {R"({"b":1,"c":2})", R"({"d":1})"});
}

}  // namespace
}  // namespace altlas::text::grammar::schema
