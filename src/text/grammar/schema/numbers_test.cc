// Goal: bounds and multiples are held exactly. Method: texts inside and outside of small languages.
#include <gtest/gtest.h>

#include "text/grammar/test_grammar.h"

namespace altlas::text::grammar::schema {
namespace {

using testing_support::expect_schema;

TEST(SchemaNumbers, AreWithinBoundsAndMultiples) {
  expect_schema(R"({"type":"integer","minimum":-5,"exclusiveMaximum":120})",
                {"-5", "0", "119", "7"}, {"-6", "120", "1.0", "999", "007"});
  expect_schema(R"({"type":"number","minimum":1.5,"maximum":10})",
                {"1.5", "2", "10", "10.00", "9.999"}, {"1.49", "10.01", "-2", "1", "100"});
  expect_schema(R"({"type":"number","exclusiveMinimum":-0.25,"exclusiveMaximum":0})",
                {"-0.1", "-0.2499"}, {"-0.25", "0", "-1", "0.1", "-0.3"});
  expect_schema(R"({"type":"integer","multipleOf":7,"minimum":10})", {"14", "700"},
                {"7", "15", "0", "-14"});
}

}  // namespace
}  // namespace altlas::text::grammar::schema
