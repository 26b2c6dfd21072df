// Tests of LoRA adapters: compared with merged weights, in batches, and refused.
#include "model/adapter.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <boost/json.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <map>
#include <thread>

#include "model/decoder.h"
#include "model/model_file.h"
#include "model/rank.h"
#include "model/test_tiny_model.h"
#include "testing/data.h"
#include "weights/gguf_writer.h"

namespace altlas::model {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using ::testing::HasSubstr;

constexpr uint32_t kRank = 4;
constexpr float kAlpha = 6;

struct Matrix {
  std::string hugging_face, gguf;
  uint32_t rows, cols;
  bool turns;               // These are rows of q or k, which GGUF files of llama reorder.
  std::vector<float> a, b;  // [rank, cols], [rows, rank]
};

std::string folder() {
  static const std::string made = [] {
    const std::string path = ::testing::TempDir() + fmt::format("altlas_adapters_{}", getpid());
    fs::create_directories(path);
    return path;
  }();
  return made;
}

// Returns matrices of every kind, for both layers of the tiny llama.
std::vector<Matrix> matrices(uint64_t seed) {
  struct Kind {
    const char *hugging_face, *gguf;
    uint32_t rows, cols;
    bool turns = false;
  };
  constexpr Kind kinds[] = {
      {"self_attn.q_proj", "attn_q", 32, 32, true}, {"self_attn.k_proj", "attn_k", 16, 32, true},
      {"self_attn.v_proj", "attn_v", 16, 32},       {"self_attn.o_proj", "attn_output", 32, 32},
      {"mlp.gate_proj", "ffn_gate", 32, 32},        {"mlp.up_proj", "ffn_up", 32, 32},
      {"mlp.down_proj", "ffn_down", 32, 32},
  };
  std::vector<Matrix> out;
  for (uint32_t layer = 0; layer < 2; ++layer)
    for (const Kind& kind : kinds) {
      Matrix& one = out.emplace_back();
      one.hugging_face = fmt::format("model.layers.{}.{}", layer, kind.hugging_face);
      one.gguf = fmt::format("blk.{}.{}", layer, kind.gguf);
      one.rows = kind.rows, one.cols = kind.cols, one.turns = kind.turns;
      one.a = testing::normals(kRank * kind.cols, seed++);
      one.b = testing::normals(kind.rows * kRank, seed++);
      for (float& value : one.a) value *= 0.2f;
      for (float& value : one.b) value *= 0.2f;
    }
  return out;
}

void write_file(const std::string& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
}

struct StoredTensor {
  std::string name;
  uint32_t rows, cols;
  std::vector<float> values;
};
void write_safetensors(const std::string& path, const std::vector<StoredTensor>& tensors) {
  json::object header;
  std::string data;
  for (const StoredTensor& one : tensors) {
    const size_t begin = data.size();
    data.append(reinterpret_cast<const char*>(one.values.data()), one.values.size() * 4);
    header[one.name] = {
        {"dtype", "F32"}, {"shape", {one.rows, one.cols}}, {"data_offsets", {begin, data.size()}}};
  }
  const std::string text = json::serialize(header);
  const uint64_t length = text.size();
  write_file(path, std::string(reinterpret_cast<const char*>(&length), 8) + text + data);
}

std::string write_peft(const std::string& name, const std::vector<Matrix>& all,
                       json::object config = {}) {
  const std::string path = folder() + "/" + name;
  fs::create_directories(path);
  std::vector<StoredTensor> tensors;
  for (const Matrix& one : all) {
    const std::string base = "base_model.model." + one.hugging_face;
    tensors.push_back({base + ".lora_A.weight", kRank, one.cols, one.a});
    tensors.push_back({base + ".lora_B.weight", one.rows, kRank, one.b});
  }
  write_safetensors(path + "/adapter_model.safetensors", tensors);
  json::object whole = {{"peft_type", "LORA"},
                        {"r", kRank},
                        {"lora_alpha", kAlpha},
                        {"bias", "none"},
                        {"use_dora", false}};
  for (const auto& [key, value] : config) whole[key] = value;
  write_file(path + "/adapter_config.json", json::serialize(whole));
  return path;
}

// Writes the file as llama.cpp's converter does: rows of q and k pair by pair.
std::string write_gguf(const std::string& name, const std::vector<Matrix>& all,
                       const char* architecture = "llama", const char* type = "adapter") {
  weights::GgufWriter writer;
  writer.string("general.architecture", architecture)
      .string("general.type", type)
      .string("adapter.type", "lora")
      .float32("adapter.lora.alpha", kAlpha);
  for (const Matrix& one : all) {
    std::vector<float> b = one.b;
    for (uint32_t row = 0; one.turns && row < one.rows; ++row) {
      const uint32_t head = row / 16 * 16, i = row % 16;
      const uint32_t to = head + i % 8 * 2 + i / 8;
      std::copy_n(one.b.begin() + row * kRank, kRank, b.begin() + to * kRank);
    }
    writer.tensor(one.gguf + ".weight.lora_a", {one.cols, kRank}, one.a);
    writer.tensor(one.gguf + ".weight.lora_b", {kRank, one.rows}, b);
  }
  const std::string path = folder() + "/" + name + ".gguf";
  EXPECT_TRUE(writer.write(path).ok());
  return path;
}

// Writes a copy of the tiny llama's folder with the adapter added to its weights.
std::string write_merged(const std::vector<Matrix>& all) {
  const std::string from = testing_support::write_tiny_folder("llama", DType::kF32);
  const std::string path = folder() + "/merged";
  fs::create_directories(path);
  fs::copy_file(from + "/config.json", path + "/config.json", fs::copy_options::overwrite_existing);
  std::ifstream file(from + "/model.safetensors", std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(file)), {});
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  const json::object header = json::parse(bytes.substr(8, length)).as_object();
  for (const Matrix& one : all) {
    const auto& offsets = header.at(one.hugging_face + ".weight").at("data_offsets").as_array();
    char* data = bytes.data() + 8 + length + json::value_to<size_t>(offsets[0]);
    for (uint32_t row = 0; row < one.rows; ++row)
      for (uint32_t col = 0; col < one.cols; ++col, data += 4) {
        float weight = 0;
        std::memcpy(&weight, data, 4);
        double sum = 0;
        for (uint32_t r = 0; r < kRank; ++r)
          sum += double{one.b[row * kRank + r]} * one.a[r * one.cols + col];
        weight += static_cast<float>(sum * kAlpha / kRank);
        std::memcpy(data, &weight, 4);
      }
  }
  write_file(path + "/model.safetensors", bytes);
  return path;
}

