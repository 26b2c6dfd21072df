// Any text as a YAML file, JSON deployment, device spec or variable: no crash, no endless work, and
// a valid configuration dumps and loads again.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "config/device_spec.h"
#include "config/load.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace altlas::config;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  LoadInput input;
  input.file = TextSource{"fuzz.yaml", std::string(text)};
  const LoadReport report = load_report(input);
  if (report.errors.empty()) {
    const std::string shown = dump(report.loaded);
    ALTLAS_CHECK(shown.find("gpu:") != shown.npos, "a dump has every section");
  }
  std::vector<Problem> warnings;
  static_cast<void>(parse_deployment("fuzz", text, warnings).ok());
  if (const auto spec = parse_device_list(text); spec.ok()) {
    ALTLAS_CHECK(*parse_device_list(to_string(*spec)) == *spec, "a spec prints as what it is");
  }
  LoadInput variables;
  variables.environment = {{"ALTLAS_GPU_MULTI_GPU_TASK_SPECIFIC_MAPPINGS", std::string(text)},
                           {"ALTLAS_GPU_MULTI_GPU_STRATEGIES", std::string(text)},
                           {"ALTLAS_DEPLOYMENTS", std::string(text)}};
  static_cast<void>(load_report(variables).errors.size());
  return 0;
}
