#include "cli/model_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "base/log.h"
#include "base/strings.h"
#include "engine/load.h"
#include "model/model_file.h"
#include "weights/gguf_model.h"
#include "weights/model_source.h"
#include "weights/pull.h"

namespace altlas::cli {
namespace {

// Bytes of the matrices, by type. Vectors (norms, biases) are left out: they are often kept wider.
Result<std::map<DType, uint64_t>> matrix_types(const weights::TensorSource& tensors) {
  std::map<DType, uint64_t> bytes;
  for (const std::string_view name : tensors.tensor_names()) {
    ALTLAS_TRY(const weights::TensorView tensor, tensors.tensor(name));
    if (tensor.rows() > 1) bytes[tensor.dtype] += tensor.data.size();
  }
  return bytes;
}

Result<std::map<DType, uint64_t>> types_of(const std::string& path) {
  if (model::is_model_folder(path)) {
    ALTLAS_TRY(const model::ModelFile file, model::ModelFile::open(path));
    return matrix_types(file.tensors());
  }
  ALTLAS_TRY(const weights::GgufModel file, weights::GgufModel::open(path));
  return matrix_types(file);
}

DType wanted_type(WeightType dtype) {
  switch (dtype) {
    case WeightType::kF16:
      return DType::kF16;
    case WeightType::kBf16:
      return DType::kBF16;
    default:
      return DType::kF32;
  }
}

}  // namespace

const config::ModelConfig* find_model(const config::Config& config, std::string_view name) {
  const auto found = std::ranges::find(config.models, name, &config::ModelConfig::name);
  return found == config.models.end() ? nullptr : &*found;
}

Result<void> check_sha256(const config::ModelConfig& model, const std::string& path) {
  if (model.sha256.empty()) return {};
  const auto refuse = [&](const std::string& what) {
    return invalid(fmt::format("models: '{}': sha256: {}", model.name, what), "models.sha256");
  };
  std::error_code error;
  uint32_t number = 0, count = 1;
  const std::filesystem::path file(path);
  weights::parse_shard_name(file.filename().string(), number, count);
  if (std::filesystem::is_directory(file, error) || count > 1)
    return refuse(fmt::format("'{}' has several files, a checksum is of one: remove it", path));
  ALTLAS_TRY(const std::string sum, weights::sha256_of_file(path, nullptr));
  if (sum != lower(model.sha256))
    return refuse(fmt::format("'{}' has {}, not {}: it is another file, or damaged", path, sum,
                              model.sha256));
  log::info("model {}: its checksum is right", model.name);
  return {};
}

Result<void> check_dtype(WeightType dtype, const std::string& path) {
  if (dtype == WeightType::kAuto) return {};
  ALTLAS_TRY(const auto types, types_of(path));
  const DType wanted = wanted_type(dtype);
  for (const auto& [type, bytes] : types)
    if (type != wanted)
      return Error(ErrorCode::kUnsupported,
                   fmt::format("dtype: {} is asked for, but matrices of '{}' are {}; this build "
                               "does not convert weights: write auto, or take a file in {}",
                               to_string(dtype), path, dtype_info(type).name, to_string(dtype)))
          .with_field("engine.dtype");
  return {};
}

Result<replica::ReplicaLimits> planned_limits(const control::DeploymentSetup& deployment,
                                              std::span<const control::DeviceSetup> devices) {
  engine::LoadReplica load = deployment.load;
  for (const DeviceId id : deployment.replicas.front())
    load.ranks.push_back(control::rank_place(devices[static_cast<size_t>(id.value)]));
  auto limits = engine::plan_replica(load);
  if (!limits.ok()) return Error(limits.error()).with_context("deployment " + deployment.name);
  return limits;
}

}  // namespace altlas::cli
