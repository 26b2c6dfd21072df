// Goal: a body with a Content-Encoding is what was sent, or an error, and never more than allowed.
// Method: streams that other programs made (Python's zlib and gzip), whole, cut, and changed.
#include <gtest/gtest.h>

#include "server/http/content_encoding.h"

namespace altlas::server {
namespace {

std::string bytes(std::initializer_list<int> values) {
  std::string out;
  for (const int value : values) out += static_cast<char>(value);
  return out;
}

const std::string kText = R"({"a": [1, 2, 3]})";
const std::string kGzip = bytes({
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 171, 86, 74, 84, 178, 82, 136, 54, 212, 81, 48, 210, 81, 48,
    142, 173, 5, 0, 202, 196, 208, 0, 16, 0, 0, 0});
// A gzip stream with every optional part of the header.
const std::string kGzipAllFields = bytes({
    31, 139, 8, 30, 0, 0, 0, 0, 0, 3, 3, 0, 97, 98, 99, 110, 97, 109, 101, 0, 110, 111, 116, 101,
    0, 0, 138, 171, 86, 74, 84, 178, 82, 136, 54, 212, 81, 48, 210, 81, 48, 142, 173, 5, 0, 202,
    196, 208, 0, 16, 0, 0, 0});
const std::string kZlib = bytes({
    120, 156, 171, 86, 74, 84, 178, 82, 136, 54, 212, 81, 48, 210, 81, 48, 142, 173, 5, 0, 32,
    189, 3, 222});
const std::string kRaw = bytes({
    171, 86, 74, 84, 178, 82, 136, 54, 212, 81, 48, 210, 81, 48, 142, 173, 5, 0});
// 1 MiB of zeros.
const std::string kBomb = bytes({
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 237, 193, 49, 1, 0, 0, 0, 194, 160, 245, 79, 109, 8, 95,
    160, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 62, 3, 28, 234,
    56, 167, 0, 0, 16, 0});

TEST(ContentEncoding, GivesWhatWasSent) {
  const std::string twice = kText + kText;
  const struct {
    std::string encoding, body, text;
  } cases[] = {
      {"", kText, kText},
      {"identity", kText, kText},
      {"gzip", kGzip, kText},
      {" GZip ", kGzip, kText},
      {"x-gzip", kGzip, kText},
      {"gzip", kGzipAllFields, kText},
      {"gzip", kGzip + kGzipAllFields, twice},
      {"gzip", kGzip + std::string(5, '\0'), kText},
      {"deflate", kZlib, kText},
      {"Deflate", kRaw, kText},
  };
  for (const auto& one : cases) {
    const auto plain = decode_content(one.encoding, one.body, 64);
    ASSERT_TRUE(plain.ok()) << one.encoding << ": " << plain.error().message();
    EXPECT_EQ(*plain, one.text) << one.encoding;
    EXPECT_TRUE(decode_content(one.encoding, one.body, one.text.size()).ok()) << "just fits";
  }
}

TEST(ContentEncoding, SaysWhatIsNotTaken) {
  for (const char* encoding :
       {"br", "zstd", "compress", "gzip, gzip", "gzip, br", "aes128gcm", "\xff"})
    EXPECT_EQ(decode_content(encoding, kGzip, 64).error().code(), ErrorCode::kUnsupported)
        << encoding;
}

TEST(ContentEncoding, StopsAtTheLimit) {
  EXPECT_EQ(decode_content("gzip", kBomb, (1 << 20) - 1).error().code(), ErrorCode::kTooLarge);
  EXPECT_EQ(decode_content("gzip", kBomb, 10).error().code(), ErrorCode::kTooLarge);
  EXPECT_EQ(decode_content("gzip", kGzip + kBomb, 1000).error().code(), ErrorCode::kTooLarge);
  EXPECT_EQ(decode_content("deflate", kZlib, kText.size() - 1).error().code(),
            ErrorCode::kTooLarge);
  EXPECT_EQ(decode_content("gzip", kBomb, 1 << 20)->size(), size_t{1} << 20);
}

TEST(ContentEncoding, RefusesWhatIsCutOrChanged) {
  const std::pair<const char*, std::string> all[] = {
      {"gzip", kGzip}, {"gzip", kGzipAllFields}, {"deflate", kZlib}, {"deflate", kRaw}};
  for (const auto& [encoding, body] : all) {
    for (size_t size = 1; size < body.size(); ++size)
      EXPECT_FALSE(decode_content(encoding, body.substr(0, size), 64).ok()) << encoding << size;
    EXPECT_FALSE(decode_content(encoding, body + "x", 64).ok()) << encoding;
    EXPECT_FALSE(decode_content(encoding, "{\"a\": 1}", 64).ok()) << encoding;
  }
  // The last bytes are the checksum and the length.
  for (size_t at = kGzip.size() - 8; at < kGzip.size(); ++at) {
    std::string wrong = kGzip;
    wrong[at] = static_cast<char>(wrong[at] + 1);
    EXPECT_EQ(decode_content("gzip", wrong, 64).error().code(), ErrorCode::kInvalid) << at;
  }
  std::string wrong = kZlib;
  wrong.back() = static_cast<char>(wrong.back() + 1);
  EXPECT_FALSE(decode_content("deflate", wrong, 64).ok());
}

}  // namespace
}  // namespace altlas::server
