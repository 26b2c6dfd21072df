// Rules that no single setting can state: how settings fit together, and how they fit the machine.
#pragma once

#include <string>
#include <vector>

#include "config/config.h"

namespace altlas::config {

struct Finding {
  std::string path;  // The setting to change.
  std::string what;
  bool warning = false;
};

// Every rule that needs the configuration only.
std::vector<Finding> validate(const Config& config);
// The rules of one deployment; `path` leads to it ("deployments[0]").
std::vector<Finding> validate(const DeploymentConfig& deployment, const std::string& path);
// Rules that need to know how many devices there are: mappings lead to devices that exist, layouts
// fit.
std::vector<Finding> validate_devices(const Config& config, int64_t device_count);

// True if requests must carry a key.
bool has_keys(const Config& config);
// True for an address that only this machine reaches: 127.0.0.0/8, ::1, localhost.
bool is_loopback(std::string_view host);

}  // namespace altlas::config
