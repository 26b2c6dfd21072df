#include "base/content_hash.h"

#include <openssl/sha.h>

namespace altlas {

ContentHash content_hash(std::string_view content) {
  ContentHash out;
  SHA256(reinterpret_cast<const unsigned char*>(content.data()), content.size(), out.bytes.data());
  return out;
}

}  // namespace altlas
