// Sections `models` and `deployments`: which models are served, by how many replicas, how
// they scale.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "config/engine_config.h"
#include "config/field.h"
#include "config/names.h"

namespace altlas::config {

struct ModelConfig {
  std::string name;
  std::string path;
  std::string tokenizer;
  std::string chat_template;
  std::string draft_model;
  std::string sha256;
  std::map<std::string, std::string> adapters;

  static constexpr void fields(auto&& field) {
    using S = ModelConfig;
    field("name", &S::name, FieldInfo{.help = "Name that deployments and requests use."});
    field("path", &S::path,
          FieldInfo{
              .help = "A file, a folder, a catalogue name, a cached Hugging Face or Ollama name."});
    field("tokenizer", &S::tokenizer,
          FieldInfo{
              .help =
                  "Folder of the tokenizer, with a tokenizer.json; empty takes the model's own."});
    field("chat_template", &S::chat_template,
          FieldInfo{.help = "File of a Jinja chat template; empty takes the model's own."});
    field("draft_model", &S::draft_model,
          FieldInfo{.help = "Small model of the same vocabulary for speculative decoding."});
    field(
        "sha256", &S::sha256,
        FieldInfo{
            .help = "SHA-256 that the file must have, in hexadecimal digits; empty checks none."});
    field("adapters", &S::adapters, FieldInfo{.help = "LoRA adapters: name to folder."});
  }
};

// Ray Serve's parameters and defaults.
struct AutoscalingConfig {
  int64_t min_replicas = 1;
  int64_t max_replicas = 1;
  std::optional<int64_t> initial_replicas;
  double target_ongoing_requests = 2;
  double upscale_delay_s = 30;
  double downscale_delay_s = 600;
  std::optional<double> downscale_to_zero_delay_s;
  double upscaling_factor = 1;
  double downscaling_factor = 1;
  double look_back_period_s = 30;
  double metrics_interval_s = 10;
  Aggregation aggregation_function = Aggregation::kMean;

