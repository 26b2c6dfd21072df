// The altlas program: one command per subcommand.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

#include "base/units.h"
#include "cli/command.h"
#include "cli/terminal.h"

namespace {

constexpr altlas::cli::Command kCommands[] = {
    {"serve", "Serve models over HTTP", altlas::cli::make_serve},
    {"generate", "Complete one prompt in the terminal", altlas::cli::make_generate},
    {"chat", "Talk with a model in the terminal", altlas::cli::make_chat},
    {"perplexity", "Log-probability of a text, token by token", altlas::cli::make_perplexity},
    {"pull", "Fetch a model of the catalogue", altlas::cli::make_pull},
    {"models", "List the models that are here or can be fetched", altlas::cli::make_models},
    {"status", "Devices, deployments and tasks of a running server", altlas::cli::make_status},
    {"cancel", "Cancel a task of a running server", altlas::cli::make_cancel},
    {"strategy", "Show or change how a running server chooses devices", altlas::cli::make_strategy},
    {"doctor", "What this machine has, what is missing and how to get it",
     altlas::cli::make_doctor},
    {"validate-config", "Check a configuration file", altlas::cli::make_validate_config},
    {"simulate", "Run the server's decisions against simulated faults, many seeds",
     altlas::cli::make_simulate},
    {"bench", "Measure speeds beside what the machine can do", altlas::cli::make_bench},
    {"worker", "A worker process; the server starts it", altlas::cli::make_worker},
};

// CLI11 would only say that a command is missing.
int unknown_command(std::string_view given) {
  std::vector<std::string_view> names;
  std::string known;
  for (const auto& command : kCommands) {
    names.emplace_back(command.name);
    known += (known.empty() ? "" : ", ") + std::string(command.name);
  }
  const std::string_view near = altlas::did_you_mean(given, names.data(), names.size());
  const std::string hint = near.empty() ? "" : " (did you mean " + std::string(near) + "?)";
  return altlas::cli::fail(altlas::invalid("'" + altlas::cli::printable(given, 64) +
                                           "' is no command" + hint + ": use one of " + known));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("altlas serves AI models on the GPUs of one machine or many.", "altlas");
  app.require_subcommand(1);
  app.set_version_flag("--version", ALTLAS_VERSION);
  app.failure_message([](const CLI::App* failed, const CLI::Error& error) {
    const CLI::App* shown =
        failed->get_subcommands().empty() ? failed : failed->get_subcommands().front();
    return "altlas: " + std::string(error.what()) + "; see altlas " +
           (shown->get_parent() != nullptr ? shown->get_name() + " " : std::string()) + "--help\n";
  });
  std::vector<std::pair<CLI::App*, altlas::cli::Run>> commands;
  for (const auto& command : kCommands) {
    CLI::App* sub = app.add_subcommand(command.name, command.help);
    commands.emplace_back(sub, command.make(*sub));
  }
  const auto is_given = [&](const altlas::cli::Command& command) {
    return std::string_view(argv[1]) == command.name;
  };
  if (argc > 1 && argv[1][0] != '-' && std::ranges::none_of(kCommands, is_given))
    return unknown_command(argv[1]);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? altlas::cli::kExitOk : altlas::cli::kExitUsage;
  }
  for (const auto& [sub, run] : commands)
    if (sub->parsed()) return run();
  return altlas::cli::kExitUsage;
}
