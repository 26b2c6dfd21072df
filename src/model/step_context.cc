#include "model/step_context.h"

#include <vector>

#include "ops/matmul/activation.h"

namespace altlas::model {
namespace {

constexpr size_t kBlockBytes = sizeof(ops::ActivationBlock);

// The parts of all ranks: rows [0, tokens), bytes_of(a rank's range) of each.
std::vector<Rectangle> parts_of(const StageLink& link, ShardRange ShardPlan::* part, size_t tokens,
                                const auto& bytes_of) {
  std::vector<Rectangle> out;
  out.reserve(link.plans().size());
  for (const ShardPlan& plan : link.plans()) {
    const Range bytes = bytes_of(plan.*part);
    out.push_back({0, tokens, bytes.begin, bytes.end});
  }
  return out;
}

}  // namespace

void StepContext::meet_columns(ShardRange ShardPlan::* part, Rows<float> rows, size_t unit) const {
  group.meet_all(group_thread, [&](StageLink& link) {
    const auto bytes_of = [&](const ShardRange& range) {
      return Range{range.begin * unit * sizeof(float), range.end * unit * sizeof(float)};
    };
    link.gather(reinterpret_cast<std::byte*>(rows.data), rows.stride * sizeof(float),
                parts_of(link, part, tokens.size(), bytes_of));
  });
}

// Whoever ends a row has written its padding, too.
void StepContext::meet_quantized(ShardRange ShardPlan::* part, std::byte* rows, size_t cols) const {
  group.meet_all(group_thread, [&](StageLink& link) {
    const auto bytes_of = [&](const ShardRange& range) {
      const size_t end =
          range.end == cols ? ops::activation_blocks(cols) : range.end / ops::kActivationBlock;
      return range.size() == 0
                 ? Range{0, 0}
                 : Range{range.begin / ops::kActivationBlock * kBlockBytes, end * kBlockBytes};
    };
    link.gather(rows, ops::quantized_bytes(1, cols), parts_of(link, part, tokens.size(), bytes_of));
  });
}

}  // namespace altlas::model