struct Running {
  explicit Running(const std::string& path, std::vector<std::string> adapters = {}) {
    LoadOptions options;
    options.model_path = path;
    for (std::string& file : adapters) options.adapters.push_back({file, std::move(file)});
    options.sequences_max = 12;
    options.step_tokens_max = 144;
    auto loaded = load_rank(options, device);
    EXPECT_TRUE(loaded.ok()) << loaded.error().message();
    if (loaded.ok()) rank = std::move(*loaded);
  }
  // Runs one step of a prompt per adapter, with all log-probabilities, then a decode step. Returns
  // a list for each of `adapters`.
  std::vector<std::vector<float>> run(const std::vector<uint32_t>& adapters) {
    std::vector<std::vector<float>> out(adapters.size());
    StepPlan first, second;
    for (size_t i = 0; i < adapters.size(); ++i) {
      auto request = std::make_shared<SequenceRequest>();
      request->prompt = {5, 9, 2, 7, 30, 11, 3, 41, 40, 8, 63};
      request->sampling.temperature = 0;
      request->sampling.logprobs = 20;
      request->adapter = adapters[i];
      const auto slot = static_cast<int32_t>(i);
      first.starts.push_back({slot, request});
      first.tables.push_back(
          {.slot = slot, .changes = {{.blocks = {BlockId{static_cast<uint32_t>(i)}}}}});
      StepEntry entry{.slot = slot, .tokens = request->prompt.tokens(), .samples = true};
      entry.prompt_logprobs = true;
      first.entries.push_back(entry);
      second.entries.push_back({.slot = slot, .position = 11, .tokens = {17}, .samples = true});
      second.ends.push_back(slot);
    }
    for (const StepPlan* plan : {&first, &second}) {
      const auto result = rank->run(*plan);
      EXPECT_TRUE(result.ok()) << result.error().message();
      finite.assign(adapters.size(), true);
      for (size_t i = 0; result.ok() && i < adapters.size(); ++i) {
        finite[i] = result->sampled[i].finite;
        for (const TokenLogprobs& one : result->sampled[i].prompt_logprobs)
          out[i].push_back(one.logprob);
        for (const auto& [id, value] : result->sampled[i].logprobs.top) out[i].push_back(value);
      }
    }
    return out;
  }
  device::CpuDevice device{DeviceId{0}, testing_support::cpu(uint64_t{16} << 20, 2)};
  std::unique_ptr<Rank> rank;
  std::vector<bool> finite;  // By adapter of run(), in its last step.
};