  static constexpr void fields(auto&& field) {
    using S = AutoscalingConfig;
    field("min_replicas", &S::min_replicas,
          FieldInfo{.help = "Replicas at least; 0 scales to zero.", .min = 0, .max = 4096});
    field("max_replicas", &S::max_replicas,
          FieldInfo{.help = "Replicas at most.", .min = 1, .max = 4096});
    field(
        "initial_replicas", &S::initial_replicas,
        FieldInfo{.help = "Replicas at the start; min_replicas if absent.", .min = 0, .max = 4096});
    field("target_ongoing_requests", &S::target_ongoing_requests,
          FieldInfo{.help = "Requests that a replica should have in hand.",
                    .min = 0.001,
                    .max = 1e6,
                    .old_name = "target_num_ongoing_requests"});
    field("upscale_delay_s", &S::upscale_delay_s,
          FieldInfo{
              .help = "A decision to add must hold so long.", .unit = "s", .min = 0, .max = 86400});
    field("downscale_delay_s", &S::downscale_delay_s,
          FieldInfo{.help = "A decision to remove must hold so long.",
                    .unit = "s",
                    .min = 0,
                    .max = 86400});
    field("downscale_to_zero_delay_s", &S::downscale_to_zero_delay_s,
          FieldInfo{.help = "The delay from one replica to none; downscale_delay_s if absent.",
                    .unit = "s",
                    .min = 0,
                    .max = 86400});
    field("upscaling_factor", &S::upscaling_factor,
          FieldInfo{.help = "Share of the missing replicas that is added at once.",
                    .min = 0.001,
                    .max = 100,
                    .old_name = "upscale_smoothing_factor"});
    field("downscaling_factor", &S::downscaling_factor,
          FieldInfo{
              .help = "Share of the spare replicas that is removed at once; above 1 oscillates.",
              .min = 0.001,
              .max = 100,
              .old_name = "downscale_smoothing_factor"});
    field("look_back_period_s", &S::look_back_period_s,
          FieldInfo{.help = "Window of the load that decisions look at.",
                    .unit = "s",
                    .min = 0.1,
                    .max = 86400});
    field("metrics_interval_s", &S::metrics_interval_s,
          FieldInfo{.help = "Period of load reports and decisions.",
                    .unit = "s",
                    .min = 0.01,
                    .max = 3600});
    field("aggregation_function", &S::aggregation_function,
          FieldInfo{.help = "What the window is condensed to."});
  }
};

// What `engine` says of its row of this name.
constexpr FieldInfo engine_row(std::string_view name) {
  FieldInfo row;
  EngineConfig::fields([&](std::string_view one, auto, const FieldInfo& info) {
    if (one == name) row = info;
  });
  return row;
}

// Those of overrides() take the engine's value when absent.
struct DeploymentConfig {
  std::string name;
  std::string model;
  std::vector<std::string> task_types;
  std::optional<int64_t> num_replicas;
  std::optional<AutoscalingConfig> autoscaling_config;
  std::optional<double> num_gpus;
  double num_cpus = 0;
  int64_t memory = 0;
  std::map<std::string, double> resources;
  std::optional<int64_t> tensor_parallel_size;
  std::optional<int64_t> pipeline_parallel_size;
  std::optional<int64_t> pipeline_micro_batches;
  std::optional<int64_t> expert_parallel_size;
  std::optional<double> gpu_memory_utilization;
  std::optional<int64_t> max_model_len;
  std::optional<WeightType> dtype;
  std::optional<KvType> kv_dtype;
  std::optional<bool> enable_prefix_caching;
  std::optional<int64_t> kv_tokens_max;
  std::optional<int64_t> swap_bytes;
  std::optional<int64_t> offload_layers;
  std::optional<bool> stream_weights;
  std::optional<int64_t> speculative_tokens;
  std::optional<std::string> draft_model;
  int64_t max_ongoing_requests = 0;
  int64_t max_queued_requests = 1000;
  double graceful_shutdown_timeout_s = 30;
  double health_check_period_s = 10;
  double health_check_timeout_s = 30;
  double startup_timeout_s = 900;
  std::string route_prefix;
  double weight = 1;
  std::string user_config;

  // visit(name, member of EngineConfig, member of DeploymentConfig): what stands in `engine` too.
  static constexpr void overrides(auto&& visit) {
    using S = DeploymentConfig;
    using E = EngineConfig;
    visit("tensor_parallel_size", &E::tensor_parallel_size, &S::tensor_parallel_size);
    visit("pipeline_parallel_size", &E::pipeline_parallel_size, &S::pipeline_parallel_size);
    visit("pipeline_micro_batches", &E::pipeline_micro_batches, &S::pipeline_micro_batches);
    visit("expert_parallel_size", &E::expert_parallel_size, &S::expert_parallel_size);
    visit("gpu_memory_utilization", &E::gpu_memory_utilization, &S::gpu_memory_utilization);
    visit("max_model_len", &E::max_model_len, &S::max_model_len);
    visit("dtype", &E::dtype, &S::dtype);
    visit("kv_dtype", &E::kv_dtype, &S::kv_dtype);
    visit("enable_prefix_caching", &E::enable_prefix_caching, &S::enable_prefix_caching);
    visit("kv_tokens_max", &E::kv_tokens_max, &S::kv_tokens_max);
    visit("swap_bytes", &E::swap_bytes, &S::swap_bytes);
    visit("offload_layers", &E::offload_layers, &S::offload_layers);
    visit("stream_weights", &E::stream_weights, &S::stream_weights);
    visit("speculative_tokens", &E::speculative_tokens, &S::speculative_tokens);
    visit("draft_model", &E::draft_model, &S::draft_model);
  }

  static constexpr void fields(auto&& field) {
    name_fields(field);
    resource_fields(field);
    overrides([&](const char* name, auto, auto member) { field(name, member, engine_row(name)); });
    life_fields(field);
  }

