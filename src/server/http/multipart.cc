#include "server/http/multipart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <optional>

#include "base/strings.h"

namespace altlas::server {
namespace {

constexpr size_t kPartsMax = 32;
constexpr size_t kPartHeaderBytesMax = 8 << 10;
constexpr size_t kBoundaryBytesMax = 70;  // RFC 2046, section 5.1.1.

// Returns the value of `name` in "type; a=b; name=\"v\"". In quoted values backslash escapes are
// undone.
std::optional<std::string> parameter(std::string_view header, std::string_view name) {
  size_t at = header.find(';');
  while (at < header.size()) {
    const size_t equals = header.find('=', at + 1);
    if (equals == std::string_view::npos) return std::nullopt;
    const std::string key = lower(trim(header.substr(at + 1, equals - at - 1), " \t"));
    std::string value;
    size_t end = equals + 1;
    if (end < header.size() && header[end] == '"') {
      for (++end; end < header.size() && header[end] != '"'; ++end) {
        if (header[end] == '\\' && end + 1 < header.size()) ++end;
        value += header[end];
      }
      at = header.find(';', end);
    } else {
      at = header.find(';', end);
      value = trim(header.substr(end, at == std::string_view::npos ? at : at - end), " \t");
    }
    if (key == name) return value;
  }
  return std::nullopt;
}

Error not_parts(std::string_view what) {
  return invalid(
      fmt::format("the body is not multipart/form-data: {}; send it as 'curl -F' does", what));
}

// Reads the name and the file name from a part's headers.
Result<FormPart> read_header(std::string_view block) {
  FormPart part;
  bool named = false;
  while (!block.empty()) {
    const size_t end = std::min(block.find("\r\n"), block.size());
    const std::string_view line = block.substr(0, end);
    block.remove_prefix(std::min(end + 2, block.size()));
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) return not_parts("a part's header line has no ':'");
    if (lower(trim(line.substr(0, colon), " \t")) != "content-disposition") continue;
    const std::string_view value = line.substr(colon + 1);
    if (!lower(trim(value, " \t")).starts_with("form-data")) return not_parts("a part is not form-data");
    const auto name = parameter(value, "name");
    if (!name) return not_parts("a part has no name");
    part.name = *name;
    part.filename = parameter(value, "filename").value_or("");
    named = true;
  }
  if (!named) return not_parts("a part has no Content-Disposition");
  return part;
}

}  // namespace

Result<std::vector<FormPart>> parse_multipart(std::string_view content_type,
                                              std::string_view body) {
  const std::string_view type = trim(content_type.substr(0, content_type.find(';')));
  const auto boundary = parameter(content_type, "boundary");
  if (lower(type) != "multipart/form-data" || !boundary || boundary->empty() ||
      boundary->size() > kBoundaryBytesMax)
    return Error(ErrorCode::kUnsupported,
                 fmt::format("Content-Type is '{}', should be multipart/form-data; boundary=…",
                             content_type.substr(0, 64)));
  const std::string first = "--" + *boundary, next = "\r\n--" + *boundary;
  // Text before the first boundary is no part (RFC 2046, section 5.1.1).
  size_t at = body.starts_with(first) ? first.size() : body.find(next);
  if (at == std::string_view::npos) return not_parts("the boundary is nowhere");
  if (!body.starts_with(first)) at += next.size();
  std::vector<FormPart> parts;
  while (!body.substr(at).starts_with("--")) {
    at += std::min(body.substr(at).find_first_not_of(" \t"), body.size() - at);
    if (!body.substr(at).starts_with("\r\n")) return not_parts("a boundary's line does not end");
    if (parts.size() >= kPartsMax)
      return not_parts(fmt::format("it has more than {} parts", kPartsMax));
    at += 2;
    const size_t header_end = body.substr(0, at + kPartHeaderBytesMax).find("\r\n\r\n", at);
    if (header_end == std::string_view::npos) return not_parts("a part's header does not end");
    ALTLAS_TRY(FormPart part, read_header(body.substr(at, header_end - at)));
    at = header_end + 4;
    // The boundary of an empty part begins with the line end of its header, hence the -2.
    const size_t end = body.find(next, at - 2);
    if (end == std::string_view::npos) return not_parts("the last boundary is missing");
    if (end >= at) part.body = body.substr(at, end - at);
    parts.push_back(std::move(part));
    at = end + next.size();
  }
  return parts;
}

}  // namespace altlas::server