void expect_near(const std::vector<float>& got, const std::vector<float>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 2e-4f) << i;
}

// Goal: an adapter gives what merged weights give, from both formats, on both formats of model.
TEST(Adapter, EqualsMergedWeights) {
  const auto all = matrices(1);
  const auto want = Running(write_merged(all)).run({0})[0];
  const std::string model_folder = testing_support::write_tiny_folder("llama", DType::kF32);
  const std::string model_gguf = testing_support::write_tiny_gguf("llama");
  const std::string peft = write_peft("peft", all), gguf = write_gguf("adapter", all);
  for (const std::string& model : {model_folder, model_gguf})
    for (const std::string& adapter : {peft, gguf, peft + "/adapter_model.safetensors"}) {
      SCOPED_TRACE(model + " " + adapter);
      Running running(model, {adapter});
      const auto base = running.run({0})[0], adapted = running.run({1})[0];
      expect_near(adapted, want);
      EXPECT_GT(std::abs(base[0] - want[0]) + std::abs(base[5] - want[5]), 0.05f)
          << "the adapter matters";
    }
}

// Goal: each row of a batch has its own adapter, and rows of the model itself have the same bits as
// without any.
TEST(Adapter, RowsOfABatchDoNotTouchEachOther) {
  const std::string model = testing_support::write_tiny_gguf("llama");
  const std::string one = write_gguf("one", matrices(1)), two = write_gguf("two", matrices(50));
  const auto plain = Running(model).run({0})[0];
  Running running(model, {one, two});
  const auto alone_one = running.run({1})[0], alone_two = running.run({2})[0];
  EXPECT_NE(alone_one, alone_two);
  const auto mixed = running.run({0, 2, 1, 0});
  EXPECT_EQ(mixed[0], plain);
  EXPECT_EQ(mixed[1], alone_two);
  EXPECT_EQ(mixed[2], alone_one);
  EXPECT_EQ(mixed[3], plain);
  const std::vector<uint32_t> twelve = {0, 2, 1, 0, 1, 2, 2, 1, 0, 0, 1, 2};
  static_assert(12 * 11 >= 2 * kOwnTokens, "a step whose tokens the threads share");
  const auto many = running.run(twelve);
  for (size_t i = 0; i < twelve.size(); ++i)
    EXPECT_EQ(many[i], (std::array{plain, alone_one, alone_two}[twelve[i]])) << i;
}

// Goal: what overflows through an adapter's values is told of in its rows alone; others keep their
// bits, also in the blocks that such a sequence left.
TEST(Adapter, ValuesThatOverflowAreToldOf) {
  const std::string model = testing_support::write_tiny_gguf("llama");
  const auto plain = Running(model).run({0})[0];
  for (const float scale : {1e14f, 1e20f, 1e37f}) {
    SCOPED_TRACE(scale);
    auto huge = matrices(1);
    for (Matrix& one : huge)
      for (float& value : one.a) value *= scale;
    Running running(model, {write_gguf("huge", huge)});
    const auto mixed = running.run({0, 1, 0});
    EXPECT_EQ(running.finite, (std::vector<bool>{true, false, true}));
    EXPECT_EQ(mixed[0], plain);
    EXPECT_EQ(mixed[2], plain);
    const auto after = running.run({0, 0, 0});
    EXPECT_EQ(running.finite, (std::vector<bool>{true, true, true}));
    for (const auto& one : after) EXPECT_EQ(one, plain);
  }
}

