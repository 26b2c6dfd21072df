// Goal: a body's rows are its reader and its schema at once. Method: a body of every kind of row,
// and what is said of what is wrong in it.
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "server/body/read.h"
#include "server/body/schema.h"

namespace altlas::server {
namespace {

namespace json = boost::json;

struct Inner {
  int32_t depth = 3;
  static constexpr void fields(auto&& field) {
    field("depth", &Inner::depth, FieldInfo{.min = 0, .max = 9});
  }
};
struct Sample {
  std::string name = "n";
  std::optional<Inner> inner;
  float share = 0.25f;
  Refused old;
  static constexpr void fields(auto&& field) {
    using S = Sample;
    field("name", &S::name, FieldInfo{.min = 1, .max = 3, .one_line = true});
    field("inner", &S::inner, FieldInfo{.shared = "Inner"});
    field("share", &S::share, FieldInfo{.min = 0, .max = 1, .other_names = {"part", "ratio"}});
    field("old", &S::old, FieldInfo{.refused = "is gone"});
  }
};

// Method: messages by body, as clients see them.
TEST(Rows, SayWhatIsWrongAndWhere) {
  const std::pair<const char*, const char*> rows[] = {
      {R"({})", ""},
      {R"({"name": "ğğğ", "inner": {"depth": 9}, "ratio": 1})", ""},
      {R"({"name": ""})", "at.name: should have 1 to 3 characters in one line"},
      {R"({"name": "abcd"})", "at.name: should have 1 to 3 characters in one line"},
      {R"({"name": "a\nb"})", "at.name: should have 1 to 3 characters in one line"},
      {R"({"name": 5})", "at.name: is an integer, should be a string"},
      {R"({"inner": {"depth": 10}})", "at.inner.depth: is 10, should be from 0 to 9"},
      {R"({"inner": []})", "at.inner: is a list, should be an object"},
      {R"({"ratio": 2})", "at.ratio: is 2, should be from 0 to 1"},
      {R"({"share": 2, "part": 0.5})", "at.share: is 2, should be from 0 to 1"},
      {R"({"part": "x", "ratio": 0.5})", "at.part: is a string, should be a number"},
      {R"({"old": false})", "at.old: is gone"},
  };
  for (const auto& [text, want] : rows) {
    const json::object object = json::parse(text).as_object();
    JsonReader reader(object, "at");
    Sample sample;
    read_fields(reader, sample, config::Config());
    EXPECT_EQ(reader.status().ok() ? "" : reader.status().error().message(), want) << text;
  }
  const json::object object = json::parse(R"({"part": 0.5, "inner": {}})").as_object();
  JsonReader reader(object);
  Sample sample;
  read_fields(reader, sample, config::Config());
  EXPECT_EQ(sample.share, 0.5f);
  EXPECT_EQ(sample.inner->depth, 3);
}

TEST(Rows, AreTheSchema) {
  const config::Config config;
  Schemas schemas(config);
  schemas.add("Sample", Sample());
  const json::value want = json::parse(R"({
    "Inner": {"type": "object", "properties": {
      "depth": {"type": ["integer", "null"], "minimum": 0, "maximum": 9, "default": 3}}},
    "Sample": {"type": "object", "properties": {
      "name": {"type": ["string", "null"], "minLength": 1, "maxLength": 3, "default": "n"},
      "inner": {"anyOf": [{"$ref": "#/components/schemas/Inner"}, {"type": "null"}]},
      "share": {"type": ["number", "null"], "minimum": 0E0, "maximum": 1E0, "default": 0.25},
      "part": {"type": ["number", "null"], "minimum": 0E0, "maximum": 1E0, "description": "Another name of share"},
      "ratio": {"type": ["number", "null"], "minimum": 0E0, "maximum": 1E0, "description": "Another name of share"},
      "old": {"type": "null"}}}})");
  EXPECT_EQ(json::value(schemas.take()), want);
}

}  // namespace
}  // namespace altlas::server
