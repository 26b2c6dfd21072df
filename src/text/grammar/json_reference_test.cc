// Goal: dynamic references lead where the document's root says. Method: recursive trees.
#include <gtest/gtest.h>

#include "text/grammar/test_grammar.h"

namespace altlas::text::grammar {
namespace {

using testing_support::expect_held_schema;

TEST(References, DynamicReferences) {
  // A stricter tree refers to this one, so its branches are strict too.
  const std::string strict = R"({"$id":"http://a/strict","$dynamicAnchor":"node","$ref":"tree",
    "unevaluatedProperties":false,"$defs":{"tree":{"$id":"tree","$dynamicAnchor":"node",
    "type":"object","properties":{"d":{"type":"integer"},
    "c":{"type":"array","items":{"$dynamicRef":"#node"}}}}}})";
  expect_held_schema(strict, {"{}", R"({"d":1,"c":[{"d":2},{"c":[]}]})"},
                     {R"({"x":1})", R"({"c":[{"x":1}]})", R"({"c":[{"d":"2"}]})"});
  expect_held_schema(
      R"({"$dynamicAnchor":"n","type":"object","properties":{"c":{"$dynamicRef":"#n"}},
             "additionalProperties":false})",
      {"{}", R"({"c":{"c":{}}})"}, {R"({"c":1})", R"({"c":{"d":1}})"});
  expect_held_schema(
      R"({"$recursiveAnchor":true,"type":"object","properties":{"c":{"$recursiveRef":"#"}},
             "additionalProperties":false})",
      {"{}", R"({"c":{"c":{}}})"}, {R"({"c":1})", R"({"c":{"d":1}})"});
  expect_held_schema(
      R"({"$id":"http://a/r","$recursiveAnchor":true,"$ref":"t","required":["v"],"$defs":{
             "t":{"$id":"t","$recursiveAnchor":true,"type":"object","additionalProperties":false,
             "properties":{"v":{"const":1},"c":{"$recursiveRef":"#"}}}}})",
      {R"({"v":1})", R"({"v":1,"c":{"v":1}})"}, {"{}", R"({"v":1,"c":{}})"});
  // Without an anchor of its own it is an ordinary reference.
  expect_held_schema(
      R"({"$id":"http://a/r","$recursiveAnchor":true,"type":"object","properties":{"t":{
             "$id":"t","anyOf":[{"const":1},{"type":"array","items":{"$recursiveRef":"#"}}]}},
             "additionalProperties":false})",
      {"{}", R"({"t":[1,[1]]})"}, {R"({"t":[{}]})"});
}

}  // namespace
}  // namespace altlas::text::grammar
