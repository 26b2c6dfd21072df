// The boot epoch: a number of this start of the server, larger than that of every start before it.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "journal/store.h"

namespace altlas::journal {

struct BootEpoch {
  uint64_t epoch = 1;
  Result<void> kept;  // Otherwise the next start may have the same number.
};

// Reads the last start's number, adds one and keeps it in the store. Before the writer starts.
// Errors: kIo where the store can't be read, kInvalid for a number that is none.
Result<BootEpoch> next_boot_epoch(Store& store);

}  // namespace altlas::journal
