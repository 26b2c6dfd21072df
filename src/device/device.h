// Device: memory with a budget, whatever computes in it. Buffer: a piece of that memory. Ledger:
// who holds how much.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/result.h"

namespace altlas::device {

enum class DeviceKind : uint8_t { kCpu, kCuda, kSim };
std::string_view to_string(DeviceKind kind);

struct LedgerEntry {
  std::string name;  // "weights", "kv", "activations".
  uint64_t bytes = 0;
};

struct MemoryUse {
  uint64_t total = 0;  // The budget.
  uint64_t used = 0;
  std::vector<LedgerEntry> entries;  // By name; sums to `used`.
};

// Bytes taken of a budget, by name. Threads: any.
class Ledger {
 public:
  explicit Ledger(uint64_t budget) : budget_(budget) {}
  // Errors: kBusy with the numbers if `bytes` exceeds what is free; then nothing changes.
  Result<void> take(std::string_view name, uint64_t bytes);
  // Aborts if the entry holds less.
  void give_back(std::string_view name, uint64_t bytes);
  MemoryUse use() const;
  uint64_t budget() const { return budget_; }

 private:
  const uint64_t budget_;
  mutable std::mutex mutex_;  // use() is read by monitoring threads.
  uint64_t used_ = 0;
  std::map<std::string, uint64_t, std::less<>> entries_;
};

// Zeroed memory of a device, 4096-byte aligned; gives itself back. Movable.
// Threads: the one that owns it.
class Buffer {
 public:
  // Frees memory of the device's kind.
  using Release = void (*)(std::byte* data, uint64_t size);

  Buffer() = default;
  // For devices: memory of which `booked` bytes are booked under `name` in `ledger`, which outlives
  // the buffer.
  Buffer(std::byte* data, uint64_t size, uint64_t booked, std::string name, Ledger& ledger,
         Release release)
      : data_(data),
        size_(size),
        booked_(booked),
        name_(std::move(name)),
        ledger_(&ledger),
        release_(release) {}
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer();

  std::byte* data() const { return data_; }
  uint64_t size() const { return size_; }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  std::byte* data_ = nullptr;
  uint64_t size_ = 0;
  uint64_t booked_ = 0;
  std::string name_;
  Ledger* ledger_ = nullptr;
  Release release_ = nullptr;
};

class Team;

// What a rank computes on: memory with a budget, and who computes there.
// Threads: id, kind, name, memory_use and allocate from any (adapters are read beside the steps);
// the rest from the rank thread that owns it.
// Lifetime: outlives every Buffer it made (checked in the destructor).
class Device {
 public:
  virtual ~Device() = default;
  virtual DeviceId id() const = 0;
  virtual DeviceKind kind() const = 0;
  virtual const std::string& name() const = 0;
  virtual MemoryUse memory_use() const = 0;
  // Zeroed memory, booked under `name`.  Errors: kBusy if `bytes` exceeds what is free; kDevice if
  // the system refuses.
  virtual Result<Buffer> allocate(std::string_view name, uint64_t bytes) = 0;
  // The same for `bytes` that the caller mapped, whole pages at a page; the buffer unmaps them.
  // Errors: kBusy if they exceed what is free, kUnsupported where the host's memory is not the
  // device's; then they stay the caller's.
  // booked: the most of them that is resident at once.
  virtual Result<Buffer> adopt(std::string_view name, void* mapped, uint64_t bytes,
                               uint64_t booked) = 0;
  // Host threads that prepare its memory; of cpu, that compute.
  virtual Team& team() = 0;
  // Time it computed since it was opened.
  virtual int64_t busy_ns() const = 0;
};

}  // namespace altlas::device
