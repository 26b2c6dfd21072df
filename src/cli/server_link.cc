#include "cli/server_link.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>

#include "cli/setup.h"

namespace altlas::cli {

void add_server_flags(CLI::App& app, ServerFlags& out) {
  app.add_option("--url", out.url, "The server (default http://127.0.0.1:8000; ALTLAS_URL)");
  app.add_option("--api-key", out.key, "The key to show it (ALTLAS_API_KEY)");
  app.add_option("--ca-file", out.ca_file, "PEM file of the authorities to trust, for https");
  app.add_flag("--insecure", out.insecure, "Take any certificate, for https");
}

Result<client::Client> connect_server(const ServerFlags& flags) {
  std::string url = flags.url.empty() ? environment_value("ALTLAS_URL") : flags.url;
  if (url.empty()) url = "http://127.0.0.1:8000";
  client::Options options;
  options.key = flags.key;
  if (options.key.empty()) {
    // The variable may list several keys for the server; the first is ours.
    options.key = environment_value("ALTLAS_API_KEY");
    options.key = options.key.substr(0, options.key.find_first_of(", "));
  }
  options.ca_file = flags.ca_file;
  options.insecure = flags.insecure;
  return client::Client::connect(url, std::move(options));
}

Result<boost::json::object> parse_answer(const client::Client& client,
                                         const client::Answer& answer) {
  boost::system::error_code error;
  boost::json::value body = boost::json::parse(answer.body, error);
  if (error || !body.is_object())
    return io_error(fmt::format(
        "{} does not answer as an altlas server does: is the address right?", client.authority()));
  return std::move(body.get_object());
}

Result<boost::json::object> get_json(client::Client& client, std::string_view path, int also_ok) {
  ALTLAS_TRY(const client::Answer answer, client.get(path));
  if (!answer.ok() && answer.status != also_ok) return client::error_of(answer);
  return parse_answer(client, answer);
}

}  // namespace altlas::cli
