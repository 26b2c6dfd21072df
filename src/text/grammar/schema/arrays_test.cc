// Goal: items are held by their places and number. Method: texts inside and outside of small
// languages.
#include <gtest/gtest.h>

#include "text/grammar/test_grammar.h"

namespace altlas::text::grammar::schema {
namespace {

using testing_support::expect_schema;

TEST(SchemaArrays, HoldItemsByPlaceAndNumber) {
  expect_schema(R"({"type":"array","items":{"type":"integer"},"minItems":1,"maxItems":3})",
                {"[1]", "[1,2,3]", "[1, 2]"}, {"[]", "[1,2,3,4]", "[\"a\"]"});
  expect_schema(
      R"({"prefixItems":[{"type":"integer"},{"type":"string"}],"items":false,"type":"array"})",
      {"[]", "[1]", "[1,\"a\"]"}, {"[\"a\"]", "[1,\"a\",2]"});
}

}  // namespace
}  // namespace altlas::text::grammar::schema
