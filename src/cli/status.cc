// altlas status, altlas cancel, altlas scale, altlas strategy.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <charconv>
#include <chrono>
#include <memory>
#include <thread>

#include "base/ids.h"
#include "cli/command.h"
#include "cli/server_link.h"
#include "cli/status_text.h"
#include "cli/terminal.h"
#include "config/names.h"

namespace altlas::cli {
namespace {

// After this many failures in a row the server is taken to be gone.
constexpr int kWatchFailuresMax = 3;

Result<std::string> ask_status(client::Client& client, int64_t tasks) {
  ALTLAS_TRY(const auto health, get_json(client, "/health", 503));
  ALTLAS_TRY(const auto gpus, get_json(client, "/api/v1/gpus"));
  ALTLAS_TRY(const auto deployments, get_json(client, "/api/v1/deployments"));
  ALTLAS_TRY(const auto list, get_json(client, fmt::format("/api/v1/tasks?limit={}", tasks)));
  return fmt::format("{}: {}", client.authority(), status_text({health, gpus, deployments, list}));
}

int watch(client::Client& client, int64_t tasks, double seconds) {
  const bool terminal = isatty(STDOUT_FILENO) != 0;
  for (int failures = 0;;) {
    const auto text = ask_status(client, tasks);
    failures = text.ok() ? 0 : failures + 1;
    if (failures >= kWatchFailuresMax) return fail(text.error());
    if (text.ok()) fmt::print("{}{}\n", terminal ? "\033[H\033[2J" : "", *text);
    if (std::fflush(stdout) != 0) return kExitOk;  // The reader of the pipe has gone.
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  }
}

}  // namespace

Run make_status(CLI::App& app) {
  struct Options {
    ServerFlags server;
    double watch = 0;
    int64_t tasks = 20;
  };
  auto options = std::make_shared<Options>();
  add_server_flags(app, options->server);
  app.add_option("--watch", options->watch, "Draw again every so many seconds (0.1 to 3600)")
      ->check(CLI::Range(0.1, 3600.0));
  app.add_option("--tasks", options->tasks, "Tasks to list, newest first (default 20)")
      ->check(CLI::Range(0, 10'000));
  return [options] {
    auto client = connect_server(options->server);
    if (!client.ok()) return fail(client.error());
    if (options->watch > 0) return watch(*client, options->tasks, options->watch);
    const auto text = ask_status(*client, options->tasks);
    if (!text.ok()) return fail(text.error());
    fmt::print("{}", *text);
    return kExitOk;
  };
}

Run make_cancel(CLI::App& app) {
  struct Options {
    ServerFlags server;
    std::string id;
  };
  auto options = std::make_shared<Options>();
  add_server_flags(app, options->server);
  app.add_option("task_id", options->id, "The id that predict answered")->required();
  return [options] {
    if (!parse_task_id(options->id))
      return fail(
          invalid(fmt::format("'{}' is no task id: 32 hexadecimal digits, as predict answers it",
                              printable(options->id, 64))));
    auto client = connect_server(options->server);
    if (!client.ok()) return fail(client.error());
    const auto answer = client->del("/api/v1/task/" + options->id);
    if (!answer.ok()) return fail(answer.error());
    if (!answer->ok()) return fail(client::error_of(*answer));
    fmt::print("{} canceled\n", options->id);
    return kExitOk;
  };
}

Run make_scale(CLI::App& app) {
  struct Options {
    ServerFlags server;
    std::string name, replicas;
  };
  auto options = std::make_shared<Options>();
  add_server_flags(app, options->server);
  app.add_option("deployment", options->name, "Its name, as `altlas status` lists it")->required();
  app.add_option("replicas", options->replicas,
                 "How many from now on, or auto: as many as its autoscaling_config asks for")
      ->required();
  return [options] {
    boost::json::object body;
    if (options->replicas == "auto") {
      body["autoscale"] = true;
    } else {
      const std::string& text = options->replicas;
      uint32_t number = 0;
      const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
      if (read.ec != std::errc() || read.ptr != text.data() + text.size())
        return fail(invalid(fmt::format("'{}' is neither a number of replicas nor auto",
                                        printable(options->replicas, 32))));
      body["replicas"] = number;
    }
    if (options->name.find_first_of("/?#%") != std::string::npos)
      return fail(
          not_found(fmt::format("there is no deployment '{}'", printable(options->name, 64))));
    auto client = connect_server(options->server);
    if (!client.ok()) return fail(client.error());
    const auto answer = client->post(fmt::format("/api/v1/deployments/{}/scale", options->name),
                                     boost::json::serialize(body));
    if (!answer.ok()) return fail(answer.error());
    if (!answer->ok()) return fail(client::error_of(*answer));
    const auto object = parse_answer(*client, *answer);
    if (!object.ok()) return fail(object.error());
    fmt::print("{}: {}\n", options->name, replicas_text(*object));
    return kExitOk;
  };
}

Run make_strategy(CLI::App& app) {
  struct Options {
    ServerFlags server;
    std::string name;
  };
  auto options = std::make_shared<Options>();
  add_server_flags(app, options->server);
  app.add_option("name", options->name,
                 "The strategy to use from now on: " + list_names(kStrategyNames));
  return [options] {
    if (!options->name.empty()) {
      const auto strategy = parse_enum<Strategy>(options->name);
      if (!strategy.ok()) return fail(strategy.error());
    }
    auto client = connect_server(options->server);
    if (!client.ok()) return fail(client.error());
    const boost::json::object body{{"strategy", options->name}};
    constexpr std::string_view kPath = "/api/v1/config/gpu/strategy";
    const auto answer = options->name.empty() ? client->get(kPath)
                                              : client->post(kPath, boost::json::serialize(body));
    if (!answer.ok()) return fail(answer.error());
    if (!answer->ok()) return fail(client::error_of(*answer));
    const auto object = parse_answer(*client, *answer);
    if (!object.ok()) return fail(object.error());
    const boost::json::value* name = object->if_contains("strategy");
    fmt::print("{}\n", name != nullptr && name->is_string() ? printable(name->get_string().c_str())
                                                            : "unknown");
    return kExitOk;
  };
}

}  // namespace altlas::cli
