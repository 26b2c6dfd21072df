// No upload crashes the multipart reader, and all parts lie inside the body.
#include <cstdlib>

#include "server/http/multipart.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  const auto parts = altlas::server::parse_multipart("multipart/form-data; boundary=b", body);
  if (!parts.ok()) return 0;
  for (const auto& part : *parts)
    if (!part.body.empty() &&
        (part.body.data() < body.data() || part.body.end() > body.data() + body.size()))
      std::abort();
  return 0;
}
