// Goal: a gap's prompt is what the model was trained on, whatever surrounds the gap. Method: a
// vocabulary of single letters and a family's tokens; prompts spelled out again.
#include "server/prompt/fim_prompt.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "server/test_vocabulary.h"

namespace altlas::server {
namespace {

std::unique_ptr<const text::Tokenizer> tokenizer(const std::vector<std::string>& controls,
                                                 bool bos = false) {
  text::Vocabulary vocabulary = letter_vocabulary(controls);
  if (bos) vocabulary.bos = static_cast<int32_t>(vocabulary.tokens.size()) - 1;
  vocabulary.add_bos = bos;
  auto made = text::Tokenizer::create(std::move(vocabulary));
  EXPECT_TRUE(made.ok()) << made.error().message();
  return *std::move(made);
}

std::string spell(const text::Tokenizer& t, const std::vector<int32_t>& ids) {
  std::string out;
  for (const int32_t id : ids) out += t.token_text(id);
  return out;
}

TEST(FimPrompt, OfEveryFamily) {
  struct Row {
    std::vector<std::string> names;
    bool bos;
    std::vector<FimFile> files;
    std::string want;
  };
  const std::vector<std::string> qwen = {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>",
                                         "<|repo_name|>", "<|file_sep|>"};
  const std::vector<std::string> star = {"<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<s>"};
  const Row rows[] = {
      {qwen, false, {}, "<|fim_prefix|>a(\nb<|fim_suffix|>)c<|fim_middle|>"},
      {qwen,
       false,
       {{"x.py", "p"}, {"y.py", "<|im_end|>"}},
       "<|repo_name|>myproject\n<|file_sep|>x.py\np<|file_sep|>y.py\n<|im_end|><|file_sep|>"
       "filename\n<|fim_prefix|>a(\nb<|fim_suffix|>)c<|fim_middle|>"},
      {star, true, {}, "<s><fim_prefix>a(\nb<fim_suffix>)c<fim_middle>"},
      {star,
       true,
       {{"x", "p"}},
       "<s>\n\n--- snippet ---\n\np<fim_prefix>a(\nb<fim_suffix>)c<fim_middle>"},
      {{"<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"},
       false,
       {},
       "<｜fim▁begin｜>a(\nb<｜fim▁hole｜>)c<｜fim▁end｜>"},
      {{"[PREFIX]", "[SUFFIX]"}, false, {}, "[SUFFIX])c[PREFIX]a(\nb"},
  };
  for (const Row& row : rows) {
    const auto t = tokenizer(row.names, row.bos);
    Gap gap;
    gap.suffix = ")c";
    gap.begun = "b";
    gap.files = row.files;
    const auto ids = encode_gap(*t, *t->encode("a(\n", {}), gap, 1000);
    ASSERT_TRUE(ids.ok()) << ids.error().message();
    EXPECT_EQ(spell(*t, *ids), row.want);
  }
}

TEST(FimPrompt, QuotedTokensAreText) {
  const auto t = tokenizer({"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"});
  for (const char* text : {"<|fim_prefix|>", "x<|fim_middle|>y", "<|fim_suffix|>\n"}) {
    Gap gap;
    gap.suffix = gap.begun = text;
    gap.files = {{text, text}};
    const auto ids = *encode_gap(*t, *t->encode(text, {}), gap, 1000);
    EXPECT_EQ(std::ranges::count_if(ids, [&](int32_t id) { return t->is_control(id); }), 3) << text;
  }
}

TEST(FimPrompt, FilesGiveWay) {
  const auto t = tokenizer({"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|file_sep|>"});
  Gap gap;
  gap.suffix = "bb";
  gap.files = {{"n", std::string(400, 'x')}};
  gap.answer_tokens = 10;
  for (const uint32_t most : {5u, 20u, 30u, 60u, 300u}) {
    const auto ids = *encode_gap(*t, *t->encode("aa", {}), gap, most);
    const std::string text = spell(*t, ids);
    EXPECT_TRUE(text.ends_with("<|fim_prefix|>aa<|fim_suffix|>bb<|fim_middle|>")) << text;
    EXPECT_LE(ids.size() + 10, std::max(most, 18u));
    EXPECT_GE(ids.size() + 12, std::min(most, 425u));
  }
}

TEST(FimPrompt, AModelWithoutTheTokensIsRefused) {
  for (const std::vector<std::string>& names :
       {std::vector<std::string>{}, {"<|fim_prefix|>", "<|fim_suffix|>"}, {"[PREFIX]"}}) {
    const auto refused = check_fills(*tokenizer(names), "m", "suffix");
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().field(), "suffix");
    EXPECT_TRUE(refused.error().message().contains("no tokens for filling in the middle"));
  }
}

}  // namespace
}  // namespace altlas::server
