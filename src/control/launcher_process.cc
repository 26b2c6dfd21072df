// Replicas as worker processes: of this machine, started by posix_spawn and linked by a Unix
// socket, or of nodes, which start them. Each is watched, so that no end goes unnoticed.

#include <fmt/format.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>

#include <future>
#include <map>
#include <mutex>
#include <utility>

#include "base/check.h"
#include "base/random.h"
#include "control/launch_book.h"
#include "control/launcher.h"
#include "control/nodes.h"
#include "worker/link.h"
#include "worker/spawn.h"

namespace altlas::control {
namespace {

namespace asio = boost::asio;

// Everything mutable is touched on strand_ only.
class ProcessLauncher : public Launcher {
 public:
  ProcessLauncher(asio::io_context& context, std::string folder, LauncherCallbacks callbacks,
                  Nodes* nodes)
      : context_(context),
        state_(std::make_shared<State>(asio::make_strand(context), std::move(callbacks))),
        nodes_(nodes),
        link_(context, link_options(std::move(folder)), link_callbacks()) {
    if (nodes_ != nullptr) attach();
  }
  ~ProcessLauncher() override { shutdown(); }

  Result<void> open(uint64_t boot_epoch) override {
    boot_epoch_ = boot_epoch;
    return link_.start();
  }

  void start(WorkerId worker, engine::LoadReplica load) override {
    load.rendezvous = fmt::format("{}/{}", rendezvous_, worker.replica.value);
    const std::vector<uint32_t> ranks = load.own_ranks();
    const uint32_t node = ranks.empty() ? 0 : load.ranks[ranks.front()].node;
    drive([this, worker, node, load = std::move(load)](LaunchBook& book) mutable {
      if (node != 0) {
        const std::scoped_lock lock(homes_mutex_);
        homes_[worker] = node;
      }
      book.start(worker, std::move(load));
    });
  }
  void send(WorkerId worker, engine::Command command) override {
    home_of(worker) == 0 ? link_.send(worker, std::move(command))
                         : nodes_->send(worker, std::move(command));
  }
  void stop(WorkerId worker, bool kill) override {
    drive([worker, kill](LaunchBook& book) { book.stop(worker, kill); });
  }

  void shutdown() override {
    link_.stop();
    if (nodes_ != nullptr) nodes_->stop();
    auto done = std::make_shared<std::promise<void>>();
    const bool runs = !context_.stopped();
    asio::post(state_->strand, [state = state_, done] {
      state->open = false;
      state->processes.clear();  // Clearing the map kills the processes that still run.
      done->set_value();
    });
    if (runs) done->get_future().wait_for(std::chrono::seconds(5));
  }

 private:
  struct State {
    State(asio::strand<asio::io_context::executor_type> strand_in, LauncherCallbacks callbacks_in)
        : strand(std::move(strand_in)), callbacks(std::move(callbacks_in)) {}
    asio::strand<asio::io_context::executor_type> strand;
    const LauncherCallbacks callbacks;
    LaunchBook book;
    std::map<WorkerId, std::unique_ptr<worker::Process>> processes;
    bool open = true;
  };

  // Passes the book to `f` on the strand, then carries out the book's actions.
  template <class F>
  void drive(F f) {
    drive(this, state_, std::move(f));
  }
  // `self` lives for as long as `state` is open.
  template <class F>
  static void drive(ProcessLauncher* self, const std::shared_ptr<State>& state, F f) {
    asio::post(state->strand, [self, state, f = std::move(f)]() mutable {
      if (!state->open) return;
      f(state->book);
      for (auto actions = state->book.take_actions(); !actions.empty();
           actions = state->book.take_actions())
        for (LaunchAction& action : actions)
          std::visit([self](auto& what) { self->carry_out(what); }, action);
    });
  }

  // The node that the worker runs on; 0: this machine.
  uint32_t home_of(WorkerId worker) {
    const std::scoped_lock lock(homes_mutex_);
    const auto found = homes_.find(worker);
    return found == homes_.end() ? 0 : found->second;
  }

  void forget_home(WorkerId worker) {
    const std::scoped_lock lock(homes_mutex_);
    homes_.erase(worker);
  }

