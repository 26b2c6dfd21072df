// altlas collectives: how fast the ranks of a group exchange vectors, as nccl-tests measures it.
#include "cli/collectives.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <thread>

#include "base/units.h"
#include "cli/command.h"
#include "cli/setup.h"
#include "cli/terminal.h"
#include "collective/interfaces.h"

namespace altlas::cli {
namespace {

using collective::Group;
using collective::Groups;

struct Options {
  std::string bytes_min = "32M", bytes_max = "32M", step_bytes;
  std::string type = "float", reduce = "sum", algorithm = "auto", transport;
  std::string master, tls_cert, tls_key, tls_ca;
  int ranks = 2;
  int rank = -1, world_size = -1;
  double timeout_s = 30;
  bool plain_tcp = false;
  int check = 1;
  collective::FabricOptions fabric;
  CollectiveBench bench;
};

// This process' place among others; absent where all ranks are threads of this process.
struct Place {
  int rank = 0, size = 1;
  std::string host;
  uint16_t port = 0;
  bool one_machine = false;
};

Result<int> whole_number(std::string_view name, const std::string& text, int most) {
  int value = 0;
  const char* const end = text.data() + text.size();
  const auto [at, code] = std::from_chars(text.data(), end, value);
  if (code == std::errc() && at == end && value >= 0 && value <= most) return value;
  return invalid(
      fmt::format("{}={}: wanted a whole number from 0 to {}", name, printable(text, 40), most));
}

// Returns the flag if it is set, else the value of torchrun's variable, else -1.
Result<int> flag_or_variable(int flag, const char* name) {
  const std::string text = flag >= 0 ? "" : environment_value(name);
  if (text.empty()) return flag;
  return whole_number(name, text, 1'000'000);
}

Result<void> find_master(const Options& options, Place& place) {
  std::string host = environment_value("MASTER_ADDR"), port = environment_value("MASTER_PORT");
  if (!options.master.empty()) {
    const size_t colon = options.master.rfind(':');
    if (colon == std::string::npos || colon == 0)
      return invalid(fmt::format("--master {}: wanted HOST:PORT", printable(options.master)));
    host = options.master.substr(0, colon);
    port = options.master.substr(colon + 1);
  }
  if (host.empty() || port.empty())
    return invalid("where rank 0 is: give --master HOST:PORT, or MASTER_ADDR and MASTER_PORT");
  ALTLAS_TRY(int number, whole_number("MASTER_PORT", port, 65535));
  // torchrun's agent already listens at MASTER_PORT.
  if (options.master.empty() && environment_value("TORCHELASTIC_USE_AGENT_STORE") == "True")
    ++number;
  if (number < 1 || number > 65535)
    return invalid(fmt::format("port {} of rank 0: 1 to 65535 can be", number));
  place.host = host;
  place.port = static_cast<uint16_t>(number);
  return {};
}

Result<std::optional<Place>> find_place(const Options& options) {
  ALTLAS_TRY(const int rank, flag_or_variable(options.rank, "RANK"));
  ALTLAS_TRY(const int size, flag_or_variable(options.world_size, "WORLD_SIZE"));
  if (rank < 0 && size < 0) return std::optional<Place>();
  if (rank < 0 || size < 0)
    return invalid(fmt::format(
        "{} is given and {} is not: a rank needs both, by --rank and "
        "--world-size or RANK and WORLD_SIZE",
        rank < 0 ? "the world size" : "a rank", rank < 0 ? "a rank" : "the world size"));
  ALTLAS_TRY_VOID(collective::check_rank(rank, size));
  Place place{.rank = rank, .size = size};
  ALTLAS_TRY_VOID(find_master(options, place));
  ALTLAS_TRY(const int local_size, flag_or_variable(-1, "LOCAL_WORLD_SIZE"));
  ALTLAS_TRY(const int local_rank, flag_or_variable(-1, "LOCAL_RANK"));
  if (local_rank >= size)
    return invalid(fmt::format("LOCAL_RANK={} of {} ranks", local_rank, size));
  place.one_machine = local_size == size || place.host == "localhost" ||
                      place.host.starts_with("127.") || place.host == "::1";
  return std::optional<Place>(place);
}

Result<std::string> choose_transport(const Options& options, const std::optional<Place>& place,
                                     const collective::NcclSettings& nccl) {
  constexpr std::string_view kNames[] = {"threads", "shm", "tcp", "sim"};
  if (options.transport.empty()) {
    if (nccl.shm_disable) return std::string("tcp");
    if (!place) return std::string("threads");
    return std::string(place->one_machine ? "shm" : "tcp");
  }
  if (std::ranges::find(kNames, options.transport) == std::end(kNames))
    return invalid(fmt::format("--transport {}: use one of threads, shm, tcp, sim",
                               printable(options.transport)));
  if (place && (options.transport == "threads" || options.transport == "sim"))
    return invalid(fmt::format("--transport {} is of one process: leave out the rank, give -g",
                               options.transport));
  return options.transport;
}

Result<std::shared_ptr<const collective::TlsIdentity>> find_identity(const Options& options,
                                                                     bool one_process) {
  using Identity = std::shared_ptr<const collective::TlsIdentity>;
  const bool files =
      !options.tls_cert.empty() || !options.tls_key.empty() || !options.tls_ca.empty();
  if (files && options.plain_tcp) return invalid("--plain-tcp and certificates exclude each other");
  if (options.plain_tcp) return Identity();
  if (files && (options.tls_cert.empty() || options.tls_key.empty() || options.tls_ca.empty()))
    return invalid("--tls-cert, --tls-key and --tls-ca are given together");
  if (files)
    return collective::TlsIdentity::load({options.tls_cert, options.tls_key, options.tls_ca});
  if (one_process) return collective::TlsIdentity::make_ephemeral();
  return invalid(
      "TCP between processes needs --tls-cert, --tls-key and --tls-ca, or --plain-tcp, "
      "which anybody on the way can read and change");
}

Result<CollectiveBench> read_bench(const Options& options) {
  constexpr std::string_view kOps[] = {"all_reduce", "all_gather", "reduce_scatter",
                                       "broadcast",  "alltoall",   "sendrecv"};
  CollectiveBench bench = options.bench;
  if (bench.op == "all_to_all") bench.op = "alltoall";
  if (std::ranges::find(kOps, bench.op) == std::end(kOps))
    return invalid(fmt::format(
        "--op {}: use one of all_reduce, all_gather, reduce_scatter, broadcast, alltoall, sendrecv",
        printable(bench.op)));
  ALTLAS_TRY(bench.type, collective::parse_element_type(options.type));
  ALTLAS_TRY(bench.reduce, collective::parse_reduce_op(options.reduce));
  ALTLAS_TRY(bench.algorithm, collective::parse_algorithm(options.algorithm));
  ALTLAS_TRY(bench.bytes_min, parse_bytes(options.bytes_min));
  ALTLAS_TRY(bench.bytes_max, parse_bytes(options.bytes_max));
  if (!options.step_bytes.empty()) {
    ALTLAS_TRY(bench.step_bytes, parse_bytes(options.step_bytes));
  }
  if (bench.bytes_min > bench.bytes_max)
    return invalid(fmt::format("-b {} is more than -e {}", options.bytes_min, options.bytes_max));
  if (bench.factor != 0 && bench.factor <= 1)
    return invalid(fmt::format("-f {}: a factor is more than 1", bench.factor));
  if (bench.factor == 0 && bench.step_bytes == 0)
    bench.step_bytes = std::max<uint64_t>(1, (bench.bytes_max - bench.bytes_min) / 10);
  if (bench.factor == 0 && (bench.bytes_max - bench.bytes_min) / bench.step_bytes > 100'000)
    return invalid(fmt::format("-i {}: more than 100000 sizes", options.step_bytes));
  if (bench.factor != 0 && bench.bytes_min == 0)
    return invalid("-b 0 with a factor never grows: give -i instead");
  bench.check = options.check != 0;
  return bench;
}

// Everything the ranks of this process need, checked before a byte moves.
struct Plan {
  CollectiveBench bench;
  std::optional<Place> place;
  std::string transport;
  collective::NcclSettings nccl;
  std::shared_ptr<const collective::TlsIdentity> identity;
  collective::GroupOptions group;
  int ranks = 1;
};

Result<Plan> make_plan(const Options& options) {
  Plan plan;
  ALTLAS_TRY(plan.bench, read_bench(options));
  ALTLAS_TRY(plan.nccl, collective::read_nccl_settings(
                            [](const char* name) -> const char* { return std::getenv(name); }));
  ALTLAS_TRY(plan.place, find_place(options));
  ALTLAS_TRY(plan.transport, choose_transport(options, plan.place, plan.nccl));
  plan.ranks = plan.place ? plan.place->size : options.ranks;
  ALTLAS_TRY_VOID(collective::check_rank(0, plan.ranks));
  if (plan.bench.root < 0 || plan.bench.root >= plan.ranks)
    return invalid(
        fmt::format("--root {}: there are ranks 0 to {}", plan.bench.root, plan.ranks - 1));
  if (!(options.timeout_s >= 0.001 && options.timeout_s <= 86'400))
    return invalid(fmt::format("--timeout {}: 0.001 to 86400 seconds", options.timeout_s));
  plan.group.timeout = std::chrono::milliseconds(static_cast<int64_t>(options.timeout_s * 1000));
  if (plan.transport == "tcp") {
    ALTLAS_TRY(plan.identity, find_identity(options, !plan.place));
  }
  if (!plan.nccl.socket_ifname.empty() && plan.transport == "tcp")
    if (const auto found =
            collective::choose_interface(plan.nccl.socket_ifname, collective::interfaces());
        !found)
      return invalid("NCCL_SOCKET_IFNAME: " + found.error().message());
  return plan;
}

collective::TcpJoin tcp_join_of(const Plan& plan) {
  return {.token = environment_value("ALTLAS_COLLECTIVE_TOKEN"),
          .identity = plan.identity,
          .interface = plan.nccl.socket_ifname,
          .threads = plan.nccl.socket_nthreads,
          .sockets_per_thread = plan.nccl.nsocks_perthread};
}

Result<std::unique_ptr<Group>> join_shared(const Plan& plan, const std::string& name, int rank) {
  return collective::join_shared_memory({.rank = rank,
                                         .size = plan.ranks,
                                         .name = name,
                                         .token = environment_value("ALTLAS_COLLECTIVE_TOKEN")},
                                        plan.group);
}

// Shared memory as between processes, with threads in their place.
Result<Groups> make_shared_groups(const Plan& plan) {
  const std::string name = fmt::format("process-{}", ::getpid());
  std::vector<std::optional<Result<std::unique_ptr<Group>>>> made(static_cast<size_t>(plan.ranks));
  {
    std::vector<std::jthread> threads;
    for (int rank = 0; rank < plan.ranks; ++rank)
      threads.emplace_back(
          [&, rank] { made[static_cast<size_t>(rank)].emplace(join_shared(plan, name, rank)); });
  }
  Groups groups;
  for (auto& one : made) {
    ALTLAS_TRY(auto group, std::move(*one));
    groups.push_back(std::move(group));
  }
  return groups;
}

// The groups of the ranks that this process has.
Result<Groups> make_groups(const Plan& plan, const collective::FabricOptions& fabric) {
  if (!plan.place) {
    if (plan.transport == "threads") return collective::make_thread_groups(plan.ranks, plan.group);
    if (plan.transport == "sim")
      return collective::make_simulated_groups(plan.ranks, fabric, plan.group);
    if (plan.transport == "shm") return make_shared_groups(plan);
    return collective::make_tcp_groups(plan.ranks, tcp_join_of(plan), plan.group);
  }
  const Place& place = *plan.place;
  Groups groups;
  if (plan.transport == "shm") {
    ALTLAS_TRY(auto group, join_shared(plan, fmt::format("port-{}", place.port), place.rank));
    groups.push_back(std::move(group));
    return groups;
  }
  collective::TcpJoin join = tcp_join_of(plan);
  join.rank = place.rank;
  join.size = place.size;
  join.host = place.host;
  join.port = place.port;
  ALTLAS_TRY(auto group, collective::join_tcp(join, plan.group));
  groups.push_back(std::move(group));
  return groups;
}

void print_preamble(const Plan& plan, const std::string& transport) {
  fmt::print(
      "# ranks {} minBytes {} maxBytes {} step: {} warmup iters: {} iters: {} "
      "validation: {}\n# {} over {}\n",
      plan.ranks, plan.bench.bytes_min, plan.bench.bytes_max,
      plan.bench.factor > 0 ? fmt::format("{:g}(factor)", plan.bench.factor)
                            : fmt::format("{}(bytes)", plan.bench.step_bytes),
      plan.bench.warmup, plan.bench.iterations, plan.bench.check ? 1 : 0, plan.bench.op, transport);
  for (const auto& one : plan.nccl.read)
    fmt::print("# {}={}: {}\n", one.name, one.value, one.effect);
  fmt::print("{}", collective_heading());
  std::fflush(stdout);
}

int run_collectives(const Options& options) {
  const Result<Plan> plan = make_plan(options);
  if (!plan) return fail(plan.error());
  if (plan->transport == "tcp" && !plan->identity)
    fmt::print(stderr,
               "altlas: plain TCP: whoever is on the way can read and change what the "
               "ranks exchange\n");
  Result<Groups> groups = make_groups(*plan, options.fabric);
  if (!groups) return fail(groups.error());
  const std::string transport = groups->front()->describe();
  if (plan->nccl.debug >= collective::NcclDebug::kInfo)
    for (const auto& group : *groups)
      fmt::print(stderr, "altlas: rank {} of {}: {}, timeout {} ms\n", group->rank(), group->size(),
                 transport, group->timeout().count());
  const bool first = groups->front()->rank() == 0;
  if (first && !plan->bench.json) print_preamble(*plan, transport);
  std::vector<std::optional<Result<std::vector<CollectiveRow>>>> results(groups->size());
  {
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < groups->size(); ++i)
      threads.emplace_back([&, i] {
        const auto print = [&](const CollectiveRow& row) {
          if (plan->bench.json) return;
          fmt::print("{}", collective_line(row, plan->bench));
          std::fflush(stdout);
        };
        results[i].emplace(run_collective_bench(*(*groups)[i], plan->bench, print));
      });
  }
  for (const auto& result : results)
    if (!result->ok()) return fail(result->error());
  const auto& rows = **results.front();
  uint64_t wrong = 0;
  for (const CollectiveRow& row : rows) wrong += row.out_of_place.wrong + row.in_place.wrong;
  if (first)
    fmt::print("{}", plan->bench.json
                         ? collective_json(rows, plan->bench, plan->ranks, transport, plan->nccl)
                         : collective_footer(rows));
  return wrong == 0 ? kExitOk : kExitFailed;
}

void add_group_options(CLI::App& app, Options& options) {
  app.add_option("-g,--ranks", options.ranks, "Ranks, as threads of this process")
      ->check(CLI::Range(1, collective::kRanksMax))
      ->capture_default_str();
  app.add_option("--rank", options.rank, "This process's rank; else RANK")
      ->check(CLI::Range(0, collective::kRanksMax - 1));
  app.add_option("--world-size", options.world_size, "Ranks in all processes; else WORLD_SIZE")
      ->check(CLI::Range(1, collective::kRanksMax));
  app.add_option("--master", options.master,
                 "HOST:PORT of rank 0; else MASTER_ADDR and MASTER_PORT");
  app.add_option("--transport", options.transport,
                 "threads, shm, tcp or sim; else what suits the ranks and NCCL_SHM_DISABLE");
  app.add_option("--timeout", options.timeout_s, "Seconds after which a call gives up on a rank")
      ->capture_default_str();
  app.add_option("--tls-cert", options.tls_cert, "Certificate of this rank, for TCP");
  app.add_option("--tls-key", options.tls_key, "Its key");
  app.add_option("--tls-ca", options.tls_ca, "Authority that signed the ranks' certificates");
  app.add_flag("--plain-tcp", options.plain_tcp, "TCP without TLS");
  app.add_option("--device", options.fabric.device, "Device kind of --transport sim")
      ->capture_default_str();
  app.add_option("--link", options.fabric.inside, "Link within a node, of --transport sim")
      ->capture_default_str();
  app.add_option("--link-between", options.fabric.between, "Link between nodes, of --transport sim")
      ->capture_default_str();
  app.add_option("--devices-per-node", options.fabric.devices_per_node,
                 "Devices of a node, of --transport sim")
      ->capture_default_str();
}

}  // namespace

Run make_collectives(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("-b,--minbytes", options->bytes_min, "Smallest size")->capture_default_str();
  app.add_option("-e,--maxbytes", options->bytes_max, "Largest size")->capture_default_str();
  app.add_option("-f,--stepfactor", options->bench.factor, "Factor from one size to the next");
  app.add_option("-i,--stepbytes", options->step_bytes, "Bytes from one size to the next");
  app.add_option("--op", options->bench.op,
                 "all_reduce, all_gather, reduce_scatter, broadcast, alltoall or sendrecv")
      ->capture_default_str();
  app.add_option("-d,--datatype", options->type, "Element type: float, half, bfloat16, int8, ...")
      ->capture_default_str();
  app.add_option("-o,--redop", options->reduce, "Reduction: sum, prod, min, max or avg")
      ->capture_default_str();
  app.add_option("--algorithm", options->algorithm, "Of all_reduce: auto, fixed, ring or tree")
      ->capture_default_str();
  app.add_option("-r,--root", options->bench.root, "Root of broadcast")->capture_default_str();
  app.add_option("-n,--iters", options->bench.iterations, "Timed calls of each size")
      ->check(CLI::Range(1, 1'000'000'000))
      ->capture_default_str();
  app.add_option("-w,--warmup_iters", options->bench.warmup, "Calls of each size before them")
      ->check(CLI::Range(0, 1'000'000'000))
      ->capture_default_str();
  app.add_option("-c,--check", options->check, "Count wrong elements: 1 or 0")
      ->check(CLI::Range(0, 1))
      ->capture_default_str();
  add_group_options(app, *options);
  app.add_flag("--json", options->bench.json, "One JSON object instead of the table");
  return [options] { return run_collectives(*options); };
}

}  // namespace altlas::cli
