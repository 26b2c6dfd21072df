// How the next token is drawn, as request bodies say it.
#pragma once

#include "base/fields.h"
#include "server/body/field.h"
#include "server/json_reader.h"
#include "server/prompt/prompt.h"
#include "task/task.h"
#include "text/stop.h"

namespace altlas::server {

// The schema of OpenAI's {"id": bias} and llama-server's [[id or text, bias or false]].
boost::json::object logit_bias_schema(const config::Config& now);

// The fields that every generating route shares. A row names a member of SamplingParams, or one of
// those here that become members by read_sampling().
struct SamplingFields : SamplingParams {
  std::optional<int64_t> given_seed;
  const boost::json::value* biases = nullptr;

  static constexpr void fields(auto&& field) {
    using S = SamplingFields;
    field("temperature", &S::temperature, BodyField{.help = "0 is greedy", .min = 0, .max = 2});
    field("top_p", &S::top_p, BodyField{.min = 0, .max = 1});
    field("top_k", &S::top_k, BodyField{.help = "0 and -1: all", .min = -1});
    field("min_p", &S::min_p, BodyField{.min = 0, .max = 1});
    field("repetition_penalty", &S::repetition_penalty,
          BodyField{.min = 0.01, .max = 100, .other_names = {"repeat_penalty"}});
    field("presence_penalty", &S::presence_penalty, BodyField{.min = -2, .max = 2});
    field("frequency_penalty", &S::frequency_penalty, BodyField{.min = -2, .max = 2});
    field("seed", &S::given_seed,
          BodyField{.help = "The same seed gives the same text; -1, null and none draw one, which "
                            "the answer tells"});
    field("stop", &S::stop,
          BodyField{.help = "The text ends before the first of them; the limits are bytes",
                    .max = text::kStopStringBytesMax,
                    .items_max = text::kStopStringsMax,
                    .shared = "Stop"});
    field("ignore_eos", &S::ignore_eos,
          BodyField{.help = "Go on where the model would end, up to the number of tokens"});
    field("min_tokens", &S::min_tokens,
          BodyField{.help = "No end before so many tokens", .min = 0});
    field("logit_bias", &S::biases,
          BodyField{.help = "Added to the logits of tokens", .schema = logit_bias_schema});
  }
};

// The parameters as tasks have them; a seed that is not given is drawn. What is wrong goes into
// `reader`.
SamplingParams read_sampling(SamplingFields fields, JsonReader& reader, const ServedModel& model);

// A seed from the machine's random source, for requests that give none. Small enough that readers
// who hold numbers as doubles send back the same, and of every choice.
uint64_t draw_seed();
// What `seed` asks for; none where it is left out, null or -1, which all ask for one to be drawn.
std::optional<uint64_t> wanted_seed(const SamplingFields& fields);
// The seed of choice `index` of a request with this seed: another for each, and never -1.
uint64_t choice_seed(uint64_t seed, uint64_t index);
// The seed as answers say it, and as requests take it.
inline int64_t shown_seed(uint64_t seed) { return static_cast<int64_t>(seed); }

}  // namespace altlas::server
