// Goal: a body's rows are both its reader and its schema. Method: for every field of every body,
// from its own schema: values of the wrong kind and beyond the limits are refused with its name,
// and the default in the schema is what is read.
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "server/body/query.h"
#include "server/reference/bodies.h"
#include "server/reference/openapi.h"
#include "server/routes.h"

namespace altlas::server {
namespace {

namespace json = boost::json;

// Returns the field of `text` that is wrong when read as `Body`, or "" if none is.
template <class Body>
std::string wrong_field(Body body, const json::object& object) {
  JsonReader reader(object);
  read_fields(reader, body, config::Config());
  return reader.status().ok() ? "" : reader.status().error().field();
}

// Returns the alternatives of a schema, with references followed.
std::vector<json::object> alternatives(const json::object& schema, const json::object& shared) {
  if (const json::value* reference = schema.if_contains("$ref")) {
    const std::string_view text = reference->get_string();
    return alternatives(shared.at(text.substr(text.rfind('/') + 1)).get_object(), shared);
  }
  const json::value* any = schema.if_contains("anyOf");
  if (any == nullptr) return {schema};
  std::vector<json::object> out;
  for (const json::value& one : any->get_array())
    for (json::object& inner : alternatives(one.get_object(), shared)) out.push_back(inner);
  return out;
}

bool takes(const json::object& schema, std::string_view kind) {
  const json::value* type = schema.if_contains("type");
  if (type == nullptr) {
    const json::value* names = schema.if_contains("enum");
    return names != nullptr && ((kind == "string" && names->get_array().front().is_string()) ||
                                (kind == "integer" && names->get_array().front().is_int64()));
  }
  if (type->is_string()) return type->get_string() == kind;
  return std::ranges::any_of(type->get_array(), [&](const json::value& one) {
    return one.get_string() == kind || (kind == "integer" && one.get_string() == "number");
  });
}

// Returns values that no alternative takes: of another kind, beyond a limit, or none of the names.
std::vector<json::value> wrong_values(const std::vector<json::object>& schemas) {
  const std::pair<std::string_view, json::value> kinds[] = {{"string", "?"},
                                                            {"integer", 1},
                                                            {"boolean", true},
                                                            {"array", json::array()},
                                                            {"object", json::object()}};
  std::vector<json::value> out;
  for (const auto& [kind, value] : kinds)
    if (std::ranges::none_of(schemas, [&](const auto& one) { return takes(one, kind); }))
      out.push_back(value);
  for (const json::object& one : schemas) {
    const json::value* most = one.if_contains("maximum");
    if (most != nullptr && most->to_number<double>() < 1e18)
      out.emplace_back(most->to_number<double>() + 1);
    const json::value* longest = one.if_contains("maxLength");
    if (longest != nullptr) {
      std::string text;
      for (int64_t i = 0; i <= longest->to_number<int64_t>(); ++i) text += "ğ";
      out.emplace_back(text);
    }
    if (one.contains("enum") && takes(one, "string")) out.emplace_back("no such name");
  }
  return out;
}

// Code reads or compares these fields after the rows; tests/test_fields.py tests them.
constexpr std::string_view kReadByCode[] = {"tool_choice", "endpoint", "purpose"};
bool is_read_by_rows(std::string_view name, const json::object& schema) {
  if (std::ranges::find(kReadByCode, name) != std::end(kReadByCode)) return false;
  return schema.contains("default") || schema.contains("minimum") || schema.contains("enum");
}

// Returns an object with what `body` needs, so that nothing else is wrong before a field.
template <class Body>
json::object needed_fields(const Body& body, const json::object& schema) {
  json::object object;
  const json::value* needed = schema.if_contains("required");
  if (needed == nullptr) return object;
  const json::array samples{"x", 1, json::array(), json::object(), "random", "POST"};
  for (const json::value& each : needed->get_array()) {
    const std::string name(each.get_string());
    for (const json::value& sample : samples) {
      object[name] = sample;
      if (wrong_field(body, object) != name) break;
    }
  }
  return object;
}

TEST(Bodies, EveryFieldIsReadAsItsSchemaSays) {
  const json::object schemas = request_schemas(config::Config());
  size_t tried = 0;
  each_body([&](std::string_view name, const auto& body) {
    const json::object& fields = schemas.at(name).at("properties").get_object();
    EXPECT_FALSE(fields.empty()) << name;
    const json::object sound = needed_fields(body, schemas.at(name).get_object());
    for (const auto& [key, value] : fields) {
      const auto possible = alternatives(value.get_object(), schemas);
      if (!is_read_by_rows(key, value.get_object()) && !is_read_by_rows(key, possible.front()))
        continue;
      for (const json::value& wrong : wrong_values(possible)) {
        json::object object = sound;
        object[key] = wrong;
        EXPECT_EQ(wrong_field(body, object), key)
            << name << " took " << json::serialize(wrong).substr(0, 64);
        ++tried;
      }
    }
  });
  EXPECT_GT(tried, 500u);
}

TEST(Bodies, NullIsAbsentAndUnknownFieldsAreIgnored) {
  const json::object schemas = request_schemas(config::Config());
  each_body([&](std::string_view name, const auto& body) {
    json::object object{{"no such field", 1}};
    const json::value* needed = schemas.at(name).get_object().if_contains("required");
    const std::string first =
        needed != nullptr ? std::string(needed->get_array().front().get_string()) : std::string();
    for (const auto& [key, value] : schemas.at(name).at("properties").get_object())
      object[key] = nullptr;
    EXPECT_EQ(wrong_field(body, object), first) << name;
  });
}

TEST(Bodies, LimitsThatAreSettingsAreTheirs) {
  config::Config config;
  config.server.batch_items_max = 77;
  config.gpu.multi_gpu.strategies = {Strategy::kRandom, Strategy::kRoundRobin};
  const json::object schemas = request_schemas(config);
  EXPECT_EQ(schemas.at("BatchPredictRequest").at_pointer("/properties/batch/maxItems"), 77);
  EXPECT_EQ(json::serialize(schemas.at("StrategyRequest").at_pointer("/properties/strategy/enum")),
            R"(["random","round_robin"])");
  EXPECT_EQ(json::serialize(schemas.at("GpuOptions").at_pointer("/properties/strategy/enum")),
            R"(["random","round_robin",null])");
}

// Returns texts that are no value of a query parameter.
std::vector<std::string> wrong_texts(const json::object& schema) {
  std::vector<std::string> out;
  const bool integer = takes(schema, "integer") && !takes(schema, "number");
  if (integer || takes(schema, "number")) out = {"", "x", "1x", " 1", "nan", "1e999", "null"};
  if (integer) out.insert(out.end(), {"1.5", "1e2", "9223372036854775808"});
  if (schema.contains("enum") || schema.contains("$ref")) out = {"", "no such name", "null"};
  const auto beyond = [&](const char* key, double by) {
    const json::value* limit = schema.if_contains(key);
    if (limit == nullptr || limit->to_number<double>() > 1e18) return;
    const double value = limit->to_number<double>() + by;
    out.push_back(integer ? std::to_string(static_cast<int64_t>(value)) : std::to_string(value));
  };
  beyond("minimum", -1);
  beyond("maximum", 1);
  return out;
}

// Returns a text that is a value of a query parameter.
std::string right_text(const json::object& schema) {
  if (schema.contains("$ref")) return "queued";
  if (const json::value* names = schema.if_contains("enum"))
    return std::string(names->get_array().back().get_string());
  if (const json::value* least = schema.if_contains("minimum")) return json::serialize(*least);
  return "some text";
}

TEST(Bodies, EveryQueryParameterIsReadAsItsSchemaSays) {
  const config::Config config;
  size_t tried = 0;
  for (const Route& route : routes()) {
    if (route.query == nullptr) continue;
    const auto wrong = [&](std::vector<std::pair<std::string, std::string>> query) {
      Request request;
      request.query = std::move(query);
      const auto checked = route.query->check(request, config);
      return checked.ok() ? "" : checked.error().field();
    };
    EXPECT_EQ(wrong({{"no such parameter", "x"}}), "") << route.pattern;
    for (const json::value& parameter : route.query->parameters(config)) {
      const std::string name(parameter.at("name").get_string());
      const json::object& schema = parameter.at("schema").get_object();
      EXPECT_FALSE(parameter.at("description").get_string().empty()) << name;
      EXPECT_EQ(wrong({{name, right_text(schema)}}), "") << name;
      for (const std::string& text : wrong_texts(schema)) {
        EXPECT_EQ(wrong({{name, text}}), name) << route.pattern << " took " << name << "=" << text;
        EXPECT_EQ(wrong({{name, right_text(schema)}, {name, text}}), "") << "the first counts";
        ++tried;
      }
    }
  }
  EXPECT_GT(tried, 40u);
}

TEST(Bodies, EveryBodyOfARouteIsInTheList) {
  std::vector<std::string> names;
  each_body([&](std::string_view name, const auto&) { names.emplace_back(name); });
  for (const Route& route : routes())
    EXPECT_TRUE(route.request.empty() || route.request == "Any" ||
                std::ranges::find(names, route.request) != names.end())
        << route.pattern;
}

struct Inner {
  int32_t depth = 3;
  static constexpr void fields(auto&& field) {
    field("depth", &Inner::depth, BodyField{.min = 0, .max = 9});
  }
};
struct Sample {
  std::string name = "n";
  std::optional<Inner> inner;
  float share = 0.25f;
  Refused old;
  static constexpr void fields(auto&& field) {
    using S = Sample;
    field("name", &S::name, BodyField{.min = 1, .max = 3, .one_line = true});
    field("inner", &S::inner, BodyField{.shared = "Inner"});
    field("share", &S::share, BodyField{.min = 0, .max = 1, .other_names = {"part", "ratio"}});
    field("old", &S::old, BodyField{.refused = "is gone"});
  }
};

// Goal: a message says what is wrong, and where. Method: messages of several bodies, as clients see
// them.
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
  BodySchemas schemas(config);
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
