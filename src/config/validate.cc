#include "config/validate.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "config/decode.h"
#include "config/device_spec.h"
#include "config/not_yet.h"

namespace altlas::config {
namespace {

class Findings {
 public:
  void error(std::string path, std::string what) {
    list_.push_back({std::move(path), std::move(what), false});
  }
  void warning(std::string path, std::string what) {
    list_.push_back({std::move(path), std::move(what), true});
  }
  void append(std::vector<Finding> more) { std::ranges::move(more, std::back_inserter(list_)); }
  std::vector<Finding> take() { return std::move(list_); }

 private:
  std::vector<Finding> list_;
};

template <class T>
void unique(const std::vector<T>& list, auto member, const std::string& path, Findings& out) {
  std::set<std::string_view> seen;
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string& name = list[i].*member;
    const std::string at = fmt::format("{}[{}].name", path, i);
    if (name.empty())
      out.error(at, "a name is missing");
    else if (!seen.insert(name).second)
      out.error(at, fmt::format("the name '{}' is taken: each needs its own", name.substr(0, 64)));
  }
}

void check_devices(const std::string& spec, const std::string& path, Findings& out) {
  if (spec.empty()) return;
  const Result<DeviceList> parsed = parse_device_list(spec);
  if (!parsed.ok()) out.error(path, parsed.error().message());
}

void check_gpu(const GpuConfig& gpu, Findings& out) {
  const MultiGpuConfig& multi = gpu.multi_gpu;
  const std::string path = "gpu.multi_gpu.";
  if (std::ranges::find(multi.strategies, multi.default_strategy) == multi.strategies.end()) {
    out.error(path + "default_strategy",
              fmt::format("{} is not in gpu.multi_gpu.strategies: add it there",
                          to_string(multi.default_strategy)));
  }
  for (size_t level = 0; level < kPriorityCount; ++level) {
    const auto priority = static_cast<Priority>(level);
    const auto times = std::ranges::count(multi.queue_priority_levels, priority);
    if (times != 1) {
      out.error(path + "queue_priority_levels",
                fmt::format("{} is there {} times: name each of high, normal, low once",
                            to_string(priority), times));
    }
  }
  for (const auto& [type, devices] : multi.task_specific_mappings) {
    if (devices.empty())
      out.error(path + "task_specific_mappings." + type,
                "no device is named: write gpu_0, or remove the type");
    std::set<int64_t> seen;
    for (const int64_t device : devices) {
      if (!seen.insert(device).second)
        out.warning(path + "task_specific_mappings." + type,
                    fmt::format("gpu_{} is named twice", device));
    }
  }
}

void check_server(const Config& config, Findings& out) {
  const ServerConfig& server = config.server;
  if (server.tls_cert.empty() != server.tls_key.empty()) {
    out.error(server.tls_cert.empty() ? "server.tls_cert" : "server.tls_key",
              "tls_cert and tls_key belong together: give both or neither");
  }
  if (server.host.empty())
    out.error("server.host", "the address is empty: write 127.0.0.1 or 0.0.0.0");
  else if (!has_keys(config) && !is_loopback(server.host)) {
    out.error("server.host", fmt::format("'{}' is open to other machines, which needs a key: give "
                                         "--api-key, ALTLAS_API_KEY or auth.keys, "
                                         "or listen on 127.0.0.1",
                                         server.host.substr(0, 64)));
  }
  if (!config.monitoring.prometheus_endpoint.starts_with('/')) {
    out.error("monitoring.prometheus_endpoint", "a path starts with '/', as in /metrics");
  }
  for (size_t i = 0; i < server.cors_origins.size(); ++i) {
    const std::string& origin = server.cors_origins[i];
    if (origin != "*" && !origin.starts_with("http://") && !origin.starts_with("https://")) {
      out.error(fmt::format("server.cors_origins[{}]", i),
                "an origin is '*' or starts with http:// or https://");
    }
  }
}

void check_keys(const AuthConfig& auth, Findings& out) {
  unique(auth.keys, &KeyConfig::name, "auth.keys", out);
  std::set<std::string_view> seen;
  const auto check = [&](const std::string& path, const std::string& key) {
    if (key.empty())
      out.error(path, "the key is empty");
    else if (key.find_first_of(" \t\r\n") != key.npos)
      out.error(path, "a key holds no space and no line break");
    else if (!seen.insert(key).second)
      out.error(path, "another holder has the same key");
  };
  for (size_t i = 0; i < auth.keys.size(); ++i)
    check(fmt::format("auth.keys[{}].key", i), auth.keys[i].key);
  for (size_t i = 0; i < auth.api_keys.size(); ++i)
    check(fmt::format("auth.api_keys[{}]", i), auth.api_keys[i]);
}

void check_autoscaling(const AutoscalingConfig& scaling, const std::string& path, Findings& out) {
  if (scaling.min_replicas > scaling.max_replicas) {
    out.error(path + ".min_replicas", fmt::format("{} is more than max_replicas, {}",
                                                  scaling.min_replicas, scaling.max_replicas));
  }
  const int64_t initial = scaling.initial_replicas.value_or(scaling.min_replicas);
  if (scaling.initial_replicas &&
      (initial < scaling.min_replicas || initial > scaling.max_replicas)) {
    out.error(path + ".initial_replicas",
              fmt::format("{} is not from min_replicas to max_replicas, {} to {}", initial,
                          scaling.min_replicas, scaling.max_replicas));
  }
  if (scaling.downscaling_factor > 1) {
    out.warning(path + ".downscaling_factor",
                "above 1 the number of replicas oscillates under constant load");
  }
  if (scaling.metrics_interval_s > scaling.look_back_period_s) {
    out.error(path + ".metrics_interval_s",
              fmt::format(
                  "{} s is longer than look_back_period_s, {} s: no report would be in the window",
                  scaling.metrics_interval_s, scaling.look_back_period_s));
  }
}

void check_store(const Config& config, Findings& out) {
  const std::string& url = config.store.url;
  if (url.starts_with("postgresql:") || url.starts_with("postgres:"))
    out.error(
        "store.url",
        "PostgreSQL is not there yet: write sqlite:PATH or memory, or remove it for SQLite in "
        "the data directory");
  else if (!url.empty() && url != "memory" && (!url.starts_with("sqlite:") || url.size() < 8))
    out.error("store.url", "write sqlite:PATH or memory");
  unique(config.spot.pools, &PoolConfig::name, "spot.pools", out);
  for (size_t i = 0; i < config.spot.pools.size(); ++i) {
    const PoolConfig& pool = config.spot.pools[i];
    const std::string path = fmt::format("spot.pools[{}]", i);
    if (pool.min_workers > pool.max_workers) {
      out.error(path + ".min_workers",
                fmt::format("{} is more than max_workers, {}", pool.min_workers, pool.max_workers));
    }
    check_devices(pool.devices, path + ".devices", out);
  }
  if (config.spot.enabled && config.spot.notice_file.empty() && config.spot.metadata_url.empty()) {
    out.error("spot.enabled", "nothing to watch: give spot.notice_file or spot.metadata_url");
  }
}

void check_backend(const Config& config, Findings& out) {
  if (config.engine.in_process_workers &&
      config.engine.distributed_executor_backend == ExecutorBackend::kMp)
    out.error("engine.in_process_workers",
              "distributed_executor_backend mp is a process for each rank: use uni, or set it to "
              "false");
}

void check_cluster(const Config& config, Findings& out) {
  const ClusterConfig& cluster = config.cluster;
  const bool configured = !cluster.listen.empty() || !cluster.workers.empty();
  if (!cluster.enabled && configured)
    out.error("cluster.enabled", "it is off, so nothing else of `cluster` acts: set it to true");
  if (cluster.enabled && cluster.listen.empty())
    out.error("cluster.listen", "write HOST:PORT, where the workers connect");
  if (cluster.enabled && cluster.workers.empty())
    out.error("cluster.workers", "name the machines that are to connect");
  if (cluster.enabled && config.engine.in_process_workers)
    out.error("engine.in_process_workers",
              "workers on other machines are processes: set it to false");
  for (size_t i = 0; i < cluster.workers.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      if (cluster.workers[i] == cluster.workers[j])
        out.error(fmt::format("cluster.workers[{}]", i),
                  fmt::format("'{}' is named twice", cluster.workers[i].substr(0, 64)));
  if (cluster.enabled &&
      (cluster.tls_ca.empty() || cluster.tls_cert.empty() || cluster.tls_key.empty())) {
    out.error("cluster.enabled",
              "workers on other machines need mutual TLS: give cluster.tls_ca, tls_cert and "
              "tls_key (altlas certs makes them)");
  }
  if (cluster.worker_timeout_s < 2 * cluster.heartbeat_interval_s) {
    out.error("cluster.worker_timeout_s",
              fmt::format("{} s is less than two heartbeats of {} s", cluster.worker_timeout_s,
                          cluster.heartbeat_interval_s));
  }
}

void check_routes(const std::vector<DeploymentConfig>& deployments, Findings& out) {
  std::set<std::string_view> routes, types;
  for (size_t i = 0; i < deployments.size(); ++i) {
    const std::string path = fmt::format("deployments[{}].", i);
    if (!deployments[i].route_prefix.empty() &&
        !routes.insert(deployments[i].route_prefix).second) {
      out.error(path + "route_prefix", "another deployment has this prefix");
    }
    for (const std::string& type : deployments[i].task_types) {
      if (!types.insert(type).second)
        out.error(path + "task_types",
                  fmt::format("another deployment takes '{}' already", type.substr(0, 64)));
    }
  }
}

// A layout takes whole devices, and num_gpus has to agree with it.
void check_ranks(const Config& config, const DeploymentConfig& deployment, const std::string& path,
                 Findings& out) {
  const EngineConfig engine = engine_for(config.engine, deployment);
  const int64_t ranks = engine.tensor_parallel_size * engine.pipeline_parallel_size;
  const double devices = deployment.num_gpus.value_or(0);
  if (devices >= 1 && devices != static_cast<double>(ranks))
    out.error(
        join(path, "num_gpus"),
        fmt::format("is {}, but tensor_parallel_size {} x pipeline_parallel_size {} take {}: "
                    "make them equal, or remove it",
                    devices, engine.tensor_parallel_size, engine.pipeline_parallel_size, ranks));
}

// Guesses follow tokens that are known, so steps that guess are not planned ahead.
void check_guesses(const Config& config, Findings& out) {
  if (config.engine.executor_depth == 1) return;
  const auto guesses = [&](const DeploymentConfig& one) {
    return one.name != "echo" && engine_for(config.engine, one).speculative_tokens > 0;
  };
  // Without a deployment of its own the engine's model gets one with the engine's settings.
  const bool own = std::ranges::any_of(
      config.deployments, [](const DeploymentConfig& one) { return one.name != "echo"; });
  if (std::ranges::any_of(config.deployments, guesses) ||
      (!own && config.engine.speculative_tokens > 0))
    out.error("engine.executor_depth",
              fmt::format("is {}, but speculative_tokens needs 1: set it to 1, or "
                          "speculative_tokens to 0",
                          config.engine.executor_depth));
}

void check_deployment(const DeploymentConfig& deployment, const std::string& path, Findings& out) {
  if (deployment.model.empty() && deployment.name != "echo") {
    out.error(join(path, "model"),
              "the model is missing: a name of `models`, a file, a folder, or a catalogue name");
  }
  if (deployment.num_replicas && deployment.autoscaling_config) {
    out.error(join(path, "num_replicas"),
              "num_replicas and autoscaling_config exclude each other: remove one");
  }
  if (deployment.autoscaling_config)
    check_autoscaling(*deployment.autoscaling_config, join(path, "autoscaling_config"), out);
  const std::string& route = deployment.route_prefix;
  if (!route.empty() && (!route.starts_with('/') || (route.size() > 1 && route.ends_with('/')))) {
    out.error(join(path, "route_prefix"),
              "a prefix starts with '/' and does not end with one, as in /llm");
  }
  if (deployment.num_gpus && *deployment.num_gpus > 1 &&
      *deployment.num_gpus != static_cast<double>(static_cast<int64_t>(*deployment.num_gpus))) {
    out.error(join(path, "num_gpus"), "above 1 it is a whole number; a fraction shares one device");
  }
}

}  // namespace

std::vector<Finding> validate(const DeploymentConfig& deployment, const std::string& path) {
  Findings out;
  out.append(not_yet_findings(deployment_type(), path, &deployment));
  check_deployment(deployment, path, out);
  return out.take();
}

std::vector<Finding> validate(const Config& config) {
  Findings out;
  out.append(not_yet_findings(config_type(), "", &config));
  check_gpu(config.gpu, out);
  check_server(config, out);
  check_keys(config.auth, out);
  check_devices(config.engine.devices, "engine.devices", out);
  const std::vector<double>& shares = config.engine.tensor_split;
  if (!shares.empty() &&
      static_cast<int64_t>(shares.size()) != config.engine.tensor_parallel_size) {
    out.error("engine.tensor_split",
              fmt::format("{} shares for tensor_parallel_size {}: give one a rank", shares.size(),
                          config.engine.tensor_parallel_size));
  }
  unique(config.models, &ModelConfig::name, "models", out);
  for (size_t i = 0; i < config.models.size(); ++i) {
    if (config.models[i].path.empty())
      out.error(fmt::format("models[{}].path", i), "the path is missing");
    const std::string& sum = config.models[i].sha256;
    const bool hex =
        std::ranges::all_of(sum, [](unsigned char c) { return std::isxdigit(c) != 0; });
    if (!sum.empty() && (sum.size() != 64 || !hex))
      out.error(fmt::format("models[{}].sha256", i), "a SHA-256 is 64 hexadecimal digits");
  }
  unique(config.deployments, &DeploymentConfig::name, "deployments", out);
  for (size_t i = 0; i < config.deployments.size(); ++i) {
    const std::string path = fmt::format("deployments[{}]", i);
    check_deployment(config.deployments[i], path, out);
    check_ranks(config, config.deployments[i], path, out);
  }
  check_routes(config.deployments, out);
  check_guesses(config, out);
  check_store(config, out);
  check_backend(config, out);
  check_cluster(config, out);
  return out.take();
}

std::vector<Finding> validate_devices(const Config& config, int64_t device_count) {
  Findings out;
  for (const auto& [type, devices] : config.gpu.multi_gpu.task_specific_mappings) {
    for (const int64_t device : devices) {
      if (device >= device_count) {
        out.error("gpu.multi_gpu.task_specific_mappings." + type,
                  fmt::format("gpu_{} is not there: {}", device,
                              device_count == 0   ? std::string("no device is open")
                              : device_count == 1 ? std::string("the only device is gpu_0")
                                                  : fmt::format("the devices are gpu_0 to gpu_{}",
                                                                device_count - 1)));
      }
    }
  }
  for (size_t i = 0; i < config.deployments.size(); ++i) {
    const EngineConfig engine = engine_for(config.engine, config.deployments[i]);
    const int64_t ranks = engine.tensor_parallel_size * engine.pipeline_parallel_size;
    if (ranks > device_count) {
      out.error(
          fmt::format("deployments[{}].tensor_parallel_size", i),
          fmt::format(
              "tensor_parallel_size {} x pipeline_parallel_size {} needs {} devices, {} are there",
              engine.tensor_parallel_size, engine.pipeline_parallel_size, ranks, device_count));
    }
  }
  return out.take();
}

bool has_keys(const Config& config) {
  return !config.auth.keys.empty() || !config.auth.api_keys.empty() ||
         !config.auth.keys_file.empty();
}

bool is_loopback(std::string_view host) {
  if (host == "localhost" || host == "::1" || host == "[::1]") return true;
  if (!host.starts_with("127.")) return false;
  // Only digits and dots are an address: "127.example.org" is a name.
  return std::ranges::all_of(host, [](char c) { return (c >= '0' && c <= '9') || c == '.'; });
}

}  // namespace altlas::config
