// A small model that guesses what the large one says next. Its KV lies in blocks of the same ids.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "device/device.h"
#include "model/decoder.h"
#include "model/forward.h"
#include "model/load_weights.h"
#include "model/model_file.h"

namespace altlas::model {

struct DraftPlan {
  explicit DraftPlan(ModelFile opened) : file(std::move(opened)) {}

  ModelFile file;
  ShardPlan shard;  // All of it: every rank guesses for itself.
  ops::KvLayout layout;
  std::vector<KvGroup> groups;  // Group g's blocks are those of the large model's group g.
  uint64_t weight_bytes = 0;
  Workspace<uint64_t> activation_bytes;  // Whole pages.
};

// What a draft model must fit: the model that it guesses for.
struct GuessedModel {
  uint32_t vocab_size;
  std::span<const KvGroup> groups;
  ops::KvLayout layout;  // Its types and block size hold for the draft model too.
  uint32_t step_tokens_max;
};

// path: the draft model's file. threads: of the rank's team. Errors: as ModelFile::open; kInvalid
// where the vocabularies or the windows do not fit, with the numbers.
Result<std::unique_ptr<DraftPlan>> plan_draft(const std::string& path, const GuessedModel& model,
                                              uint32_t threads);

// Threads: the rank's.
class DraftModel {
 public:
  // plan: of options.draft_model_path; groups' blocks are set. Errors: as load_weights, kBusy.
  static Result<std::unique_ptr<DraftModel>> load(std::unique_ptr<DraftPlan> plan,
                                                  const LoadOptions& options,
                                                  uint32_t step_tokens_max, device::Device& device);

  // Computes KV of the known tokens and fills in the guesses, the likeliest token each. KV of the
  // last guess is not there yet.
  void guess(std::span<DraftEntry> entries);
  // Computes KV of the last guess of entries whose guesses were all right.
  void keep_last(std::span<const DraftEntry> entries);
  const std::vector<KvGroup>& groups() const { return plan_->groups; }
  const ops::KvLayout& layout() const { return plan_->layout; }

 private:
  explicit DraftModel(std::unique_ptr<DraftPlan> plan) : plan_(std::move(plan)) {}
  BatchEntry one_token(const DraftEntry& entry, uint32_t index) const;
  void take_likeliest(std::span<DraftEntry> entries, uint32_t guess);

  std::unique_ptr<DraftPlan> plan_;
  std::unique_ptr<RankGroup> group_;  // One rank's.
  LoadedWeights loaded_;
  device::Buffer workspace_;
  std::vector<device::Buffer> kv_;
  std::unique_ptr<Decoder> decoder_;
  // The batch of the step that runs.
  std::vector<BatchEntry> batch_;
  std::vector<uint32_t> rows_;
  std::vector<int32_t*> targets_;
  std::array<int32_t, kHeadRowsMax> likeliest_{};
};

}  // namespace altlas::model
