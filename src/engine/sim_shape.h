// The shape of a model file, for simulating it: no tensor data is read.
#pragma once

#include <string>

#include "base/result.h"
#include "engine/sim_model.h"

namespace altlas::engine {

// From the metadata of a GGUF file, one of a split model included, or of a Hugging Face folder.
// Errors: as GgufModel::open; kInvalid, kNotFound naming the key that is missing or wrong.
Result<SimShape> read_sim_shape(const std::string& path);

}  // namespace altlas::engine
