// Tests of packed weights on disk: the file gives the same answers as packing, and every way in
// which the file can be wrong is noticed.
#include "model/panel_cache.h"

#include <gtest/gtest.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "base/hash.h"
#include "model/model_file.h"
#include "model/rank.h"
#include "model/test_tiny_model.h"
#include "ops/matmul/matmul.h"
#include "testing/data.h"

namespace altlas::model {
namespace {

namespace fs = std::filesystem;

// A folder of its own, which goes with the object.
class CacheFolder {
 public:
  CacheFolder()
      : path_(fs::path(::testing::TempDir()) / ("panel_cache_test_" + std::to_string(::getpid()))) {
    fs::remove_all(path_);
  }
  ~CacheFolder() { fs::remove_all(path_); }
  PanelCacheOptions options() const { return {.folder = path_.string(), .bytes_min = 0}; }
  std::vector<fs::path> panels() const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(path_))
      if (entry.path().extension() == ".panels") found.push_back(entry.path());
    return found;
  }
  const fs::path& path() const { return path_; }

 private:
  const fs::path path_;
};

ino_t inode_of(const fs::path& path) {
  struct stat info = {};
  EXPECT_EQ(::stat(path.c_str(), &info), 0);
  return info.st_ino;
}

// Returns the greedy tokens of a model that is loaded anew, or the bits of an encoder's embedding;
// empty if it can't be loaded.
std::vector<int32_t> answer(const LoadOptions& options, uint32_t threads = 1) {
  device::CpuDevice device(DeviceId{0}, testing_support::cpu(uint64_t{64} << 20, threads));
  auto rank = load_rank(options, device);
  EXPECT_TRUE(rank.ok()) << rank.error().message();
  if (!rank.ok()) return {};
  auto request = std::make_shared<SequenceRequest>();
  request->prompt = {3, 14, 15, 9, 2, 6};
  request->sampling.temperature = 0;
  request->embeds = !(*rank)->shape().generates;
  StepPlan plan;
  plan.starts.push_back({0, request});
  for (uint32_t g = 0; g < (*rank)->shape().groups.size(); ++g) {
    kv::TableChange table{.group = g};
    for (uint32_t b = 0; b < 4; ++b) table.blocks.push_back(BlockId{b});
    plan.tables.push_back({.slot = 0, .changes = {table}});
  }
  plan.entries.push_back({.slot = 0, .tokens = request->prompt.tokens(), .samples = true});
  std::vector<int32_t> out;
  for (uint32_t n = 0; n < 20; ++n) {
    const auto result = (*rank)->run(plan);
    EXPECT_TRUE(result.ok()) << result.error().message();
    if (!result.ok()) return {};
    if (request->embeds) {
      for (const float value : result->sampled.at(0).embedding)
        out.push_back(std::bit_cast<int32_t>(value));
      return out;
    }
    out.push_back(result->sampled.at(0).token);
    plan = {};
    plan.entries.push_back(
        {.slot = 0, .position = 6 + n, .tokens = {kTokenPending}, .samples = true});
  }
  return out;
}

std::vector<int32_t> answer(const std::string& model, const PanelCacheOptions& panels,
                            uint32_t threads = 1) {
  return answer(
      {{.model_path = model, .sequences_max = 1, .kv_tokens_max = 64}, RankShard{}, panels},
      threads);
}

// Goal: every architecture answers alike from memory, from what it just packed, and from the file;
// the second start packs nothing. Method: the file is still the same one.
TEST(PanelCache, SameAnswersFromTheFile) {
  for (const auto& entry :
       fs::directory_iterator(fs::path(ALTLAS_SOURCE_DIR) / "src/model/testdata")) {
    const std::string name = entry.path().stem().string();
    if (entry.path().extension() != ".json" || !testing_support::has_tiny_gguf(name)) continue;
    SCOPED_TRACE(name);
    const std::string model = testing_support::write_tiny_gguf(name);
    if (!ModelFile::open(model).ok()) continue;  // It is no decoder.
    const std::vector<int32_t> want = answer(model, {});
    CacheFolder cache;
    EXPECT_EQ(answer(model, cache.options()), want);
    ASSERT_EQ(cache.panels().size(), 1u);
    const ino_t kept = inode_of(cache.panels()[0]);
    EXPECT_EQ(answer(model, cache.options(), 2), want);
    ASSERT_EQ(cache.panels().size(), 1u);
    EXPECT_EQ(inode_of(cache.panels()[0]), kept);
  }
}

