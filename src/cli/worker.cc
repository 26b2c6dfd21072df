// altlas worker: started by the server, one per replica.
#include <fmt/format.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <memory>

#include "base/log.h"
#include "cli/command.h"
#include "cli/setup.h"
#include "engine/hosts.h"
#include "worker/host.h"
#include "worker/spawn.h"

namespace altlas::cli {

Run make_worker(CLI::App& app) {
  auto options = std::make_shared<worker::WorkerOptions>();
  app.add_option("--socket", options->socket_path, "The server's Unix socket")->required();
  app.add_option("--replica", options->worker.replica.value, "The replica to be part of")
      ->required();
  app.add_option("--worker", options->worker.index, "Which of the replica's workers to be");
  app.add_option("--epoch", options->epoch, "The start of it that this is")->required();
  app.add_option("--parent", options->parent_pid, "The server's process id");
  return [options] {
    options->token = environment_value(worker::kTokenVariable);
    unsetenv(worker::kTokenVariable);
    if (options->token.empty())
      return fail(
          invalid(fmt::format("{} is not set: a worker is started by its server, not by hand",
                              worker::kTokenVariable)));
    if (const auto simd = apply_simd({}); !simd.ok()) return fail(simd.error());
    prctl(PR_SET_NAME, "altlas-worker");  // `ps` and `top` would show "exe".
    // The host is never destroyed: if the engine does not stop in time, the process ends while it
    // computes.
    engine::EngineHost* host = engine::make_host().release();
    std::string message;
    const int code = worker::run_worker(*options, *host, &message);
    if (code != worker::kExitStopped)
      log::warn("worker {} of replica {}: {}", options->worker.index, options->worker.replica.value,
                message);
    std::fflush(nullptr);
    _exit(code);
    return code;
  };
}

}  // namespace altlas::cli
