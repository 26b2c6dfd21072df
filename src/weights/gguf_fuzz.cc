// Fuzzes the GGUF reader: whatever the bytes, it returns an error, or a file whose every value and
// tensor can be read.
#include <cstddef>
#include <cstdint>

#include "weights/gguf.h"

namespace {
volatile uint64_t sink = 0;  // It keeps the compiler from dropping the reads.

void read_everything(const altlas::weights::GgufFile& file) {
  using altlas::weights::GgufType;
  for (const auto& [key, value] : file.metadata()) {
    if (const auto text = file.string(key); text.ok() && !text->empty()) sink = sink + text->back();
    if (const auto number = file.float64(key); number.ok())
      sink = sink + static_cast<uint64_t>(*number > 1);
    if (const auto number = file.uint64(key); number.ok()) sink = sink + *number;
    if (const auto numbers = file.integers(key); numbers.ok()) sink = sink + numbers->size();
    if (const auto numbers = file.floats(key); numbers.ok()) sink = sink + numbers->size();
    if (const auto texts = file.strings(key); texts.ok())
      for (const auto text : *texts)
        sink = sink + (text.empty() ? 0 : static_cast<uint64_t>(text.back()));
  }
  for (const auto& tensor : file.tensors())
    if (const auto view = file.tensor(tensor.name); view.ok())
      for (const uint8_t byte : view->data) sink = sink + byte;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = altlas::weights::GgufFile::open_bytes({data, size}, "fuzz");
  if (file.ok()) read_everything(*file);
  return 0;
}
