// Goal: what lies between bytes and the rooms is right at its edges: routes, body fields, keys,
// error answers, the API description. Method: tables of inputs and of what must come out; nothing
// listens here (tests/ does that).
#include <gtest/gtest.h>

#include <sys/stat.h>

#include <boost/json.hpp>
#include <filesystem>
#include <fstream>

#include "base/byte_order_mark.h"
#include "server/body/read.h"
#include "server/handlers.h"
#include "server/http/auth.h"
#include "server/http/problem.h"
#include "server/json_reader.h"
#include "server/prompt/chat_messages.h"
#include "server/reference/openapi.h"
#include "server/routes.h"
#include "server/tasks/sampling.h"
#include "server/tasks/task_json.h"
#include "text/stop.h"

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
  for (const char* missing : {"/api/v1/task/", "/api/v1/task/a/b", "/healthy", "/health/"})
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
  EXPECT_TRUE(parse_object("\xEF\xBB\xBF{\"a\": \"\xEF\xBB\xBF\"}", 64).ok());
  for (const std::string_view text : {std::string_view("\xFF\xFE{\0}\0", 6),
                                      std::string_view("\0{\0}", 4), std::string_view("{\0}\0", 4)})
    EXPECT_TRUE(parse_object(text, 64).error().message().contains("is UTF-16")) << text.size();
  const auto latin = parse_object("{\"a\": \"caf\xE9\"}", 64);
  EXPECT_TRUE(latin.error().message().contains("not UTF-8")) << latin.error().message();
  EXPECT_EQ(latin.error().reason(), kUnsupportedEncoding);
}

// Goal: a half of a character, as in texts that were cut within an emoji, is replaced; the rest
// stays as it is.
TEST(JsonReader, HalvesOfCharactersAreReplaced) {
  const std::pair<const char*, const char*> rows[] = {
      {R"("\ud83d")", "\uFFFD"},
      {R"("a\uDE00b")", "a\uFFFDb"},
      {R"("\ud83d\ude00")", "\U0001F600"},
      {R"("\ud83d\ud83d\ude00")", "\uFFFD\U0001F600"},
      {R"("\ude00\ud83d!")", "\uFFFD\uFFFD!"},
      {R"("\\ud83d\ud83d")", "\\ud83d\uFFFD"},
      {R"("\ud83d\n\u0041")", "\uFFFD\nA"},
  };
  for (const auto& [sent, want] : rows) {
    const auto read = parse_json(sent, 8);
    ASSERT_TRUE(read.ok()) << sent << read.error().message();
    EXPECT_EQ(read->as_string(), want) << sent;
  }
  for (const char* bad : {R"("\ud83d)", R"("\ud83")", R"({"\ud83d": })", R"("\ud83d" x)"})
    EXPECT_FALSE(parse_json(bad, 8).ok()) << bad;
}

std::string read_one(const std::string& message) {
  const json::object body = json::parse("{\"messages\": [" + message + "]}").as_object();
  JsonReader reader(body);
  const auto messages = read_messages(body.at("messages").as_array(), reader);
  return messages ? json::serialize(messages->as_array().front())
                  : reader.status().error().message();
}

TEST(Messages, ComeOutInOneForm) {
  const std::pair<const char*, const char*> rows[] = {
      {R"({"role": "user", "content": [{"type": "text", "text": "a"}, "b"]})",
       R"({"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]})"},
      {R"({"role": "developer", "content": [{"type": "input_text", "text": "a", "x": 1}]})",
       R"({"role":"system","content":[{"type":"text","text":"a"}]})"},
      {R"({"role": "assistant", "content": null})", R"({"role":"assistant","content":""})"},
      {R"({"role": "assistant"})", R"({"role":"assistant","content":""})"},
      {R"({"role": "assistant", "content": null, "reasoning_content": "r", "tool_calls": null})",
       R"({"role":"assistant","reasoning_content":"r","content":""})"},
      {R"({"role": "assistant", "content": null, "refusal": "no", "audio": null})",
       R"({"role":"assistant","refusal":"no","content":"no"})"},
      {R"({"role": "assistant", "content": "x", "tool_calls": []})",
       R"({"role":"assistant","content":"x"})"},
      {R"({"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{\"a\": 1}"}})",
       R"({"role":"assistant","tool_calls":[{"type":"function","function":{"name":"f","arguments":{"a":1}}}],"content":""})"},
      {R"({"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f"}}]})",
       R"({"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f","arguments":{}}}],"content":""})"},
      {R"({"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": null}}]})",
       R"({"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f","arguments":{}}}],"content":""})"},
      {R"({"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": " "}}]})",
       R"({"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f","arguments":{}}}],"content":""})"},
      {R"({"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{x"}}]})",
       R"({"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f","arguments":"{x"}}],"content":""})"},
      {R"({"role": "assistant", "content": [{"type": "thinking", "thinking": "t"}, {"type": "output_text", "text": "x"}]})",
       R"({"role":"assistant","content":[{"type":"text","text":"x"}],"reasoning_content":"t"})"},
      {R"({"role": "tool", "content": null, "tool_call_id": "c"})",
       R"({"role":"tool","tool_call_id":"c","content":""})"},
      {R"({"role": "function", "name": "f", "content": []})",
       R"({"role":"tool","name":"f","content":""})"},
  };
  for (const auto& [sent, want] : rows)
    EXPECT_EQ(json::parse(read_one(sent)), json::parse(want)) << sent;
}

