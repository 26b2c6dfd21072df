// A model's numbers from the metadata of its GGUF file.
#pragma once

#include "base/result.h"
#include "model/architecture.h"
#include "weights/gguf_model.h"

namespace altlas::model {

// Errors: kNotFound, kInvalid: an architecture or value that we do not support, saying what we do.
Result<Hyperparameters> read_gguf_config(const weights::GgufModel& file);

}  // namespace altlas::model
