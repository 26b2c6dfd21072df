#include "server/batches/batch_input.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <unordered_set>

#include "base/byte_order_mark.h"
#include "base/utf8.h"
#include "server/batches/bodies.h"
#include "server/body/read.h"

namespace altlas::server {

namespace json = boost::json;

namespace {

// Files that were put together may have a byte order mark before any of their lines.
bool is_blank(std::string_view line) {
  const auto text = skip_byte_order_mark(line, "the line");
  return text.ok() && text->find_first_not_of(" \t\r") == std::string_view::npos;
}

}  // namespace

Result<void> check_batch_endpoint(std::string_view url) {
  if (std::ranges::find(kBatchEndpoints, url) != std::end(kBatchEndpoints)) return {};
  std::string names;
  for (const std::string_view& one : kBatchEndpoints) {
    const bool last = &one + 1 == std::end(kBatchEndpoints);
    names.append(names.empty() ? "" : last ? " or " : ", ").append(one);
  }
  return invalid(fmt::format("endpoint: is '{}', should be {}", url.substr(0, 64), names),
                 "endpoint");
}

Result<BatchRequest> read_batch_request(std::string_view line, std::string_view endpoint,
                                        size_t depth_max) {
  ALTLAS_TRY(const json::object object, parse_object(line, depth_max));
  static const config::Config kNoLimits;  // No setting limits any of a line's fields.
  JsonReader reader(object);
  BatchLineBody body;
  read_fields(reader, body, kNoLimits);
  if (reader.status().ok() && body.url != endpoint)
    reader.fail("url", fmt::format("is '{}', should be the batch's endpoint {}",
                                   body.url.substr(0, 64), endpoint));
  ALTLAS_TRY_VOID(reader.status());
  JsonReader inner(*body.body, "body");
  LineBodyFields asked;
  read_fields(inner, asked, kNoLimits);
  if (asked.stream) inner.fail("stream", "can't be true in a batch");
  ALTLAS_TRY_VOID(inner.status());
  BatchRequest request;
  request.custom_id = std::move(body.custom_id);
  request.body = json::serialize(*body.body);
  return request;
}

BatchInput check_batch_input(std::string_view content, std::string_view endpoint,
                             BatchInputLimits limits) {
  BatchInput out;
  std::unordered_set<std::string> ids;
  // Messages quote the file, and may cut it within a character.
  const auto fail = [&](std::string code, const std::string& message, std::string param,
                        uint32_t line) {
    if (out.errors.size() < kBatchErrorsMax)
      out.errors.push_back({std::move(code), repair_utf8(message), std::move(param), line});
  };
  // The encoding is told of the whole file, since its lines end within characters.
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
