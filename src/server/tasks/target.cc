#include "server/tasks/target.h"

#include <fmt/format.h>

#include "server/tasks/task_json.h"

namespace altlas::server {

namespace {

Result<void> check_generates(const ServedModel& model) {
  if (model.generates) return {};
  return invalid(fmt::format("model: '{}' only gives embeddings: use /v1/embeddings, or a model "
                             "that generates text",
                             model.id),
                 "model");
}

Result<void> check_embeds(const ServedModel& model) {
  if (model.embedding_size > 0) return {};
  return invalid(fmt::format("model: '{}' gives no embeddings: name a model that does", model.id),
                 "model");
}

}  // namespace

Result<void> read_target(const TargetFields& fields, std::optional<Priority> priority,
                         std::string_view type, const Request& request, const Services& services,
                         PendingTask& task) {
  ALTLAS_TRY(task.model, services.prompts.find(fields.model, type));
  const bool embeds = type == kEmbeddingType;
  ALTLAS_TRY_VOID(embeds ? check_embeds(*task.model) : check_generates(*task.model));
  TaskSpec& spec = task.spec;
  spec.owner = request.identity.name;
  spec.deployment = task.model->deployment;
  spec.adapter = task.model->adapter;
  const GpuOptions options = fields.gpu_options.value_or(GpuOptions());
  spec.strategy = options.strategy;
  spec.specific_device = options.specific_gpu_id;
  spec.priority = priority ? *priority : services.now()->gpu.multi_gpu.default_queue_priority;
  if (request.background) spec.priority = Priority::kLow;
  return {};
}

}  // namespace altlas::server
