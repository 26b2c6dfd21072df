// One rank of a replica: a device with a share of the weights and KV, that carries out planned
// steps.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "device/device.h"
#include "kv/group.h"
#include "model/kv_bytes.h"
#include "model/op_clock.h"
#include "model/panel_cache.h"
#include "model/shard_plan.h"
#include "replica/limits.h"
#include "replica/settings.h"
#include "step/step_plan.h"
#include "tensor/dtype.h"

namespace altlas::model {

class RankGroup;

// The place of a rank in the layout that the settings ask for: stage after stage, the ranks of each
// in order.
RankShard shard_of_rank(const replica::ReplicaSettings& settings, uint32_t rank);

// What a rank is told: the replica's settings, and what is this rank's alone.
struct LoadOptions : replica::ReplicaSettings {
  RankShard shard;
  PanelCacheOptions panels;  // Where packed weights are kept; repack_folder is not looked at.
  // Where shard.tp_size is above 1: the ranks that load beside this one, on threads of their own,
  // and carry out the same steps. Null only for load_shape(): then all have as many threads.
  std::shared_ptr<RankGroup> group;
  std::vector<int32_t>
      end_of_generation;  // Tokens that `min_tokens` bans; the tokenizer knows them.
  // What other ranks of the replica have room for; this one takes no more.
  uint32_t kv_blocks_max = UINT32_MAX;    // The limit of each group.
  uint32_t swap_places_max = UINT32_MAX;  // The limit of each group.
  OpTimes* times = nullptr;  // Steps add to it: read it between two steps. It outlives the rank.
  // Called from the loading thread with 0 … 1 within a phase ("weights", "kv").
  std::function<void(std::string_view phase, double fraction)> progress;
};

// What a rank holds; known before anything is allocated. `ranks` is empty: the numbers below are
// this rank's.
struct ReplicaShape : replica::ReplicaLimits {
  uint64_t weight_bytes = 0;      // Model, adapters, draft model.
  uint64_t activation_bytes = 0;  // Workspace of a step, and sampling.
  uint64_t block_bytes = 0;       // Bytes of one block of every group together.
  DType kv_type = DType::kF16;
  uint32_t layer_count = 0;
  uint64_t parameters = 0;   // The parameters of the model as a whole.
  std::string architecture;  // "qwen2".
};

// Reads only the file's metadata.  memory_bytes: the device's budget; threads: of its team.
// Errors: kNotFound, kIo, kInvalid (the file, an option, or "does not fit" with the numbers).
Result<ReplicaShape> load_shape(const LoadOptions& options, uint64_t memory_bytes,
                                uint32_t threads);

// Threads: all calls but those of adapters from one thread, the rank's own; it is the first of the
// device's team.
class Rank {
 public:
  virtual ~Rank() = default;
  virtual const ReplicaShape& shape() const = 0;
  // Carries out one step.  Errors: of the group's link, where it has one, naming step, worker and
  // collective; kInvalid for a plan that breaks StepPlan's contract or names
  // what this rank does not have; memory stays intact, but the rank's slots may be half changed:
  // restart the replica.
  virtual Result<StepResult> run(const StepPlan& plan) = 0;
  // Reads a LoRA adapter's file and keeps it as `id`, a new one, until it is dropped; gives its
  // bytes. From any one other thread beside run(): steps go on meanwhile.
  // Errors: as CheckedAdapter::open; kBusy where the device has no room for it.
  virtual Result<uint64_t> load_adapter(uint32_t id, const std::string& path) = 0;
  // No step from here on names it. Unknown ids are ignored. Any thread, beside run().
  virtual void drop_adapter(uint32_t id) = 0;

  // All layers and KV heads that this rank holds.
  virtual KvRange kv_range() const = 0;
  // KV blocks of a group as bytes, computed with `adapter` (0: none), a part of kv_range(). What
  // steps before have written is in them.  Errors: kInvalid for a group, block or range that is not
  // there, and for encoders, whose KV serves one step; kNotFound for an unknown adapter.
  virtual Result<KvBytes> export_kv(uint32_t adapter, uint32_t group, const KvRange& range,
                                    std::span<const BlockId> blocks) const = 0;
  // The reverse, into blocks that no step in flight names: a sequence whose tables name them goes
  // on behind their tokens with the same bits.  Errors: as export_kv; kConflict, with words, where
  // the bytes are of another model, adapter, KV type or block size; kInvalid where their number is
  // wrong. Then nothing was written.
  virtual Result<void> import_kv(uint32_t adapter, const KvBytes& kv,
                                 std::span<const BlockId> blocks) = 0;
};

// Loads weights and allocates everything a step needs. Call it from the thread that will call
// run(): that thread is pinned. device: outlives the rank.  Errors: as load_shape; kBusy where the
// device's budget is taken by others; kUnsupported for a kind of device that can't compute here.
Result<std::unique_ptr<Rank>> load_rank(const LoadOptions& options, device::Device& device);

}  // namespace altlas::model