// Goal: a file that is damaged anywhere is made anew, never used. Method: change one byte of the
// header, of the data, the length; put a link in its place.
TEST(PanelCache, DamagedFilesAreMadeAnew) {
  const std::string model = testing_support::write_tiny_gguf("llama");
  CacheFolder cache;
  const std::vector<int32_t> want = answer(model, cache.options());
  ASSERT_EQ(cache.panels().size(), 1u);
  const fs::path file = cache.panels()[0];
  const auto size = fs::file_size(file);
  for (const uint64_t at : {uint64_t{0}, uint64_t{8}, uint64_t{16}, uint64_t{24}, uint64_t{32},
                            uint64_t{4096}, uint64_t{size / 2}, uint64_t{size - 1}}) {
    SCOPED_TRACE(at);
    const ino_t before = inode_of(file);
    {
      std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
      bytes.seekg(static_cast<std::streamoff>(at));
      const char old = static_cast<char>(bytes.get());
      bytes.seekp(static_cast<std::streamoff>(at));
      bytes.put(static_cast<char>(old ^ 0x40));
    }
    const fs::path old = cache.path() / "old";
    fs::create_hard_link(file, old);  // The link keeps the file's inode from being used again.
    EXPECT_EQ(answer(model, cache.options()), want);
    EXPECT_NE(inode_of(file), before);
    fs::remove(old);
  }
  for (const uint64_t length :
       {uint64_t{0}, uint64_t{100}, uint64_t{4096}, uint64_t{size - 1}, uint64_t{size + 1}}) {
    fs::resize_file(file, length);
    EXPECT_EQ(answer(model, cache.options()), want) << length;
    EXPECT_EQ(fs::file_size(file), size);
  }
  fs::rename(file, cache.path() / "elsewhere");
  fs::create_symlink(cache.path() / "elsewhere", file);
  EXPECT_EQ(answer(model, cache.options()), want);
  EXPECT_FALSE(fs::is_symlink(file));
}

// Goal: another state of the model gets another file, and the old one goes.
TEST(PanelCache, StaleFilesGo) {
  const std::string model = testing_support::write_tiny_gguf("llama");
  CacheFolder cache;
  answer(model, cache.options());
  ASSERT_EQ(cache.panels().size(), 1u);
  const fs::path before = cache.panels()[0];
  fs::last_write_time(model, fs::last_write_time(model) + std::chrono::seconds(5));
  answer(model, cache.options());
  ASSERT_EQ(cache.panels().size(), 1u);
  EXPECT_NE(cache.panels()[0], before);
}

// Goal: a draft model has panels of its own; neither file pushes out the other, and a second start
// packs nothing. Method: a draft of the model's size, whose panels would fit the model too.
TEST(PanelCache, DraftHasItsOwnFile) {
  const std::string model = testing_support::write_tiny_gguf("llama"), draft = model + ".draft";
  fs::copy_file(model, draft, fs::copy_options::overwrite_existing);
  CacheFolder cache;
  const LoadOptions options{
      {.model_path = model, .draft_model_path = draft, .sequences_max = 1, .kv_tokens_max = 64},
      RankShard{},
      cache.options()};
  const std::vector<int32_t> want = answer(options);
  const std::vector<fs::path> files = cache.panels();
  ASSERT_EQ(files.size(), 2u);
  const ino_t first = inode_of(files[0]), second = inode_of(files[1]);
  EXPECT_EQ(answer(options), want);
  EXPECT_EQ(cache.panels().size(), 2u);
  EXPECT_EQ(inode_of(files[0]), first);
  EXPECT_EQ(inode_of(files[1]), second);
  fs::remove(draft);
}

// Goal: the folder keeps its limit, and the file that was not used for the longest time goes first;
// a file beyond the limit, or a folder that can't be made, costs the cache only.
TEST(PanelCache, LimitsAndRefusals) {
  const std::string first = testing_support::write_tiny_gguf("llama"),
                    second = testing_support::write_tiny_gguf("qwen2_tied");
  CacheFolder cache;
  const std::vector<int32_t> want = answer(first, cache.options());
  ASSERT_EQ(cache.panels().size(), 1u);
  const fs::path old = cache.panels()[0];
  const uint64_t bytes = fs::file_size(old);
  PanelCacheOptions limited = cache.options();
  limited.bytes_max = bytes + 100;
  answer(second, limited);
  EXPECT_FALSE(fs::exists(old));
  EXPECT_EQ(cache.panels().size(), 1u);
  limited.bytes_max = 100;
  EXPECT_EQ(answer(first, limited), want);
  EXPECT_FALSE(fs::exists(old));
  std::ofstream(cache.path() / "file").put('x');
  EXPECT_EQ(answer(first, {.folder = (cache.path() / "file").string(), .bytes_min = 0}), want);
  fs::remove(cache.panels().at(0));
  // The limit is too small for a file.
  EXPECT_EQ(answer(first, {.folder = cache.path().string()}), want);
  EXPECT_TRUE(cache.panels().empty());
}

