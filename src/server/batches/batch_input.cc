#include "server/batches/batch_input.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <unordered_set>

#include "base/byte_order_mark.h"
#include "base/utf8.h"
#include "server/json_reader.h"

namespace altlas::server {

namespace json = boost::json;

namespace {
constexpr std::string_view kEndpoints[] = {"/v1/chat/completions", "/v1/completions",
                                           "/v1/embeddings"};
constexpr std::string_view kMethods[] = {"POST"};

// Files that were put together have a byte order mark before any of their lines.
bool is_blank(std::string_view line) {
  const auto text = skip_byte_order_mark(line, "the line");
  return text.ok() && text->find_first_not_of(" \t\r") == std::string_view::npos;
}

}  // namespace

bool is_batch_endpoint(std::string_view url) {
  return std::ranges::find(kEndpoints, url) != std::end(kEndpoints);
}

Result<BatchRequest> read_batch_request(std::string_view line, std::string_view endpoint,
                                        size_t depth_max) {
  ALTLAS_TRY(const json::object object, parse_object(line, depth_max));
  JsonReader reader(object);
  BatchRequest request;
  request.custom_id = reader.required_text("custom_id");
  if (request.custom_id.size() > kCustomIdBytesMax || request.custom_id.empty())
    reader.fail("custom_id", fmt::format("should have 1 to {} bytes", kCustomIdBytesMax));
  if (!reader.has("method")) reader.fail("method", "is missing, should be POST");
  reader.choice("method", kMethods, 0);
  const std::string url = reader.required_text("url");
  if (reader.status().ok() && url != endpoint)
    reader.fail("url", fmt::format("is '{}', should be the batch's endpoint {}", url.substr(0, 64),
                                   endpoint));
  const json::object* body = reader.object("body");
  if (body == nullptr) reader.fail("body", "is missing, should be the request as an object");
  if (body != nullptr) {
    JsonReader inner(*body, "body");
    if (inner.boolean("stream", false)) inner.fail("stream", "can't be true in a batch");
    if (const auto status = inner.status(); !status.ok()) return status.error();
  }
  ALTLAS_TRY_VOID(reader.status());
  request.body = json::serialize(*body);
  return request;
}

BatchInput check_batch_input(std::string_view content, std::string_view endpoint,
                             BatchInputLimits limits) {
  BatchInput out;
  std::unordered_set<std::string> ids;
  // Messages quote the file, perhaps cut within a character.
  const auto fail = [&](std::string code, const std::string& message, std::string param,
                        uint32_t line) {
    if (out.errors.size() < kBatchErrorsMax)
      out.errors.push_back({std::move(code), repair_utf8(message), std::move(param), line});
  };
  // Told of the whole file, for its lines end within characters.
  if (const auto text = skip_byte_order_mark(content, "the file"); !text.ok()) {
    fail(text.error().reason(), text.error().message(), "", 0);
    return out;
  }
  uint32_t number = 0;
  for (size_t at = 0; at < content.size() && out.errors.size() < kBatchErrorsMax;) {
    const size_t end = std::min(content.find('\n', at), content.size());
    const std::string_view line = content.substr(at, end - at);
    const size_t offset = std::exchange(at, end + 1);
    ++number;
    if (is_blank(line)) continue;
    if (out.lines.size() >= limits.lines_max) {
      fail("too_many_lines",
           fmt::format("the file has more than {} requests: send it in parts", limits.lines_max),
           "", number);
      break;
    }
    if (line.size() > limits.line_bytes_max) {
      fail("line_too_large",
           fmt::format("the line has {} bytes, at most {} are taken", line.size(),
                       limits.line_bytes_max),
           "", number);
      continue;
    }
    const auto request = read_batch_request(line, endpoint, limits.depth_max);
    if (!request.ok()) {
      const Error& error = request.error();
      fail(error.field().empty() ? "invalid_json_line" : "invalid_request", error.message(),
           error.field(), number);
      continue;
    }
    if (!ids.insert(request->custom_id).second)
      fail("duplicate_custom_id",
           fmt::format("custom_id '{}' stands in an earlier line too, each must be its own",
                       request->custom_id.substr(0, 64)),
           "custom_id", number);
    out.lines.push_back({offset, static_cast<uint32_t>(line.size()), number});
  }
  if (out.lines.empty() && out.errors.empty())
    fail("empty_file", "the file has no request: put one JSON object on each line", "", 0);
  return out;
}

}  // namespace altlas::server
