// Tests of the operator models: they keep the limits of rooflines, and more of a resource is never
// slower.
#include "hardware/operator_models.h"

#include <gtest/gtest.h>

#include <string>

namespace altlas {
namespace {

class OperatorModelsTest : public testing::TestWithParam<const char*> {
 protected:
  DeviceModel device() const { return *device_model(GetParam()); }
};

// Goal: no product runs faster than the peaks of the data sheet, and large ones reach a third of
// them.
TEST_P(OperatorModelsTest, LargeProductsStayBetweenThirdAndPeak) {
  const DeviceModel d = device();
  for (const MathType type : {MathType::kBf16, MathType::kFp8, MathType::kFp4}) {
    if (!d.computes(type)) continue;
    const double peak = type == MathType::kBf16  ? d.kind.bf16_flops
                        : type == MathType::kFp8 ? d.kind.fp8_flops
                                                 : d.kind.fp4_flops;
    const double seconds = gemm_seconds(
        d,
        {.rows = 8192, .columns = 8192, .depth = 8192, .weight_bytes_per_value = 1, .type = type});
    const double roof = 2.0 * 8192 * 8192 * 8192 / peak;
    EXPECT_GT(seconds, roof) << d.kind.name;
    EXPECT_LT(seconds, 3 * roof) << d.kind.name << " " << static_cast<int>(type);
  }
}

// Goal: one row reads the weights once: it takes the time of 2 * 8192 * 8192 bytes at the memory's
// bandwidth, and with the launch at most twice that.
TEST_P(OperatorModelsTest, OneRowIsBoundByMemory) {
  const DeviceModel d = device();
  const double seconds = gemm_seconds(d, {.rows = 1, .columns = 8192, .depth = 8192});
  const double roof = 2.0 * 8192 * 8192 / d.kind.memory_bytes_per_s;
  EXPECT_GT(seconds, roof);
  EXPECT_LT(seconds, 2 * roof);
}

TEST_P(OperatorModelsTest, MoreIsNeverFaster) {
  const DeviceModel d = device();
  double last = 0;
  for (double rows = 1; rows <= 16384; rows *= 2) {
    const double now = gemm_seconds(d, {.rows = rows, .columns = 4096, .depth = 4096});
    EXPECT_GE(now, last) << rows;
    last = now;
  }
  last = 0;
  for (double context = 1; context < 1e7; context *= 3) {
    const double now =
        decode_seconds(d, {.sequences = 8, .context = context, .kv_heads = 8, .head_dim = 128});
    EXPECT_GE(now, last);
    last = now;
  }
  for (const int32_t ranks : {2, 4, 8}) {
    last = all_reduce_seconds(d, ranks / 2, 1 << 20);
    EXPECT_GE(all_reduce_seconds(d, ranks, 1 << 20), last) << ranks;
    EXPECT_GE(all_reduce_seconds(d, ranks, 1 << 24), all_reduce_seconds(d, ranks, 1 << 20));
  }
}

TEST_P(OperatorModelsTest, MoreBandwidthIsNeverSlower) {
  DeviceModel fast = device();
  fast.kind.memory_bytes_per_s *= 1.5;
  fast.kind.link_bytes_per_s *= 1.5;
  for (const double rows : {1.0, 100.0, 5000.0}) {
    const GemmShape shape{.rows = rows, .columns = 7168, .depth = 4096};
    EXPECT_LE(gemm_seconds(fast, shape), gemm_seconds(device(), shape));
    EXPECT_LE(all_reduce_seconds(fast, 4, rows * 8192),
              all_reduce_seconds(device(), 4, rows * 8192));
    EXPECT_LT(elementwise_seconds(fast, rows * 1e6), elementwise_seconds(device(), rows * 1e6));
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, OperatorModelsTest,
                         testing::Values("a100-80gb", "h100", "h200", "b200", "l40s", "a10g", "l4",
                                         "gb200", "a100-40gb"));

TEST(OperatorModels, SayWhatWasMeasuredAndHowWellItFits) {
  for (const OperatorModels& row : fitted_operators()) {
    EXPECT_TRUE(device_model(row.kind)->measured());
    for (const FitError& error :
         {row.bf16.error, row.prefill.error, row.decode_bf16.error, row.all_reduce.error}) {
      EXPECT_GT(error.rows, 50) << row.kind;
      EXPECT_LT(error.median, 0.2) << row.kind;
    }
  }
  EXPECT_FALSE(device_model("gb200")->measured());
  EXPECT_EQ(device_model("gb200")->fitted_on, "b200");
}

TEST(OperatorModels, OnlyWhatADeviceComputes) {
  EXPECT_FALSE(device_model("a100-80gb")->computes(MathType::kFp8));
  EXPECT_FALSE(device_model("h100")->computes(MathType::kFp4));
  EXPECT_TRUE(device_model("b200")->computes(MathType::kFp4));
  const auto unknown = device_model("h900");
  ASSERT_FALSE(unknown.ok());
  EXPECT_NE(unknown.error().message().find("h100"), std::string::npos);
}

}  // namespace
}  // namespace altlas