 private:
  static constexpr void name_fields(auto& field) {
    using S = DeploymentConfig;
    field("name", &S::name,
          FieldInfo{.help = "Name of the deployment, and its model id in the APIs."});
    field("model", &S::model,
          FieldInfo{.help = "A name of `models`, a file, a folder, or a catalogue name."});
    field(
        "task_types", &S::task_types,
        FieldInfo{
            .help = "Task types that run here; a type nobody names runs on the default deployment.",
            .one_or_list = true});
    field(
        "num_replicas", &S::num_replicas,
        FieldInfo{.help = "Number of replicas; 1 if absent. Not together with autoscaling_config.",
                  .min = 0,
                  .max = 4096});
    field("autoscaling_config", &S::autoscaling_config,
          FieldInfo{.help = "Let the number of replicas follow the load."});
  }
  static constexpr void resource_fields(auto& field) {
    using S = DeploymentConfig;
    field("num_gpus", &S::num_gpus,
          FieldInfo{
              .help = "Devices that a replica takes, may be a fraction; its layout's if absent.",
              .min = 0,
              .max = 4096});
    field("num_cpus", &S::num_cpus,
          FieldInfo{.help = "Cores that a replica takes; 0 shares.",
                    .min = 0,
                    .max = 4096,
                    .not_yet = "remove it"});
    field("memory", &S::memory,
          FieldInfo{.help = "Host memory that a replica takes; 0 is unaccounted.",
                    .unit = "bytes",
                    .min = 0,
                    .form = Form::kBytes,
                    .not_yet = "remove it"});
    field("resources", &S::resources,
          FieldInfo{.help = "Custom resources that a node must offer, such as spot: 1.",
                    .min = 0,
                    .max = 1e9,
                    .not_yet = "remove it"});
  }
  static constexpr void life_fields(auto& field) {
    using S = DeploymentConfig;
    field(
        "max_ongoing_requests", &S::max_ongoing_requests,
        FieldInfo{.help = "Requests that a replica holds at most; 0 is what the engine can batch.",
                  .min = 0,
                  .max = 65536});
    field("max_queued_requests", &S::max_queued_requests,
          FieldInfo{.help = "Requests waiting at most; the next is answered 429.",
                    .min = 0,
                    .max = 1 << 24});
    field("graceful_shutdown_timeout_s", &S::graceful_shutdown_timeout_s,
          FieldInfo{.help = "Time for a replica that is not wanted any more to end its tasks; "
                            "then they go on elsewhere.",
                    .unit = "s",
                    .min = 0,
                    .max = 86400});
    field("health_check_period_s", &S::health_check_period_s,
          FieldInfo{.help = "Period of the replica health check.",
                    .unit = "s",
                    .min = 0.1,
                    .max = 86400,
                    .not_yet = "remove it"});
    field("health_check_timeout_s", &S::health_check_timeout_s,
          FieldInfo{.help = "A replica without progress for so long is restarted.",
                    .unit = "s",
                    .min = 0.1,
                    .max = 86400});
    field("startup_timeout_s", &S::startup_timeout_s,
          FieldInfo{
              .help = "A replica must be ready within it.", .unit = "s", .min = 1, .max = 86400});
    field("route_prefix", &S::route_prefix,
          FieldInfo{.help = "Path that leads to this deployment, starting with '/'.",
                    .not_yet = "requests name the deployment as their model"});
    field("weight", &S::weight,
          FieldInfo{.help = "Share of the traffic among deployments of one model (canary).",
                    .min = 0,
                    .max = 1e6,
                    .not_yet = "remove it"});
    field("user_config", &S::user_config,
          FieldInfo{.help = "Any value, handed to the deployment as it is.",
                    .form = Form::kJson,
                    .not_yet = "remove it"});
  }
};

}  // namespace altlas::config
