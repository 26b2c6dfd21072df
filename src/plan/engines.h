// How serving engines plan their steps, as far as speed follows from it.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.h"

namespace altlas::plan {

enum class PrefillPolicy : uint8_t {
  kMixed,  // Chunks of prompts fill the step that decodes.
  kFirst,  // Waiting prompts are computed before anything is decoded.
  kWhole,  // Whole prompts join the step that decodes.
};

// When keys and values are kept in the narrower type that a checkpoint names.
enum class KvChoice : uint8_t { kNever, kCheckpoint, kCheckpointOnFp4Devices };

struct EngineModel {
  std::string_view name;
  PrefillPolicy policy = PrefillPolicy::kMixed;
  double step_tokens_max = 8192;
  double sequences_max = 1024;
  double memory_share = 0.9;  // The share of the device's memory for weights, activations and KV.
  // The share of the answer's tokens that is set aside when a request is admitted. Below 1,
  // requests may be preempted and computed again.
  double answer_reserved = 0;
  KvChoice kv = KvChoice::kNever;
  // Fitted by bench/simulation/fit_engines.py: the host's share of every step, and of every
  // request.
  double step_s = 0;
  double request_s = 0;
};

std::span<const EngineModel> engine_models();
// Errors: kNotFound, naming all.
Result<EngineModel> engine_model(std::string_view name);

}  // namespace altlas::plan
