// OpenAI's batches: /v1/batches, a file of requests carried out at low priority.
#include <fmt/format.h>

#include <boost/json.hpp>

#include "base/utf8.h"
#include "server/batches/batch_json.h"
#include "server/batches/batch_runner.h"
#include "server/batches/file_desk.h"
#include "server/batches/page.h"
#include "server/body/query.h"
#include "server/body/read.h"
#include "server/handlers.h"
#include "server/routes.h"
#include "text/json_text.h"

namespace altlas::server {
namespace {

namespace json = boost::json;
using boost::asio::awaitable;

constexpr size_t kMetadataMax = 16, kMetadataKeyMax = 64, kMetadataValueMax = 512;

// Reads the entries of `metadata`. Their keys and values have limited numbers of characters.
void read_metadata(const json::object& metadata, JsonReader& reader, Batch& batch) {
  if (metadata.size() > kMetadataMax)
    return reader.fail("metadata", fmt::format("has {} entries, at most {} are taken",
                                               metadata.size(), kMetadataMax));
  for (const auto& [key, value] : metadata) {
    if (!value.is_string() || count_code_points(value.get_string()) > kMetadataValueMax ||
        count_code_points(key) > kMetadataKeyMax)
      return reader.fail("metadata",
                         fmt::format("should hold strings of at most {} characters under names of "
                                     "at most {}",
                                     kMetadataValueMax, kMetadataKeyMax));
    batch.metadata.emplace_back(key, value.get_string());
  }
}

// POST /v1/batches {"input_file_id", "endpoint", "completion_window", "metadata"} -> the batch.
awaitable<Result<Response>> create_batch(Request request, Services& services) {
  ALTLAS_CO_TRY(const json::object object, read_body(request, services));
  JsonReader reader(object);
  BatchBody body;
  read_fields(reader, body, *services.now());
  ALTLAS_CO_TRY_VOID(reader.status());
  ALTLAS_CO_TRY_VOID(check_batch_endpoint(body.endpoint));
  Batch batch;
  if (body.metadata != nullptr) read_metadata(*body.metadata, reader, batch);
  ALTLAS_CO_TRY_VOID(reader.status());
  batch.owner = request.identity.name;
  batch.input_file = std::move(body.input_file_id);
  batch.endpoint = std::move(body.endpoint);
  batch.window = std::move(body.completion_window);
  batch.output_lifetime = lifetime_of(body.output_expires_after);
  ALTLAS_CO_TRY(const TimeUs window, parse_window(batch.window));
  batch.created = system_clock().now();
  batch.expires = batch.created + window;
  auto work = [batch, identity = request.identity](Files& files,
                                                   Batches& batches) -> Result<Batch> {
    const auto file = files.find(batch.input_file);
    if (!file.ok() || !may_see(identity, file->owner))
      return Error(ErrorCode::kNotFound,
                   fmt::format("input_file_id: no file '{}': send it to /v1/files first",
                               batch.input_file.substr(0, 64)))
          .with_field("input_file_id");
    return batches.create(batch);
  };
  ALTLAS_CO_TRY(const Batch made, co_await services.desk->run<Batch>(std::move(work)));
  services.batches->submit(made.id);
  co_return json_response(text::json_text(batch_to_json(made)));
}

awaitable<Result<Response>> list_batches(Request request, Services& services) {
  ALTLAS_CO_TRY(const PageQuery query, read_query<PageQuery>(request, *services.now()));
  const auto work = [](Files&, Batches& batches) -> Result<std::vector<Batch>> {
    return batches.list();
  };
  ALTLAS_CO_TRY(auto all, co_await services.desk->run<std::vector<Batch>>(work));
  std::erase_if(all, [&](const Batch& one) { return !may_see(request.identity, one.owner); });
  ALTLAS_CO_TRY(const Page<Batch> page, page_of(std::move(all), query, 100));
  json::array data;
  for (const Batch& batch : page.items) data.push_back(batch_to_json(batch));
  co_return json_response(text::json_text(page_json(page, std::move(data))));
}

Result<Batch> own_batch(const std::string& id, const Identity& identity, const Batches& batches) {
  auto found = batches.find(id);
  if (found.ok() && !may_see(identity, found->owner))
    return not_found(fmt::format("no batch '{}': it was never made, or is older than those kept",
                                 id.substr(0, 64)));
  return found;
}

awaitable<Result<Response>> get_batch(Request request, Services& services) {
  auto work = [id = std::string(request.parameter("id")), identity = request.identity](
                  Files&, Batches& batches) { return own_batch(id, identity, batches); };
  ALTLAS_CO_TRY(const Batch batch, co_await services.desk->run<Batch>(std::move(work)));
  co_return json_response(text::json_text(batch_to_json(batch)));
}

// POST /v1/batches/{id}/cancel: ends the batch's requests. Those that are answered keep their
// results.
awaitable<Result<Response>> cancel_batch(Request request, Services& services) {
  auto work = [id = std::string(request.parameter("id")), identity = request.identity](
                  Files&, Batches& batches) -> Result<Batch> {
    ALTLAS_TRY(Batch batch, own_batch(id, identity, batches));
    if (batch.status == BatchStatus::kCancelling) return batch;
    if (is_over(batch.status) || batch.finalizing != 0)
      return Error(ErrorCode::kConflict,
                   fmt::format("batch '{}' is {} already", id, to_string(batch.status)));
    batch.status = BatchStatus::kCancelling;
    batch.cancelling = system_clock().now();
    ALTLAS_TRY_VOID(batches.update(batch));
    return batch;
  };
  ALTLAS_CO_TRY(const Batch batch, co_await services.desk->run<Batch>(std::move(work)));
  services.batches->cancel(batch.id);
  co_return json_response(text::json_text(batch_to_json(batch)));
}

}  // namespace

json::object metadata_schema(const config::Config&) {
  const json::object value{{"type", "string"}, {"maxLength", kMetadataValueMax}};
  const json::object key{{"maxLength", kMetadataKeyMax}};
  return {{"type", "object"},
          {"maxProperties", kMetadataMax},
          {"additionalProperties", value},
          {"propertyNames", key}};
}

std::vector<Route> batch_routes() {
  return {
      {"POST",
       "/v1/batches",
       Access::kUser,
       create_batch,
       "Carry out a file of requests at low priority",
       "BatchRequest",
       "Batch",
       {},
       {400, 404, 413, 415, 429, 503}},
      {"GET",
       "/v1/batches",
       Access::kUser,
       list_batches,
       "Batches, newest first",
       "",
       "BatchList",
       &kQueryOf<PageQuery>,
       {400, 404}},
      {"GET", "/v1/batches/{id}", Access::kUser, get_batch, "One batch", "", "Batch", {}, {404}},
      {"POST",
       "/v1/batches/{id}/cancel",
       Access::kUser,
       cancel_batch,
       "Cancel a batch",
       "",
       "Batch",
       {},
       {404, 409}},
  };
}

}  // namespace altlas::server
