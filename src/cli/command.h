// Commands: each file of this room that has a make_ function is one; main.cc lists them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/load.h"

namespace CLI {
class App;
}

namespace altlas::cli {

// Exit codes.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;

// Prints "altlas: message" to standard error; 2 for what the user can put right (kInvalid,
// kNotFound, kUnsupported, kTooLarge), else 1.
int fail(const Error& error);

// A command adds its options to `app` and returns what runs it. `app` outlives the function.
using Run = std::function<int()>;
struct CliCommand {
  const char* name;
  const char* help;
  Run (*make)(CLI::App& app);
};

Run make_serve(CLI::App& app);
Run make_worker(CLI::App& app);
Run make_certs(CLI::App& app);
Run make_generate(CLI::App& app);
Run make_chat(CLI::App& app);
Run make_perplexity(CLI::App& app);
Run make_pull(CLI::App& app);
Run make_models(CLI::App& app);
Run make_doctor(CLI::App& app);
Run make_validate_config(CLI::App& app);
Run make_status(CLI::App& app);
Run make_cancel(CLI::App& app);
Run make_scale(CLI::App& app);
Run make_strategy(CLI::App& app);
Run make_simulate(CLI::App& app);
Run make_bench(CLI::App& app);
Run make_collectives(CLI::App& app);
Run make_plan(CLI::App& app);
Run make_memory(CLI::App& app);

}  // namespace altlas::cli
