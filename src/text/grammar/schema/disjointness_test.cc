// Goal: schemas count as disjoint only if no value fits both. Method: pairs of schemas.
#include "text/grammar/schema/disjointness.h"

#include <gtest/gtest.h>

namespace altlas::text::grammar::schema {
namespace {

TEST(Disjointness, TellsWhatNoValueFits) {
  struct Row {
    const char *a, *b;
    bool apart;
  };
  const Row rows[] = {
      {R"({"type":"string"})", R"({"type":["null","array"]})", true},
      {R"({"type":"number"})", R"({"type":"integer"})", false},
      {R"({"const":1})", R"({"minimum":2})", true},
      {R"({"enum":[1,3]})", R"({"minimum":2})", false},
      {R"({"type":"object","required":["k"],"properties":{"k":{"const":"x"}}})",
       R"({"type":"object","required":["k"],"properties":{"k":{"const":"y"}}})", true},
      {R"({"type":"object","properties":{"k":{"const":"x"}}})",
       R"({"type":"object","properties":{"k":{"const":"y"}}})", false},
      {R"({"anyOf":[{"type":"null"},{"type":"string"}]})", R"({"type":"array"})", true},
      {R"({"anyOf":[{"type":"null"},{"type":"array"}]})", R"({"type":"array"})", false},
      {"false", "true", true},
  };
  for (const Row& row : rows) {
    const json::value a = json::parse(row.a), b = json::parse(row.b);
    Context context(a, /*expands=*/true);
    const MadeSchemas made(context);
    Validator validator(context, made);
    Disjointness disjointness(context, validator);
    EXPECT_EQ(disjointness.are_apart(a, "", b, ""), row.apart) << row.a << " " << row.b;
    EXPECT_EQ(disjointness.are_apart(b, "", a, ""), row.apart) << row.b << " " << row.a;
  }
}

}  // namespace
}  // namespace altlas::text::grammar::schema
