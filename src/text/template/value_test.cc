// Goal: values behave like Python's. Method: small ones.
#include "text/template/value.h"

#include <gtest/gtest.h>

namespace altlas::text {
namespace {

TEST(Value, RepeatedKeysKeepTheLastValue) {
  const Value made = Value::object_of({{"a", 1}, {"b", 2}, {"a", 3}});
  ASSERT_EQ(made.entries().size(), 2u);
  EXPECT_EQ(made.find("a")->as_int(), 3);
  EXPECT_EQ(made.entries()[0].first.view(), "a");
}

}  // namespace
}  // namespace altlas::text