TEST(Messages, AreRefusedWithThePlace) {
  const std::pair<const char*, const char*> rows[] = {
      {"", "messages: has 0 messages"},
      {R"({"role": "boss", "content": "x"})", "messages[0].role: is 'boss'"},
      {R"({"role": "user"})", "messages[0].content: is missing"},
      {R"({"role": "system", "content": null})", "messages[0].content: is missing"},
      {R"({"role": "user", "content": [{"type": "image_url"}]})",
       "messages[0].content: holds a part"},
      {R"({"role": "user", "content": [{"type": "text"}]})", "messages[0].content: holds a part"},
      {R"({"role": "assistant", "content": 3})", "messages[0].content: should be a string"},
      {R"({"role": "assistant", "tool_calls": {"id": "a"}})", "messages[0].tool_calls: should be a list"},
      {R"({"role": "assistant", "tool_calls": [{"id": "a"}]})", "messages[0].tool_calls[0].function: should be"},
      {R"({"role": "assistant", "tool_calls": [{"function": {"name": "f"}}, {"type": "custom", "custom": {"name": "g"}}]})",
       "messages[0].tool_calls[1].function: should be"},
      {R"({"role": "assistant", "tool_calls": [{"function": {"arguments": "{}"}}]})", "messages[0].tool_calls[0].function: should be"},
      {R"({"role": "assistant", "function_call": {"arguments": "{}"}})", "messages[0].tool_calls[0].function: should be"},
  };
  for (const auto& [sent, want] : rows) EXPECT_TRUE(read_one(sent).starts_with(want)) << sent;
}

