// Goal: what stands between bytes and the rooms is right at its edges: routes, body fields, keys,
// error answers, the API description. Method: tables of inputs and what must come out; nothing
// listens here (tests/ does that).
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "server/auth.h"
#include "server/chat_messages.h"
#include "server/handlers.h"
#include "server/json_reader.h"
#include "server/openapi.h"
#include "server/problem.h"

namespace altlas::server {
namespace {

namespace json = boost::json;

TEST(Routes, MatchParametersAndMethods) {
  const auto task = match_route(routes(), "GET", "/api/v1/task/abc");
  ASSERT_NE(task.route, nullptr);
  EXPECT_EQ(task.parameters, (std::vector<std::pair<std::string, std::string>>{{"id", "abc"}}));
  EXPECT_NE(match_route(routes(), "HEAD", "/health").route, nullptr);
  const auto wrong = match_route(routes(), "PUT", "/api/v1/task/abc");
  EXPECT_EQ(wrong.route, nullptr);
  EXPECT_EQ(wrong.allow, "GET, HEAD, DELETE");
  const auto model = match_route(routes(), "GET", "/v1/models//m/a b.gguf");
  ASSERT_NE(model.route, nullptr) << "a model's id may be a path";
  EXPECT_EQ(model.parameters,
            (std::vector<std::pair<std::string, std::string>>{{"id", "/m/a b.gguf"}}));
  EXPECT_EQ(match_route(routes(), "GET", "/v1/models").route->pattern, "/v1/models");
  for (const char* missing : {"/", "/api/v1/task/", "/api/v1/task/a/b", "/healthy", "/health/"})
    EXPECT_TRUE(match_route(routes(), "GET", missing).route == nullptr &&
                match_route(routes(), "GET", missing).allow.empty())
        << missing;
}

TEST(JsonReader, NamesTheFieldThatIsWrong) {
  const json::object body =
      json::parse(R"({"a": 5, "b": "x", "c": null, "d": 2.0, "e": [1], "f": 1.5})").as_object();
  JsonReader fine(body, "batch[2]");
  EXPECT_EQ(fine.integer("a", 0, 0, 10), 5);
  EXPECT_EQ(fine.integer("c", 7, 0, 10), 7) << "null means absent";
  EXPECT_EQ(fine.integer("d", 0, 0, 10), 2) << "a whole double is an integer";
  EXPECT_EQ(fine.text("none", "y"), "y");
  EXPECT_TRUE(fine.status().ok());
  const std::pair<const char*, std::function<void(JsonReader&)>> wrong[] = {
      {"batch[2].a", [](JsonReader& r) { r.text("a", ""); }},
      {"batch[2].a", [](JsonReader& r) { r.integer("a", 0, 6, 10); }},
      {"batch[2].f", [](JsonReader& r) { r.integer("f", 0, 0, 10); }},
      {"batch[2].b", [](JsonReader& r) { r.number("b", 0, 0, 1); }},
      {"batch[2].b", [](JsonReader& r) { r.boolean("b", false); }},
      {"batch[2].e", [](JsonReader& r) { r.object("e"); }},
      {"batch[2].e", [](JsonReader& r) { r.texts("e", 4, 10); }},
      {"batch[2].z", [](JsonReader& r) { r.required_text("z"); }},
  };
  for (const auto& [field, read] : wrong) {
    JsonReader reader(body, "batch[2]");
    read(reader);
    ASSERT_FALSE(reader.status().ok()) << field;
    EXPECT_EQ(reader.status().error().field(), field);
    EXPECT_TRUE(reader.status().error().message().starts_with(field));
  }
}

TEST(JsonReader, FirstErrorStays) {
  const json::object body = json::parse(R"({"a": 5, "b": 6})").as_object();
  JsonReader reader(body);
  reader.text("a", "");
  reader.text("b", "");
  EXPECT_EQ(reader.status().error().field(), "a");
}

TEST(JsonReader, RefusesWhatIsNotJson) {
  for (const char* bad :
       {"", " ", "{", "{} x", "[1]", "\"x\"", "{\"a\": \"\xff\"}", "{\"a\": nan}", "{'a': 1}"})
    EXPECT_FALSE(parse_object(bad, 64).ok()) << bad;
  const std::string deep = "{\"a\":" + std::string(70, '[') + std::string(70, ']') + "}";
  EXPECT_FALSE(parse_object(deep, 64).ok());
  EXPECT_TRUE(parse_object(" {\"a\": [1, 2]} \n", 64).ok());
}

TEST(Messages, AreCheckedAndPartsJoined) {
  const auto read = [](const char* text) {
    const json::object body = json::parse(text).as_object();
    JsonReader reader(body);
    const auto messages = read_messages(reader);
    return messages ? json::serialize(*messages) : reader.status().error().message();
  };
  EXPECT_EQ(
      read(
          R"({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]})"),
      R"([{"role":"user","content":"ab"}])");
  EXPECT_TRUE(read(R"({"messages": []})").starts_with("messages: has 0 messages"));
  EXPECT_TRUE(read(R"({"messages": [{"role": "boss", "content": "x"}]})")
                  .starts_with("messages[0].role: is 'boss'"));
  EXPECT_TRUE(
      read(R"({"messages": [{"role": "user"}]})").starts_with("messages[0].content: is missing"));
  EXPECT_TRUE(read(R"({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})")
                  .starts_with("messages[0].content: holds a part"));
}

TEST(Auth, BearerAndBasic) {
  config::AuthConfig config;
  config.keys = {{"anna", "secret", Role::kUser}};
  config.api_keys = {"root"};
  const auto auth = Auth::create(config);
  ASSERT_TRUE(auth.ok());
  EXPECT_EQ(auth->identify("Bearer secret")->name, "anna");
  EXPECT_EQ(auth->identify("bearer root")->role, Role::kAdmin);
  EXPECT_EQ(auth->identify("Basic YW55OnNlY3JldA==")->name, "anna");  // any:secret
  for (const char* bad : {"", "Bearer", "Bearer ", "Bearer wrong", "Basic !!!", "Basic c2VjcmV0",
                          "Digest secret", "secret"})
    EXPECT_EQ(auth->identify(bad).error().code(), ErrorCode::kUnauthorized) << bad;
  EXPECT_FALSE(check_access(*auth->identify("Bearer secret"), Access::kAdmin).ok());
  EXPECT_TRUE(check_access(*auth->identify("Bearer secret"), Access::kUser).ok());
}

TEST(Auth, WithoutKeysEverybodyIsAdmin) {
  const auto auth = Auth::create(config::AuthConfig());
  EXPECT_EQ(auth->identify("Bearer whatever")->role, Role::kAdmin);
}

// Goal: other keys take the place of all the old ones. Method: what each key is answered, before
// and after, and whether the change is told.
TEST(Auth, KeysAreReplaced) {
  auto auth = Auth::create({.keys = {{"anna", "old", Role::kUser}}, .api_keys = {"root"}});
  const auto fresh = Auth::create({.keys = {{"anna", "new", Role::kUser}}, .api_keys = {"root"}});
  EXPECT_TRUE(auth->take(*fresh));
  EXPECT_FALSE(auth->take(*fresh)) << "the same keys again";
  EXPECT_FALSE(auth->identify("Bearer old").ok());
  EXPECT_EQ(auth->identify("Bearer new")->name, "anna");
  EXPECT_TRUE(auth->identify("Bearer root").ok());
  EXPECT_EQ(auth->key_count(), 2u);
}

TEST(Problem, ShapesAndRetryAfter) {
  const Error busy = Error(ErrorCode::kBusy, "full").with_retry_after_ms(2500);
  const Response plain = problem(busy, false);
  EXPECT_EQ(plain.status, 429);
  EXPECT_EQ(plain.body, R"({"error":"full"})");
  EXPECT_EQ(plain.headers.front(), (std::pair<std::string, std::string>{"Retry-After", "3"}));
  const json::value shaped = json::parse(problem(invalid("bad", "temperature"), true).body);
  EXPECT_EQ(shaped.at("error").at("type"), "invalid_request_error");
  EXPECT_EQ(shaped.at("error").at("param"), "temperature");
  const json::value renamed = json::parse(problem(invalid("long", "max_length"), true).body);
  EXPECT_EQ(renamed.at("error").at("param"), "max_tokens");
}

// Found by schemathesis: a quotation that was cut within a character made the answer no JSON.
TEST(Problem, AnswersAreUtf8WhateverTheyQuote) {
  const std::string half = std::string("no batch '") + "\xf0\x9d\x91" + "'";
  for (const bool openai : {false, true}) {
    boost::system::error_code code;
    json::parse(problem(invalid(half), openai).body, code);
    EXPECT_FALSE(code) << code.message();
  }
}

TEST(OpenApi, EverySchemaThatARouteNamesIsThere) {
  const json::value document = json::parse(openapi_json("1", true));
  const json::object& schemas = document.at("components").at("schemas").as_object();
  for (const Route& route : routes()) {
    std::string path(route.pattern);
    std::erase(path, '*');
    for (const std::string_view name : {route.request, route.response})
      EXPECT_TRUE(name.empty() || schemas.contains(name)) << route.pattern << " names " << name;
    EXPECT_TRUE(document.at("paths").as_object().contains(path));
  }
  // Every $ref leads somewhere.
  const std::string text = json::serialize(document);
  static constexpr std::string_view kRef = "#/components/schemas/";
  for (size_t at = text.find(kRef); at != std::string::npos; at = text.find(kRef, at + 1)) {
    const size_t start = at + kRef.size();
    const std::string name = text.substr(start, text.find('"', start) - start);
    EXPECT_TRUE(schemas.contains(name)) << name;
  }
}

}  // namespace
}  // namespace altlas::server
