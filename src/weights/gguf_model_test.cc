// Goal: a split model reads like a single one, and files that do not belong together are refused.
// Method: tiny shards from the writer in a temporary folder; one thing wrong at a time.
#include "weights/gguf_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "weights/gguf_writer.h"

namespace altlas::weights {
namespace {
namespace fs = std::filesystem;
using ::testing::HasSubstr;

class GgufModelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() / ("gguf_model_test_" + std::to_string(::getpid()));
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  void TearDown() override { fs::remove_all(root_); }
  std::string path(int number) const {
    return root_ / ("m-0000" + std::to_string(number) + "-of-00002.gguf");
  }
  // Writes a shard of one tensor, which is filled with the shard's number.
  void put(int number, const std::string& tensor, uint32_t split_number, uint32_t split_count,
           uint32_t tensors = 2) {
    GgufWriter writer;
    writer.uint32("split.no", split_number)
        .uint32("split.count", split_count)
        .uint32("split.tensors.count", tensors);
    writer.tensor(tensor, {2}, std::vector<float>(2, static_cast<float>(number)));
    ASSERT_TRUE(writer.write(path(number)).ok());
  }
  std::string open_error() const {
    const auto model = GgufModel::open(path(1));
    return model.ok() ? "" : model.error().message();
  }
  fs::path root_;
};

TEST_F(GgufModelTest, ShardsReadAsOne) {
  put(1, "a", 0, 2);
  put(2, "b", 1, 2);
  auto opened = GgufModel::open(path(1));
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  const GgufModel model = std::move(*opened);
  EXPECT_EQ(model.files().size(), 2u);
  EXPECT_EQ(model.tensor_names(), (std::vector<std::string_view>{"a", "b"}));
  float value = 0;
  std::memcpy(&value, model.tensor("b")->data.data(), 4);
  EXPECT_EQ(value, 2.0f);
  EXPECT_FALSE(model.has_tensor("c"));
  EXPECT_EQ(model.tensor("c").error().code(), ErrorCode::kNotFound);
}

TEST_F(GgufModelTest, AnUnsplitFileIsAModel) {
  const std::string file = root_ / "whole.gguf";
  ASSERT_TRUE(GgufWriter().tensor("a", {1}, std::vector<float>{1}).write(file).ok());
  const auto model = GgufModel::open(file);
  ASSERT_TRUE(model.ok());
  EXPECT_TRUE(model->tensor("a").ok());
}

TEST_F(GgufModelTest, ShardsThatDoNotBelongTogether) {
  put(1, "a", 0, 2);
  EXPECT_THAT(open_error(), HasSubstr("m-00002-of-00002.gguf: cannot open"));
  put(2, "a", 1, 2);
  EXPECT_THAT(open_error(), HasSubstr("'a' is in an earlier file"));
  put(2, "b", 0, 2);
  EXPECT_THAT(open_error(), HasSubstr("says that it is file 1 of 2; 2 of 2 is right"));
  put(2, "b", 1, 3);
  EXPECT_THAT(open_error(), HasSubstr("says that it is file 2 of 3"));
  put(2, "b", 1, 2);
  put(1, "a", 0, 2, 5);
  EXPECT_THAT(open_error(), HasSubstr("hold 2 tensors; split.tensors.count says 5"));
  put(1, "a", 1, 2);
  EXPECT_THAT(open_error(), HasSubstr("name the first"));
  put(1, "a", 0, 3);
  EXPECT_THAT(open_error(), HasSubstr("must end in -00001-of-00003.gguf"));
  put(1, "a", 0, kShardsMax + 1);
  EXPECT_THAT(open_error(), HasSubstr("at most 1024 files"));
}

}  // namespace
}  // namespace altlas::weights
