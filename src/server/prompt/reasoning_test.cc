// Goal: what a prompt has begun is known from its end, and from what a message that goes on says,
// but never from what others quote. Method: templates and prompts' ends of every family, and what a
// whole conversation through a template and a tokenizer gives.
#include "text/reasoning.h"

#include <gtest/gtest.h>

#include <boost/asio.hpp>
#include <boost/json.hpp>

#include "server/prompt/prompt.h"
#include "server/test_vocabulary.h"

namespace altlas::server {
namespace {

constexpr text::ReasoningStart kNone = text::ReasoningStart::kNone,
                               kPossible = text::ReasoningStart::kPossible,
                               kUnderway = text::ReasoningStart::kUnderway;

TEST(Reasoning, MarksOfTemplatesAndEndsOfPrompts) {
  struct Row {
    std::string chat_template, prompt;
    text::ReasoningStart start;
  };
  const Row rows[] = {
      {"{{ x }}<think>\n", "<|assistant|>\n<think>\n", kUnderway},
      {"{{ c.split('</think>') }}", "<|assistant|>\n<think>", kUnderway},
      {"<think>", "<|assistant|>\n<think>\n\n</think>\n\n", kNone},
      {"<think>", "<|assistant|>\n", kPossible},
      {"{{ x }}", "<think>\n", kNone},
      {"<seed:think>", "<seed:bos>assistant\n<seed:think>", kUnderway},
      {"[THINK] [/THINK]", "[/INST][THINK]", kUnderway},
      {"<|START_THINKING|><|END_THINKING|>", "<|START_THINKING|> ", kUnderway},
      {"<|START_THINKING|>", "<|START_THINKING|><|END_THINKING|>", kNone},
      {"◁think▷", "assistant◁think▷", kUnderway},
      {"<reasoning>", "a\n<reasoning>\n", kUnderway},
      {"<thought>", "[|assistant|]<thought>\n", kUnderway},
      {"<|start|>assistant<|channel|>analysis<|message|>", "<|start|>assistant", kPossible},
      {"<|channel|>analysis<|message|> <think>", "<|start|>assistant<|channel|>analysis<|message|>",
       kUnderway},
      {"", "<think>", kNone},
  };
  for (const Row& row : rows)
    EXPECT_EQ(text::reasoning_start(text::reasoning_of(row.chat_template), row.prompt), row.start)
        << row.chat_template << " | " << row.prompt;
}

TEST(Reasoning, OfAMessageThatGoesOn) {
  const text::ReasoningTags tags = text::reasoning_of("<think>");
  EXPECT_EQ(text::reasoning_start(tags, "a\n", "<think>I should"), kUnderway);
  EXPECT_EQ(text::reasoning_start(tags, "a\n", "<think>I</think>Yes"), kNone);
  EXPECT_EQ(text::reasoning_start(tags, "a\n<think>\n", "I should"), kUnderway);
  EXPECT_EQ(text::reasoning_start(tags, "a\n<think>\n", "I</think>Yes"), kNone);
  EXPECT_EQ(text::reasoning_start(tags, "a\n", "Yes, "), kNone);
}

std::shared_ptr<const text::Tokenizer> letters() {
  return *text::Tokenizer::create(letter_vocabulary({"[THINK]", "[/THINK]", "<think>"}));
}

// The messages go through the pool, as requests do.
text::ReasoningStart start_of(const std::string& chat_template, const std::string& messages,
                              bool continues = false) {
  ServedModel model;
  model.id = model.deployment = "m";
  model.model_len_max = 1000;
  model.tokenizer = letters();
  model.reasoning = text::reasoning_of(chat_template);
  model.chat_template =
      std::make_shared<const text::ChatTemplate>(*text::ChatTemplate::compile(chat_template));
  TextPool pool(1, 1, {model});
  PromptSource prompt;
  prompt.kind = PromptSource::Kind::kChat;
  prompt.messages = std::make_shared<boost::json::value>(boost::json::parse(messages));
  prompt.continue_final = continues;
  prompt.reasoning = std::make_shared<text::ReasoningStart>();
  const auto out = prompt.reasoning;
  boost::asio::io_context io;
  const ServedModelPointer served = *pool.find("m", "");
  const auto encode = [&]() -> boost::asio::awaitable<void> {
    const auto ids = co_await pool.encode(*served, prompt);
    EXPECT_TRUE(ids.ok()) << (ids.ok() ? "" : ids.error().message());
  };
  boost::asio::co_spawn(io, encode(), boost::asio::detached);
  io.run();
  return *out;
}

TEST(Reasoning, OnlyWhatTheTemplateWroteCounts) {
  const std::string opens =
      "{% for m in messages %}{{ m.role + ':' + m.content }};{% endfor %}"
      "{% if add_generation_prompt %}a:<think>\n{% endif %}";
  const std::string plain = "{% for m in messages %}{{ m.content }};{% endfor %}a:{# <think> #}";
  const std::string bare = "{% for m in messages %}{{ m.content }}{% endfor %}{# [THINK] #}";
  EXPECT_EQ(start_of(opens, R"([{"role":"user","content":"x"}])"), kUnderway);
  EXPECT_EQ(start_of(opens, R"([{"role":"user","content":"</think>"}])"), kUnderway);
  EXPECT_EQ(start_of(plain, R"([{"role":"user","content":"say <think>"}])"), kPossible);
  EXPECT_EQ(start_of(bare, R"([{"role":"user","content":"[THINK]"}])"), kPossible);
  EXPECT_EQ(start_of(opens, R"([{"role":"assistant","content":"<think>I"}])", true), kUnderway);
  EXPECT_EQ(start_of(opens, R"([{"role":"assistant","content":"Yes"}])", true), kNone);
}

TEST(Reasoning, MarksThatAreControlTokensAreShown) {
  const auto t = letters();
  EXPECT_EQ(text::control_tokens_of(*t, {"[THINK]", "[/THINK]"}),
            (std::vector{t->id_of("[THINK]"), t->id_of("[/THINK]")}));
  EXPECT_EQ(text::control_tokens_of(*t, {"<think>", "</think>"}), std::vector{t->id_of("<think>")});
  EXPECT_TRUE(text::control_tokens_of(*t, {"<tool_call>"}).empty());
}

TEST(Reasoning, GrammarsLeaveItFree) {
  const auto t = letters();
  const text::ReasoningTags tags = text::reasoning_of("[THINK]");
  const auto freed = [&](text::ReasoningStart start, GrammarKind kind) {
    Grammar grammar{kind, ""};
    text::free_reasoning(start, tags, *t, grammar);
    return grammar;
  };
  EXPECT_EQ(freed(kUnderway, GrammarKind::kJsonObject).think_end, "[/THINK]");
  EXPECT_TRUE(freed(kUnderway, GrammarKind::kJsonObject).think_begin.empty());
  EXPECT_EQ(freed(kPossible, GrammarKind::kJsonObject).think_begin,
            std::vector{t->id_of("[THINK]")});
  EXPECT_TRUE(freed(kNone, GrammarKind::kJsonObject).think_end.empty());
  EXPECT_TRUE(freed(kUnderway, GrammarKind::kNone).think_end.empty());
}

}  // namespace
}  // namespace altlas::server
