#include "config/device_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/units.h"

namespace altlas::config {
namespace {

using ::testing::HasSubstr;

DeviceList good(std::string_view text) {
  const auto spec = parse_device_list(text);
  EXPECT_TRUE(spec.ok()) << text << ": " << (spec.ok() ? "" : spec.error().message());
  return spec.ok() ? *spec : DeviceList{};
}
std::string bad(std::string_view text) {
  const auto spec = parse_device_list(text);
  EXPECT_FALSE(spec.ok()) << text;
  return spec.ok() ? "" : spec.error().message();
}

// Goal: every form of the specification. Method: each example of it.
TEST(DeviceSpec, Forms) {
  EXPECT_EQ(good("cpu").parts, (std::vector<DevicePart>{{.kind = DevicePart::Kind::kCpu}}));
  EXPECT_EQ(good("cpu:2").parts[0].count, 2);
  const DevicePart full = good("cpu:2:1:4GiB").parts[0];
  EXPECT_EQ(full.count, 2);
  EXPECT_EQ(full.threads, 1);
  EXPECT_EQ(full.memory_bytes, 4 * kGiB);
  EXPECT_TRUE(good("cuda").parts[0].indices.empty());
  EXPECT_EQ(good("cuda:0,2").parts[0].indices, (std::vector<int64_t>{0, 2}));
  const DeviceList mixed = good("cpu:2+sim:a100-80gb:8+cuda");
  ASSERT_EQ(mixed.parts.size(), 3u);
  EXPECT_EQ(mixed.parts[1].sim_kind, "a100-80gb");
  EXPECT_EQ(mixed.parts[1].count, 8);
  EXPECT_EQ(good("sim:h100").parts[0].count, 1);
}

// Goal: printing and parsing are inverse. Method: each form there and back.
TEST(DeviceSpec, RoundTrip) {
  for (const std::string text : {"cpu", "cpu:2", "cpu:1:4", "cpu:2:1:4294967296", "cuda",
                                 "cuda:0,2", "sim:a100-80gb:8", "cpu:3+sim:l4+cuda:1"}) {
    EXPECT_EQ(to_string(good(text)), text);
  }
}

// Goal: a wrong spec says which part is wrong and what would be right. Method: one mistake each.
TEST(DeviceSpec, Errors) {
  EXPECT_THAT(bad(""), HasSubstr("write cpu, cuda or sim:KIND"));
  EXPECT_THAT(bad("cpu+"), HasSubstr("missing between two '+'"));
  EXPECT_EQ(bad("cpuu:2"),
            "in device 'cpuu:2': 'cpuu' is not one of cpu, cuda, sim (did you mean cpu?)");
  EXPECT_EQ(bad("cpu:0"), "in device 'cpu:0': the count '0' is not a whole number from 1 to 1024");
  EXPECT_THAT(bad("cpu:1025"), HasSubstr("from 1 to 1024"));
  EXPECT_THAT(bad("cpu:-1"), HasSubstr("from 1 to 1024"));
  EXPECT_THAT(bad("cpu:99999999999999999999"), HasSubstr("from 1 to 1024"));
  EXPECT_THAT(bad("cpu:2:x"), HasSubstr("the number of threads 'x'"));
  EXPECT_THAT(bad("cpu:2:1:4Gig"), HasSubstr("the memory '4Gig' is not a size"));
  EXPECT_THAT(bad("cpu:2:1:10"), HasSubstr("less than 1MiB"));
  EXPECT_THAT(bad("cpu:2:1:4GiB:5"), HasSubstr("too many ':'"));
  EXPECT_THAT(bad("cuda:0,"), HasSubstr("the GPU index ''"));
  EXPECT_THAT(bad("cuda:1,1"), HasSubstr("GPU 1 is named twice"));
  EXPECT_THAT(bad("cuda:0+cuda:1"), HasSubstr("cuda is there already"));
  EXPECT_THAT(bad("sim"), HasSubstr("the kind is missing"));
  EXPECT_THAT(bad("sim:a b"), HasSubstr("letters, digits"));
  EXPECT_THAT(bad("sim:a100:0"), HasSubstr("from 1 to 1024"));
  EXPECT_THAT(bad("cpu:1000+sim:l4:1000"),
              HasSubstr("in device 'sim:l4:1000': these are more than 1024 devices"));
  EXPECT_THAT(bad(std::string(100000, '+')), HasSubstr("at most 4096"));
  EXPECT_LT(bad("cpu:" + std::string(4000, '9')).size(), 400u);
}

}  // namespace
}  // namespace altlas::config
