// The saved form of one of the core's parts: its name, a version, a checksum, its members as bytes.
// Only the parts' .cc files include it.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/hash.h"
#include "base/result.h"
#include "control/codec.h"
#include "control/message_members.h"

namespace altlas::control {

// Saved by one version and read by the same: a new member is a new version. (The event log's
// fingerprint tells builds apart besides.)
struct SavedHead {
  std::string name;
  uint32_t version = 0;
  uint64_t checksum = 0;  // The checksum of the bytes behind it.
};

template <class... Members>
std::string save_part(std::string_view name, uint32_t version,
                      const std::tuple<Members&...>& members) {
  std::string bytes;
  std::apply([&](const auto&... one) { (codec::write(bytes, one), ...); }, members);
  std::string out;
  codec::write(
      out, SavedHead{std::string(name), version, Hasher().add(std::string_view(bytes)).value()});
  out += bytes;
  return out;
}

// Errors: kInvalid where the bytes are of another part or version, damaged, or too many.
template <class... Members>
Result<void> load_part(std::string_view name, uint32_t version, std::string_view bytes,
                       const std::tuple<Members&...>& members) {
  SavedHead head;
  if (!codec::read(bytes, head) || head.name != name)
    return invalid(fmt::format("this is not the saved state of '{}'", name));
  if (head.version != version)
    return invalid(fmt::format("the saved state of '{}' is of version {}, this is version {}", name,
                               head.version, version));
  if (head.checksum != Hasher().add(bytes).value())
    return invalid(fmt::format("the saved state of '{}' is damaged", name));
  const bool ok =
      std::apply([&](auto&... one) { return (codec::read(bytes, one) && ...); }, members);
  if (!ok || !bytes.empty())
    return invalid(fmt::format("the saved state of '{}' can't be read", name));
  return {};
}

inline uint64_t hash_of_saved(std::string_view bytes) { return Hasher().add(bytes).value(); }

}  // namespace altlas::control
