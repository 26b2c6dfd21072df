// The bodies of /api/v1/predict and /api/v1/batch_predict.
#pragma once

#include "server/prompt/grammar_request.h"
#include "server/tasks/sampling.h"
#include "server/tasks/target.h"
#include "server/tasks/task_json.h"

namespace altlas::server {

inline constexpr size_t kNameMax = 256;  // Characters of a type or an idempotency key.
inline constexpr double kDeadlineMax = 366.0 * 86400;

// How `text` becomes a prompt.
enum class TextTemplate : uint8_t { kRaw, kChat };
inline constexpr EnumName kTextTemplateNames[] = {{"raw", 0}, {"chat", 1}};
constexpr std::span<const EnumName> names_of(TextTemplate) { return kTextTemplateNames; }

struct PredictBody {
  std::string text;
  std::string type = std::string(kGenerationType);
  TargetFields target;
  int32_t max_length = 128;
  uint64_t estimated_memory = 0;
  std::optional<Priority> priority;
  std::optional<double> deadline_s;
  std::string idempotency_key;
  TextTemplate text_template = TextTemplate::kRaw;
  bool parse_special = false;
  SamplingFields sampling;
  GrammarFields grammar;

  static constexpr void fields(auto&& field) {
    using S = PredictBody;
    field("text", &S::text, BodyField{.needed = "should be a string", .min = 1});
    field("type", &S::type,
          BodyField{
              .help = "Of the task; with embedding its result is one", .min = 1, .max = kNameMax});
    field("max_length", &S::max_length, BodyField{.help = "Generated tokens at most", .min = 1});
    field("estimated_memory", &S::estimated_memory,
          BodyField{.help = "Bytes reserved until the task ends"});
    field("priority", &S::priority, BodyField{.help = "Higher ones leave the queue earlier"});
    field("deadline_s", &S::deadline_s,
          BodyField{.help = "Seconds within which it is over, or fails",
                    .min = 0.001,
                    .max = kDeadlineMax});
    field("idempotency_key", &S::idempotency_key,
          BodyField{.help = "Requests with the same key that ask for the same, however it is "
                            "written, are one task",
                    .max = kNameMax});
    field("template", &S::text_template,
          BodyField{.help = "chat: the text is a user's turn in the model's chat template"});
    field("parse_special", &S::parse_special,
          BodyField{.help = "Control tokens are read in the text of a raw template"});
    field(&S::target);
    field(&S::sampling);
    field(&S::grammar);
  }
};
static_assert(fields_complete<PredictBody>(), "describe every member in fields()");

// The schema of a list of at most server.batch_items_max predict bodies.
boost::json::object batch_items_schema(const config::Config& now);

struct BatchPredictBody {
  const boost::json::array* batch = nullptr;
  std::optional<GpuOptions> gpu_options;

  static constexpr void fields(auto&& field) {
    using S = BatchPredictBody;
    field("batch", &S::batch,
          BodyField{.help = "At most server.batch_items_max",
                    .needed = "should be a list of /predict bodies",
                    .schema = batch_items_schema});
    field("gpu_options", &S::gpu_options, kGpuOptionsField);
  }
};
static_assert(fields_complete<BatchPredictBody>(), "describe every member in fields()");

// One /predict body, or one item of a batch (`path`: where it stands).
Result<PendingTask> read_task(const boost::json::object& body, std::string path,
                              const Request& request, const Services& services);

}  // namespace altlas::server
