// Goal: what stands between bytes and the rooms is right at its edges: routes, body fields, keys,
// error answers, the API description. Method: tables of inputs and what must come out; nothing
// listens here (tests/ does that).
#include <gtest/gtest.h>

#include <sys/stat.h>

#include <boost/json.hpp>
#include <filesystem>
#include <fstream>

#include "server/auth.h"
#include "server/chat_messages.h"
#include "server/handlers.h"
#include "server/json_reader.h"
#include "server/openapi.h"
#include "server/problem.h"
#include "server/task_json.h"

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

// Goal: whoever may write to the file makes the keys: such a file is refused, by its mode alone.
TEST(Auth, AKeyFileThatOthersMayWriteToIsRefused) {
  const std::string path = ::testing::TempDir() + "/auth_test_keys";
  std::ofstream(path) << "secret\n";
  config::AuthConfig config;
  config.keys_file = path;
  for (const auto& [mode, taken] : {std::pair<mode_t, bool>{0600, true},
                                    {0440, true},
                                    {0666, false},
                                    {0660, false},
                                    {0602, false}}) {
    ASSERT_EQ(::chmod(path.c_str(), mode), 0);
    const auto auth = Auth::create(config);
    EXPECT_EQ(auth.ok(), taken) << std::oct << mode;
    if (!auth.ok()) EXPECT_EQ(auth.error().field(), "auth.keys_file");
  }
  std::filesystem::remove(path);
}

TEST(Problem, ServersFoldersAreNotTold) {
  const std::pair<const char*, const char*> kCases[] = {
      {"journal '/home/ann/data dir/journal.db': while committing: disk is full",
       "journal 'journal.db': while committing: disk is full"},
      {"/srv/models/m.gguf: can't open: no such file", "m.gguf: can't open: no such file"},
      {"can't make \"/var/lib/altlas/files/x.tmp\", path=/root/a/b (/opt/c/)",
       "can't make \"x.tmp\", path=b (c/)"},
      {"ask /health, or http://host/v1/x", "ask /health, or http://host/v1/x"},
      {"3/4 of a/b are /", "3/4 of a/b are /"},
      {"'/unended/quote", "'quote"},
      {"", ""}};
  for (const auto& [text, told] : kCases) {
    EXPECT_EQ(without_folders(text), told);
    for (const ErrorCode code :
         {ErrorCode::kIo, ErrorCode::kDevice, ErrorCode::kInternal, ErrorCode::kUnavailable}) {
      const json::value body = json::parse(problem(Error(code, text), false).body);
      EXPECT_EQ(body.at("error"), told);
    }
  }
  const json::value own = json::parse(problem(invalid("'/a/b' is no file"), false).body);
  EXPECT_EQ(own.at("error"), "'/a/b' is no file") << "what the client sent comes back";
}

// The clock can be set back between two starts of the server.
TEST(TaskJson, DurationsAreNeverNegative) {
  control::TaskView task;
  task.created_at = 5 * kSecond;
  task.started_at = 9 * kSecond;
  task.finished_at = 7 * kSecond;
  task.status = TaskStatus::kCompleted;
  task.result.emplace();
  EXPECT_EQ(task_to_json(task).at("result").at("execution_time"), 0.0);
  task.finished_at = 10 * kSecond;
  EXPECT_EQ(task_to_json(task).at("result").at("execution_time"), 1.0);
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
