// ModelFile: a model's numbers and tensors, whatever the format of its files.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "model/architecture.h"
#include "weights/tensor_source.h"

namespace altlas::model {

// Const after open, any thread. Movable; views of tensors survive a move.
class ModelFile {
 public:
  // path: a GGUF file (of a split model the first), or a Hugging Face folder: config.json and
  // safetensors. Errors: kNotFound, kIo, kInvalid, naming the file and what is wrong.
  static Result<ModelFile> open(const std::string& path);

  const Hyperparameters& config() const { return config_; }
  // Under GGUF's names; their order and norms as config() says.
  const weights::TensorSource& tensors() const { return *tensors_; }
  // Tells models apart whose tensors or numbers differ, wherever their files lie: a hash of names,
  // types, shapes and samples of values.  Errors: as tensors().tensor().
  Result<uint64_t> identity() const;

 private:
  ModelFile() = default;

  Hyperparameters config_;
  std::unique_ptr<const weights::TensorSource>
      files_;  // The files of a folder, under their own names.
  std::unique_ptr<const weights::TensorSource> tensors_;
};

// True for a folder with a config.json.
bool is_model_folder(const std::string& path);

}  // namespace altlas::model
