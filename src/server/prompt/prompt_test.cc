// Goal: what can't be a prompt is refused in words and codes that programs know. Method: prompts of
// every kind go through the pool, as requests do.
#include "server/prompt/prompt.h"

#include <gtest/gtest.h>

#include <boost/asio.hpp>
#include <boost/json.hpp>

#include "server/http/problem.h"
#include "server/test_vocabulary.h"

namespace altlas::server {
namespace {

namespace json = boost::json;

ServedModel model(const std::string& chat_template) {
  ServedModel out;
  out.id = out.deployment = "m";
  out.model_len_max = 100;
  out.tokenizer = *text::Tokenizer::create(letter_vocabulary());
  auto made = text::ChatTemplate::compile(chat_template);
  if (made.ok())
    out.chat_template = std::make_shared<const text::ChatTemplate>(*std::move(made));
  else
    out.chat_template_error = made.error().message();
  return out;
}

Result<std::vector<int32_t>> encode(const ServedModel& model, const PromptSource& prompt) {
  TextPool pool(1, 1, {model});
  const ServedModelPointer served = *pool.find("m", "");
  boost::asio::io_context io;
  Result<std::vector<int32_t>> out = std::vector<int32_t>();
  const auto run = [&]() -> boost::asio::awaitable<void> {
    out = co_await pool.encode(*served, prompt);
  };
  boost::asio::co_spawn(io, run(), boost::asio::detached);
  io.run();
  return out;
}

constexpr const char* kTemplate = "{% for m in messages %}{{ m.content }}{% endfor %}";

PromptSource chat(const std::string& content) {
  PromptSource prompt;
  prompt.kind = PromptSource::Kind::kChat;
  prompt.field = "messages";
  const json::object message{{"role", "user"}, {"content", content}};
  prompt.messages = std::make_shared<json::value>(json::array{message});
  return prompt;
}

TEST(Prompt, TooLongIsSaidAsOpenAiSaysIt) {
  PromptSource text, ids, embeds;
  text.field = ids.field = "prompt";
  text.text = std::string(150, 'a');
  ids.kind = PromptSource::Kind::kIds;
  ids.ids.assign(100, 3);
  embeds.field = "input";
  embeds.embeds = true;
  embeds.text = std::string(101, 'a');
  PromptSource longer = text;
  longer.text = std::string(4000, 'a');
  struct Row {
    PromptSource prompt;
    std::string param, tokens;
  };
  for (const Row& row : {Row{text, "prompt", "150"}, Row{ids, "prompt", "100"},
                         Row{embeds, "input", "101"}, Row{longer, "prompt", "at least 2000"},
                         Row{chat(std::string(777, 'b')), "messages", "777"}}) {
    const auto refused = encode(model(kTemplate), row.prompt);
    ASSERT_FALSE(refused.ok());
    const json::value answer = json::parse(problem(refused.error(), true).body);
    const std::string message(answer.at("error").at("message").as_string());
    EXPECT_EQ(answer.at("error").at("code"), "context_length_exceeded");
    EXPECT_EQ(answer.at("error").at("type"), "invalid_request_error");
    EXPECT_EQ(answer.at("error").at("param"), row.param.c_str());
    EXPECT_TRUE(message.contains("maximum context length is 100 tokens")) << message;
    EXPECT_TRUE(message.contains(row.tokens + " tokens")) << message;
  }
}

TEST(Prompt, AModelThatIsNotThereHasItsCode) {
  TextPool pool(1, 1, {model(kTemplate)});
  for (const char* name : {"gpt-4o", "M", "m:latest"}) {
    const auto found = pool.find(name, "");
    ASSERT_FALSE(found.ok());
    const json::value answer = json::parse(problem(found.error(), true).body);
    EXPECT_EQ(answer.at("error").at("code"), "model_not_found");
    EXPECT_EQ(answer.at("error").at("param"), "model");
  }
}

TEST(Prompt, ATemplateThatCantBeUsedIsNotAbsent) {
  const std::pair<const char*, const char*> rows[] = {
      {"{% for m in messages %}{{ m.content }}", "can't be used: "},
      {"{{ messages[0", "can't be used: "},
      {"{% frobnicate %}", "can't be used: "},
  };
  for (const auto& [source, want] : rows) {
    const auto refused = encode(model(source), chat("x"));
    ASSERT_FALSE(refused.ok());
    EXPECT_TRUE(refused.error().message().contains(want)) << refused.error().message();
    EXPECT_FALSE(refused.error().message().contains("no chat template"));
    EXPECT_TRUE(
        refused.error().message().contains(text::ChatTemplate::compile(source).error().message()));
  }
  ServedModel bare = model(kTemplate);
  bare.chat_template = nullptr;
  EXPECT_TRUE(encode(bare, chat("x")).error().message().contains("has no chat template"));
}

}  // namespace
}  // namespace altlas::server
