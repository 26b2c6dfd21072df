// Shapes: what a seed's world runs beside plain text generation, and how often each was really
// seen.
#pragma once

#include <cstdint>

#include "base/fields.h"

namespace altlas::simulation {

// Drawn by the seed.
struct Shapes {
  bool two_steps = false;        // Executors with two steps in flight.
  bool adapters = false;         // LoRA adapters come and go, and tasks name them.
  bool grammars = false;         // Models have a vocabulary, and texts are held to grammars.
  bool payloads = false;         // A deployment that is no model answers payloads.
  bool embeddings = false;       // Tasks want embeddings; some deployments give nothing else.
  bool payload_prompts = false;  // Prompts hold payloads, which models encode themselves.
  bool graceful_stop = false;    // The server drains while tasks run, then stops and starts again.
  bool two_ranks = false;        // Replicas have two devices, in one worker or in two.
};

// A shape that is drawn and does nothing tests nothing: so what happened is counted.
struct ShapeCounts {
  uint64_t pending_tokens = 0;          // Planned before the step that samples them was done.
  uint64_t adapter_loads = 0;           // By operators, answered as done.
  uint64_t adapter_unloads = 0;         // The same.
  uint64_t adapter_loads_failed = 0;    // Answered with an error.
  uint64_t adapter_loads_canceled = 0;  // By a replica: unloaded while it was read.
  uint64_t adapter_tasks = 0;           // Completed.
  uint64_t grammar_tasks = 0;           // Completed, held to a grammar to the end.
  uint64_t grammars_compiled = 0;       // By replicas, beside the steps of others.
  uint64_t grammar_resumes = 0;         // Went on behind tokens of an earlier run.
  uint64_t grammar_beside_guesses = 0;  // Sequences in replicas that guess for others.
  uint64_t payload_tasks = 0;           // Completed.
  uint64_t payload_prompts = 0;         // Completed by a model that reads payloads.
  uint64_t embedding_tasks = 0;         // Completed.
  uint64_t encoder_tasks = 0;           // Completed by a model that only embeds.
  uint64_t drained = 0;                 // Stops before which all that ran when they began ended.
  uint64_t stopped_while_running = 0;   // Stops that tasks outlived.
  uint64_t two_rank_tasks = 0;          // Completed, by replicas of two devices.
  uint64_t followers_lost = 0;          // Workers that do not lead, lost with their replicas.

  // Calls field(name, member) for each member.
  static constexpr void fields(auto&& field) {
    using S = ShapeCounts;
    field("pending_tokens", &S::pending_tokens);
    field("adapter_loads", &S::adapter_loads);
    field("adapter_unloads", &S::adapter_unloads);
    field("adapter_loads_failed", &S::adapter_loads_failed);
    field("adapter_loads_canceled", &S::adapter_loads_canceled);
    field("adapter_tasks", &S::adapter_tasks);
    field("grammar_tasks", &S::grammar_tasks);
    field("grammars_compiled", &S::grammars_compiled);
    field("grammar_resumes", &S::grammar_resumes);
    field("grammar_beside_guesses", &S::grammar_beside_guesses);
    field("payload_tasks", &S::payload_tasks);
    field("payload_prompts", &S::payload_prompts);
    field("embedding_tasks", &S::embedding_tasks);
    field("encoder_tasks", &S::encoder_tasks);
    field("drained", &S::drained);
    field("stopped_while_running", &S::stopped_while_running);
    field("two_rank_tasks", &S::two_rank_tasks);
    field("followers_lost", &S::followers_lost);
  }
};
static_assert(fields_complete<ShapeCounts>(), "describe every member in fields()");

inline void add(ShapeCounts& sum, const ShapeCounts& more) {
  ShapeCounts::fields([&](const char*, auto member) { sum.*member += more.*member; });
}

}  // namespace altlas::simulation
