// Goal: a GGUF file reads back as it was written, and a corrupt one leads to no read outside it.
// Method: files from the writer; one field after the other is damaged; every prefix and every
// single-byte change is tried.
#include "weights/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>

#include "testing/data.h"
#include "weights/gguf_writer.h"

namespace altlas::weights {
namespace {
using ::testing::HasSubstr;

const std::vector<float> kMatrix = {1, 2, 3, 4, 5, 6};

GgufWriter sample() {
  GgufWriter writer;
  writer.string("general.architecture", "llama")
      .uint32("llama.block_count", 2)
      .int32("below", -7)
      .boolean("flag", true);
  writer.float32("eps", 1e-6f).uint64("big", uint64_t{1} << 63);
  const std::string tokens[] = {"a", "", "\xff\x00z"};
  const int32_t types[] = {1, -2, 3};
  const float scores[] = {0.5f, -1.f};
  writer.strings("tokens", tokens).int32s("types", types).float32s("scores", scores);
  writer.tensor("m.weight", {3, 2}, kMatrix);
  const uint64_t dims[] = {32, 2};
  writer.tensor("q.weight", DType::kQ8_0, dims, altlas::testing::bytes(68, 1));
  return writer;
}

// Reads all that the file has, so that a sanitizer notices a read outside.
uint64_t touch(const GgufFile& file) {
  uint64_t sum = 0;
  for (const auto& [key, value] : file.metadata()) {
    if (const auto text = file.string(key); text.ok()) sum += text->size();
    if (const auto texts = file.strings(key); texts.ok())
      for (const auto text : *texts)
        for (const char c : text) sum += static_cast<uint8_t>(c);
    if (const auto numbers = file.integers(key); numbers.ok()) sum += numbers->size();
    if (const auto number = file.float64(key); number.ok()) sum += *number > 0;
  }
  for (const auto& tensor : file.tensors())
    if (const auto view = file.tensor(tensor.name); view.ok())
      for (const uint8_t byte : view->data) sum += byte;
  return sum;
}

TEST(Gguf, RoundTripThroughAFile) {
  const std::string path = std::filesystem::temp_directory_path() /
                           ("gguf_test_" + std::to_string(::getpid()) + ".gguf");
  ASSERT_TRUE(sample().write(path).ok());
  auto opened = GgufFile::open(path);
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  const GgufFile file = std::move(*opened);  // Views stay valid after a move.
  std::filesystem::remove(path);
  EXPECT_EQ(file.version(), 3u);
  EXPECT_EQ(*file.string("general.architecture"), "llama");
  EXPECT_EQ(*file.uint64("llama.block_count"), 2u);
  EXPECT_EQ(*file.int64("below"), -7);
  EXPECT_EQ(*file.uint64("big"), uint64_t{1} << 63);
  EXPECT_TRUE(*file.boolean("flag"));
  EXPECT_FLOAT_EQ(static_cast<float>(*file.float64("eps")), 1e-6f);
  EXPECT_EQ(*file.float64("llama.block_count"), 2.0);
  EXPECT_EQ((*file.strings("tokens"))[0], "a");
  EXPECT_EQ((*file.strings("tokens"))[1], "");
  EXPECT_EQ(*file.integers("types"), (std::vector<int64_t>{1, -2, 3}));
  EXPECT_EQ(*file.floats("scores"), (std::vector<float>{0.5f, -1.f}));
  EXPECT_EQ(*file.uint64_or("absent", 9), 9u);
  EXPECT_EQ(*file.string_or("absent", "x"), "x");
  const auto matrix = file.tensor("m.weight");
  ASSERT_TRUE(matrix.ok());
  EXPECT_EQ(matrix->dtype, DType::kF32);
  EXPECT_EQ(matrix->cols(), 3u);
  EXPECT_EQ(matrix->rows(), 2u);
  ASSERT_EQ(matrix->data.size(), 24u);
  EXPECT_EQ(std::memcmp(matrix->data.data(), kMatrix.data(), 24), 0);
  const auto quantised = file.tensor("q.weight");
  ASSERT_TRUE(quantised.ok());
  const auto want = altlas::testing::bytes(68, 1);
  EXPECT_TRUE(std::equal(want.begin(), want.end(), quantised->data.begin(), quantised->data.end()));
}

TEST(Gguf, GettersRefuseOtherTypesAndMissingKeys) {
  const auto bytes = sample().bytes();
  const auto file = GgufFile::open_bytes(bytes, "m.gguf");
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(file->string("absent").error().code(), ErrorCode::kNotFound);
  EXPECT_THAT(file->string("flag").error().message(),
              HasSubstr("'flag' is bool; a string is wanted"));
  EXPECT_THAT(file->uint64("below").error().message(), HasSubstr("must not be negative"));
  EXPECT_FALSE(file->int64("big").ok());
  EXPECT_FALSE(file->uint64_or("flag", 1).ok());
  EXPECT_FALSE(file->integers("tokens").ok());
  EXPECT_FALSE(file->integers("below").ok());
  EXPECT_FALSE(file->floats("types").ok());
  EXPECT_FALSE(file->strings("general.architecture").ok());
  EXPECT_FALSE(file->float64("general.architecture").ok());
  EXPECT_EQ(file->tensor("absent").error().code(), ErrorCode::kNotFound);
}

TEST(Gguf, NonFiniteScalarIsRefused) {
  const auto bytes = GgufWriter().float32("x", std::numeric_limits<float>::quiet_NaN()).bytes();
  EXPECT_FALSE(GgufFile::open_bytes(bytes, "m")->float64("x").ok());
}

// Returns the position of `text` in a file, so that its surroundings can be damaged.
size_t find(const std::vector<uint8_t>& bytes, std::string_view text) {
  const auto found = std::search(bytes.begin(), bytes.end(), text.begin(), text.end());
  EXPECT_NE(found, bytes.end()) << text;
  return static_cast<size_t>(found - bytes.begin());
}
template <class T>
void poke(std::vector<uint8_t>& bytes, size_t at, T value) {
  ASSERT_LE(at + sizeof value, bytes.size());
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

struct Corruption {
  const char* name;
  const char* message;  // Part of the error.
  std::function<void(std::vector<uint8_t>&)> damage;
};
using Bytes = std::vector<uint8_t>;
constexpr size_t kMatrixName = 8;  // The length of "m.weight"; dims, type and offset follow it.

const Corruption kCorruptions[] = {
    {"magic", "letters GGUF", [](Bytes& b) { b[0] = 'X'; }},
    {"empty", "letters GGUF", [](Bytes& b) { b.clear(); }},
    {"version", "version 1", [](Bytes& b) { poke<uint32_t>(b, 4, 1); }},
    {"big endian", "big-endian", [](Bytes& b) { poke<uint32_t>(b, 4, 0x03000000); }},
    {"tensor count", "tensors; at most", [](Bytes& b) { poke<uint64_t>(b, 8, ~0ULL); }},
    {"tensor count by size", "tensors; at most", [](Bytes& b) { poke<uint64_t>(b, 8, 1000); }},
    {"one tensor too many", "", [](Bytes& b) { poke<uint64_t>(b, 8, 3); }},
    {"key count", "metadata keys", [](Bytes& b) { poke<uint64_t>(b, 16, ~0ULL >> 1); }},
    {"key length", "a metadata key claims", [](Bytes& b) { poke<uint64_t>(b, 24, ~0ULL); }},
    {"key empty", "is empty", [](Bytes& b) { poke<uint64_t>(b, 24, 0); }},
    {"value type", "0 to 12 are known",
     [](Bytes& b) { poke<uint32_t>(b, find(b, "flag") + 4, 13); }},
    {"bool", "neither 0 nor 1", [](Bytes& b) { b[find(b, "flag") + 8] = 2; }},
    {"duplicate key", "there twice",
     [](Bytes& b) { std::memcpy(b.data() + find(b, "types"), "below", 5); }},
    {"string length", "claims",
     [](Bytes& b) { poke<uint64_t>(b, find(b, "llama") - 8, 1ULL << 40); }},
    {"array of arrays", "array of arrays",
     [](Bytes& b) { poke<uint32_t>(b, find(b, "types") + 9, 9); }},
    {"array element type", "0 to 12 are known",
     [](Bytes& b) { poke<uint32_t>(b, find(b, "types") + 9, 99); }},
    {"array count", "elements; at most",
     [](Bytes& b) { poke<uint64_t>(b, find(b, "types") + 13, ~0ULL / 4); }},
    {"array count by size", "but only",
     [](Bytes& b) { poke<uint64_t>(b, find(b, "types") + 13, 1 << 20); }},
    {"array string length", "a string of metadata",
     [](Bytes& b) { poke<uint64_t>(b, find(b, "tokens") + 22, ~0ULL - 4); }},
    {"tensor name length", "a tensor name",
     [](Bytes& b) { poke<uint64_t>(b, find(b, "m.weight") - 8, ~0ULL); }},
    {"tensor name empty", "tensor name is empty",
     [](Bytes& b) { poke<uint64_t>(b, find(b, "m.weight") - 8, 0); }},
    {"dims 0", "0 dimensions",
     [](Bytes& b) { poke<uint32_t>(b, find(b, "m.weight") + kMatrixName, 0); }},
    {"dims 5", "5 dimensions",
     [](Bytes& b) { poke<uint32_t>(b, find(b, "m.weight") + kMatrixName, 5); }},
    {"dim zero", "dimension 0 is 0",
     [](Bytes& b) { poke<uint64_t>(b, find(b, "m.weight") + kMatrixName + 4, 0); }},
    {"dims overflow", "overflow",
     [](Bytes& b) { poke<uint64_t>(b, find(b, "m.weight") + kMatrixName + 4, 1ULL << 63); }},
    {"size overflow", "overflows",
     [](Bytes& b) { poke<uint64_t>(b, find(b, "m.weight") + kMatrixName + 12, 1ULL << 61); }},
    {"too large", "truncated or corrupt",
     [](Bytes& b) { poke<uint64_t>(b, find(b, "m.weight") + kMatrixName + 12, 1ULL << 30); }},
    {"ragged block", "whole blocks of 32",
     [](Bytes& b) { poke<uint64_t>(b, find(b, "q.weight") + 12, 31); }},
    {"offset unaligned", "not a multiple",
     [](Bytes& b) { poke<uint64_t>(b, find(b, "q.weight") + 32, 33); }},
    {"offset outside", "truncated or corrupt",
     [](Bytes& b) { poke<uint64_t>(b, find(b, "q.weight") + 32, 1ULL << 62); }},
    {"offset wraps", "truncated or corrupt",
     [](Bytes& b) { poke<uint64_t>(b, find(b, "q.weight") + 32, ~0ULL - 31); }},
    {"overlap", "overlap", [](Bytes& b) { poke<uint64_t>(b, find(b, "q.weight") + 32, 0); }},
    {"duplicate tensor", "there twice", [](Bytes& b) { b[find(b, "q.weight")] = 'm'; }},
    {"truncated data", "truncated or corrupt", [](Bytes& b) { b.resize(b.size() - 40); }},
};

TEST(Gguf, EveryCorruptionIsNamed) {
  for (const Corruption& corruption : kCorruptions) {
    SCOPED_TRACE(corruption.name);
    Bytes bytes = sample().bytes();
    corruption.damage(bytes);
    const auto file = GgufFile::open_bytes(bytes, "bad.gguf");
    ASSERT_FALSE(file.ok());
    EXPECT_EQ(file.error().code(), ErrorCode::kInvalid);
    EXPECT_THAT(file.error().message(), HasSubstr("bad.gguf"));
    EXPECT_THAT(file.error().message(), HasSubstr("at byte"));
    EXPECT_THAT(file.error().message(), HasSubstr(corruption.message));
  }
}

TEST(Gguf, AlignmentIsObeyedAndChecked) {
  const auto bytes = GgufWriter(256)
                         .tensor("a", {3}, std::vector<float>{1, 2, 3})
                         .tensor("b", {1}, std::vector<float>{4})
                         .bytes();
  const auto file = GgufFile::open_bytes(bytes, "m");
  ASSERT_TRUE(file.ok()) << file.error().message();
  EXPECT_EQ((file->tensor("b")->data.data() - bytes.data()) % 256, 0);
  for (const uint32_t wrong : {0u, 1u, 48u, 1u << 31}) {
    Bytes damaged = bytes;
    poke(damaged, find(damaged, "general.alignment") + 17 + 4, wrong);
    const auto refused = GgufFile::open_bytes(damaged, "m");
    ASSERT_FALSE(refused.ok()) << wrong;
    EXPECT_THAT(refused.error().message(), HasSubstr("power of two"));
  }
}

TEST(Gguf, AnUnknownTensorTypeIsRefusedOnlyWhenAskedFor) {
  Bytes bytes = sample().bytes();
  poke<uint32_t>(bytes, find(bytes, "q.weight") + 28, 23);
  const auto file = GgufFile::open_bytes(bytes, "m.gguf");
  ASSERT_TRUE(file.ok()) << file.error().message();
  EXPECT_TRUE(file->tensor("m.weight").ok());
  const auto refused = file->tensor("q.weight");
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message(),
              HasSubstr("IQ4_XS (23), which is not supported; supported are F32 F16"));
}

TEST(Gguf, MetadataKeysAreBounded) {
  GgufWriter writer;
  for (uint64_t i = 0; i <= kGgufKeysMax; ++i) writer.boolean("k" + std::to_string(i), true);
  const auto bytes = writer.bytes();
  const auto file = GgufFile::open_bytes(bytes, "m");
  ASSERT_FALSE(file.ok());
  EXPECT_THAT(file.error().message(), HasSubstr("at most 65536"));
}

TEST(Gguf, EveryPrefixIsRefusedOrWhole) {
  const Bytes bytes = sample().bytes();
  for (size_t size = 0; size < bytes.size(); ++size) {
    // The copy has a heap block of its own, whose bounds are exact.
    const Bytes prefix(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(size));
    const auto file = GgufFile::open_bytes(prefix, "m");
    if (file.ok()) {
      EXPECT_GE(size + 32, bytes.size())
          << size;  // Only the padding after the last tensor may be missing.
      touch(*file);
    }
  }
}

TEST(Gguf, NoSingleByteChangeReadsOutside) {
  const Bytes bytes = sample().bytes();
  for (size_t at = 0; at < bytes.size(); ++at)
    for (const uint8_t value : {0, 1, 0x7f, 0x80, 0xff}) {
      Bytes damaged = bytes;
      damaged[at] = value;
      if (const auto file = GgufFile::open_bytes(damaged, "m"); file.ok()) touch(*file);
    }
}

TEST(Gguf, OpenSaysWhatAPathIs) {
  EXPECT_EQ(GgufFile::open("/nonexistent/model.gguf").error().code(), ErrorCode::kNotFound);
  EXPECT_THAT(GgufFile::open("/tmp").error().message(), HasSubstr("is a folder"));
  EXPECT_THAT(GgufFile::open("/dev/null").error().message(), HasSubstr("device or pipe"));
}

// Goal: a real model reads, if ALTLAS_TEST_MODEL names one.
TEST(Gguf, ReadsARealModel) {
  const char* path = std::getenv("ALTLAS_TEST_MODEL");
  if (path == nullptr) GTEST_SKIP() << "ALTLAS_TEST_MODEL names no model file";
  const auto file = GgufFile::open(path);
  ASSERT_TRUE(file.ok()) << file.error().message();
  EXPECT_FALSE(file->string("general.architecture")->empty());
  EXPECT_FALSE(file->strings("tokenizer.ggml.tokens")->empty());
  for (const auto& tensor : file->tensors())
    EXPECT_TRUE(file->tensor(tensor.name).ok()) << tensor.name;
}

}  // namespace
}  // namespace altlas::weights
