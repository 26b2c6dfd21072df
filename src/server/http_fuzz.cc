// Any bytes from the network: read as the listener reads requests, then routed. Must not crash.
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <boost/url.hpp>

#include "server/handlers.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace http = boost::beast::http;
  http::request_parser<http::string_body> parser;
  parser.header_limit(32 << 10);
  parser.body_limit(8 << 20);
  parser.eager(true);
  boost::system::error_code error;
  size_t used = 0;
  while (used < size && !parser.is_done()) {
    const size_t took = parser.put(boost::asio::buffer(data + used, size - used), error);
    used += took;
    if (error || took == 0) return 0;
  }
  if (!parser.is_done()) return 0;
  const auto message = parser.release();
  const auto url = boost::urls::parse_origin_form(std::string_view(message.target()));
  if (!url) return 0;
  const std::string path = url->path();
  size_t query = 0;
  for (const auto& parameter : url->params())
    query += parameter.key.size() + parameter.value.size();
  const auto match = altlas::server::match_route(altlas::server::routes(),
                                                 std::string_view(message.method_string()), path);
  return match.parameters.size() + query > (size_t{1} << 30) ? 1 : 0;
}
