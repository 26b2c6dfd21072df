// Commands that talk to a running server: their common flags, and the connection.
#pragma once

#include <boost/json/fwd.hpp>
#include <string>
#include <string_view>

#include "base/result.h"
#include "client/client.h"

namespace CLI {
class App;
}

namespace altlas::cli {

struct ServerFlags {
  std::string url;  // --url, else ALTLAS_URL, else http://127.0.0.1:8000.
  std::string key;  // --api-key, else ALTLAS_API_KEY.
  std::string ca_file;
  bool insecure = false;
};
// `out` lives as long as `app`.
void add_server_flags(CLI::App& app, ServerFlags& out);

// Errors: as client::Client::connect.
Result<client::Client> connect_server(const ServerFlags& flags);
// GET of a JSON object.  Errors: as Client::get; the refusal of any status that is not in 2xx (and
// not `also_ok`).
Result<boost::json::object> get_json(client::Client& client, std::string_view path,
                                     int also_ok = 200);
// The object that a body must be.  Errors: kIo, for an answer that is not altlas's.
Result<boost::json::object> parse_answer(const client::Client& client,
                                         const client::Answer& answer);

}  // namespace altlas::cli
