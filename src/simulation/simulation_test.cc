#include <gtest/gtest.h>

#include "simulation/world.h"

namespace altlas::simulation {
namespace {

TEST(Simulation, Smoke) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    WorldOptions options;
    options.seed = seed;
    const WorldResult result = run_world(options);
    EXPECT_FALSE(result.failure) << "seed " << seed << ": " << *result.failure;
  }
}

}  // namespace
}  // namespace altlas::simulation
