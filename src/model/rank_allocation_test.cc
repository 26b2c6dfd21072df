// Goal: a step allocates nothing but the result it hands out. Method: count what the process
// allocates while a warm rank runs steps of several ways to sample.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>

#include "model/rank.h"
#include "model/test_tiny_model.h"

#ifndef ALTLAS_SANITIZED  // Sanitizers have their own.
namespace {
std::atomic<bool> counting{false};
std::atomic<uint64_t> allocations{0};

void* counted(size_t size, size_t alignment) {
  if (counting.load(std::memory_order_relaxed)) allocations.fetch_add(1);
  const size_t whole = (size + alignment - 1) / alignment * alignment;
  void* memory = alignment > alignof(std::max_align_t) ? std::aligned_alloc(alignment, whole)
                                                       : std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) std::abort();
  return memory;
}
}  // namespace

void* operator new(size_t size) { return counted(size, 1); }
void* operator new[](size_t size) { return counted(size, 1); }
void* operator new(size_t size, std::align_val_t alignment) {
  return counted(size, static_cast<size_t>(alignment));
}
void* operator new[](size_t size, std::align_val_t alignment) {
  return counted(size, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }

namespace altlas::model {
namespace {

constexpr int32_t kSequences = 3;
constexpr uint32_t kPrompt = 5, kBlocks = 4;

StepPlan start_plan(const SamplingParams& sampling) {
  StepPlan plan;
  for (int32_t s = 0; s < kSequences; ++s) {
    auto request = std::make_shared<SequenceRequest>();
    request->prompt = {3, 1, 4, 1, 5};
    request->sampling = sampling;
    plan.starts.push_back({s, request});
    SlotBlocks blocks{.slot = s};
    for (uint32_t b = 0; b < kBlocks; ++b)
      blocks.blocks.push_back(BlockId{static_cast<uint32_t>(s) * kBlocks + b});
    plan.blocks.push_back(blocks);
    plan.entries.push_back({.slot = s, .tokens = request->prompt, .samples = true});
  }
  return plan;
}

StepPlan decode_plan(int32_t sequences, uint32_t position) {
  StepPlan plan;
  for (int32_t s = 0; s < sequences; ++s)
    plan.entries.push_back(
        {.slot = s, .position = position, .tokens = {kTokenPending}, .samples = true});
  return plan;
}

// Allocations of one decode step of `sequences` once others have warmed the rank up.
uint64_t allocations_of_step(Rank& rank, const SamplingParams& sampling, int32_t sequences) {
  EXPECT_TRUE(rank.run(start_plan(sampling)).ok());
  for (uint32_t n = 0; n < 4; ++n) EXPECT_TRUE(rank.run(decode_plan(kSequences, kPrompt + n)).ok());
  const StepPlan plan = decode_plan(sequences, kPrompt + 4);
  allocations = 0;
  counting = true;
  const auto result = rank.run(plan);
  counting = false;
  EXPECT_TRUE(result.ok());
  return allocations;
}

TEST(RankAllocation, AStepAllocatesOnlyItsResult) {
  const std::string path = testing_support::write_tiny_gguf("qwen2_tied");
  for (const uint32_t threads : {1u, 2u}) {
    device::CpuDevice device(DeviceId{0}, testing_support::cpu(uint64_t{64} << 20, threads));
    auto rank = load_rank({.path = path, .sequences_max = 4, .kv_tokens_max = 256}, device);
    ASSERT_TRUE(rank.ok()) << rank.error().message();
    const SamplingParams greedy{.temperature = 0};
    const SamplingParams drawn{.temperature = 0.8f};
    SamplingParams top_k = drawn, top_p = drawn, min_p = drawn, logprobs = drawn;
    top_k.top_k = 20;
    top_p.top_p = 0.9f;
    min_p.min_p = 0.05f;
    logprobs.logprobs = 5;
    for (const int32_t sequences : {1, kSequences}) {
      for (const SamplingParams& sampling : {greedy, drawn, top_k, top_p, min_p})
        EXPECT_EQ(allocations_of_step(**rank, sampling, sequences), 1u) << sampling.top_k;
      // A list of likely tokens for each.
      EXPECT_EQ(allocations_of_step(**rank, logprobs, sequences),
                1u + static_cast<uint64_t>(sequences));
    }
  }
}

}  // namespace
}  // namespace altlas::model
#endif
