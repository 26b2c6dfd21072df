// The whole configuration: one plain struct, const once loaded.
#pragma once

#include <vector>

#include "config/deployment_config.h"
#include "config/engine_config.h"
#include "config/gpu_config.h"
#include "config/monitoring_config.h"
#include "config/server_config.h"
#include "config/store_config.h"

namespace altlas::config {

struct Config {
  GpuConfig gpu;
  MonitoringConfig monitoring;
  ApiMetadataConfig api_metadata;
  ServerConfig server;
  AuthConfig auth;
  std::vector<ModelConfig> models;
  std::vector<DeploymentConfig> deployments;
  EngineConfig engine;
  StoreConfig store;
  SpotConfig spot;
  ClusterConfig cluster;

  static constexpr void fields(auto&& field) {
    using S = Config;
    field("gpu", &S::gpu, FieldInfo{.help = "Which devices take tasks, and how one is chosen."});
    field("monitoring", &S::monitoring,
          FieldInfo{.help = "What is measured, logged and exported."});
    field("api_metadata", &S::api_metadata, FieldInfo{.help = "The `meta` object of answers."});
    field("server", &S::server, FieldInfo{.help = "The HTTP listener and its limits."});
    field("auth", &S::auth,
          FieldInfo{
              .help = "Keys and their roles; without a key everybody is admin, on loopback only."});
    field("models", &S::models,
          FieldInfo{.help = "Models by name: a list, or a map of name to model.", .key = "name"});
    field("deployments", &S::deployments,
          FieldInfo{.help = "What is served: a list, or a map of name to deployment.",
                    .key = "name"});
    field("engine", &S::engine,
          FieldInfo{.help = "How replicas compute, unless a deployment says otherwise."});
    field("store", &S::store, FieldInfo{.help = "The journal and the data directory."});
    field("spot", &S::spot,
          FieldInfo{.help = "Machines that may be taken away, and pools of them.",
                    .not_yet = "remove it"});
    field("cluster", &S::cluster,
          FieldInfo{.help = "Workers on other machines."});
  }
};

// The engine's settings with those that `deployment` names put in their place.
EngineConfig engine_for(const EngineConfig& engine, const DeploymentConfig& deployment);

}  // namespace altlas::config
