// Goal: safetensors files and folders read as the format says, and hostile ones lead to no read
// outside. Method: headers written by hand, valid ones and one for each broken rule; every prefix
// and single-byte change of one.
#include "weights/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

namespace altlas::weights {
namespace {
namespace fs = std::filesystem;
using ::testing::HasSubstr;
using Bytes = std::vector<uint8_t>;

Bytes file(const std::string& header, size_t data_bytes) {
  Bytes out(8);
  const uint64_t length = header.size();
  std::memcpy(out.data(), &length, 8);
  out.insert(out.end(), header.begin(), header.end());
  for (size_t i = 0; i < data_bytes; ++i) out.push_back(static_cast<uint8_t>(i));
  return out;
}
const std::string kHeader =
    R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
    R"("b":{"dtype":"BF16","shape":[],"data_offsets":[24,26]},"c":{"dtype":"I64","shape":[1],"data_offsets":[26,34]},)"
    R"("d":{"dtype":"F16","shape":[0,4],"data_offsets":[34,34]},"e":{"dtype":"F16","shape":[1,1,1,1,1],"data_offsets":[34,36]},)"
    R"("f":{"dtype":"NEW9","shape":[3],"data_offsets":[36,37]}}  )";

TEST(Safetensors, ReadsWhatTheFormatAllows) {
  const Bytes bytes = file(kHeader, 37);
  auto opened = SafetensorsFile::open_bytes(bytes, "m.safetensors");
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  const SafetensorsFile model = std::move(*opened);
  EXPECT_EQ(model.metadata().at("format"), "pt");
  EXPECT_EQ(model.tensor_names().size(), 6u);
  const auto a = model.tensor("a");
  ASSERT_TRUE(a.ok());
  EXPECT_EQ(a->dims, (std::array<uint64_t, 4>{3, 2, 1, 1}));
  EXPECT_EQ(a->rows(), 2u);
  EXPECT_EQ(a->data.size(), 24u);
  EXPECT_EQ(a->data[5], 5);
  EXPECT_EQ(model.tensor("b")->dims, (std::array<uint64_t, 4>{1, 1, 1, 1}));
  EXPECT_EQ(model.tensor("b")->data[0], 24);
  EXPECT_THAT(model.tensor("c").error().message(), HasSubstr("'I64', which is not supported"));
  EXPECT_THAT(model.tensor("d").error().message(), HasSubstr("is empty"));
  EXPECT_THAT(model.tensor("e").error().message(), HasSubstr("5 dimensions"));
  EXPECT_THAT(model.tensor("f").error().message(), HasSubstr("'NEW9'"));
  EXPECT_EQ(model.tensor("z").error().code(), ErrorCode::kNotFound);
}

std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"t":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets +
         "}}";
}

TEST(Safetensors, EveryBrokenRuleIsNamed) {
  const std::string two = R"("dtype":"F32","shape":[1],"data_offsets":)";
  const struct {
    std::string header;
    size_t data_bytes;
    const char* message;
  } kCases[] = {
      {"", 4, "JSON is not valid"},
      {"[]", 0, "not an object"},
      {"{", 0, "JSON is not valid"},
      {std::string(1000, '['), 0, "JSON is not valid"},
      {R"({"a":)" + std::string(20, '[') + std::string(20, ']') + "}", 0, "JSON is not valid"},
      {"{\"\xff\":1}", 0, "JSON is not valid"},
      {R"({"__metadata__":{"a":1}})", 0, "not a string"},
      {R"({"__metadata__":[]})", 0, "not an object"},
      {R"({"t":1})", 0, "lacks a dtype"},
      {R"({"t":{"dtype":"F32","shape":[1]}})", 4, "lacks a dtype"},
      {one("1", "[1]", "[0,4]"), 4, "lacks a dtype"},
      {one(R"("F32")", "[1.5]", "[0,4]"), 4, "whole numbers"},
      {one(R"("F32")", "[-1]", "[0,4]"), 4, "whole numbers"},
      {one(R"("F32")", "[4294967296,4294967296]", "[0,4]"), 4, "overflows"},
      {one(R"("F32")", "[9223372036854775807]", "[0,4]"), 4, "do not take"},
      {one(R"("F32")", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4, "9 dimensions"},
      {one(R"("F32")", "[2]", "[0,4]"), 4, "do not take"},
      {one(R"("F32")", "[1]", "[4,0]"), 4, "ascending"},
      {one(R"("F32")", "[1]", "[0]"), 4, "ascending"},
      {one(R"("F32")", "[1]", "[-4,0]"), 4, "ascending"},
      {one(R"("F32")", "[1]", "[0,18446744073709551615]"), 4, "ascending"},
      {one(R"("F32")", "[2]", "[0,8]"), 4, "may be truncated"},
      {one(R"("F32")", "[1]", "[0,4]"), 9, "belong to no tensor"},
      {one(R"("F32")", "[1]", "[4,8]"), 8, "leave a gap"},
      {"{\"a\":{" + two + "[0,4]},\"b\":{" + two + "[0,4]}}", 4, "overlap"},
      {"{\"a\":{" + two + "[0,4]},\"b\":{" + two + "[2,6]}}", 6, "overlap"},
      {"{\"a\":{" + two + "[0,4]},\"a\":{" + two + "[4,8]}}", 8,
       "leave a gap"},  // The same name comes twice.
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.header.substr(0, 100));
    const Bytes bytes = file(c.header, c.data_bytes);
    const auto opened = SafetensorsFile::open_bytes(bytes, "bad.safetensors");
    ASSERT_FALSE(opened.ok());
    EXPECT_THAT(opened.error().message(), HasSubstr("bad.safetensors"));
    EXPECT_THAT(opened.error().message(), HasSubstr(c.message));
  }
}

TEST(Safetensors, HeaderLengthIsChecked) {
  Bytes bytes = file(kHeader, 37);
  for (const uint64_t length : {~uint64_t{0}, uint64_t{1} << 40, bytes.size() - 7, uint64_t{0}}) {
    std::memcpy(bytes.data(), &length, 8);
    EXPECT_FALSE(SafetensorsFile::open_bytes(bytes, "m").ok()) << length;
  }
  const Bytes large = file(std::string(kSafetensorsHeaderBytesMax + 1, ' '), 0);
  EXPECT_THAT(SafetensorsFile::open_bytes(large, "m").error().message(), HasSubstr("at most"));
}

TEST(Safetensors, NoPrefixAndNoByteChangeReadsOutside) {
  const Bytes bytes = file(kHeader, 37);
  uint64_t sum = 0;
  const auto touch = [&sum](const Bytes& input) {
    const auto opened = SafetensorsFile::open_bytes(input, "m");
    if (!opened.ok()) return false;
    for (const auto name : opened->tensor_names())
      if (const auto view = opened->tensor(name); view.ok())
        for (const uint8_t byte : view->data) sum += byte;
    return true;
  };
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(touch(Bytes(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(size)))) << size;
  for (size_t at = 0; at < bytes.size(); ++at)
    for (const uint8_t value : {'0', '9', '}', '\xff'}) {
      Bytes damaged = bytes;
      damaged[at] = value;
      touch(damaged);
    }
  EXPECT_TRUE(touch(bytes));
  EXPECT_GT(sum, 0u);
}

class SafetensorsModelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() / ("safetensors_test_" + std::to_string(::getpid()));
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  void TearDown() override { fs::remove_all(root_); }
  void put(const std::string& name, const std::string& tensor) {
    const Bytes bytes =
        file("{\"" + tensor + R"(":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4);
    std::ofstream(root_ / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
  }
  void put_index(const std::string& map) {
    std::ofstream(root_ / "model.safetensors.index.json")
        << R"({"metadata":{},"weight_map":)" << map << "}";
  }
  std::string open_error() const {
    const auto model = SafetensorsModel::open(root_);
    return model.ok() ? "" : model.error().message();
  }
  fs::path root_;
};

TEST_F(SafetensorsModelTest, OneFileOrAnIndex) {
  EXPECT_THAT(open_error(), HasSubstr("it has none"));
  put("x.safetensors", "a");
  EXPECT_TRUE(SafetensorsModel::open(root_)->tensor("a").ok());
  put("y.safetensors", "b");
  EXPECT_THAT(open_error(), HasSubstr("several and no index"));
  put_index(R"({"a":"x.safetensors","b":"y.safetensors"})");
  const auto model = SafetensorsModel::open(root_);
  ASSERT_TRUE(model.ok()) << model.error().message();
  EXPECT_EQ(model->tensor_names(), (std::vector<std::string_view>{"a", "b"}));
  EXPECT_TRUE(model->tensor("b").ok());
}

TEST_F(SafetensorsModelTest, AHostileIndexIsRefused) {
  put("x.safetensors", "a");
  put("y.safetensors", "a");
  const std::pair<const char*, const char*> kCases[] = {
      {R"({"a":"../x.safetensors"})", "of the same folder"},
      {R"({"a":"/etc/passwd"})", "of the same folder"},
      {R"({"a":3})", "of the same folder"},
      {R"({"a":"gone.safetensors"})", "cannot open"},
      {R"({"z":"x.safetensors"})", "'z' is not in any"},
      {"{}", "is empty"},
      {"[]", "lacks an object weight_map"},
      {R"({"a":"x.safetensors","b":"y.safetensors"})", "in another file"},
  };
  for (const auto& [map, message] : kCases) {
    put_index(map);
    EXPECT_THAT(open_error(), HasSubstr(message)) << map;
  }
}

}  // namespace
}  // namespace altlas::weights
