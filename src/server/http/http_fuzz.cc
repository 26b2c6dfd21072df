// Any bytes from the network are read as a connection reads its requests, then routed. Nothing
// crashes.
#include <algorithm>

#include "server/handlers.h"
#include "server/http/content_encoding.h"
#include "server/http/request_reader.h"
#include "server/routes.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using altlas::server::RequestReader;
  static const altlas::config::ServerConfig config;
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  size_t seen = 0;
  while (!rest.empty()) {
    RequestReader reader(config);
    // Pieces grow, since bytes that were left come again with more behind them.
    for (size_t piece = 7; !rest.empty();) {
      const size_t used = reader.put(rest.substr(0, piece));
      rest.remove_prefix(used);
      if (reader.state() == RequestReader::State::kRefused) return 0;
      if (reader.state() == RequestReader::State::kDone) break;
      if (used == 0 && piece >= rest.size()) return 0;
      piece = used == 0 ? 2 * piece : 7;
    }
    if (reader.state() != RequestReader::State::kDone) return 0;
    altlas::server::Request request = reader.take();
    seen += altlas::server::match_route(altlas::server::routes(), request.method, request.path)
                .parameters.size();
    const auto body =
        altlas::server::decode_content(request.content_encoding, std::move(request.body), 1 << 16);
    if (body.ok() && body->size() > (1 << 16)) __builtin_trap();
  }
  return seen > (size_t{1} << 30) ? 1 : 0;
}
