// Goal: a step allocates nothing but the result it returns, and takes no lock. Method: count the
// process' allocations and locked mutexes while a warm rank runs steps, for several architectures,
// ways to sample, and adapters.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "model/rank.h"
#include "model/test_tiny_model.h"
#include "testing/data.h"
#include "weights/gguf_writer.h"

#ifndef ALTLAS_SANITIZED  // Sanitizers replace these functions themselves.
namespace {
std::atomic<bool> counting{false};
std::atomic<uint64_t> allocations{0}, locks{0};

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

// Replaces libc's function and calls it, so that every std::mutex is counted.
extern "C" int pthread_mutex_lock(pthread_mutex_t* mutex) {
  using Lock = int (*)(pthread_mutex_t*);
  // The initial value is a constant, so this needs no guard (which might lock).
  static std::atomic<Lock> next{nullptr};
  Lock lock = next.load(std::memory_order_relaxed);
  if (lock == nullptr) {
    lock = reinterpret_cast<Lock>(dlsym(RTLD_NEXT, "pthread_mutex_lock"));
    next.store(lock, std::memory_order_relaxed);
  }
  if (counting.load(std::memory_order_relaxed)) locks.fetch_add(1);
  return lock(mutex);
}

namespace altlas::model {
namespace {

constexpr int32_t kSequences = 3;
constexpr uint32_t kPrompt = 5, kBlocks = 4, kSteps = 40;

StepPlan start_plan(const SamplingParams& sampling, uint32_t adapter, size_t kv_groups) {
  StepPlan plan;
  for (int32_t s = 0; s < kSequences; ++s) {
    auto request = std::make_shared<SequenceRequest>();
    request->prompt = {3, 1, 4, 1, 5};
    request->sampling = sampling;
    request->adapter = adapter;
    plan.starts.push_back({s, request});
    kv::TableChange table;
    for (uint32_t b = 0; b < kBlocks; ++b)
      table.blocks.push_back(BlockId{static_cast<uint32_t>(s) * kBlocks + b});
    for (; table.group < kv_groups; ++table.group)
      plan.tables.push_back({.slot = s, .changes = {table}});
    plan.entries.push_back({.slot = s, .tokens = request->prompt.tokens(), .samples = true});
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

// Returns the most allocations of a decode step of `sequences` sequences, once other steps have
// warmed up the rank.
uint64_t allocations_of_step(Rank& rank, const SamplingParams& sampling, int32_t sequences,
                             uint32_t adapter = 0) {
  EXPECT_TRUE(rank.run(start_plan(sampling, adapter, rank.shape().groups.size())).ok());
  for (uint32_t n = 0; n < 4; ++n) EXPECT_TRUE(rank.run(decode_plan(kSequences, kPrompt + n)).ok());
  uint64_t most = 0;
  for (uint32_t n = 4; n < kSteps; ++n) {
    const StepPlan plan = decode_plan(sequences, kPrompt + n);
    allocations = locks = 0;
    counting = true;
    const auto result = rank.run(plan);
    counting = false;
    EXPECT_TRUE(result.ok());
    EXPECT_EQ(locks, 0u);
    most = std::max<uint64_t>(most, allocations);
  }
  return most;
}

// Ways to sample, each with a name.
std::vector<std::pair<const char*, SamplingParams>> ways() {
  const SamplingParams greedy{.temperature = 0}, drawn{.temperature = 0.8f};
  SamplingParams top_k = drawn, top_p = drawn, min_p = drawn, repeated = greedy, counted = drawn,
                 least = drawn;
  top_k.top_k = 20;
  top_p.top_p = 0.9f;
  min_p.min_p = 0.05f;
  repeated.repetition_penalty = 1.3f;
  counted.presence_penalty = 0.5f;
  counted.frequency_penalty = 1.5f;  // It makes the tokens ever different.
  least.min_tokens = 100;
  least.stop_token_ids = {1, 7, 9};
  return {{"min_tokens", least},    {"greedy", greedy},    {"drawn", drawn},
          {"top_k", top_k},         {"top_p", top_p},      {"min_p", min_p},
          {"repetition", repeated}, {"frequency", counted}};
}

TEST(RankAllocation, AStepAllocatesOnlyItsResult) {
  for (const char* model :
       {"qwen2_tied", "llama", "mixtral", "qwen2_moe", "gemma2", "gemma3", "qwen3_moe"}) {
    const std::string path = testing_support::write_tiny_gguf(model);
    for (const uint32_t threads : {1u, 2u}) {
      device::CpuDevice device(DeviceId{0}, testing_support::cpu(uint64_t{64} << 20, threads));
      auto rank =
          load_rank({{.model_path = path, .sequences_max = 4, .kv_tokens_max = 256}}, device);
      ASSERT_TRUE(rank.ok()) << rank.error().message();
      for (const int32_t sequences : {1, kSequences}) {
        for (const auto& [name, sampling] : ways())
          EXPECT_EQ(allocations_of_step(**rank, sampling, sequences), 1u)
              << model << ", " << threads << " threads, " << sequences << " sequences: " << name;
        SamplingParams logprobs{.temperature = 0.8f};
        logprobs.logprobs = 5;  // Each token has a list of likely ones.
        EXPECT_EQ(allocations_of_step(**rank, logprobs, sequences),
                  1u + static_cast<uint64_t>(sequences))
            << model;
      }
    }
  }
}

// Goal: rows with an adapter don't allocate or lock either; and the counter does count locks.
TEST(RankAllocation, NorWithAdapters) {
  weights::GgufWriter writer;
  writer.string("general.architecture", "llama")
      .string("general.type", "adapter")
      .string("adapter.type", "lora")
      .float32("adapter.lora.alpha", 4);
  writer.tensor("blk.1.attn_v.weight.lora_a", {32, 4}, testing::normals(128, 1));
  writer.tensor("blk.1.attn_v.weight.lora_b", {4, 16}, testing::normals(64, 2));
  const std::string adapter =
      ::testing::TempDir() + "altlas_allocation_" + std::to_string(getpid()) + ".gguf";
  ASSERT_TRUE(writer.write(adapter).ok());
  device::CpuDevice device(DeviceId{0}, testing_support::cpu(uint64_t{64} << 20, 2));
  auto rank = load_rank({{.model_path = testing_support::write_tiny_gguf("llama"),
                          .sequences_max = 4,
                          .kv_tokens_max = 256}},
                        device);
  ASSERT_TRUE(rank.ok()) << rank.error().message();
  locks = 0;
  counting = true;
  const auto loaded = (*rank)->load_adapter(5, adapter);
  counting = false;
  std::filesystem::remove(adapter);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message();
  EXPECT_GT(locks, 0u);
  for (const auto& [name, sampling] : ways())
    EXPECT_EQ(allocations_of_step(**rank, sampling, kSequences, 5), 1u) << name;
}

}  // namespace
}  // namespace altlas::model
#endif
