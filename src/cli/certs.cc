// altlas certs: an authority, and a certificate for each machine that it is asked for.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "cli/command.h"
#include "collective/certificates.h"

namespace altlas::cli {

Run make_certs(CLI::App& app) {
  struct Options {
    std::string folder;
    std::vector<std::string> hosts;
    int64_t days = 825;
  };
  auto options = std::make_shared<Options>();
  app.add_option("folder", options->folder,
                 "Where ca.pem and ca-key.pem are, or are made; made itself if it is missing")
      ->required();
  app.add_option("--host", options->hosts,
                 "A machine's name or address: NAME.pem and NAME-key.pem are made for it. May be "
                 "given again; default: localhost")
      ->type_name("NAME")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--days", options->days, "Days until they expire (default 825)")
      ->check(CLI::Range(1, 36500));
  return [options] {
    const collective::Validity validity{.ends = options->days * 24 * 3600};
    // An authority outlives what it signs.
    const collective::Validity lasting{.ends = std::max<int64_t>(options->days, 3650) * 24 * 3600};
    const auto authority = collective::make_authority(options->folder, lasting);
    if (!authority.ok()) return fail(authority.error());
    std::string text = fmt::format("authority {}\n", authority->certificate);
    if (options->hosts.empty()) options->hosts.emplace_back("localhost");
    for (const std::string& host : options->hosts) {
      const auto made = collective::make_certificate(options->folder, host, validity);
      if (!made.ok()) return fail(made.error());
      text += fmt::format("{}: certificate {}, key {}\n", host, made->certificate, made->key);
    }
    fmt::print("{}", text);
    return kExitOk;
  };
}

}  // namespace altlas::cli
