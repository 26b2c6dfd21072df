// A slice of the CPU as a device: memory with a budget, and a team of pinned threads.
#pragma once

#include <memory>
#include <string>

#include "device/cpu/team.h"
#include "device/device.h"
#include "device/spec.h"

namespace altlas::device {

class CpuDevice final : public Device {
 public:
  // spec.kind: kCpu.  Starts spec.threads - 1 threads.
  CpuDevice(DeviceId id, const DeviceSpec& spec);
  ~CpuDevice() override;

  DeviceId id() const override { return id_; }
  DeviceKind kind() const override { return DeviceKind::kCpu; }
  const std::string& name() const override { return spec_.name; }
  MemoryUse memory_use() const override { return ledger_.use(); }
  Result<Buffer> allocate(std::string_view name, uint64_t bytes) override;
  Result<Buffer> adopt(std::string_view name, void* mapped, uint64_t bytes,
                       uint64_t booked) override;
  int64_t busy_ns() const override { return team_.busy_ns(); }

  Team& team() override { return team_; }

  const DeviceSpec& spec() const { return spec_; }

 private:
  const DeviceId id_;
  const DeviceSpec spec_;
  Ledger ledger_;
  Team team_;
};

}  // namespace altlas::device
