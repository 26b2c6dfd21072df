#include "model/test_tiny_model.h"

#include <fmt/format.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string_view>

#include "base/check.h"
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

// The recipe. Every step is exact, so the same bits as in Python.
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
  std::vector<uint64_t> shape;  // Row-major.
  std::vector<float> values;    // As the Hugging Face checkpoint has them.
  double gguf_add = 0;
  size_t gguf_heads = 0;  // > 0: the rows of each head stand in another order in GGUF.
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
  }
  return out;
}

// Rows of q or k in the order of llama's GGUF files: those of a rope pair beside each other.
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

// This process's folder for models; gone at its end.
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
  for (const json::value& row : model.at("logits").as_array()) {
    golden.vocab = row.as_array().size();
    for (const json::value& logit : row.as_array())
      golden.logits.push_back(logit.to_number<float>());
  }
  ALTLAS_CHECK(golden.logits.size() == golden.tokens.size() * golden.vocab, "a row per token");
  return golden;
}

std::string write_tiny_gguf(const std::string& name) {
  const json::object model = description(name);
  weights::GgufWriter writer;
  for (const auto& [key, value] : model.at("gguf").as_object()) put_metadata(writer, key, value);
  for (Tensor& tensor : tensors(model)) {
    if (tensor.gguf_heads > 0) tensor.values = adjacent_pairs(tensor);
    for (float& value : tensor.values) value += static_cast<float>(tensor.gguf_add);
    const std::vector<uint64_t> dims(tensor.shape.rbegin(), tensor.shape.rend());
    writer.tensor(
        tensor.gguf_name, DType::kF32, dims,
        {reinterpret_cast<const uint8_t*>(tensor.values.data()), tensor.values.size() * 4});
  }
  const std::string path = (folder() / (name + ".gguf")).string();
  ALTLAS_CHECK(writer.write(path).ok(), "the temporary folder takes a file");
  return path;
}

}  // namespace altlas::model::testing_support
