#include "control/nodes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

#include "base/log.h"
#include "base/random.h"

namespace altlas::control {
namespace {

constexpr std::chrono::seconds kRemindAfter{10};

class NodesImpl final : public Nodes {
 public:
  NodesImpl(boost::asio::io_context& context, NodesOptions options)
      : options_(std::move(options)),
        nodes_(options_.names.size()),
        link_(context, link_options(options_), link_callbacks()) {}
  ~NodesImpl() override { stop(); }

  Result<void> open() {
    ALTLAS_TRY_VOID(link_.start());
    for (uint32_t i = 0; i < options_.names.size(); ++i)
      link_.expect_node(i + 1, options_.names[i]);
    return {};
  }
  uint16_t port() const override { return link_.port(); }
  const std::string& name(uint32_t node) const override { return options_.names[node - 1]; }

  Result<std::vector<worker::NodeOffer>> wait_for_all(std::chrono::seconds timeout) override;
  void attach(NodeWorkerCallbacks callbacks) override {
    const std::scoped_lock lock(mutex_);
    callbacks_ = std::move(callbacks);
  }
  void spawn(uint32_t node, WorkerId worker, uint64_t epoch) override;
  void kill(uint32_t node, WorkerId worker) override {
    link_.send_to_node(node, worker::KillWorker{worker});
  }
  void send(WorkerId worker, engine::Command command) override {
    link_.send(worker, std::move(command));
  }
  void drop_link(WorkerId worker, std::string reason) override {
    link_.stop_worker(worker, std::move(reason));
  }
  void stop() override { link_.stop(); }

 private:
  struct Node {
    std::optional<worker::NodeOffer> offer;  // The first one; later ones must be equal.
    bool up = false;
    std::set<WorkerId> workers;
  };

  static worker::LinkOptions link_options(const NodesOptions& options) {
    worker::LinkOptions out;
    out.tls = options.listen;
    out.ping_interval = options.ping_interval;
    out.silence_max = options.silence_max;
    return out;
  }
  worker::LinkCallbacks link_callbacks() {
    worker::LinkCallbacks out;
    out.connected = [this](WorkerId id, int32_t pid) {
      if (const auto tell = callbacks(); tell.connected) tell.connected(id, pid);
    };
    out.report = [this](WorkerId id, engine::Report report) {
      if (const auto& tell = callbacks_; tell.report) tell.report(id, std::move(report));
    };
    out.lost = [this](WorkerId id, std::string reason) {
      if (const auto tell = callbacks(); tell.link_lost) tell.link_lost(id, std::move(reason));
    };
    out.node_said = [this](uint32_t node, worker::NodeMessage message) { said(node, message); };
    out.node_lost = [this](uint32_t node, const std::string& reason) { lost(node, reason); };
    return out;
  }
  NodeWorkerCallbacks callbacks() {
    const std::scoped_lock lock(mutex_);
    return callbacks_;
  }
  std::vector<std::string> missing() const;
  void said(uint32_t node, worker::NodeMessage& message);
  void offered(uint32_t node, worker::NodeOffer offer);
  void lost(uint32_t node, const std::string& reason);