// Goal: adapters that come and go between steps give the bits of those that were there from the
// start, and free their memory.
TEST(Adapter, ComesAndGoesBesideSteps) {
  const std::string model = testing_support::write_tiny_gguf("llama");
  const std::string one = write_gguf("late1", matrices(1)), two = write_gguf("late2", matrices(50));
  const auto want = Running(model, {one, two}).run({0, 1, 2});
  Running running(model);
  const uint64_t before = running.device.memory_use().used;
  Result<uint64_t> loaded = uint64_t{0};
  std::atomic<bool> over = false;
  std::thread reader([&] {
    for (int i = 0; i < 20; ++i) {
      loaded = running.rank->load_adapter(7, one);
      running.rank->drop_adapter(7);
    }
    loaded = running.rank->load_adapter(8, one);
    over = true;
  });
  do {
    EXPECT_EQ(running.run({0})[0], want[0]);
  } while (!over);
  reader.join();
  ASSERT_TRUE(loaded.ok()) << loaded.error().message();
  ASSERT_TRUE(running.rank->load_adapter(9, two).ok());
  EXPECT_EQ(running.run({0, 8, 9}), want);
  EXPECT_GE(running.device.memory_use().used, before + *loaded);
  running.rank->drop_adapter(8);
  running.rank->drop_adapter(9);
  running.rank->drop_adapter(10);
  EXPECT_EQ(running.device.memory_use().used, before);
}

// Goal: a sequence keeps the adapter it began with; the adapter's memory is freed with the last
// sequence that has it.
TEST(Adapter, IsHeldByItsSequence) {
  const std::string model = testing_support::write_tiny_gguf("llama");
  const std::string file = write_gguf("held", matrices(1));
  Running running(model);
  const uint64_t before = running.device.memory_use().used;
  ASSERT_TRUE(running.rank->load_adapter(4, file).ok());
  const uint64_t with = running.device.memory_use().used;
  auto request = std::make_shared<SequenceRequest>();
  request->prompt = {3, 1, 4};
  request->sampling.temperature = 0;
  request->sampling.logprobs = 3;
  request->adapter = 4;
  const auto step = [&](bool starts) {
    StepPlan plan;
    if (starts) plan.starts.push_back({0, request});
    if (starts) plan.tables.push_back({.slot = 0, .changes = {{.blocks = {BlockId{0}}}}});
    plan.entries.push_back({.slot = 0, .tokens = request->prompt.tokens(), .samples = true});
    const auto result = running.rank->run(plan);
    EXPECT_TRUE(result.ok()) << result.error().message();
    return result.ok() ? result->sampled.at(0).logprobs.top
                       : std::vector<std::pair<int32_t, float>>();
  };
  const auto want = step(true);
  running.rank->drop_adapter(4);
  EXPECT_EQ(running.device.memory_use().used, with);
  EXPECT_EQ(step(false), want);
  StepPlan end;
  end.ends.push_back(0);
  EXPECT_TRUE(running.rank->run(end).ok());
  EXPECT_EQ(running.device.memory_use().used, before);
  StepPlan late;
  late.starts.push_back({0, request});
  const auto refused = running.rank->run(late);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message(), HasSubstr("there is no adapter 4"));
}

