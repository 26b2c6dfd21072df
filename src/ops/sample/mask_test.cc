// Goal: every SIMD target masks as the reference does. Method: random bits, full and empty words,
// vocabularies of ragged sizes, and masks that end before them.
#include "ops/sample/mask.h"

#include <gtest/gtest.h>

#include "base/philox.h"
#include "ops/target_scope.h"
#include "testing/data.h"

namespace altlas::ops {
namespace {

TEST(Mask, EveryTargetMatchesReference) {
  for_each_target([](const std::string& target) {
    PhiloxStream random{.seed = 3};
    for (const size_t count : {1, 63, 64, 65, 200, 1000}) {
      for (const size_t words : {size_t{0}, count / 64, (count + 63) / 64, count / 64 + 2}) {
        SCOPED_TRACE(::testing::Message() << target << " " << count << " " << words);
        std::vector<uint64_t> allowed(words);
        for (uint64_t& word : allowed) {
          const uint64_t kind = random.below(3);
          word = kind == 0 ? 0 : kind == 1 ? ~uint64_t{0} : random.next();
        }
        auto want = testing::normals(count, /*seed=*/42);
        auto got = want;
        mask_logits_ref(want.data(), count, allowed);
        mask_logits_cpu(got.data(), count, allowed);
        EXPECT_EQ(got, want);
      }
    }
  });
}

}  // namespace
}  // namespace altlas::ops
