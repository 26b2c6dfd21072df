// A model's numbers from the config.json of a Hugging Face folder.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "model/architecture.h"

namespace altlas::model {

// A config.json is parsed to a tree, so its size bounds our memory; real ones stay below 1 MiB.
inline constexpr uint64_t kHfConfigBytesMax = 4 << 20;

struct HfConfig {
  Hyperparameters model;
  bool tied = false;  // The head is the embedding.
};

// 1_Pooling/config.json of a Sentence Transformers folder.  Errors: kInvalid.
Result<Pooling> read_hf_pooling(std::string_view text, const std::string& path);

// text: the file's content; path: for messages. Whatever the bytes, an error or a checked config.
// Errors: kInvalid: an architecture or value that we do not support, saying what we do.
// Source: the configuration classes of transformers; both ways to write rope's numbers are read.
Result<HfConfig> read_hf_config(std::string_view text, const std::string& path);

}  // namespace altlas::model
