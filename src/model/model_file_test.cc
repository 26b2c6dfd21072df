// Goal: files of either format that are not a model that we can run are refused with the reason,
// and nothing outside a file is read. Method: tiny models with one fault each.
#include "model/model_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "model/rank.h"
#include "model/test_tiny_model.h"
#include "weights/gguf_writer.h"

namespace altlas::model {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
void write(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}
// Returns loading's error, or "" if loading succeeds.
std::string load_error(const std::string& path) {
  const auto shape = load_shape({{.model_path = path}}, uint64_t{64} << 20, 1);
  return shape.ok() ? "" : shape.error().message();
}

TEST(ModelFile, FoldersWithFaultsAreRefused) {
  const fs::path folder = testing_support::write_tiny_folder("qwen2_untied", DType::kF32);
  const std::string config = read(folder / "config.json"),
                    weights = read(folder / "model.safetensors");
  ASSERT_EQ(load_error(folder), "");
  const auto with_config = [&](const std::string& from, const std::string& to) {
    std::string text = config;
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    write(folder / "config.json", text.replace(at, from.size(), to));
    const std::string error = load_error(folder);
    write(folder / "config.json", config);
    return error;
  };
  EXPECT_THAT(with_config("\"qwen2\"", "\"rwkv\""),
              AllOf(HasSubstr("config.json"), HasSubstr("'rwkv'"), HasSubstr("llama, mistral")));
  EXPECT_THAT(with_config("\"hidden_size\":32", "\"hidden_size\":64"), HasSubstr("ask for"));
  EXPECT_THAT(with_config("\"num_hidden_layers\":2", "\"num_hidden_layers\":3"),
              HasSubstr("blk.2."));
  EXPECT_EQ(with_config("\"tie_word_embeddings\":false", "\"tie_word_embeddings\":true"), "");

  const auto with_weights = [&](const std::string& bytes) {
    write(folder / "model.safetensors", bytes);
    const std::string error = load_error(folder);
    write(folder / "model.safetensors", weights);
    return error;
  };
  std::string renamed = weights;
  renamed.replace(renamed.find("lm_head.weight"), 14, "lm_heap.weight");
  EXPECT_THAT(with_weights(renamed), HasSubstr("lm_head.weight"));
  for (const size_t size : {size_t{0}, size_t{7}, size_t{100}, weights.size() - 1})
    EXPECT_THAT(with_weights(weights.substr(0, size)), HasSubstr("model.safetensors")) << size;

  fs::remove(folder / "model.safetensors");
  EXPECT_THAT(load_error(folder), HasSubstr("wanted is a model.safetensors"));
  fs::remove(folder / "config.json");
  EXPECT_NE(load_error(folder), "");
}

TEST(ModelFile, GgufFilesWithFaultsAreRefused) {
  const std::string path = testing_support::write_tiny_gguf("llama");
  const std::string bytes = read(path);
  const auto changed = [&](const std::string& from, const std::string& to) {
    std::string text = bytes;
    for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
      text.replace(at, from.size(), to);
    write(path, text);
    const std::string error = load_error(path);
    write(path, bytes);
    return error;
  };
  EXPECT_EQ(changed("nothing of it", ""), "");
  EXPECT_THAT(changed("llama", "lhama"),
              AllOf(HasSubstr("'lhama' is not supported"), HasSubstr("qwen3, qwen2moe")));
  EXPECT_THAT(changed("llama.block_count", "llama.block_couny"), HasSubstr("llama.block_count"));
  EXPECT_THAT(changed("blk.1.ffn_up", "blk.1.ffn_uq"), HasSubstr("blk.1.ffn_up.weight"));
  for (size_t size = 0; size < bytes.size(); size += 997) {
    write(path, bytes.substr(0, size));
    EXPECT_NE(load_error(path), "") << size;
  }
}

TEST(ModelFile, GgufNumbersAreChecked) {
  const auto error_of = [](auto&& change) {
    weights::GgufWriter writer;
    writer.string("general.architecture", "llama").uint32("llama.embedding_length", 32);
    writer.uint32("llama.feed_forward_length", 32).uint32("llama.context_length", 64);
    writer.uint32("llama.attention.head_count", 2);
    change(writer);
    writer.tensor("token_embd.weight", {32, 4}, std::vector<float>(128));
    const std::string path = ::testing::TempDir() + "altlas_model_file_test.gguf";
    EXPECT_TRUE(writer.write(path).ok());
    const auto file = ModelFile::open(path);
    fs::remove(path);
    return file.ok() ? "" : file.error().message();
  };
  using Writer = weights::GgufWriter;
  EXPECT_EQ(error_of([](Writer& w) { w.uint32("llama.block_count", 2); }), "");
  EXPECT_THAT(error_of([](Writer& w) { w.uint32("llama.block_count", 0); }), HasSubstr("1024"));
  EXPECT_THAT(error_of([](Writer& w) { w.uint32("llama.block_count", 4000000000); }),
              HasSubstr("1024"));
  EXPECT_THAT(error_of([](Writer& w) { w.string("llama.block_count", "2"); }),
              HasSubstr("llama.block_count"));
  EXPECT_THAT(error_of([](Writer& w) {
                w.uint32("llama.block_count", 2).string("llama.rope.scaling.type", "longrope");
              }),
              HasSubstr("none, linear and yarn"));
  EXPECT_THAT(error_of([](Writer& w) {
                w.uint32("llama.block_count", 2).uint32("llama.attention.key_length", 24);
                w.uint32("llama.attention.value_length", 24);
              }),
              HasSubstr("a multiple of 16"));
  EXPECT_THAT(error_of([](Writer& w) {
                w.uint32("llama.block_count", 2).uint32("llama.expert_count", 4);
                w.uint32("llama.expert_used_count", 5);
              }),
              HasSubstr("expert_used_count is 5: from 1 to 4"));
  EXPECT_THAT(
      error_of([](Writer& w) { w.uint32("llama.block_count", 2).uint32("llama.pooling_type", 4); }),
      HasSubstr("pooling_type is 4"));
}

}  // namespace
}  // namespace altlas::model
