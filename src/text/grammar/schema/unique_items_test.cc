// Goal: items that should differ do. Method: texts inside and outside of small languages.
#include <gtest/gtest.h>

#include "text/grammar/test_grammar.h"

namespace altlas::text::grammar::schema {
namespace {

using testing_support::expect_schema;

TEST(SchemaUniqueItems, ItemsDiffer) {
  expect_schema(
      R"({"type":"array","uniqueItems":true,"items":{"enum":["a","b",1,1.0]},"minItems":1})",
      {R"(["a"])", R"(["b","a"])", R"([1,"b", "a"])"},
      {"[]", R"(["a","a"])", R"(["a","b","a"])", R"([1,"a",1])", "[2]"});
  expect_schema(
      R"({"type":"array","uniqueItems":true,"items":{"enum":["a","b","c"]},"maxItems":2})",
      {"[]", R"(["c"])", R"(["c","a"])"}, {R"(["c","c"])", R"(["a","b","c"])"});
  expect_schema(R"({"type":"array","uniqueItems":true,"items":{"type":"integer"},"maxItems":1})",
                {"[]", "[5]"}, {"[5,6]"});
  expect_schema(R"({"uniqueItems":true,"type":"string"})", {"\"a\""}, {"[]"});
  // In sets of sets, lists of the same values in another order are other lists.
  expect_schema(R"({"type":"array","uniqueItems":true,
             "items":{"type":"array","uniqueItems":true,"items":{"enum":["a","b"]}}})",
                {"[]", R"([["a"],[]])", R"([["a","b"],["b","a"]])"},
                {R"([["a"],["a"]])", R"([["a","a"]])", R"([["a","b"],["a"],["a","b"]])"});
  expect_schema(R"({"type":"array","uniqueItems":true,"minItems":1,"items":{"type":"array",
             "uniqueItems":true,"minItems":1,"maxItems":2,"items":{"type":"integer","minimum":1,
             "maximum":3}}})",
                {"[[1]]", "[[1,2], [2,1]]", "[[3],[1],[3,1]]"},
                {"[]", "[[]]", "[[1,1]]", "[[1,2,3]]", "[[1],[1]]", "[[4]]"});
  expect_schema(
      R"({"type":"array","uniqueItems":true,"maxItems":2,"items":{"type":"object",
             "properties":{"s":{"type":"array","uniqueItems":true,"prefixItems":[{"const":"x"}],
             "items":{"type":"boolean"}}},"required":["s"],"additionalProperties":false}})",
      {R"([{"s":["x",true]},{"s":["x"]}])", R"([{"s":["x",true,false]}])"},
      {R"([{"s":["x",true,true]}])", R"([{"s":["x"]},{"s":["x"]}])", R"([{"s":[true]}])"});
}

}  // namespace
}  // namespace altlas::text::grammar::schema
