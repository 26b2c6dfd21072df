#include "collective/link_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

namespace altlas::collective {
namespace {

// Latencies are those of NCCL's own tuning table (hwLatencies of src/graph/tuning.cc, ring, LL
// protocol: NVLink 0.6 us, PCIe 1.0 us, network 2.7 us; TCP's is a kernel's round trip halved).
// Bandwidths are data-sheet rates of one direction: PCIe x16 with its 128b/130b code.
constexpr Link kLinks[] = {
    {"nvlink", 0.6e-6, 0, false},           {"nvswitch", 0.6e-6, 0, true},
    {"pcie4", 1.0e-6, 31.5e9, false},       {"pcie5", 1.0e-6, 63.0e9, false},
    {"infiniband-hdr", 2.7e-6, 25e9, true}, {"infiniband-ndr", 2.7e-6, 50e9, true},
    {"ethernet-10g", 15e-6, 1.25e9, true},  {"ethernet-25g", 15e-6, 3.125e9, true},
    {"ethernet-100g", 15e-6, 12.5e9, true},
};

// The share of a link's rate that large messages reach. Measured bus bandwidths: 8 H100 on NVSwitch
// 370 of 450 GB/s, 8 A100 about 240 of 300 GB/s (nccl-tests issues 149 and 212).
constexpr double kReachable = 0.8;

Result<Link> find_link(std::string_view name) {
  const auto* found = std::ranges::find(kLinks, name, &Link::name);
  if (found != std::end(kLinks)) return *found;
  std::string known;
  for (const Link& link : kLinks) known += (known.empty() ? "" : ", ") + std::string(link.name);
  return not_found(fmt::format("'{}' is no link: use one of {}", name, known));
}

// The hops that follow one another, and the bytes through one device's port.
struct Traffic {
  double hops;
  double bytes;
};

Traffic traffic_of(const Call& call, int ranks, bool switched) {
  const double n = ranks, rounds = std::bit_width(static_cast<unsigned>(ranks - 1));
  const auto bytes = static_cast<double>(call.bytes);
  switch (call.collective) {
    case Collective::kAllReduce:
      if (call.algorithm == Algorithm::kTree) return {2 * rounds, 2 * bytes};
      if (call.algorithm == Algorithm::kFixed)  // All pairs at once need a switch.
        return {switched ? 2 : 2 * (n - 1), 2 * (n - 1) / n * bytes};
      return {2 * (n - 1), 2 * (n - 1) / n * bytes};
    case Collective::kAllGather:
    case Collective::kReduceScatter:
      return {n - 1, (n - 1) * bytes};
    case Collective::kAllToAll:
      return {switched ? 1 : n - 1, (n - 1) * bytes};
    case Collective::kBroadcast:
      return {rounds, bytes};
    case Collective::kSendReceive:
      return {1, bytes};
    case Collective::kBarrier:
      return {rounds, 0};
  }
  return {0, 0};
}

}  // namespace

std::span<const Link> links() { return kLinks; }

Result<Fabric> Fabric::make(const FabricOptions& options) {
  if (options.devices_per_node < 1)
    return invalid(fmt::format("{} devices a node: at least 1", options.devices_per_node));
  ALTLAS_TRY(const DeviceKindInfo device, device_kind(options.device));
  ALTLAS_TRY(Link inside, find_link(options.inside));
  ALTLAS_TRY(Link between, find_link(options.between));
  for (Link* link : {&inside, &between})
    if (link->bytes_per_s == 0) link->bytes_per_s = device.link_bytes_per_s;
  return Fabric(device, inside, between, options.devices_per_node);
}

double Fabric::seconds(const Call& call, int ranks) const {
  if (ranks == 1) return device_.launch_s;
  const bool crosses = ranks > devices_per_node_;
  const bool switched = inside_.switched && (!crosses || between_.switched);
  const Traffic traffic = traffic_of(call, ranks, switched);
  // The slowest hop sets the time of a step, and the narrowest link that of the bytes.
  const double latency =
      crosses ? std::max(inside_.latency_s, between_.latency_s) : inside_.latency_s;
  const double rate =
      crosses ? std::min(inside_.bytes_per_s, between_.bytes_per_s) : inside_.bytes_per_s;
  return device_.launch_s + traffic.hops * latency + traffic.bytes / (rate * kReachable);
}

Algorithm Fabric::choose(uint64_t bytes, int ranks) const {
  Algorithm best = Algorithm::kFixed;
  double least = 0;
  for (const Algorithm algorithm : {Algorithm::kFixed, Algorithm::kRing, Algorithm::kTree}) {
    const Call call{.collective = Collective::kAllReduce, .algorithm = algorithm, .bytes = bytes};
    const double takes = seconds(call, ranks);
    if (algorithm != Algorithm::kFixed && takes >= least) continue;
    best = algorithm;
    least = takes;
  }
  return best;
}

std::string Fabric::describe() const {
  return fmt::format("{} {} a node over {}, nodes over {}", devices_per_node_, device_.name,
                     inside_.name, between_.name);
}

}  // namespace altlas::collective
