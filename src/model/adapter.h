// LoRA adapters: small matrices whose products are added to a decoder's own.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/architecture.h"
#include "model/arena.h"
#include "weights/tensor_source.h"

namespace altlas::model {

// y[first_column …] += B (A x), scale included in B.
struct LowRank {
  uint32_t first_column = 0;
  uint32_t rows = 0;  // For B: values of y.
  uint32_t cols = 0;  // For A: values of x.
  uint32_t rank = 0;
  const float* a = nullptr;  // [rank, cols]
  const float* b = nullptr;  // [rank, rows]: B's columns.
};

// What is added to the products of one layer, as LayerWeights has them.
struct LayerAdapter {
  std::vector<LowRank> qkv;
  std::vector<LowRank> output;
  std::vector<LowRank> gate_up;
  std::vector<LowRank> down;
};

// An adapter with its matrices in a device's memory.
struct Adapter {
  std::vector<LayerAdapter> layers;
  uint64_t identity = 0;  // Tells its values from other adapters', alike on every machine; not 0.
};

// An adapter's file, checked against the model it is for. Const after open, any thread; movable.
class CheckedAdapter {
 public:
  // path: a GGUF adapter (general.type "adapter"), or PEFT's folder with adapter_config.json and
  // adapter_model.safetensors. Errors: kNotFound, kIo; kInvalid for one that is for another model
  // or shape, with the numbers, and for what we do not support (DoRA, biases, embeddings, experts),
  // naming it. rank_max: 0: what the kernels take.
  static Result<CheckedAdapter> open(const std::string& path, const Hyperparameters& config,
                                     uint32_t rank_max = 0);

  // Takes its matrices from `arena` and, unless it is only measuring, fills them.
  Result<Adapter> lay_out(Arena& arena) const;

 private:
  enum class Target : uint8_t { kQ, kK, kV, kOutput, kGate, kUp, kDown };
  struct Pair {
    uint32_t layer = 0;
    Target target = Target::kQ;
    float scale = 1;
    std::string a, b;  // Names of the tensors.
  };
  friend class AdapterReader;
  CheckedAdapter() = default;
  LowRank place(const Pair& pair, uint32_t rank) const;
  Result<void> fill(const Pair& pair, const LowRank& into, float* a, float* b) const;
  uint32_t file_row(const Pair& pair, uint32_t row) const;

  std::string path_;
  Hyperparameters config_;
  bool peft_ = false;
  ops::RopeStyle rope_ = ops::RopeStyle::kNeox;  // Order of the file's rows of q and k.
  std::vector<Pair> pairs_;
  std::unique_ptr<const weights::TensorSource> tensors_;
};

}  // namespace altlas::model
