// Fuzzes the safetensors reader: whatever the bytes, it returns an error, or a file whose every
// tensor can be read.
#include <cstddef>
#include <cstdint>

#include "weights/safetensors.h"

namespace {
volatile uint64_t sink = 0;  // It keeps the compiler from dropping the reads.
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = altlas::weights::SafetensorsFile::open_bytes({data, size}, "fuzz");
  if (!file.ok()) return 0;
  for (const std::string_view name : file->tensor_names())
    if (const auto view = file->tensor(name); view.ok())
      for (const uint8_t byte : view->data) sink = sink + byte;
  return 0;
}