  const NodesOptions options_;
  std::mutex mutex_;  // Guards what follows; callbacks_ is written once, before there are workers.
  std::condition_variable changed_;
  std::vector<Node> nodes_;
  NodeWorkerCallbacks callbacks_;
  worker::LinkServer link_;  // The last member: its callbacks use the others.
};

// Called with mutex_ held.
std::vector<std::string> NodesImpl::missing() const {
  std::vector<std::string> out;
  for (size_t i = 0; i < nodes_.size(); ++i)
    if (!nodes_[i].up) out.push_back(options_.names[i]);
  return out;
}

Result<std::vector<worker::NodeOffer>> NodesImpl::wait_for_all(std::chrono::seconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  std::unique_lock lock(mutex_);
  while (true) {
    const std::vector<std::string> names = missing();
    if (names.empty()) break;
    const auto now = std::chrono::steady_clock::now();
    if (now >= deadline)
      return Error(
          ErrorCode::kDeadline,
          fmt::format("cluster.workers: {} did not connect to {}:{} within {} s "
                      "(cluster.start_timeout_s)",
                      fmt::join(names, ", "), options_.listen.host, port(), timeout.count()));
    log::info("waiting for {} of {} workers to connect to {}:{}: {}", names.size(), nodes_.size(),
              options_.listen.host, port(), fmt::join(names, ", "));
    const auto until = std::min(deadline, now + kRemindAfter);
    changed_.wait_until(lock, until, [&] { return missing().size() != names.size(); });
  }
  std::vector<worker::NodeOffer> out;
  for (const Node& node : nodes_) out.push_back(*node.offer);
  return out;
}

void NodesImpl::spawn(uint32_t node, WorkerId worker, uint64_t epoch) {
  {
    const std::scoped_lock lock(mutex_);
    Node& one = nodes_[node - 1];
    if (one.up) {
      one.workers.insert(worker);
      const std::string token = random_hex();
      link_.expect(worker, epoch, token, options_.names[node - 1]);
      return link_.send_to_node(node, worker::SpawnWorker{worker, epoch, token});
    }
  }
  callbacks().exited(worker, fmt::format("worker '{}' is not connected", name(node)));
}

void NodesImpl::said(uint32_t node, worker::NodeMessage& message) {
  if (auto* offer = std::get_if<worker::NodeOffer>(&message))
    return offered(node, std::move(*offer));
  auto* ended = std::get_if<worker::WorkerEnded>(&message);
  if (ended == nullptr) return;
  {
    const std::scoped_lock lock(mutex_);
    if (nodes_[node - 1].workers.erase(ended->worker) == 0) return;
  }
  if (const auto tell = callbacks(); tell.exited)
    tell.exited(ended->worker, fmt::format("on '{}': {}", name(node), ended->reason));
}

void NodesImpl::offered(uint32_t node, worker::NodeOffer offer) {
  {
    const std::scoped_lock lock(mutex_);
    Node& one = nodes_[node - 1];
    if (one.offer && one.offer->devices != offer.devices) {
      log::warn(
          "worker '{}' came back with other devices: it is used again after a restart of "
          "this server",
          name(node));
      return;
    }
    one.offer = std::move(offer);
    one.up = true;
    log::info("worker '{}' is connected and offers {} device{}", name(node),
              one.offer->devices.size(), one.offer->devices.size() == 1 ? "" : "s");
  }
  changed_.notify_all();
  if (const auto tell = callbacks(); tell.node_changed) tell.node_changed(node, true);
}

// Its processes end with it, or will not be heard again: each is over.
void NodesImpl::lost(uint32_t node, const std::string& reason) {
  std::set<WorkerId> workers;
  {
    const std::scoped_lock lock(mutex_);
    nodes_[node - 1].up = false;
    workers.swap(nodes_[node - 1].workers);
  }
  log::warn("worker '{}' is gone: {}", name(node), reason);
  changed_.notify_all();
  const auto tell = callbacks();
  if (tell.node_changed) tell.node_changed(node, false);
  for (const WorkerId worker : workers)
    tell.exited(worker, fmt::format("worker '{}' is gone: {}", name(node), reason));
}

}  // namespace

std::vector<DeviceSampled> node_health(const CoreSetup& setup, uint32_t node, bool up) {
  std::vector<DeviceSampled> out;
  for (const DeviceSetup& device : setup.devices)
    if (device.node == node) out.push_back({.device = device.id, .utilization = -1, .healthy = up});
  return out;
}

Result<std::unique_ptr<Nodes>> Nodes::listen(boost::asio::io_context& context,
                                             NodesOptions options) {
  auto out = std::make_unique<NodesImpl>(context, std::move(options));
  ALTLAS_TRY_VOID(out->open());
  return std::unique_ptr<Nodes>(std::move(out));
}

}  // namespace altlas::control
