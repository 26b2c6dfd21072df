// AdapterTable: the LoRA adapters that a rank holds. They come and go beside its steps.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

#include "device/device.h"
#include "model/adapter.h"

namespace altlas::model {

// Threads: any.
class AdapterTable {
 public:
  // Reads the file's matrices into memory of the device; gives the bytes.  Errors: kBusy where the
  // device has no room, and as CheckedAdapter::lay_out.
  Result<uint64_t> keep(uint32_t id, const CheckedAdapter& file, device::Device& device);
  void drop(uint32_t id);
  // Null for 0 and for one that is not there. Its memory leaves once it is dropped here and by all
  // who were given it.
  std::shared_ptr<const Adapter> find(uint32_t id) const;

 private:
  struct Held {
    device::Buffer buffer;
    Adapter adapter;
  };
  mutable std::mutex mutex_;
  std::map<uint32_t, std::shared_ptr<const Held>> held_;
};

}  // namespace altlas::model
