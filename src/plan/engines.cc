#include "plan/engines.h"

#include <algorithm>
#include <iterator>
#include <string>

namespace altlas::plan {
namespace {

struct Overheads {
  std::string_view engine;
  double step_s;
  double request_s;
};
constexpr Overheads kOverheads[] = {
#include "plan/engine_overheads.inc"
};

// The defaults of the engines' releases of 2025: chunked prefill with 8192 tokens (vLLM, SGLang),
// and max_num_tokens 8192 for TensorRT-LLM, whose scheduler preempts nobody.
constexpr EngineModel kEngines[] = {
    {"vllm", PrefillPolicy::kMixed, 8192, 1024, 0.9, 0, KvChoice::kCheckpointOnFp4Devices},
    {"sglang", PrefillPolicy::kFirst, 8192, 2048, 0.88, 0.7, KvChoice::kNever},
    {"trtllm", PrefillPolicy::kWhole, 8192, 2048, 0.9, 1, KvChoice::kCheckpoint},
};
}  // namespace

std::span<const EngineModel> engine_models() { return kEngines; }

Result<EngineModel> engine_model(std::string_view name) {
  std::string known;
  for (EngineModel engine : kEngines) {
    known += (known.empty() ? "" : ", ") + std::string(engine.name);
    if (engine.name != name) continue;
    const auto* found = std::ranges::find(kOverheads, name, &Overheads::engine);
    if (found != std::end(kOverheads)) {
      engine.step_s = found->step_s;
      engine.request_s = found->request_s;
    }
    return engine;
  }
  return not_found("engine '" + std::string(name.substr(0, 40)) + "' has no model: use one of " +
                   known);
}

}  // namespace altlas::plan
