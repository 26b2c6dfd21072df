// Tasks between JSON and native types: the bodies of /predict and what /task answers.
#pragma once

#include <boost/json/fwd.hpp>

#include "control/views.h"
#include "server/handlers.h"
#include "server/json_reader.h"

namespace altlas::server {

// A task as parsed, its text not yet tokenized.
struct PendingTask {
  TaskSpec spec;
  Prompt prompt;
  ServedModelPointer model;
  std::optional<TimeUs> deadline_after;  // Of its reading, as spec.deadline says absolutely.
  bool seed_drawn = false;               // The request gave none.
  bool same_prompt = false;  // As the task's before it, whose ids it takes; `prompt` is not used.
  std::string item;          // "batch[2]", where a request has several bodies.
  std::string place;         // "prompt[2]", where it has several prompts.
};

// {"strategy": …, "specific_gpu_id": …, "batch_split": …}.
struct GpuOptions {
  std::optional<Strategy> strategy;
  std::optional<DeviceId> specific_gpu_id;
  std::optional<bool> batch_split;
};

// A seed from the machine's random source, for requests that give none. Small enough that readers
// who hold numbers as doubles send back the same, and of every choice.
uint64_t draw_seed();
// `seed`; none where it is left out, null or -1, which all ask for one to be drawn.
std::optional<uint64_t> given_seed(JsonReader& reader);
// Of choice `index` of a request with this seed: another for each, and never -1.
uint64_t choice_seed(uint64_t seed, uint64_t index);
// As answers say it, and requests take it.
inline int64_t shown_seed(uint64_t seed) { return static_cast<int64_t>(seed); }
// A device as an API names it: 0, "0" or "gpu_0".
std::optional<DeviceId> read_device(JsonReader& reader, std::string_view name);
// `gpu_options` of `reader`'s object.  Errors go into `reader`.
GpuOptions read_gpu_options(JsonReader& reader, const Rooms& rooms);
// `priority`: a name, or vLLM's integer (lower is earlier); of a batch always low.
Priority read_priority(JsonReader& reader, const Request& request, const Rooms& rooms);
// Errors: kInvalid, field "model", for a model that does not generate text, or gives no embeddings.
Result<void> check_generates(const ServedModel& model);
Result<void> check_embeds(const ServedModel& model);
// Makes the task one whose answer is its prompt's embedding.
void as_embedding(PendingTask& task);
// The first `size` values of an embedding, of length 1 again (Matryoshka); all of a shorter one.
void shorten_embedding(std::vector<float>& values, size_t size);
// Sampling fields that every generating route shares: top_p, top_k, min_p, seed, stop, penalties,
// ignore_eos, min_tokens, logit_bias.
void read_sampling(JsonReader& reader, const ServedModel& model, SamplingParams& sampling);
// One /predict body, or one item of a batch (`path`: where it stands).
Result<PendingTask> read_task(const boost::json::object& body, std::string path,
                              const Identity& identity, const Rooms& rooms);

boost::json::object task_to_json(const control::TaskView& task);
boost::json::object device_to_json(const control::DeviceView& device);

// Admits, tokenizes and submits one task; the places are given back on any failure.
boost::asio::awaitable<Result<std::vector<control::Placed>>> submit_tasks(
    std::vector<PendingTask> tasks, bool split, Rooms& rooms, uint32_t min_per_device = 1);
// As submit_tasks for tasks that are answered in the same request and are not durable: each with
// its answer, cancelled when the client goes away. What they and their answers will hold is counted
// before.  Errors: also those of MemoryLease::hold.
boost::asio::awaitable<Result<std::vector<control::OwnedTask>>> submit_owned(
    std::vector<PendingTask> tasks, Asker asker, Rooms& rooms);
// As submit_owned for one task: its end.
boost::asio::awaitable<Result<control::TaskView>> run_task(PendingTask task, Asker asker,
                                                           Rooms& rooms);

}  // namespace altlas::server
