#include "config/config.h"

namespace altlas::config {

EngineConfig engine_for(const EngineConfig& engine, const DeploymentConfig& deployment) {
  EngineConfig merged = engine;
  merged.tensor_parallel_size =
      deployment.tensor_parallel_size.value_or(engine.tensor_parallel_size);
  merged.pipeline_parallel_size =
      deployment.pipeline_parallel_size.value_or(engine.pipeline_parallel_size);
  merged.pipeline_micro_batches =
      deployment.pipeline_micro_batches.value_or(engine.pipeline_micro_batches);
  merged.expert_parallel_size =
      deployment.expert_parallel_size.value_or(engine.expert_parallel_size);
  merged.gpu_memory_utilization =
      deployment.gpu_memory_utilization.value_or(engine.gpu_memory_utilization);
  merged.max_model_len = deployment.max_model_len.value_or(engine.max_model_len);
  merged.dtype = deployment.dtype.value_or(engine.dtype);
  merged.kv_dtype = deployment.kv_dtype.value_or(engine.kv_dtype);
  merged.enable_prefix_caching =
      deployment.enable_prefix_caching.value_or(engine.enable_prefix_caching);
  return merged;
}

}  // namespace altlas::config
