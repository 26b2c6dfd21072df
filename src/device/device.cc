#include "device/device.h"

#include <fmt/format.h>

#include <utility>

#include "base/check.h"
#include "base/units.h"

namespace altlas::device {

std::string_view to_string(DeviceKind kind) {
  switch (kind) {
    case DeviceKind::kCpu:
      return "cpu";
    case DeviceKind::kCuda:
      return "cuda";
    case DeviceKind::kSim:
      return "sim";
  }
  return "";
}

Result<void> Ledger::take(std::string_view name, uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (bytes > budget_ - used_)
    return Error(ErrorCode::kBusy,
                 fmt::format("{} for {} do not fit: {} of {} are in use, {} are free",
                             format_bytes(bytes), name, format_bytes(used_), format_bytes(budget_),
                             format_bytes(budget_ - used_)));
  used_ += bytes;
  const auto found = entries_.find(name);
  if (found == entries_.end())
    entries_.emplace(name, bytes);
  else
    found->second += bytes;
  return {};
}

void Ledger::give_back(std::string_view name, uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(name);
  ALTLAS_CHECK(found != entries_.end() && found->second >= bytes && used_ >= bytes,
               "given back: what was taken");
  used_ -= bytes;
  found->second -= bytes;
  if (found->second == 0) entries_.erase(found);
}

MemoryUse Ledger::use() const {
  const std::lock_guard lock(mutex_);
  MemoryUse use{.total = budget_, .used = used_};
  for (const auto& [name, bytes] : entries_) use.entries.push_back({name, bytes});
  return use;
}

Buffer::Buffer(Buffer&& other) noexcept { *this = std::move(other); }

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(booked_, other.booked_);
  std::swap(name_, other.name_);
  std::swap(ledger_, other.ledger_);
  std::swap(release_, other.release_);
  return *this;
}

Buffer::~Buffer() {
  if (data_ == nullptr) return;
  release_(data_, size_);
  ledger_->give_back(name_, booked_);
}

}  // namespace altlas::device
