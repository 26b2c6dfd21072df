// A rank's weights in its device's memory: packed now, or mapped as an earlier start packed them.
#pragma once

#include "base/result.h"
#include "device/device.h"
#include "model/decoder_weights.h"
#include "model/model_file.h"
#include "model/rank.h"

namespace altlas::model {

struct WeightBytes {
  uint64_t all = 0;
  uint64_t booked = 0;
};

struct LoadedWeights {
  device::Buffer buffer;  // What `weights` points into.
  DecoderWeights weights;
};

// shard: of options.shard. bytes: of the packed weights, of which `booked` are in memory at once;
// the rest stays in the file where they are kept, or the load fails (kInvalid). Call it from the
// leader of the device's team. What goes wrong with options.panels only costs time and is logged.
// Errors: as lay_out_weights, kBusy where the device has no room. Each device books all of its
// bytes, also where several map one file. device: one whose memory the host writes.
Result<LoadedWeights> load_weights(const ModelFile& file, const ShardPlan& shard,
                                   const LoadOptions& options, WeightBytes bytes,
                                   device::Device& device);

}  // namespace altlas::model
