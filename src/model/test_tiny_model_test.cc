#include "model/test_tiny_model.h"

#include <fmt/format.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <span>
#include <string_view>

#include "base/check.h"
#include "tensor/half.h"
#include "weights/gguf_writer.h"

namespace altlas::model::testing_support {
namespace {
namespace fs = std::filesystem;
namespace json = boost::json;

json::object description(const std::string& name) {
  std::ifstream file(ALTLAS_SOURCE_DIR "/src/model/testdata/" + name + ".json");
  ALTLAS_CHECK(file.good(), "testdata/NAME.json exists");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return json::parse(text).as_object();
}

uint64_t splitmix64(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// The recipe for weights. Every step is exact, so the bits are those of the Python version.
std::vector<float> recipe(std::string_view name, size_t count, double scale, double offset) {
  uint64_t seed = 0xcbf29ce484222325;
  for (const char c : name) seed = (seed ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  std::vector<float> out(count);
  for (size_t i = 0; i < count; ++i) {
    const int k = static_cast<int>(splitmix64(seed + i) >> 57) - 64;
    out[i] = static_cast<float>(offset + scale * k / 64.0);
  }
  return out;
}

double number_or(const json::object& object, std::string_view key, double fallback) {
  const json::value* value = object.if_contains(key);
  return value != nullptr ? value->to_number<double>() : fallback;
}

struct Tensor {
  std::string name, gguf_name;
  std::vector<uint64_t> shape;  // In row-major order.
  std::vector<float> values;    // In the order of the Hugging Face checkpoint.
  double gguf_add = 0;
  size_t gguf_heads = 0;  // > 0: in GGUF the rows of each head have another order.
  bool expert = false;    // The tensor is one of a layer's experts, which are one tensor in GGUF.
};

std::vector<Tensor> tensors(const json::object& model) {
  std::vector<Tensor> out;
  for (const json::value& value : model.at("tensors").as_array()) {
    const json::object& from = value.as_object();
    Tensor& to = out.emplace_back();
    to.name = json::value_to<std::string>(from.at("name"));
    to.gguf_name = json::value_to<std::string>(from.at("gguf"));
    to.shape = json::value_to<std::vector<uint64_t>>(from.at("shape"));
    size_t count = 1;
    for (const uint64_t size : to.shape) count *= size;
    to.values = recipe(to.name, count, number_or(from, "scale", 0), number_or(from, "offset", 0));
    to.gguf_add = number_or(from, "gguf_add", 0);
    to.gguf_heads = static_cast<size_t>(number_or(from, "gguf_heads", 0));
    to.expert = from.contains("expert");
  }
  return out;
}

// Returns rows of q or k in the order of llama's GGUF files: the two of a rope pair side by side.
std::vector<float> adjacent_pairs(const Tensor& tensor) {
  const size_t rows = tensor.shape[0], cols = tensor.values.size() / rows,
               head = rows / tensor.gguf_heads;
  std::vector<float> out;
  for (size_t first = 0; first < rows; first += head)
    for (size_t r = 0; r < head; ++r) {
      const size_t from = first + r / 2 + r % 2 * (head / 2);
      out.insert(out.end(), tensor.values.begin() + static_cast<long>(from * cols),
                 tensor.values.begin() + static_cast<long>((from + 1) * cols));
    }
  return out;
}

void put_metadata(weights::GgufWriter& writer, std::string_view key, const json::value& value) {
  if (value.is_string())
    writer.string(key, value.as_string());
  else if (value.is_bool())
    writer.boolean(key, value.as_bool());
  else if (value.is_double())
    writer.float32(key, static_cast<float>(value.as_double()));
  else if (value.is_array())
    writer.int32s(key, json::value_to<std::vector<int32_t>>(value));
  else
    writer.uint32(key, value.to_number<uint32_t>());
}

void put_tensor(weights::GgufWriter& writer, const std::string& name,
                const std::vector<uint64_t>& dims, const std::vector<float>& values) {
  writer.tensor(name, DType::kF32, dims,
                {reinterpret_cast<const uint8_t*>(values.data()), values.size() * 4});
}

void put_value(DType type, float value, std::string& out) {
  const uint16_t half = type == DType::kF16 ? f16_from_float(value) : bf16_from_float(value);
  if (type == DType::kF32)
    out.append(reinterpret_cast<const char*>(&value), sizeof value);
  else
    out.append(reinterpret_cast<const char*>(&half), sizeof half);
}

// This process' folder for models, which goes at its end.
class Folder {
 public:
  Folder() : path_(fs::temp_directory_path() / fmt::format("altlas_tiny_{}", ::getpid())) {
    fs::create_directories(path_);
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};
const fs::path& folder() {
  static const Folder folder;
  return folder.path();
}

}  // namespace

Golden read_golden(const std::string& name) {
  const json::object model = description(name);
  Golden golden{.tokens = json::value_to<std::vector<int32_t>>(model.at("tokens"))};
  golden.embedding = json::value_to<std::vector<float>>(model.at("embedding"));
  if (!model.contains("logits")) return golden;  // It is an encoder.
  golden.mean_embedding = json::value_to<std::vector<float>>(model.at("mean_embedding"));
  for (const json::value& row : model.at("logits").as_array()) {
    golden.vocab = row.as_array().size();
    for (const json::value& logit : row.as_array())
      golden.logits.push_back(logit.to_number<float>());
  }
  ALTLAS_CHECK(golden.logits.size() == golden.tokens.size() * golden.vocab, "a row per token");
  return golden;
}

bool has_tiny_gguf(const std::string& name) { return description(name).at("gguf").is_object(); }

std::string write_tiny_gguf(const std::string& name) {
  const json::object model = description(name);
  weights::GgufWriter writer;
  for (const auto& [key, value] : model.at("gguf").as_object()) put_metadata(writer, key, value);
  std::map<std::string, std::pair<std::vector<uint64_t>, std::vector<float>>> experts;
  for (Tensor& tensor : tensors(model)) {
    if (tensor.gguf_heads > 0) tensor.values = adjacent_pairs(tensor);
    for (float& value : tensor.values) value += static_cast<float>(tensor.gguf_add);
    std::vector<uint64_t> dims(tensor.shape.rbegin(), tensor.shape.rend());
    if (!tensor.expert) {
      put_tensor(writer, tensor.gguf_name, dims, tensor.values);
      continue;
    }
    auto& [all_dims, all] = experts[tensor.gguf_name];
    all.insert(all.end(), tensor.values.begin(), tensor.values.end());
    if (all_dims.empty()) {
      all_dims = dims;
      all_dims.push_back(0);
    }
    ++all_dims[2];
  }
  for (const auto& [key, all] : experts) put_tensor(writer, key, all.first, all.second);
  for (const auto& [key, value] : model.at("gguf_tensors").as_object()) {
    const auto values = json::value_to<std::vector<float>>(value);
    put_tensor(writer, key, {values.size()}, values);
  }
  const std::string path = (folder() / (name + ".gguf")).string();
  ALTLAS_CHECK(writer.write(path).ok(), "the temporary folder takes a file");
  return path;
}

std::string write_tiny_folder(const std::string& name, DType type, size_t shards) {
  const json::object model = description(name);
  const fs::path root = folder() / fmt::format("{}_{}_{}", name, dtype_info(type).name, shards);
  fs::create_directories(root);
  std::ofstream(root / "config.json") << json::serialize(model.at("config"));
  if (model.contains("pooling")) {
    fs::create_directories(root / "1_Pooling");
    const std::string key =
        model.at("pooling") == "cls" ? "pooling_mode_cls_token" : "pooling_mode_mean_tokens";
    std::ofstream(root / "1_Pooling" / "config.json") << json::serialize(json::object{{key, true}});
  }
  const std::vector<Tensor> all = tensors(model);
  json::object map;
  for (size_t shard = 0; shard < shards; ++shard) {
    const std::string file =
        shards == 1 ? "model.safetensors"
                    : fmt::format("model-{:05}-of-{:05}.safetensors", shard + 1, shards);
    json::object header;
    std::string data;
    for (size_t i = shard; i < all.size(); i += shards) {
      const size_t begin = data.size();
      for (const float value : all[i].values) put_value(type, value, data);
      header[all[i].name] = {{"dtype", dtype_info(type).name},
                             {"shape", json::value_from(all[i].shape)},
                             {"data_offsets", {begin, data.size()}}};
      map[all[i].name] = file;
    }
    const std::string text = json::serialize(header);
    const uint64_t length = text.size();
    std::ofstream out(root / file, std::ios::binary);
    out.write(reinterpret_cast<const char*>(&length), 8);
    out << text << data;
    ALTLAS_CHECK(out.good(), "the temporary folder takes a file");
  }
  if (shards > 1)
    std::ofstream(root / "model.safetensors.index.json")
        << json::serialize(json::object{{"weight_map", map}});
  return root.string();
}

}  // namespace altlas::model::testing_support
