#include "cli/joining.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/log.h"
#include "collective/sockets.h"
#include "device/spec.h"

namespace altlas::cli {

Result<std::unique_ptr<control::Nodes>> listen_for_nodes(const config::ClusterConfig& cluster,
                                                         boost::asio::io_context& context) {
  const auto at = collective::parse_host_port(cluster.listen);
  if (!at.ok()) return Error(at.error()).with_context("cluster.listen");
  auto identity =
      collective::TlsIdentity::load({cluster.tls_cert, cluster.tls_key, cluster.tls_ca});
  if (!identity.ok()) return Error(identity.error()).with_context("cluster");
  control::NodesOptions options;
  options.listen = {at->host, at->port, *std::move(identity)};
  options.names = cluster.workers;
  options.ping_interval = from_seconds(cluster.heartbeat_interval_s);
  options.silence_max = from_seconds(cluster.worker_timeout_s);
  auto nodes = control::Nodes::listen(context, std::move(options));
  if (!nodes.ok()) return Error(nodes.error()).with_context("cluster.listen");
  log::info("workers connect to {}:{}", at->host, (*nodes)->port());
  return nodes;
}

Result<void> wait_for_nodes(const config::ClusterConfig& cluster, control::Nodes& nodes,
                            std::vector<control::DeviceSetup>& devices) {
  const std::chrono::seconds wait(static_cast<int64_t>(std::ceil(cluster.start_timeout_s)));
  ALTLAS_TRY(const auto offers, nodes.wait_for_all(wait));
  for (uint32_t node = 1; node <= offers.size(); ++node)
    for (const worker::NodeDevice& one : offers[node - 1].devices) {
      if (one.kind != "cpu" && one.kind != "sim")
        return invalid(
            fmt::format("worker '{}' offers a device of kind '{}': cpu and sim are "
                        "possible in this build",
                        nodes.name(node), one.kind));
      control::DeviceSetup setup;
      setup.id = DeviceId{static_cast<int32_t>(devices.size())};
      setup.name = one.name;
      setup.kind = one.kind;
      setup.memory_total = one.memory_total;
      setup.spec = one.spec;
      setup.cpu_first = one.cpu_first;
      setup.node = node;
      setup.node_name = nodes.name(node);
      devices.push_back(std::move(setup));
    }
  return {};
}

}  // namespace altlas::cli
