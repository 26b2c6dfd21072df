#include "collective/environment.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "collective/board.h"
#include "collective/join.h"

namespace altlas::collective {
namespace {

constexpr size_t kShownBytesMax = 64;

Error wrong(std::string_view name, std::string_view value, std::string_view wanted) {
  return invalid(
      fmt::format("{}={}: wanted {}", name, printable_words(value, kShownBytesMax), wanted),
      std::string(name));
}

class Reader {
 public:
  Reader(const std::function<const char*(const char*)>& get, NcclSettings& out)
      : get_(get), out_(out) {}

  // Returns nothing if the variable is unset or empty: NCCL takes both for the same.
  std::optional<std::string> text(const char* name) const {
    const char* const value = get_(name);
    if (value == nullptr || *value == '\0') return std::nullopt;
    return value;
  }
  void note(const char* name, std::string_view value, bool acts, std::string effect) {
    out_.read.push_back({name, printable_words(value, kShownBytesMax), std::move(effect), acts});
  }

  Result<std::optional<bool>> flag(const char* name) const {
    const auto value = text(name);
    if (!value) return std::optional<bool>();
    if (*value != "0" && *value != "1") return wrong(name, *value, "0 or 1");
    return std::optional<bool>(*value == "1");
  }
  Result<void> number(const char* name, int most, std::string_view effect, int& to) {
    const auto value = text(name);
    if (!value) return {};
    const char* const end = value->data() + value->size();
    const auto [read_to, code] = std::from_chars(value->data(), end, to);
    if (code != std::errc() || read_to != end || to < 1 || to > most)
      return wrong(name, *value, fmt::format("1 to {}", most));
    note(name, *value, true, fmt::format("{} {}", to, effect));
    return {};
  }

 private:
  const std::function<const char*(const char*)>& get_;
  NcclSettings& out_;
};

Result<void> read_debug(Reader& reader, NcclSettings& out) {
  const auto value = reader.text("NCCL_DEBUG");
  if (!value) return {};
  std::string name = *value;
  std::ranges::transform(name, name.begin(), [](char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
  });
  constexpr std::string_view kNames[] = {"NONE", "VERSION", "WARN", "INFO", "TRACE"};
  const auto* found = std::ranges::find(kNames, name);
  if (found == std::end(kNames)) return wrong("NCCL_DEBUG", *value, "VERSION, WARN, INFO or TRACE");
  out.debug = static_cast<NcclDebug>(found - std::begin(kNames));
  reader.note("NCCL_DEBUG", *value, true,
              out.debug >= NcclDebug::kInfo ? "how the group is made is told" : "little is told");
  return {};
}

// Reads variables that concern what no cpu device has: NVLink and PCIe peers, InfiniBand.
Result<void> read_without_effect(Reader& reader) {
  constexpr std::pair<const char*, const char*> kFlags[] = {
      {"NCCL_P2P_DISABLE", "no effect: cpu devices have no peer-to-peer link"},
      {"NCCL_IB_DISABLE", "no effect: cpu devices use no InfiniBand"}};
  for (const auto& [name, words] : kFlags) {
    ALTLAS_TRY(const auto value, reader.flag(name));
    if (value) reader.note(name, *value ? "1" : "0", false, words);
  }
  if (const auto value = reader.text("NCCL_IB_HCA"))
    reader.note("NCCL_IB_HCA", *value, false, "no effect: cpu devices use no InfiniBand");
  return {};
}

}  // namespace

Result<NcclSettings> read_nccl_settings(const std::function<const char*(const char*)>& get) {
  NcclSettings out;
  Reader reader(get, out);
  ALTLAS_TRY(const auto shm_disable, reader.flag("NCCL_SHM_DISABLE"));
  out.shm_disable = shm_disable.value_or(false);
  if (shm_disable)
    reader.note("NCCL_SHM_DISABLE", *shm_disable ? "1" : "0", true,
                *shm_disable ? "no shared memory: TCP" : "shared memory where it can be");
  if (const auto value = reader.text("NCCL_SOCKET_IFNAME")) {
    out.socket_ifname = *value;
    reader.note("NCCL_SOCKET_IFNAME", *value, true, "TCP over this interface");
  }
  ALTLAS_TRY_VOID(reader.number("NCCL_SOCKET_NTHREADS", kTcpThreadsMax,
                                "threads for one TCP exchange", out.socket_nthreads));
  ALTLAS_TRY_VOID(reader.number("NCCL_NSOCKS_PERTHREAD", kTcpSocketsMax,
                                "TCP connections on each thread", out.nsocks_perthread));
  if (out.socket_nthreads * out.nsocks_perthread > kTcpSocketsMax)
    return wrong("NCCL_NSOCKS_PERTHREAD", std::to_string(out.nsocks_perthread),
                 fmt::format("at most {} sockets in all, with NCCL_SOCKET_NTHREADS={}",
                             kTcpSocketsMax, out.socket_nthreads));
  ALTLAS_TRY_VOID(read_debug(reader, out));
  ALTLAS_TRY_VOID(read_without_effect(reader));
  return out;
}

}  // namespace altlas::collective
