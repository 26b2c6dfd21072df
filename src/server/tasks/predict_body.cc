#include "server/tasks/predict_body.h"

#include <boost/json.hpp>

#include "server/body/read.h"

namespace altlas::server {

namespace json = boost::json;

json::object batch_items_schema(const config::Config& now) {
  return {{"type", "array"},
          {"minItems", 1},
          {"maxItems", now.server.batch_items_max},
          {"items", {{"$ref", "#/components/schemas/PredictRequest"}}}};
}

Result<PendingTask> read_task(const json::object& object, std::string path, const Request& request,
                              const Services& services) {
  JsonReader reader(object, path);
  PredictBody body;
  read_fields(reader, body, *services.now());
  ALTLAS_TRY_VOID(reader.status());
  PendingTask task;
  TaskSpec& spec = task.spec;
  task.item = std::move(path);
  ALTLAS_TRY_VOID(read_target(body.target, body.priority, body.type, request, services, task));
  task.seed_drawn = !wanted_seed(body.sampling);
  spec.sampling = read_sampling(std::move(body.sampling), reader, *task.model);
  task.prompt.grammar = read_grammar(body.grammar, reader);
  spec.sampling.grammar = task.prompt.grammar.grammar;
  ALTLAS_TRY_VOID(reader.status());
  spec.type = std::move(body.type);
  spec.tokens_max = body.max_length;
  spec.estimated_memory = body.estimated_memory;
  spec.idempotency_key = std::move(body.idempotency_key);
  if (body.deadline_s) {
    task.deadline_after = static_cast<TimeUs>(*body.deadline_s * static_cast<double>(kSecond));
    spec.deadline = system_clock().now() + *task.deadline_after;
  }
  task.prompt.field = "text";
  task.prompt.text = std::move(body.text);
  task.prompt.parse_special = body.parse_special;  // Only raw texts can ask for it.
  if (spec.type == kEmbeddingType) as_embedding(task);
  if (body.text_template == TextTemplate::kChat) {
    task.prompt.kind = PromptSource::Kind::kChat;
    json::array messages{json::object{{"role", "user"}, {"content", task.prompt.text}}};
    task.prompt.messages = std::make_shared<json::value>(std::move(messages));
  }
  return task;
}

}  // namespace altlas::server
