// Goal: `--model` means the file that a person expects, and an unknown name is answered with what
// is known. Method: a folder tree like each cache's in a temporary folder, valid entries beside
// hostile ones.
#include "weights/model_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "weights/pull.h"

namespace altlas::weights {
namespace {
namespace fs = std::filesystem;
using ::testing::HasSubstr;

class ModelSourceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() / fmt_name();
    fs::remove_all(root_);
    folders_ = {(root_ / "cache").string(), (root_ / "hub").string(), (root_ / "ollama").string()};
  }
  void TearDown() override { fs::remove_all(root_); }
  static std::string fmt_name() { return "model_source_test_" + std::to_string(::getpid()); }
  std::string put(const std::string& path, const std::string& content) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << content;
    return (root_ / path).string();
  }
  fs::path root_;
  ModelFolders folders_;
};

TEST_F(ModelSourceTest, AFileAndAFolderWithOne) {
  const std::string file = put("one/m.gguf", "12345");
  const auto by_file = resolve_model(file, folders_);
  ASSERT_TRUE(by_file.ok());
  EXPECT_EQ(by_file->path, file);
  EXPECT_EQ(by_file->bytes, 5u);
  const auto by_folder = resolve_model((root_ / "one").string(), folders_);
  ASSERT_TRUE(by_folder.ok()) << by_folder.error().message();
  EXPECT_EQ(by_folder->path, file);
  put("one/n.gguf", "1");
  EXPECT_THAT(resolve_model((root_ / "one").string(), folders_).error().message(),
              HasSubstr("2 models (m.gguf, n.gguf)"));
  put("none/readme", "");
  EXPECT_THAT(resolve_model((root_ / "none").string(), folders_).error().message(),
              HasSubstr("neither a .gguf"));
}

TEST_F(ModelSourceTest, ShardsAreOneModel) {
  const std::string first = put("split/m-00001-of-00002.gguf", "123");
  put("split/m-00002-of-00002.gguf", "4567");
  const auto found = resolve_model((root_ / "split").string(), folders_);
  ASSERT_TRUE(found.ok()) << found.error().message();
  EXPECT_EQ(found->path, first);
  EXPECT_EQ(found->bytes, 7u);
  uint32_t number = 0, count = 0;
  EXPECT_TRUE(parse_shard_name("m-00002-of-00010.gguf", number, count));
  EXPECT_EQ(number, 2u);
  EXPECT_EQ(count, 10u);
  for (const char* bad : {"m.gguf", "m-00000-of-00002.gguf", "m-00003-of-00002.gguf",
                          "m-0000a-of-00002.gguf", "-00001-of-00002.gguf"})
    EXPECT_FALSE(parse_shard_name(bad, number, count)) << bad;
}

TEST_F(ModelSourceTest, SafetensorsFolder) {
  put("hf/config.json", "{}");
  put("hf/model.safetensors", "12");
  const auto found = resolve_model((root_ / "hf").string(), folders_);
  ASSERT_TRUE(found.ok()) << found.error().message();
  EXPECT_EQ(found->format, ModelFormat::kSafetensors);
  EXPECT_EQ(found->path, (root_ / "hf").string());
  EXPECT_EQ(found->bytes, 2u);
}

TEST_F(ModelSourceTest, CatalogueNamesAndTheNearest) {
  const auto found = resolve_model(kDefaultModel, folders_);
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->origin, ModelOrigin::kCatalogue);
  EXPECT_FALSE(found->present);
  EXPECT_EQ(found->bytes, 491'400'064u);
  const auto typo = resolve_model("gemma3-27m", folders_);
  ASSERT_FALSE(typo.ok());
  EXPECT_EQ(typo.error().code(), ErrorCode::kNotFound);
  EXPECT_THAT(typo.error().message(), HasSubstr("did you mean gemma3-270m?"));
  EXPECT_FALSE(resolve_model("", folders_).ok());
}

TEST_F(ModelSourceTest, HuggingFaceCache) {
  const std::string file = put("hub/models--org--repo--x/snapshots/abc123/m-q4.gguf", "12");
  put("hub/models--org--repo--x/snapshots/fff/old.gguf", "1");
  put("hub/models--org--repo--x/refs/main", "abc123\n");
  put("hub/models--two--files/snapshots/1/a.gguf", "1");
  put("hub/models--two--files/snapshots/1/b.gguf", "1");
  put("hub/models--evil--ref/snapshots/1/a.gguf", "1");
  put("hub/models--evil--ref/refs/main", "../../models--two--files/snapshots/1");
  put("hub/datasets--org--data/snapshots/1/a.gguf", "1");
  const auto found = resolve_model("org/repo--x", folders_);
  ASSERT_TRUE(found.ok()) << found.error().message();
  EXPECT_EQ(found->path, file);
  EXPECT_EQ(found->origin, ModelOrigin::kHuggingFace);
  EXPECT_TRUE(resolve_model("two/files:b.gguf", folders_).ok());
  EXPECT_FALSE(resolve_model("two/files", folders_).ok());
  EXPECT_EQ(resolve_model("evil/ref", folders_)->path,
            (root_ / "hub/models--evil--ref/snapshots/1/a.gguf").string());
  EXPECT_EQ(list_models(folders_).size(), catalogue().size() + 4);
}

TEST_F(ModelSourceTest, OllamaCache) {
  const std::string digest(64, 'a');
  const std::string blob = put("ollama/blobs/sha256-" + digest, "123456");
  const auto manifest = [](const std::string& hash) {
    return R"({"layers":[{"mediaType":"application/vnd.ollama.image.license","digest":"sha256:00"},)"
           R"({"mediaType":"application/vnd.ollama.image.model","digest":")" +
           hash + R"(","size":6}]})";
  };
  put("ollama/manifests/registry.ollama.ai/library/tiny/latest", manifest("sha256:" + digest));
  put("ollama/manifests/registry.ollama.ai/me/tiny/q4", manifest("sha256:" + digest));
  put("ollama/manifests/registry.ollama.ai/library/evil/path",
      manifest("sha256:../../../../../../../../../etc/passwd"));
  put("ollama/manifests/registry.ollama.ai/library/evil/json", std::string(100'000, '['));
  put("ollama/manifests/registry.ollama.ai/library/evil/types",
      R"({"layers":[1,{"mediaType":2,"digest":null}]})");
  const auto found = resolve_model("tiny", folders_);
  ASSERT_TRUE(found.ok()) << found.error().message();
  EXPECT_EQ(found->path, blob);
  EXPECT_EQ(found->bytes, 6u);
  EXPECT_TRUE(resolve_model("tiny:latest", folders_).ok());
  EXPECT_TRUE(resolve_model("me/tiny:q4", folders_).ok());
  EXPECT_EQ(list_models(folders_).size(), catalogue().size() + 2);
}

// Goal: every entry is consistent, so that pulling it can succeed.
TEST(Catalogue, EntriesAreConsistent) {
  EXPECT_EQ(catalogue()[0].name, kDefaultModel);
  for (const CatalogueEntry& entry : catalogue()) {
    SCOPED_TRACE(entry.name);
    uint64_t sum = 0;
    for (const CataloguePart& part : entry.parts) sum += part.bytes;
    EXPECT_EQ(sum, entry.bytes);
    EXPECT_EQ(entry.sha256.size(), 64u);
    EXPECT_EQ(entry.sha256.find_first_not_of("0123456789abcdef"), std::string::npos);
  }
  EXPECT_THAT(catalogue_entry("gemma-270m").error().message(),
              HasSubstr("did you mean gemma3-270m?"));
}

}  // namespace
}  // namespace altlas::weights