// Goal: an adapter that can't be loaded leaves nothing behind, and steps go on.
TEST(Adapter, LateOnesAreRefusedWithTheReason) {
  const std::string model = testing_support::write_tiny_gguf("llama");
  Running running(model);
  const uint64_t before = running.device.memory_use().used;
  const auto plain = running.run({0})[0];
  const auto error = [&](const std::string& path) {
    const auto loaded = running.rank->load_adapter(3, path);
    return loaded.ok() ? std::string("(it loaded)") : loaded.error().message();
  };
  auto wide = matrices(1);
  wide[0].rows = 16, wide[0].b.resize(16 * kRank);
  EXPECT_THAT(error(write_peft("late3", wide)), HasSubstr("the model asks for [rank, 32]"));
  EXPECT_THAT(error("/nonexistent"), HasSubstr("/nonexistent"));
  const std::string whole = write_gguf("late4", matrices(1));
  std::ifstream in(whole, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  for (size_t cut = 0; cut < bytes.size(); cut += bytes.size() / 97) {
    write_file(folder() + "/cut.gguf", std::string_view(bytes).substr(0, cut));
    EXPECT_NE(error(folder() + "/cut.gguf"), "(it loaded)") << cut;
  }
  const auto left = running.device.memory_use();
  const auto hog = running.device.allocate("hog", left.total - left.used - 4096);
  ASSERT_TRUE(hog.ok());
  const auto refused = running.rank->load_adapter(3, whole);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kBusy);
  EXPECT_THAT(refused.error().message(), HasSubstr("the adapter needs"));
  EXPECT_EQ(running.device.memory_use().used, before + hog->size());
  EXPECT_EQ(running.run({0})[0], plain);
}

// Goal: a file that would turn every answer into nonsense is refused with its tensor's name, at the
// start and later, and steps go on. Method: one value of one matrix that is not finite, or not once
// it is scaled.
TEST(Adapter, ValuesThatAreNotFiniteAreRefused) {
  const std::string model = testing_support::write_tiny_gguf("llama");
  Running running(model);
  const uint64_t before = running.device.memory_use().used;
  const auto plain = running.run({0})[0];
  struct Row {
    size_t matrix, at;
    bool of_a;
    float value;
    const char *peft, *gguf;
  };
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const Row rows[] = {
      {0, 0, true, kNan, "layers.0.self_attn.q_proj.lora_A.weight", "blk.0.attn_q.weight.lora_a"},
      {1, 63, false, kNan, "layers.0.self_attn.k_proj.lora_B.weight", "blk.0.attn_k.weight.lora_b"},
      {13, 127, true, -kInfinity, "layers.1.mlp.down_proj.lora_A.weight",
       "blk.1.ffn_down.weight.lora_a"},
      {11, 5, false, 3e38f, "layers.1.mlp.gate_proj.lora_B.weight", "blk.1.ffn_gate.weight.lora_b"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.gguf);
    auto all = matrices(1);
    (row.of_a ? all[row.matrix].a : all[row.matrix].b)[row.at] = row.value;
    const std::pair<std::string, const char*> files[] = {{write_peft("not_finite", all), row.peft},
                                                         {write_gguf("not_finite", all), row.gguf}};
    for (const auto& [path, tensor] : files) {
      const auto late = running.rank->load_adapter(3, path);
      ASSERT_FALSE(late.ok());
      EXPECT_EQ(late.error().code(), ErrorCode::kInvalid);
      EXPECT_THAT(late.error().message(), HasSubstr(tensor));
      EXPECT_THAT(late.error().message(), HasSubstr("not finite"));
      LoadOptions options;
      options.model_path = model;
      options.adapters.push_back({"x", path});
      device::CpuDevice device{DeviceId{0}, testing_support::cpu(uint64_t{16} << 20, 2)};
      const auto first = load_rank(options, device);
      ASSERT_FALSE(first.ok());
      EXPECT_THAT(first.error().message(), HasSubstr(tensor));
    }
  }
  EXPECT_EQ(running.device.memory_use().used, before);
  EXPECT_EQ(running.run({0})[0], plain);
}

