#include "server/batches/batch_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <iterator>

#include "server/json_reader.h"
#include "text/json_text.h"

namespace altlas::server {

namespace json = boost::json;

namespace {

constexpr size_t kDepthMax = 8;
constexpr std::string_view kStatusNames[] = {"validating", "failed",  "in_progress", "finalizing",
                                             "completed",  "expired", "cancelling",  "cancelled"};

json::value seconds_or_null(TimeUs time) {
  return time == 0 ? json::value(nullptr) : json::value(time / kSecond);
}

json::value text_or_null(const std::string& text) {
  return text.empty() ? json::value(nullptr) : json::value(text);
}

struct TimeField {
  const char* name;
  TimeUs Batch::*member;
};
constexpr TimeField kTimes[] = {
    {"created_at", &Batch::created},     {"in_progress_at", &Batch::in_progress},
    {"expires_at", &Batch::expires},     {"finalizing_at", &Batch::finalizing},
    {"completed_at", &Batch::completed}, {"failed_at", &Batch::failed},
    {"expired_at", &Batch::expired},     {"cancelling_at", &Batch::cancelling},
    {"cancelled_at", &Batch::cancelled},
};

json::array errors_json(const std::vector<BatchError>& errors) {
  json::array list;
  for (const BatchError& error : errors)
    list.push_back({{"code", error.code},
                    {"line", error.line == 0 ? json::value(nullptr) : json::value(error.line)},
                    {"message", error.message},
                    {"param", text_or_null(error.param)}});
  return list;
}

json::object metadata_json(const Batch& batch) {
  json::object out;
  for (const auto& [key, value] : batch.metadata) out[key] = value;
  return out;
}

void read_errors(JsonReader& reader, Batch& batch) {
  const json::array* list = reader.array("errors");
  for (size_t i = 0; list != nullptr && i < list->size(); ++i) {
    const json::object* object = (*list)[i].if_object();
    if (object == nullptr) return reader.fail("errors", "should hold objects");
    JsonReader inner(*object);
    BatchError error;
    error.code = inner.text("code", "");
    error.message = inner.text("message", "");
    error.param = inner.text("param", "");
    error.line = static_cast<uint32_t>(inner.integer("line", 0, 0, UINT32_MAX));
    batch.errors.push_back(std::move(error));
  }
}

}  // namespace

std::string_view to_string(BatchStatus status) { return kStatusNames[static_cast<size_t>(status)]; }

TimeUs lifetime_of(const std::optional<ExpiresAfter>& expires) {
  return expires ? expires->seconds * kSecond : 0;
}

json::object file_to_json(const FileInfo& file) {
  return {{"id", file.id},
          {"object", "file"},
          {"bytes", file.bytes},
          {"created_at", file.created / kSecond},
          {"expires_at", seconds_or_null(file.expires)},
          {"filename", file.filename},
          {"purpose", file.purpose},
          {"status", "processed"}};
}

json::object batch_to_json(const Batch& batch) {
  json::object out{{"id", batch.id},
                   {"object", "batch"},
                   {"endpoint", batch.endpoint},
                   {"input_file_id", batch.input_file},
                   {"completion_window", batch.window},
                   {"status", to_string(batch.status)},
                   {"output_file_id", text_or_null(batch.output_file)},
                   {"error_file_id", text_or_null(batch.error_file)}};
  for (const TimeField& field : kTimes) out[field.name] = seconds_or_null(batch.*field.member);
  out["request_counts"] = {
      {"total", batch.total}, {"completed", batch.done}, {"failed", batch.faulty}};
  out["errors"] = batch.errors.empty()
                      ? json::value(nullptr)
                      : json::value{{"object", "list"}, {"data", errors_json(batch.errors)}};
  out["metadata"] =
      batch.metadata.empty() ? json::value(nullptr) : json::value(metadata_json(batch));
  return out;
}

std::string batch_to_state(const Batch& batch) {
  json::object out{{"id", batch.id},
                   {"owner", batch.owner},
                   {"endpoint", batch.endpoint},
                   {"input_file", batch.input_file},
                   {"window", batch.window},
                   {"status", to_string(batch.status)},
                   {"total", batch.total},
                   {"done", batch.done},
                   {"faulty", batch.faulty},
                   {"output_file", batch.output_file},
                   {"error_file", batch.error_file},
                   {"output_lifetime", batch.output_lifetime},
                   {"metadata", metadata_json(batch)},
                   {"errors", errors_json(batch.errors)}};
  for (const TimeField& field : kTimes) out[field.name] = batch.*field.member;
  return text::json_text(out);
}

Result<Batch> batch_from_state(std::string_view text) {
  ALTLAS_TRY(const json::object object, parse_object(text, kDepthMax));
  JsonReader reader(object);
  Batch batch;
  batch.id = reader.required_text("id");
  batch.owner = reader.text("owner", "");
  batch.endpoint = reader.required_text("endpoint");
  batch.input_file = reader.required_text("input_file");
  batch.window = reader.text("window", "");
  if (!reader.has("status")) reader.fail("status", "is missing");
  batch.status = static_cast<BatchStatus>(reader.choice("status", kStatusNames, 0));
  for (const TimeField& field : kTimes)
    batch.*field.member = reader.integer(field.name, 0, 0, INT64_MAX);
  batch.total = static_cast<uint32_t>(reader.integer("total", 0, 0, UINT32_MAX));
  batch.done = static_cast<uint32_t>(reader.integer("done", 0, 0, UINT32_MAX));
  batch.faulty = static_cast<uint32_t>(reader.integer("faulty", 0, 0, UINT32_MAX));
  batch.output_lifetime = reader.integer("output_lifetime", 0, 0, INT64_MAX);
  batch.output_file = reader.text("output_file", "");
  batch.error_file = reader.text("error_file", "");
  if (const json::object* metadata = reader.object("metadata"))
    for (const auto& [key, value] : *metadata)
      if (value.is_string()) batch.metadata.emplace_back(key, value.get_string());
  read_errors(reader, batch);
  ALTLAS_TRY_VOID(reader.status());
  return batch;
}

std::string answer_line(const Batch& batch, uint32_t line, std::string_view custom_id,
                        const LineAnswer& answer) {
  const std::string left_out =
      answer.ignored.empty()
          ? ""
          : fmt::format(R"("ignored":{},)", text::json_text(json::value(answer.ignored)));
  return fmt::format(
      R"({{"id":"{}","custom_id":{},"response":{{"status_code":{},"request_id":{},{}"body":{}}},"error":null}})",
      result_id(batch.id, line), text::json_text(json::value(custom_id)), answer.status,
      text::json_text(json::value(answer.request_id)), left_out, answer.body);
}

std::string error_line(const Batch& batch, uint32_t line, std::string_view custom_id,
                       std::string_view code, std::string_view message) {
  const json::object error{{"code", code}, {"message", message}};
  return fmt::format(R"({{"id":"{}","custom_id":{},"response":null,"error":{}}})",
                     result_id(batch.id, line), text::json_text(json::value(custom_id)),
                     text::json_text(error));
}

}  // namespace altlas::server
