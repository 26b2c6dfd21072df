// Fuzzes the reader of config.json: whatever the bytes, it returns an error or numbers that fit
// together.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "model/hf_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto config = altlas::model::read_hf_config(text, "config.json");
  if (config.ok()) {
    ALTLAS_CHECK(altlas::model::check_config(config->model).ok(), "a checked config");
    ALTLAS_CHECK(config->model.architecture.encoder ||
                     config->model.window_layers.size() == config->model.layer_count,
                 "a window or none for each layer");
  }
  (void)altlas::model::read_hf_pooling(text, "1_Pooling/config.json");
  return 0;
}
