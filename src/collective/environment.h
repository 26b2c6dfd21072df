// The NCCL_* variables that people set: what they mean where no GPU is.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"

namespace altlas::collective {

enum class NcclDebug : uint8_t { kNone, kVersion, kWarn, kInfo, kTrace };

struct NcclSettings {
  bool shm_disable = false;            // NCCL_SHM_DISABLE: TCP instead.
  std::string socket_ifname;           // NCCL_SOCKET_IFNAME; empty: any.
  int socket_nthreads = 1;             // NCCL_SOCKET_NTHREADS.
  int nsocks_perthread = 1;            // NCCL_NSOCKS_PERTHREAD.
  NcclDebug debug = NcclDebug::kNone;  // NCCL_DEBUG.

  struct Read {
    std::string name, value, effect;
    bool acts = false;  // false: it has no effect on cpu devices.
  };
  std::vector<Read> read;  // Those that are set, in a fixed order.
};

// `get`: the value of a variable, or null; only it knows where they come from. Errors: kInvalid,
// naming the variable, its value and what it may be.
Result<NcclSettings> read_nccl_settings(const std::function<const char*(const char*)>& get);

}  // namespace altlas::collective
