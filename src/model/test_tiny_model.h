// The tests' tiny random models: testdata/NAME.json describes one without weights, these functions
// make its files by the recipe of testdata/make_fixtures.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "device/cpu/cpu_device.h"
#include "device/spec.h"
#include "tensor/dtype.h"

namespace altlas::model::testing_support {

inline device::DeviceSpec cpu(uint64_t memory_bytes, uint32_t threads = 1) {
  return {.kind = device::DeviceKind::kCpu,
          .name = "cpu",
          .memory_bytes = memory_bytes,
          .threads = threads};
}

// What transformers computes for the model in float32.
struct Golden {
  std::vector<int32_t> tokens;
  size_t vocab = 0;
  std::vector<float> logits;  // [tokens, vocab]; of a decoder.
  // The embedding of all tokens, of length 1. A decoder's: the last token's.
  std::vector<float> embedding;
  std::vector<float> mean_embedding;  // The mean embedding of a decoder.
};

// These abort if the description can't be read or the files not be written. What they write is gone
// when the process ends.
Golden read_golden(const std::string& name);
// True for a model that GGUF files can express.
bool has_tiny_gguf(const std::string& name);
// Writes the model's GGUF file (F32); returns its path.
std::string write_tiny_gguf(const std::string& name);
// Writes the model's Hugging Face folder, tensors of F32, F16 or BF16 in `shards` files; returns
// its path.
std::string write_tiny_folder(const std::string& name, DType type, size_t shards = 1);

}  // namespace altlas::model::testing_support
