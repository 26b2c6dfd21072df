// Fuzzer: the first byte chooses how the rest is cut into pieces for a FrameReader. Whole frames
// are decoded, and what decodes must encode and decode again to the same bytes.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "worker/frames.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace altlas;
  using namespace altlas::worker;
  if (size == 0) return 0;
  const size_t piece = 1 + data[0] % 64;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  FrameReader reader(1 << 16);
  while (!bytes.empty()) {
    reader.feed(bytes.substr(0, piece));
    bytes.remove_prefix(std::min(piece, bytes.size()));
    for (;;) {
      const auto message = reader.next();
      if (!message.ok()) return 0;
      if (!*message) break;
      const Result<Frame> frame = decode_frame(**message);
      if (!frame.ok()) continue;
      const std::string once = encode_frame(*frame).value();
      const Result<Frame> again = decode_frame(std::string_view(once).substr(kFrameHeaderBytes));
      ALTLAS_CHECK(again.ok() && encode_frame(*again).value() == once,
                   "a frame comes back as it was");
    }
  }
  return 0;
}
