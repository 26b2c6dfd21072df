// The altlas program: one command per subcommand.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <system_error>

#include "base/units.h"
#include "cli/command.h"
#include "cli/terminal.h"

namespace {

constexpr altlas::cli::CliCommand kCommands[] = {
    {"serve", "Serve models over HTTP", altlas::cli::make_serve},
    {"generate", "Complete one prompt in the terminal", altlas::cli::make_generate},
    {"chat", "Talk with a model in the terminal", altlas::cli::make_chat},
    {"perplexity", "Log-probability of a text, token by token", altlas::cli::make_perplexity},
    {"pull", "Fetch a model of the catalogue", altlas::cli::make_pull},
    {"models", "List the models that are here or can be fetched", altlas::cli::make_models},
    {"status", "Devices, deployments and tasks of a running server", altlas::cli::make_status},
    {"cancel", "Cancel a task of a running server", altlas::cli::make_cancel},
    {"scale", "Say how many replicas a deployment has", altlas::cli::make_scale},
    {"strategy", "Show or change how a running server chooses devices", altlas::cli::make_strategy},
    {"doctor", "What this machine has, what is missing and how to get it",
     altlas::cli::make_doctor},
    {"validate-config", "Check a configuration file", altlas::cli::make_validate_config},
    {"simulate", "Run the server's decisions against simulated faults, many seeds",
     altlas::cli::make_simulate},
    {"plan", "Which layout a model needs on devices, its speed and price", altlas::cli::make_plan},
    {"memory", "What loading a model, or training it, would take of each device",
     altlas::cli::make_memory},
    {"bench", "Measure speeds beside what the machine can do", altlas::cli::make_bench},
    {"collectives", "Measure all_reduce and its kin between ranks, as nccl-tests does",
     altlas::cli::make_collectives},
    {"worker", "Lend this machine's devices to a server elsewhere", altlas::cli::make_worker},
    {"certs", "Make certificates for mutual TLS between machines", altlas::cli::make_certs},
};

std::string path_of(const CLI::App& app) {
  return (app.get_parent() != nullptr ? path_of(*app.get_parent()) + " " : std::string()) +
         app.get_name();
}

std::string failure_message(const CLI::App* failed, const CLI::Error& error) {
  while (!failed->get_subcommands().empty()) failed = failed->get_subcommands().front();
  return "altlas: " + std::string(error.what()) + "; see " + path_of(*failed) + " --help\n";
}

// Returns the error for an unknown command, or "" if `given` is a command or `app` takes none.
// CLI11 itself would only say that a command is missing.
std::string unknown_command(const CLI::App& app, std::string_view given) {
  std::vector<std::string_view> names;
  std::string known;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (command->get_name() == given) return "";
    names.emplace_back(command->get_name());
    known += (known.empty() ? "" : ", ") + command->get_name();
  }
  if (names.empty() || given.starts_with('-')) return "";
  const std::string_view near = altlas::did_you_mean(given, names.data(), names.size());
  const std::string hint = near.empty() ? "" : " (did you mean " + std::string(near) + "?)";
  return "'" + altlas::cli::printable(given, 64) + "' is no command" +
         (app.get_parent() == nullptr ? "" : " of " + path_of(app)) + hint + ": use one of " +
         known;
}

int run_program(int argc, char** argv) {
  CLI::App app("altlas serves AI models on CPU and simulated devices, of one machine or many.",
               "altlas");
  app.require_subcommand(1);
  app.set_version_flag("--version", ALTLAS_VERSION);
  app.failure_message(failure_message);
  std::vector<std::pair<CLI::App*, altlas::cli::Run>> commands;
  for (const auto& command : kCommands) {
    CLI::App* sub = app.add_subcommand(command.name, command.help);
    commands.emplace_back(sub, command.make(*sub));
  }
  const CLI::App* at = &app;
  for (int i = 1; i < argc && i <= 2 && at != nullptr; ++i) {
    if (const std::string wrong = unknown_command(*at, argv[i]); !wrong.empty())
      return altlas::cli::fail(altlas::invalid(wrong));
    const auto chosen = at->get_subcommands(
        [&](const CLI::App* command) { return command->get_name() == argv[i]; });
    at = chosen.empty() ? nullptr : chosen.front();
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? altlas::cli::kExitOk : altlas::cli::kExitUsage;
  }
  for (const auto& [sub, run] : commands)
    if (sub->parsed()) return run();
  return altlas::cli::kExitUsage;
}

}  // namespace

int main(int argc, char** argv) {
  altlas::cli::open_standard_streams();
  try {
    return altlas::cli::end_output(run_program(argc, argv));
  } catch (const std::system_error& error) {  // fmt throws where it can't write.
    std::fputs(("altlas: " + std::string(error.what()) + "\n").c_str(), stderr);
    return altlas::cli::kExitFailed;
  }
}
