#include "model/model_file.h"

#include <filesystem>
#include <utility>

#include "model/gguf_config.h"
#include "model/hf_config.h"
#include "model/hf_tensors.h"
#include "weights/gguf_model.h"
#include "weights/mapped_file.h"
#include "weights/safetensors.h"

namespace altlas::model {
namespace {
std::string_view text_of(const weights::MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}
}  // namespace

bool is_model_folder(const std::string& path) {
  std::error_code failed;
  return std::filesystem::is_regular_file(std::filesystem::path(path) / "config.json", failed);
}

Result<ModelFile> ModelFile::open(const std::string& path) {
  ModelFile out;
  if (!is_model_folder(path)) {
    ALTLAS_TRY(weights::GgufModel gguf, weights::GgufModel::open(path));
    ALTLAS_TRY(out.config_, read_gguf_config(gguf));
    out.tensors_ = std::make_unique<weights::GgufModel>(std::move(gguf));
    return out;
  }
  const std::string config_path = path + "/config.json";
  ALTLAS_TRY(const weights::MappedFile mapped, weights::MappedFile::open(config_path));
  const auto bytes = mapped.bytes();
  ALTLAS_TRY(
      HfConfig config,
      read_hf_config({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, config_path));
  const std::string pooling_path = path + "/1_Pooling/config.json";
  std::error_code failed;
  if (std::filesystem::is_regular_file(pooling_path, failed)) {
    ALTLAS_TRY(const weights::MappedFile pooling, weights::MappedFile::open(pooling_path));
    ALTLAS_TRY(config.model.pooling, read_hf_pooling(text_of(pooling), pooling_path));
  }
  ALTLAS_TRY(weights::SafetensorsModel files, weights::SafetensorsModel::open(path));
  out.config_ = std::move(config.model);
  out.files_ = std::make_unique<weights::SafetensorsModel>(std::move(files));
  out.tensors_ = std::make_unique<HfTensors>(*out.files_, out.config_.architecture, config.tied);
  return out;
}

}  // namespace altlas::model
