#include "model/vocabulary.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "weights/gguf_writer.h"

namespace altlas::model {
namespace {

using Fill = std::function<void(weights::GgufWriter&)>;

// The vocabulary of a file with three tokens and what `more` adds.
Result<text::Vocabulary> read(const Fill& more, size_t types = 3) {
  weights::GgufWriter writer;
  const std::vector<std::string> tokens = {"a", "b", "<end>"};
  const std::vector<int32_t> kinds(types, 1);
  writer.string("tokenizer.ggml.model", "gpt2").string("tokenizer.ggml.pre", "qwen2");
  writer.strings("tokenizer.ggml.tokens", tokens).int32s("tokenizer.ggml.token_type", kinds);
  more(writer);
  const std::vector<uint8_t> bytes = writer.bytes();
  ALTLAS_TRY(const weights::GgufFile file, weights::GgufFile::open_bytes(bytes, "test"));
  return read_vocabulary(file);
}

TEST(Vocabulary, ReadsWhatTheFileSays) {
  const std::vector<std::string> merges = {"a b"};
  const auto vocabulary = read([&](weights::GgufWriter& writer) {
    writer.uint32("tokenizer.ggml.eos_token_id", 2).strings("tokenizer.ggml.merges", merges);
    writer.uint32("tokenizer.ggml.eot_token_id", 1).boolean("tokenizer.ggml.add_bos_token", true);
    writer.uint32("tokenizer.ggml.padding_token_id", 0xffffffff);
  });
  ASSERT_TRUE(vocabulary.ok()) << vocabulary.error().message();
  EXPECT_EQ(vocabulary->model, "gpt2");
  EXPECT_EQ(vocabulary->pre, "qwen2");
  EXPECT_EQ(vocabulary->tokens, (text::StringList{"a", "b", "<end>"}));
  EXPECT_EQ(vocabulary->merges, text::StringList(merges));
  EXPECT_EQ(vocabulary->eos, 2);
  EXPECT_EQ(vocabulary->bos, -1);
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
    writer.uint32("tokenizer.ggml.fim_pad_token_id", 1).uint32("tokenizer.ggml.fim_sep_token_id", 2);
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

}  // namespace
}  // namespace altlas::model