  void carry_out(SpawnProcess& what) {
    if (const uint32_t node = home_of(what.worker); node != 0)
      return nodes_->spawn(node, what.worker, boot_epoch_);
    const std::string token = random_hex();
    link_.expect(what.worker, boot_epoch_, token);
    worker::SpawnOptions options;
    options.arguments = worker::worker_arguments(link_.socket_path(), what.worker, boot_epoch_);
    options.environment = {{worker::kTokenVariable, token}};
    auto spawned = worker::Process::spawn(
        context_, options,
        [self = this, state = state_, id = what.worker](const worker::ProcessExit& end) {
          drive(self, state, [id, end, &processes = state->processes](LaunchBook& book) {
            processes.erase(id);
            book.exited(id, end.reason);
          });
        });
    if (!spawned.ok()) return state_->book.not_spawned(what.worker, spawned.error().message());
    state_->processes[what.worker] = std::move(*spawned);
  }
  void carry_out(KillProcess& what) {
    if (const uint32_t node = home_of(what.worker); node != 0)
      return nodes_->kill(node, what.worker);
    const auto found = state_->processes.find(what.worker);
    if (found != state_->processes.end()) found->second->kill();
  }
  void carry_out(DropLink& what) {
    home_of(what.worker) == 0 ? link_.stop_worker(what.worker, std::move(what.reason))
                              : nodes_->drop_link(what.worker, std::move(what.reason));
  }
  void carry_out(LoadOverLink& what) { send(what.worker, std::move(what.load)); }
  void carry_out(SayConnected& what) { state_->callbacks.connected(what.worker, what.pid); }
  void carry_out(SayReported& what) {
    state_->callbacks.report(what.worker, std::move(what.report));
  }
  void carry_out(SayLost& what) { state_->callbacks.lost(what.worker, std::move(what.reason)); }

  static worker::LinkOptions link_options(std::string folder) {
    worker::LinkOptions options;
    options.directory = std::move(folder);
    return options;
  }

  void attach() {
    const worker::LinkCallbacks links = link_callbacks();
    NodeWorkerCallbacks out;
    out.connected = links.connected;
    out.report = links.report;
    out.link_lost = links.lost;
    out.exited = [this](WorkerId worker, std::string reason) {
      drive(
          [worker, reason = std::move(reason)](LaunchBook& book) { book.exited(worker, reason); });
      // Not before: what follows from the exit needs it.
      drive([this, worker](LaunchBook&) { forget_home(worker); });
    };
    out.node_changed = [state = state_](uint32_t node, bool up) {
      if (state->callbacks.node_changed) state->callbacks.node_changed(node, up);
    };
    nodes_->attach(std::move(out));
  }

  worker::LinkCallbacks link_callbacks() {
    worker::LinkCallbacks out;
    out.connected = [this](WorkerId worker, int32_t pid) {
      drive([worker, pid](LaunchBook& book) { book.link_opened(worker, pid); });
    };
    out.report = [this](WorkerId worker, engine::Report report) {
      drive([worker, report = std::move(report)](LaunchBook& book) mutable {
        book.reported(worker, std::move(report));
      });
    };
    out.lost = [this](WorkerId worker, std::string reason) {
      drive([worker, reason = std::move(reason)](LaunchBook& book) mutable {
        book.link_lost(worker, std::move(reason));
      });
    };
    return out;
  }

  asio::io_context& context_;
  const std::string rendezvous_ = random_hex();  // See engine::LoadReplica::rendezvous.
  uint64_t boot_epoch_ = 0;                      // It is set before the first start().
  const std::shared_ptr<State> state_;
  Nodes* const nodes_;
  std::mutex homes_mutex_;
  // The nodes of workers that run on one, from their start until they have exited.
  std::map<WorkerId, uint32_t> homes_;
  worker::LinkServer link_;
};

}  // namespace

std::unique_ptr<Launcher> make_process_launcher(asio::io_context& context, std::string folder,
                                                LauncherCallbacks callbacks, Nodes* nodes) {
  return std::make_unique<ProcessLauncher>(context, std::move(folder), std::move(callbacks), nodes);
}

}  // namespace altlas::control
