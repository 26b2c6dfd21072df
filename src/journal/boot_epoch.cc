#include "journal/boot_epoch.h"

#include <fmt/format.h>

#include <charconv>
#include <string>

namespace altlas::journal {
namespace {

constexpr std::string_view kName = "boot_epoch";

Result<uint64_t> last_epoch(Store& store) {
  const Result<std::string> kept = store.get_value(kName);
  if (!kept.ok() && kept.error().code() == ErrorCode::kNotFound) return uint64_t{0};
  if (!kept.ok()) return kept.error();
  uint64_t epoch = 0;
  const char* const end = kept->data() + kept->size();
  const auto [rest, error] = std::from_chars(kept->data(), end, epoch);
  if (error != std::errc() || rest != end || epoch == UINT64_MAX)
    return invalid(fmt::format("the journal's boot epoch is '{}', a number is expected",
                               kept->substr(0, 100)));
  return epoch;
}

}  // namespace

Result<BootEpoch> next_boot_epoch(Store& store) {
  BootEpoch out;
  ALTLAS_TRY(const uint64_t last, last_epoch(store));
  out.epoch = last + 1;
  out.kept = store.put_value(kName, std::to_string(out.epoch));
  return out;
}

}  // namespace altlas::journal