// Goal: a sampling field and the value that stands for leaving it out give the right parameters,
// also in long lists. Method: a table of fields and parameters.
TEST(Sampling, SentinelsAndLongLists) {
  text::Vocabulary vocabulary;
  vocabulary.model = "gpt2";
  vocabulary.pre = "qwen2";
  for (const char* token : {"a", "b", "ab"}) vocabulary.tokens.push_back(token);
  vocabulary.merges.push_back("a b");
  ServedModel model;
  model.tokenizer = *text::Tokenizer::create(std::move(vocabulary));
  const auto read = [&](const std::string& fields, std::string* error = nullptr) {
    const json::object body = json::parse("{" + fields + "}").as_object();
    JsonReader reader(body);
    SamplingFields asked;
    read_fields(reader, asked, config::Config());
    SamplingParams sampling = read_sampling(std::move(asked), reader, model);
    if (error != nullptr) *error = reader.status().ok() ? "" : reader.status().error().field();
    return sampling;
  };
  for (const char* all : {R"("top_k": -1)", R"("top_k": 0)", R"("top_k": null)"})
    EXPECT_EQ(read(all).top_k, 0);
  EXPECT_EQ(read(R"("repeat_penalty": 1.5)").repetition_penalty, 1.5f);
  for (const char* none : {R"("stop": "")", R"("stop": [])", R"("stop": null)"})
    EXPECT_TRUE(read(none).stop.empty()) << none;
  // The forms are OpenAI's object and llama-server's list.
  using Bias = std::vector<std::pair<int32_t, float>>;
  const std::pair<const char*, Bias> biases[] = {
      {R"("logit_bias": {"2": 1, "0": -2.5})", {{0, -2.5f}, {2, 1}}},
      {R"("logit_bias": [[2, 1], [0, -2.5]])", {{0, -2.5f}, {2, 1}}},
      {R"("logit_bias": [])", {}},
      {R"("logit_bias": {})", {}},
      {R"("logit_bias": null)", {}},
      {R"("logit_bias": [[1, false]])", {{1, -100}}},
      {R"("logit_bias": [["ab", 3]])", {{2, 3}}},
      {R"("logit_bias": [["aab", -1.0]])", {{0, -1}, {2, -1}}},
      {R"("logit_bias": [[1, 5], [1.0, 6]])", {{1, 6}}},
  };
  std::string wrong;
  for (const auto& [sent, want] : biases) {
    EXPECT_EQ(read(sent, &wrong).logit_bias, want) << sent;
    EXPECT_EQ(wrong, "") << sent;
  }
  for (const char* sent :
       {R"("logit_bias": [[3, 1]])", R"("logit_bias": [[-1, 1]])", R"("logit_bias": [[0]])",
        R"("logit_bias": [0, 1])", R"("logit_bias": [[0, true]])", R"("logit_bias": [[0, 101]])",
        R"("logit_bias": {"ab": 1})", R"("logit_bias": {"0": false})", R"("logit_bias": "0")",
        R"("logit_bias": [["", 1]])"}) {
    read(sent, &wrong);
    EXPECT_EQ(wrong, "logit_bias") << sent;
  }
  const auto list = [](size_t count, size_t size) {
    json::array stops;
    for (size_t i = 0; i < count; ++i) stops.push_back(json::string(std::string(size, 'x')));
    return "\"stop\": " + json::serialize(stops);
  };
  std::string error;
  for (const auto& [count, size, taken] :
       {std::tuple<size_t, size_t, bool>{17, 3, true}, {64, 200, true}, {1024, 60, true},
        {1025, 1, false}, {1, 4096, true}, {1, 4097, false}, {17, 4096, false}}) {
    EXPECT_EQ(read(list(count, size), &error).stop.size() == count && error.empty(), taken)
        << count << " " << size;
    EXPECT_EQ(error, taken ? "" : "stop");
    if (taken) EXPECT_TRUE(text::StopStrings::create(read(list(count, size)).stop).ok());
  }
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

// Goal: a keys file is read in every encoding. Method: one key, in files as editors save them.
TEST(Auth, KeysFilesOfEveryEncoding) {
  const std::string path = testing::TempDir() + "altlas_keys";
  config::AuthConfig config;
  config.keys_file = path;
  const auto make = [&](const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
    return Auth::create(config);
  };
  for (const char* text : {"\xEF\xBB\xBFsecret\r\n", "\xEF\xBB\xBF# keys\nsecret", "secret"}) {
    const auto auth = make(text);
    ASSERT_TRUE(auth.ok()) << text;
    EXPECT_TRUE(auth->identify("Bearer secret").ok()) << text;
  }
  using namespace std::string_literals;
  for (const std::string& text : {"\xFF\xFEs\0e\0c\0"s, "\xFE\xFF\0s\0e\0c"s, "s\0e\0c\0"s}) {
    const auto auth = make(text);
    ASSERT_FALSE(auth.ok());
    EXPECT_EQ(auth.error().field(), "auth.keys_file");
    EXPECT_TRUE(auth.error().message().contains("UTF-16")) << auth.error().message();
  }
  std::filesystem::remove(path);
}

TEST(Auth, WithoutKeysEverybodyIsAdmin) {
  const auto auth = Auth::create(config::AuthConfig());
  EXPECT_EQ(auth->identify("Bearer whatever")->role, Role::kAdmin);
}

// Goal: a keys file that others may write to is refused, by its mode alone, since whoever may write
// to it makes the keys.
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

// Goal: durations are never negative, even if the clock was set back between two starts of the
// server.
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

// Goal: new keys replace all old ones. Method: each key's answer before and after, and whether the
// change is logged.
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

// Goal: programs can tell errors apart by OpenAI's words. Method: errors as rooms make them, and
// statuses that the listener chooses itself.
TEST(Problem, ProgramsCanTellOpenAiErrorsApart) {
  struct Row {
    Error error;
    int status;  // 0: the error's own status.
    const char *type, *code;
  };
  const auto error_of = [](ErrorCode code) { return Error(code, "x"); };
  const Row rows[] = {
      {invalid("x"), 0, "invalid_request_error", "invalid_request"},
      {invalid("x", "top_p"), 0, "invalid_request_error", "invalid_value"},
      {invalid("x", "stop").with_reason("r"), 0, "invalid_request_error", "r"},
      {error_of(ErrorCode::kUnauthorized), 0, "invalid_request_error", "invalid_api_key"},
      {error_of(ErrorCode::kForbidden), 0, "permission_error", "insufficient_permissions"},
      {not_found("x"), 0, "invalid_request_error", "not_found"},
      {invalid("x"), 405, "invalid_request_error", "method_not_supported"},
      {error_of(ErrorCode::kConflict), 0, "invalid_request_error", "conflict"},
      {error_of(ErrorCode::kTooLarge), 0, "invalid_request_error", "request_too_large"},
      {invalid("x"), 413, "invalid_request_error", "request_too_large"},
      {invalid("x"), 414, "invalid_request_error", "uri_too_long"},
      {error_of(ErrorCode::kUnsupported), 0, "invalid_request_error", "unsupported_media_type"},
      {invalid("x"), 418, "invalid_request_error", "invalid_request"},
      {error_of(ErrorCode::kBusy), 0, "rate_limit_error", "rate_limit_exceeded"},
      {invalid("x"), 431, "invalid_request_error", "headers_too_large"},
      {error_of(ErrorCode::kCanceled), 0, "invalid_request_error", "request_cancelled"},
      {error_of(ErrorCode::kInternal), 0, "server_error", "internal_error"},
      {error_of(ErrorCode::kUnavailable), 0, "server_error", "service_unavailable"},
      {error_of(ErrorCode::kDevice), 0, "server_error", "service_unavailable"},
      {error_of(ErrorCode::kIo), 0, "server_error", "service_unavailable"},
      {error_of(ErrorCode::kDeadline), 0, "server_error", "timeout"},
      {invalid("x"), 599, "server_error", "internal_error"},
  };
  for (const Row& row : rows) {
    const json::value answer = json::parse(problem(row.error, true, row.status).body).at("error");
    EXPECT_EQ(answer.at("type"), row.type) << row.code;
    EXPECT_EQ(answer.at("code"), row.code);
    EXPECT_TRUE(answer.as_object().contains("param"));
  }
}

// Goal: each fault has its reason. Method: requests that lack a field or have it of another kind,
// with the field and the reason.
TEST(JsonReader, ReasonsOfWhatIsWrong) {
  const auto reason = [](const char* text) {
    const auto object = parse_object(text, 8);
    if (!object.ok()) return std::string(object.error().reason());
    JsonReader reader(*object);
    reader.required_text("text");
    reader.integer("count", 1, 0, 9);
    reader.number("part", 0, 0, 1);
    reader.boolean("flag", false);
    reader.texts("stop", 2, 3);
    reader.object("map");
    reader.array("list");
    return reader.status().ok() ? "" : std::string(reader.status().error().reason());
  };
  const std::pair<const char*, std::string_view> rows[] = {
      {"", kInvalidJson},
      {"[1]", kInvalidJson},
      {"{\"text\": ", kInvalidJson},
      {"{}", kMissingParameter},
      {R"({"text": null})", kMissingParameter},
      {R"({"text": 3})", kInvalidType},
      {R"({"text": "a", "count": "1"})", kInvalidType},
      {R"({"text": "a", "count": 1.5})", kInvalidType},
      {R"({"text": "a", "part": []})", kInvalidType},
      {R"({"text": "a", "flag": 0})", kInvalidType},
      {R"({"text": "a", "stop": [1]})", kInvalidType},
      {R"({"text": "a", "map": []})", kInvalidType},
      {R"({"text": "a", "list": {}})", kInvalidType},
      {R"({"text": "a", "count": 10})", ""},
      {R"({"text": "a", "stop": ["abcd"]})", ""},
  };
  for (const auto& [text, want] : rows) EXPECT_EQ(reason(text), want) << text;
}

// Goal: an answer is valid UTF-8, hence valid JSON, whatever it quotes, even if that was cut within
// a character.
TEST(Problem, AnswersAreUtf8WhateverTheyQuote) {
  const std::string half = std::string("no batch '") + "\xf0\x9d\x91" + "'";
  for (const bool openai : {false, true}) {
    boost::system::error_code code;
    json::parse(problem(invalid(half), openai).body, code);
    EXPECT_FALSE(code) << code.message();
  }
}

TEST(OpenApi, EverySchemaThatARouteNamesIsThere) {
  config::Config config;
  config.auth.api_keys = {"key"};
  const json::value document = json::parse(openapi_json("1", config));
  const json::object& schemas = document.at("components").at("schemas").as_object();
  for (const Route& route : routes()) {
    std::string path(route.pattern);
    std::erase(path, '*');
    for (const std::string_view name : {route.request, route.response})
      EXPECT_TRUE(name.empty() || schemas.contains(name)) << route.pattern << " names " << name;
    EXPECT_TRUE(document.at("paths").as_object().contains(path));
  }
  // Every $ref must lead somewhere.
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
