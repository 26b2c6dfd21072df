#include "model/vocabulary.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "weights/gguf_writer.h"

namespace altlas::model {
namespace {

using Fill = std::function<void(weights::GgufWriter&)>;

// Returns the vocabulary of a file with three tokens and what `more` adds.
Result<text::Vocabulary> read(const Fill& more, size_t types = 3) {
  weights::GgufWriter writer;
  const std::vector<std::string> tokens = {"a", "b", "<end>"};
  const std::vector<int32_t> kinds(types, 1);
  const std::vector<std::string> merges = {"a b"};
  writer.string("tokenizer.ggml.model", "gpt2").string("tokenizer.ggml.pre", "qwen2");
  writer.strings("tokenizer.ggml.tokens", tokens).int32s("tokenizer.ggml.token_type", kinds);
  writer.strings("tokenizer.ggml.merges", merges);
  more(writer);
  const std::vector<uint8_t> bytes = writer.bytes();
  ALTLAS_TRY(const weights::GgufFile file, weights::GgufFile::open_bytes(bytes, "test"));
  return read_vocabulary(file);
}

TEST(Vocabulary, ReadsWhatTheFileSays) {
  const std::vector<std::string> merges = {"a b"};
  const auto vocabulary = read([&](weights::GgufWriter& writer) {
    writer.uint32("tokenizer.ggml.eos_token_id", 2).uint32("tokenizer.ggml.bos_token_id", 0);
    writer.uint32("tokenizer.ggml.eot_token_id", 1).boolean("tokenizer.ggml.add_bos_token", true);
    writer.uint32("tokenizer.ggml.padding_token_id", 0xffffffff);
  });
  ASSERT_TRUE(vocabulary.ok()) << vocabulary.error().message();
  EXPECT_EQ(vocabulary->model, "gpt2");
  EXPECT_EQ(vocabulary->pre, "qwen2");
  EXPECT_EQ(vocabulary->tokens, (text::StringList{"a", "b", "<end>"}));
  EXPECT_EQ(vocabulary->merges, text::StringList(merges));
  EXPECT_EQ(vocabulary->eos, 2);
  EXPECT_EQ(vocabulary->bos, 0);
  EXPECT_EQ(vocabulary->pad, -1);
  EXPECT_EQ(vocabulary->end_of_generation, std::vector<int32_t>{1});
  EXPECT_TRUE(vocabulary->add_bos);
  EXPECT_FALSE(vocabulary->add_space_prefix);
}

TEST(Vocabulary, ReadsTheTokensThatFillAGap) {
  const auto fim = [](const std::string& pre, const std::string& suf, const std::string& mid) {
    const auto vocabulary = read([&](weights::GgufWriter& writer) {
      writer.uint32("tokenizer.ggml." + pre, 2).uint32("tokenizer.ggml." + suf, 0);
      writer.uint32("tokenizer.ggml." + mid, 1);
    });
    return std::vector{vocabulary->fim.prefix, vocabulary->fim.suffix, vocabulary->fim.middle};
  };
  const std::vector<int32_t> all = {2, 0, 1}, none = {-1, -1, -1};
  EXPECT_EQ(fim("fim_pre_token_id", "fim_suf_token_id", "fim_mid_token_id"), all);
  EXPECT_EQ(fim("prefix_token_id", "suffix_token_id", "middle_token_id"), all);
  EXPECT_EQ(fim("x_token_id", "y_token_id", "z_token_id"), none);
  const auto more = read([](weights::GgufWriter& writer) {
    writer.uint32("tokenizer.ggml.fim_pad_token_id", 1)
        .uint32("tokenizer.ggml.fim_sep_token_id", 2);
    writer.uint32("tokenizer.ggml.fim_rep_token_id", 0);
  });
  EXPECT_EQ(more->fim.pad, 1);
  EXPECT_EQ(more->fim.file, 2);
  EXPECT_EQ(more->fim.repository, 0);
  EXPECT_FALSE(
      read([](weights::GgufWriter& w) { w.uint32("tokenizer.ggml.fim_pre_token_id", 3); }).ok());
}

TEST(Vocabulary, RefusesContradictions) {
  const Fill nothing = [](weights::GgufWriter&) {};
  EXPECT_TRUE(read(nothing).ok());
  EXPECT_FALSE(read(nothing, 2).ok());
  EXPECT_FALSE(
      read([](weights::GgufWriter& w) { w.uint32("tokenizer.ggml.eos_token_id", 3); }).ok());
  EXPECT_FALSE(
      read([](weights::GgufWriter& w) { w.string("tokenizer.ggml.eos_token_id", "x"); }).ok());
}

// Goal: what a kind of tokenizer can't do without is not taken as empty. Method: for every kind, a
// file that has all of it, and files in which one key is missing, empty or names no token.
TEST(Vocabulary, NamesTheKeyThatIsMissingOrEmpty) {
  using Keys = std::vector<std::string>;
  struct Row {
    std::string model;
    Keys needed;
  };
  const Row rows[] = {
      {"gpt2", {"tokens", "token_type", "merges", "pre", "bos_token_id", "eos_token_id"}},
      {"llama", {"tokens", "token_type", "scores", "bos_token_id", "eos_token_id"}},
      {"t5", {"tokens", "token_type", "scores", "bos_token_id", "eos_token_id"}},
      {"gemma4", {"tokens", "token_type", "merges", "bos_token_id", "eos_token_id"}},
      {"bert", {"tokens", "token_type", "cls_token_id", "seperator_token_id", "unknown_token_id"}},
  };
  enum Form { kWhole, kMissing, kEmpty };
  const auto read_with = [](const Row& row, const std::string& broken, Form form) {
    weights::GgufWriter writer;
    writer.string("tokenizer.ggml.model", row.model);
    if (row.model != "bert")
      writer.boolean("tokenizer.ggml.add_bos_token", true)
          .boolean("tokenizer.ggml.add_eos_token", true);
    for (const std::string& name : row.needed) {
      const std::string key = "tokenizer.ggml." + name;
      const bool empty = name == broken && form == kEmpty;
      if (name == broken && form == kMissing) continue;
      const auto of = [&](auto list) {
        if (empty) list.clear();
        return list;
      };
      if (name == "tokens")
        writer.strings(key, of(std::vector<std::string>{"a", "b", "ab"}));
      else if (name == "token_type")
        writer.int32s(key, of(std::vector<int32_t>{1, 1, 1}));
      else if (name == "scores")
        writer.float32s(key, of(std::vector<float>{-1, -2, -3}));
      else if (name == "merges")
        writer.strings(key, of(std::vector<std::string>{"a b"}));
      else if (name == "pre")
        writer.string(key, empty ? "" : "qwen2");
      else
        writer.uint32(key, empty ? 0xffffffff : 1);
    }
    const std::vector<uint8_t> bytes = writer.bytes();
    const auto file = weights::GgufFile::open_bytes(bytes, "test");
    EXPECT_TRUE(file.ok());
    const auto read = read_vocabulary(*file);
    return read.ok() ? std::string() : read.error().message();
  };
  for (const Row& row : rows) {
    EXPECT_EQ(read_with(row, "", kWhole), "") << row.model;
    for (const std::string& name : row.needed)
      for (const Form form : {kMissing, kEmpty})
        EXPECT_NE(read_with(row, name, form).find("tokenizer.ggml." + name), std::string::npos)
            << row.model << " " << name << " " << form << ": " << read_with(row, name, form);
  }
}

}  // namespace
}  // namespace altlas::model
