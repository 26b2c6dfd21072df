#include "device/cpu/cpu_device.h"

#include <sys/mman.h>

#include <fmt/format.h>

#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "base/integers.h"
#include "base/units.h"

namespace altlas::device {
namespace {
constexpr uint64_t kPage = 4096;
constexpr uint64_t kHugePage = uint64_t{2} << 20;

void unmap(std::byte* data, uint64_t size) { ::munmap(data, size); }
}  // namespace

CpuDevice::CpuDevice(DeviceId id, const DeviceSpec& spec)
    : id_(id),
      spec_(spec),
      ledger_(spec.memory_bytes),
      team_(TeamOptions{.threads = spec.threads, .cpu_first = spec.cpu_first}) {
  ALTLAS_CHECK(spec.kind == DeviceKind::kCpu && spec.threads >= 1,
               "a cpu device with at least one thread");
}

CpuDevice::~CpuDevice() {
  ALTLAS_CHECK(ledger_.use().used == 0, "buffers end before their device");
}

Result<Buffer> CpuDevice::allocate(std::string_view name, uint64_t bytes) {
  if (bytes > UINT64_MAX - kPage) return invalid("a buffer of more than 2^64 bytes");
  bytes = std::max(kPage, round_up(bytes, kPage));
  ALTLAS_TRY_VOID(ledger_.take(name, bytes));
  void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) {
    const int error = errno;
    ledger_.give_back(name, bytes);
    return Error(ErrorCode::kDevice, fmt::format("the system refused {} for {}: {}",
                                                 format_bytes(bytes), name, std::strerror(error)));
  }
  // This is advice: a refusal costs only speed. The first block of a KV cache touches every layer's
  // part, and with large pages it would take megabytes of each.
  if (bytes >= kHugePage) ::madvise(data, bytes, name == "kv" ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
  return Buffer(static_cast<std::byte*>(data), bytes, bytes, std::string(name), ledger_, unmap);
}

Result<Buffer> CpuDevice::adopt(std::string_view name, void* mapped, uint64_t bytes,
                                uint64_t booked) {
  ALTLAS_TRY_VOID(ledger_.take(name, booked));
  return Buffer(static_cast<std::byte*>(mapped), bytes, booked, std::string(name), ledger_, unmap);
}

}  // namespace altlas::device