// Goal: what killed processes left goes when the next file is made, whatever model it was of; what
// a living process holds stays. Method: leftovers with free, held and no locks.
TEST(PanelCache, LeftoversOfOtherModelsGo) {
  const std::string model = testing_support::write_tiny_gguf("llama");
  CacheFolder cache;
  fs::create_directories(cache.path());
  const auto put = [&](const std::string& name) { std::ofstream(cache.path() / name).put('x'); };
  for (const char* name : {"dead-1.lock", "dead-1.tmp", "gone-2.lock", "kept-3.lock",
                           "kept-3-0123.panels", "held-4.lock", "held-4.tmp", "other.txt"})
    put(name);
  const int held = ::open((cache.path() / "held-4.lock").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_EQ(::flock(held, LOCK_EX | LOCK_NB), 0);
  answer(model, cache.options());
  ::close(held);
  for (const auto& [name, stays] : {std::pair<const char*, bool>{"dead-1.lock", false},
                                    {"dead-1.tmp", false},
                                    {"gone-2.lock", false},
                                    {"kept-3.lock", true},
                                    {"kept-3-0123.panels", true},
                                    {"held-4.lock", true},
                                    {"held-4.tmp", true},
                                    {"other.txt", true}})
    EXPECT_EQ(fs::exists(cache.path() / name), stays) << name;
  EXPECT_EQ(cache.panels().size(), 2u);
}

// Goal: old files go before a new one is written, so that both together never exceed the limit.
TEST(PanelCache, RoomIsMadeBeforeItIsTaken) {
  const std::string first = testing_support::write_tiny_gguf("llama"),
                    second = testing_support::write_tiny_gguf("qwen2_tied");
  CacheFolder cache;
  answer(first, cache.options());
  PanelCacheOptions limited = cache.options();
  limited.bytes_max = fs::file_size(cache.panels().at(0)) + 100;
  auto file = PanelFile::open(limited, second, "tp0of1", 4096);
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(file->create().ok());
  EXPECT_TRUE(cache.panels().empty()) << "before publish()";
}

// Goal: replicas that start together share one file. Method: four threads load at once; what a
// process left behind half written is no obstacle.
TEST(PanelCache, StartsTogether) {
  const std::string model = testing_support::write_tiny_gguf("qwen3");
  const std::vector<int32_t> want = answer(model, {});
  CacheFolder cache;
  answer(model, cache.options());
  std::string rest = cache.panels().at(0).string();
  rest.resize(rest.size() - std::string_view("-0123456789abcdef.panels").size());
  fs::remove(cache.panels()[0]);
  std::ofstream(rest + ".tmp").put('x');
  std::array<std::vector<int32_t>, 4> got;
  {
    std::vector<std::jthread> threads;
    for (auto& one : got) threads.emplace_back([&] { one = answer(model, cache.options()); });
  }
  for (const auto& one : got) EXPECT_EQ(one, want);
  EXPECT_EQ(cache.panels().size(), 1u);
  EXPECT_FALSE(fs::exists(rest + ".tmp"));
}

// Goal: whoever changes what packing writes raises kPanelVersion, since old files would be misread.
// Method: a hash of every type's panels of fixed rows. If it differs, raise the version and put the
// new hash here.
TEST(PanelCache, VersionFollowsTheLayout) {
  constexpr DType kTypes[] = {DType::kF32,  DType::kF16,  DType::kBF16, DType::kQ4_0, DType::kQ4_1,
                              DType::kQ5_0, DType::kQ5_1, DType::kQ8_0, DType::kQ2_K, DType::kQ3_K,
                              DType::kQ4_K, DType::kQ5_K, DType::kQ6_K};
  Hasher hasher;
  for (const DType type : kTypes) {
    const size_t rows = 35, cols = 512;
    const std::vector<uint8_t> raw = testing::bytes(rows * row_bytes(type, cols), 7);
    std::vector<std::byte> packed(ops::packed_bytes(type, rows, cols));
    ops::pack_panels({type, rows, cols, reinterpret_cast<const std::byte*>(raw.data())},
                     {0, ops::panel_count(rows)}, packed.data());
    hasher.add(std::string_view(reinterpret_cast<const char*>(packed.data()), packed.size()));
  }
  EXPECT_EQ(hasher.value(), 370217426761238568u) << "kPanelVersion is " << kPanelVersion;
}

}  // namespace
}  // namespace altlas::model