// Goal: a configuration that an editor saved is read, and UTF-16 is called that.
TEST(Adapter, ByteOrderMarks) {
  const auto file = ModelFile::open(testing_support::write_tiny_gguf("llama"));
  ASSERT_TRUE(file.ok());
  const std::string path = write_peft("marked", matrices(1));
  std::ifstream in(path + "/adapter_config.json", std::ios::binary);
  const std::string config(std::istreambuf_iterator<char>(in), {});
  write_file(path + "/adapter_config.json", "\xEF\xBB\xBF" + config);
  EXPECT_TRUE(CheckedAdapter::open(path, file->config()).ok());
  std::string little, big;
  for (const char c : config) {
    (little += c) += '\0';
    (big += '\0') += c;
  }
  for (const std::string& text : {"\xFF\xFE" + little, "\xFE\xFF" + big, little, big}) {
    write_file(path + "/adapter_config.json", text);
    const auto opened = CheckedAdapter::open(path, file->config());
    ASSERT_FALSE(opened.ok());
    EXPECT_THAT(opened.error().message(), HasSubstr("adapter_config.json is UTF-16"));
  }
}

// Goal: what does not fit or is not supported is refused at opening, with the numbers.
TEST(Adapter, Refuses) {
  const auto file = ModelFile::open(testing_support::write_tiny_gguf("llama"));
  ASSERT_TRUE(file.ok());
  const auto error = [&](const std::string& path) {
    const auto opened = CheckedAdapter::open(path, file->config());
    return opened.ok() ? std::string("(it opened)") : opened.error().message();
  };
  auto all = matrices(1);
  EXPECT_THAT(error(write_gguf("r1", all, "qwen2")), HasSubstr("'qwen2', this one is 'llama'"));
  EXPECT_THAT(error(write_gguf("r2", all, "llama", "model")), HasSubstr("general.type is 'model'"));
  EXPECT_THAT(error("/nonexistent"), HasSubstr("/nonexistent"));
  EXPECT_THAT(error(folder()), HasSubstr("adapter_config.json"));
  EXPECT_THAT(error(write_gguf("r3", {})), HasSubstr("no matrices"));
  EXPECT_THAT(error(write_peft("r4", all, {{"use_dora", true}})), HasSubstr("use_dora"));
  EXPECT_THAT(error(write_peft("r5", all, {{"bias", "all"}})), HasSubstr("bias 'none'"));
  EXPECT_THAT(error(write_peft("r6", all, {{"peft_type", "IA3"}})), HasSubstr("LORA"));
  EXPECT_THAT(error(write_peft("r7", all, {{"lora_alpha", "x"}})), HasSubstr("lora_alpha"));
  EXPECT_THAT(error(write_peft("r8", all, {{"lora_alpha", 1e300}})), HasSubstr("scale"));
  auto damaged = all;
  damaged[0].rows = 16, damaged[0].b.resize(16 * kRank);
  EXPECT_THAT(error(write_peft("r9", damaged)),
              HasSubstr("[4, 32] and its partner [16, 4]; the model asks for [rank, 32] and [32, "
                        "rank]"));
  damaged = all;
  damaged[0].hugging_face = "model.layers.7.self_attn.q_proj";
  damaged[0].gguf = "blk.7.attn_q";
  EXPECT_THAT(error(write_peft("r10", damaged)), HasSubstr("of layer 7, the model has 2"));
  EXPECT_THAT(error(write_gguf("r11", damaged)), HasSubstr("of layer 7, the model has 2"));
  damaged[0].gguf = "token_embd", damaged[0].hugging_face = "model.embed_tokens";
  EXPECT_THAT(error(write_gguf("r12", damaged)), HasSubstr("'token_embd.weight.lora_a' is not"));
  EXPECT_THAT(error(write_peft("r13", damaged)), HasSubstr("embed_tokens.lora_A.weight' is not"));
  const std::string whole = write_gguf("ok", all);
  EXPECT_TRUE(CheckedAdapter::open(whole, file->config(), kRank).ok());
  const auto high = CheckedAdapter::open(whole, file->config(), kRank - 1);
  ASSERT_FALSE(high.ok());
  EXPECT_THAT(high.error().message(), HasSubstr("has rank 4; 1 to 3 are possible"));
}

}  // namespace
}  // namespace altlas::model
