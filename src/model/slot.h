// What a rank keeps of one sequence between steps.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "model/adapter.h"
#include "model/pooling.h"
#include "ops/sample/sample.h"
#include "step/step_plan.h"

namespace altlas::model {

// Writer: the rank's thread.
struct SequenceSlot {
  std::shared_ptr<const SequenceRequest> request;  // Null: free.
  std::vector<std::vector<uint32_t>> tables;       // Per KV group; capacity for model_len_max.
  int32_t last_token = -1;                         // Sampled by the previous step.
  std::vector<ops::TokenCount> counts;             // By id; only where penalties ask for them.
  std::shared_ptr<const Adapter> adapter;  // Null: none. Held to the end: no lock in a step.
  PromptPool pool;                         // The pool of a sequence that embeds.

  bool penalised() const {
    const SamplingParams& s = request->sampling;
    return s.repetition_penalty != 1.0f || s.presence_penalty != 0.0f ||
           s.frequency_penalty != 0.0f;
  }
  ops::SampleParams sample_params() const {
    const SamplingParams& s = request->sampling;
    return {.temperature = s.temperature,
            .top_k = s.top_k,
            .top_p = s.top_p,
            .min_p = s.min_p,
            .repetition_penalty = s.repetition_penalty,
            .presence_penalty = s.presence_penalty,
            .frequency_penalty = s.frequency_penalty,
            .seed = s.seed,
            .logit_bias = s.logit_bias,
            .counts = counts};
  }
  // ids_max: more different tokens it will never have; steps allocate nothing for their counts.
  void start(std::shared_ptr<const SequenceRequest> next, std::shared_ptr<const Adapter> own,
             size_t ids_max) {
    request = std::move(next);
    adapter = std::move(own);
    last_token = -1;
    counts.clear();
    pool.clear();
    for (auto& table : tables) table.clear();
    if (!penalised()) return;
    counts.reserve(ids_max);
    for (const int32_t id : request->prompt) count(id).generated += 0;
    for (const int32_t id : request->generated) ++count(id).generated;
  }
  // A token that a step sampled.
  void sampled(int32_t id) {
    last_token = id;
    if (penalised()) ++count(id).generated;
  }
  // counts as they are once `tokens` have been sampled too.
  void counts_after(std::span<const int32_t> tokens, std::vector<ops::TokenCount>& after) const {
    after = counts;
    for (const int32_t id : tokens) ++count(after, id).generated;
  }
  void end() {
    request.reset();
    adapter.reset();
    counts.clear();
    for (auto& table : tables) table.clear();
  }

 private:
  ops::TokenCount& count(int32_t id) { return count(counts, id); }
  static ops::TokenCount& count(std::vector<ops::TokenCount>& counts, int32_t id) {
    const auto at = std::ranges::lower_bound(counts, id, {}, &ops::TokenCount::id);
    if (at != counts.end() && at->id == id) return *at;
    return *counts.insert(at, {id, 0});
  }
};

// Lists that one of a step's rows is asked with.
struct AskLists {
  std::vector<ops::TokenCount> counts;
  std::vector<int32_t> banned;

  // For rows of the slot's sequence, so that no step has to. end_ids: ids that end any generation.
  void make_room(const SequenceSlot& slot, size_t end_ids) {
    const SamplingParams& s = slot.request->sampling;
    if (slot.penalised()) counts.reserve(slot.counts.capacity());
    if (s.min_tokens > 0) banned.reserve(end_ids + s.stop_token_ids.size());
  }
};

}  // namespace altlas::model
