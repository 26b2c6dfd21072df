// Goal: what is written is JSON that reads back the same, with numbers as people write them.
// Method: literal texts; a round trip of every kind of value.
#include "text/json_text.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <limits>

namespace altlas::text {
namespace {

namespace json = boost::json;

TEST(JsonText, WritesNumbersAsPeopleDo) {
  EXPECT_EQ(json_text(json::value(0.0)), "0.0");
  EXPECT_EQ(json_text(json::value(12.5)), "12.5");
  EXPECT_EQ(json_text(json::value(-3.0)), "-3.0");
  EXPECT_EQ(json_text(json::value(1795332606.0)), "1795332606.0");
  EXPECT_EQ(json_text(json::value(1e-7)), "1e-07");
  EXPECT_EQ(json_text(json::value(7)), "7");
  EXPECT_EQ(json_text(json::value(std::numeric_limits<uint64_t>::max())), "18446744073709551615");
  EXPECT_EQ(json_text(json::value(std::numeric_limits<double>::quiet_NaN())), "null");
  EXPECT_EQ(json_text(json::value(-std::numeric_limits<double>::infinity())), "null");
}

TEST(JsonText, ReadsBackTheSame) {
  const json::object object{{"empty", json::object()},
                            {"list", {1, -2, 0.1, nullptr, true, "a\"b\\\n\x01ş"}},
                            {"key \"quoted\"\n", 5e-324},
                            {"large", 1.7976931348623157e308},
                            {"nothing", json::array()}};
  const std::string text = json_text(object);
  EXPECT_EQ(text.find('\n'), std::string::npos);
  EXPECT_EQ(json::parse(text), json::value(object));
  EXPECT_EQ(json_text(json::value(object)), text);
}

}  // namespace
}  // namespace altlas::text
