// altlas worker: lends this machine's devices to a server; or, started by a server or by such a
// machine, a process of one replica.
#include <fmt/format.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <memory>

#include "base/log.h"
#include "cli/command.h"
#include "cli/setup.h"
#include "collective/sockets.h"
#include "worker/host.h"
#include "worker/model_host.h"
#include "worker/node_agent.h"
#include "worker/spawn.h"

namespace altlas::cli {
namespace {

struct WorkerFlags {
  worker::WorkerOptions one;  // Options of a process of one replica.
  bool is_process = false;
  std::string connect;
  collective::TlsIdentity::Files files;
  std::string devices;
  double wait_s = 60;
};

Result<worker::TlsAddress> server_address(const WorkerFlags& flags) {
  const auto at = collective::parse_host_port(flags.connect);
  if (!at.ok()) return Error(at.error()).with_context("--connect");
  if (flags.files.authority.empty() || flags.files.certificate.empty() || flags.files.key.empty())
    return invalid(
        "--connect needs --tls-ca, --tls-cert and --tls-key (`altlas certs` makes them)");
  ALTLAS_TRY(auto identity, collective::TlsIdentity::load(flags.files));
  return worker::TlsAddress{at->host, at->port, std::move(identity)};
}

Result<worker::NodeOffer> own_devices(const std::string& spec) {
  config::Config config;
  config.engine.devices = spec;
  ALTLAS_TRY(const auto devices, make_devices(config));
  if (devices.size() > worker::kNodeDevicesMax)
    return invalid(fmt::format("--devices: {} devices; {} are possible", devices.size(),
                               worker::kNodeDevicesMax));
  worker::NodeOffer offer;
  for (const control::DeviceSetup& one : devices)
    offer.devices.push_back({one.name, one.kind, one.spec, one.memory_total, one.cpu_first});
  return offer;
}

// The flags that lead a worker's process to the same server.
std::vector<std::string> connection_flags(const WorkerFlags& flags) {
  return {"worker",
          "--connect",
          flags.connect,
          "--tls-ca",
          flags.files.authority,
          "--tls-cert",
          flags.files.certificate,
          "--tls-key",
          flags.files.key};
}

int lend_devices(const WorkerFlags& flags) {
  auto server = server_address(flags);
  if (!server.ok()) return fail(server.error());
  auto offer = own_devices(flags.devices);
  if (!offer.ok()) return fail(offer.error());
  worker::NodeAgentOptions options;
  options.server = *std::move(server);
  options.offer = *std::move(offer);
  options.spawn.arguments = connection_flags(flags);
  options.connect_max = from_seconds(flags.wait_s);
  options.joined = [&] {
    log::info("connected to {}; {} device{} offered", flags.connect, options.offer.devices.size(),
              options.offer.devices.size() == 1 ? "" : "s");
  };
  log::info("connecting to {}", flags.connect);
  std::string message;
  const int code = worker::run_node_agent(options, &message);
  if (code == worker::kExitStopped)
    log::info("ended: {}", message);
  else
    log::error("{}", message);
  return code == worker::kExitStopped ? kExitOk : code;
}

int run_process(WorkerFlags& flags) {
  worker::WorkerOptions& options = flags.one;
  options.token = environment_value(worker::kTokenVariable);
  unsetenv(worker::kTokenVariable);
  if (options.token.empty())
    return fail(
        invalid(fmt::format("{} is not set: such a worker is started by its server, not by hand; "
                            "--connect without --replica lends this machine's devices",
                            worker::kTokenVariable)));
  if (!flags.connect.empty()) {
    auto server = server_address(flags);
    if (!server.ok()) return fail(server.error());
    options.tls = *std::move(server);
    options.silence_max = 10 * kSecond;
  }
  prctl(PR_SET_NAME, "altlas-worker");  // `ps` and `top` would show "exe".
  // The host is never destroyed: if the engine does not stop in time, the process ends while it
  // computes.
  engine::EngineHost* host = worker::make_worker_host().release();
  std::string message;
  const int code = worker::run_worker(options, *host, &message);
  if (code != worker::kExitStopped)
    log::warn("worker {} of replica {}: {}", options.worker.index, options.worker.replica.value,
              message);
  std::fflush(nullptr);
  _exit(code);
}

}  // namespace

Run make_worker(CLI::App& app) {
  auto flags = std::make_shared<WorkerFlags>();
  app.add_option("--connect", flags->connect, "HOST:PORT of the server: its cluster.listen");
  app.add_option("--tls-ca", flags->files.authority, "PEM file of the authority that both trust");
  app.add_option("--tls-cert", flags->files.certificate,
                 "PEM file of this machine's certificate: its name is the machine's");
  app.add_option("--tls-key", flags->files.key, "PEM file of this machine's private key");
  app.add_option("--devices", flags->devices, "Devices to lend, as `altlas serve` has them");
  app.add_option("--wait", flags->wait_s,
                 "Seconds to wait for a server that does not listen yet (default 60)")
      ->check(CLI::Range(0.0, 86400.0));
  // A process of one replica has these; servers and machines that lend devices set these.
  worker::WorkerOptions& one = flags->one;
  app.add_option("--socket", one.socket_path, "Set by a server")->group("");
  const CLI::Option* replica =
      app.add_option("--replica", one.worker.replica.value, "Set by a server")->group("");
  app.add_option("--worker", one.worker.index, "Set by a server")->group("");
  app.add_option("--epoch", one.epoch, "Set by a server")->group("");
  app.add_option("--parent", one.parent_pid, "Set by a server")->group("");
  return [flags, replica] {
    if (const auto simd = apply_simd({}); !simd.ok()) return fail(simd.error());
    if (flags->connect.empty() == flags->one.socket_path.empty())
      return fail(invalid("--connect HOST:PORT is missing: the server's cluster.listen"));
    if (replica->count() > 0) return run_process(*flags);
    if (flags->connect.empty())
      return fail(invalid("--replica is missing: such a worker is started by its server"));
    return lend_devices(*flags);
  };
}

}  // namespace altlas::cli
