// Goal: the hash is SHA-256, as FIPS 180-4 has it. Method: its published examples.
#include "base/content_hash.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

namespace altlas {
namespace {

std::string hex(const ContentHash& hash) {
  std::string out;
  for (const uint8_t byte : hash.bytes) out += fmt::format("{:02x}", byte);
  return out;
}

TEST(ContentHash, PublishedExamples) {
  EXPECT_EQ(hex(content_hash("")),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hex(content_hash("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex(content_hash(std::string(1'000'000, 'a'))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

}  // namespace
}  // namespace altlas
