// Goal: a drawn seed can be sent back, and draws the same again. Method: tables of seeds as
// requests write them. What they draw is tested by tests/test_seeds.py.
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <set>

#include "server/body/read.h"
#include "server/tasks/sampling.h"

namespace altlas::server {
namespace {

namespace json = boost::json;

std::optional<uint64_t> given_seed(JsonReader& reader) {
  SamplingFields fields;
  read_fields(reader, fields, config::Config());
  return wanted_seed(fields);
}

TEST(Seeds, OfChoicesDifferAndCanBeSentBack) {
  for (const int64_t seed : {int64_t{0}, int64_t{5}, int64_t{-2}, int64_t{-3}, int64_t{-128},
                             INT64_MAX, INT64_MAX - 3, INT64_MIN}) {
    std::set<int64_t> seen;
    for (uint64_t i = 0; i < 128; ++i) {
      const int64_t own = shown_seed(choice_seed(static_cast<uint64_t>(seed), i));
      EXPECT_TRUE(seen.insert(own).second) << seed << " and " << i;
      EXPECT_NE(own, -1) << "would be drawn anew";
      const json::object body = json::parse(json::serialize(json::object{{"seed", own}})).as_object();
      JsonReader reader(body);
      EXPECT_EQ(given_seed(reader), static_cast<uint64_t>(own));
    }
    EXPECT_EQ(shown_seed(choice_seed(static_cast<uint64_t>(seed), 0)), seed);
  }
}

TEST(Seeds, AreDrawnWhereNoneIsNamed) {
  for (const char* text : {"{}", R"({"seed": null})", R"({"seed": -1})", R"({"seed": -1.0})"}) {
    const json::object body = json::parse(text).as_object();
    JsonReader reader(body);
    EXPECT_EQ(given_seed(reader), std::nullopt) << text;
    EXPECT_TRUE(reader.status().ok());
  }
  for (const char* text : {R"({"seed": "1"})", R"({"seed": 1.5})", R"({"seed": true})"}) {
    const json::object body = json::parse(text).as_object();
    JsonReader reader(body);
    given_seed(reader);
    EXPECT_FALSE(reader.status().ok()) << text;
  }
  std::set<uint64_t> drawn;
  for (int i = 0; i < 100; ++i) {
    const uint64_t seed = draw_seed();
    EXPECT_TRUE(drawn.insert(seed).second);
    const auto last = choice_seed(seed, 2048);
    EXPECT_EQ(static_cast<uint64_t>(static_cast<double>(last)), last) << "a double holds it";
  }
}

}  // namespace
}  // namespace altlas::server
