// What the tests of the core's parts share: a saved part comes back with the same hash, and damaged
// bytes are refused.
#pragma once

#include <gtest/gtest.h>

#include <string>

namespace altlas::control {

// `fresh`: just made, from the same setup. Tries damage at several places and cuts.
template <class Part, class Make>
void expect_saved(const Part& part, Make make) {
  const std::string bytes = part.save();
  auto fresh = make();
  ASSERT_TRUE(fresh->load(bytes).ok());
  EXPECT_EQ(fresh->hash(), part.hash());
  EXPECT_EQ(fresh->save(), bytes);
  fresh->check_integrity();
  for (size_t i = 0; i < bytes.size(); i += 1 + bytes.size() / 16) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x41);
    EXPECT_FALSE(make()->load(damaged).ok()) << "byte " << i;
    EXPECT_FALSE(make()->load(bytes.substr(0, i)).ok()) << "cut at " << i;
  }
  EXPECT_FALSE(make()->load(bytes + "x").ok());
}

}  // namespace altlas::control
