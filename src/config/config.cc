#include "config/config.h"

namespace altlas::config {

EngineConfig engine_for(const EngineConfig& engine, const DeploymentConfig& deployment) {
  EngineConfig merged = engine;
  DeploymentConfig::overrides([&](const char*, auto general, auto own) {
    if (deployment.*own) merged.*general = *(deployment.*own);
  });
  return merged;
}

}  // namespace altlas::config
