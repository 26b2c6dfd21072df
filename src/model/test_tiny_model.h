// The tests' tiny random models: testdata/NAME.json describes one without weights, these functions
// make its files by the recipe of testdata/make_fixtures.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tensor/dtype.h"

namespace altlas::model::testing_support {

// What transformers computes for the model in float32.
struct Golden {
  std::vector<int32_t> tokens;
  size_t vocab = 0;
  std::vector<float> logits;  // [tokens, vocab]
};

// These abort if the description can't be read or the file not be written.
Golden read_golden(const std::string& name);
// Writes the model's GGUF file (F32); returns its path. It is gone when the process ends.
std::string write_tiny_gguf(const std::string& name);

}  // namespace altlas::model::testing_support
