#include "server/dashboard/files.h"

#include <fmt/format.h>

#include "base/check.h"
#include "base/strings.h"
#include "server/http/content_encoding.h"

namespace altlas::server {
namespace {

constexpr std::string_view kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'";

// Calls `visit` with each part of a list, and what follows its ';', blanks trimmed.
void each_part(std::string_view list, auto visit) {
  while (!list.empty()) {
    const size_t end = std::min(list.find(','), list.size());
    const std::string_view part = trim(list.substr(0, end), " \t");
    list.remove_prefix(std::min(end + 1, list.size()));
    const size_t mark = std::min(part.find(';'), part.size());
    visit(trim(part.substr(0, mark), " \t"), part.substr(mark));
  }
}

// Whether an Accept-Encoding takes gzip (RFC 9110, section 12.5.3).
bool takes_gzip(std::string_view accept) {
  bool named = false, any = false, taken = false, any_taken = false;
  each_part(accept, [&](std::string_view coding, std::string_view quality) {
    const std::string name = lower(coding), rest = lower(quality);
    const size_t at = rest.find("q=");
    const bool wanted =
        at == std::string::npos || rest.find_first_of("123456789", at) != std::string::npos;
    if (name == "gzip" || name == "x-gzip") {
      named = true;
      taken = wanted;
    }
    if (name == "*") {
      any = true;
      any_taken = wanted;
    }
  });
  return named ? taken : any && any_taken;
}

// Whether an If-None-Match names the tag (RFC 9110, section 13.1.2).
bool names_tag(std::string_view list, std::string_view tag) {
  bool found = false;
  each_part(list, [&](std::string_view one, std::string_view) {
    if (one.starts_with("W/")) one.remove_prefix(2);
    found = found || one == tag || one == "*";
  });
  return found;
}

}  // namespace

Response file_response(const DashboardFile& file, const Request& request) {
  const bool packed = takes_gzip(request.accept_encoding);
  const std::string tag = fmt::format("\"{}{}\"", file.tag, packed ? "-gzip" : "");
  Response response;
  response.content_type = file.content_type;
  response.headers = {{"ETag", tag},
                      {"Cache-Control", "no-cache"},
                      {"Vary", "Accept-Encoding"},
                      {"Content-Security-Policy", std::string(kPolicy)},
                      {"X-Content-Type-Options", "nosniff"},
                      {"Referrer-Policy", "no-referrer"},
                      {"Cross-Origin-Opener-Policy", "same-origin"},
                      {"Cross-Origin-Resource-Policy", "same-origin"}};
  if (names_tag(request.if_none_match, tag)) {
    response.status = 304;
    return response;
  }
  response.body = file.packed;
  if (packed) {
    response.headers.emplace_back("Content-Encoding", "gzip");
  } else {
    auto plain = decode_content("gzip", std::move(response.body), file.bytes);
    ALTLAS_CHECK(plain.ok(), "the program's own files can be unpacked");
    response.body = *std::move(plain);
  }
  return response;
}

}  // namespace altlas::server
