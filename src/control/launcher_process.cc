// Replicas as worker processes of this machine: posix_spawn, a Unix socket, an end that is heard of
// in any case.

#include <fmt/format.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>

#include <future>
#include <map>
#include <utility>

#include "base/check.h"
#include "base/random.h"
#include "control/launcher.h"
#include "worker/link.h"
#include "worker/spawn.h"

namespace altlas::control {
namespace {

namespace asio = boost::asio;

// State is touched on strand_ only.
class ProcessLauncher : public Launcher {
 public:
  ProcessLauncher(asio::io_context& context, std::string folder, LauncherCallbacks callbacks)
      : context_(context),
        state_(std::make_shared<State>(asio::make_strand(context), std::move(callbacks))),
        link_(context, link_options(std::move(folder)), link_callbacks()) {}
  ~ProcessLauncher() override { shutdown(); }

  Result<void> open() override { return link_.start(); }

  void start(ReplicaId id, engine::LoadReplica load) override {
    const std::string token = random_hex();
    link_.expect(id, kEpoch, token);
    asio::post(state_->strand, [this, id, token, load = std::move(load)]() mutable {
      if (!state_->open) return;
      Worker& worker = state_->workers[id];
      worker.load = std::move(load);
      worker::SpawnOptions options;
      options.arguments = worker::worker_arguments(link_.socket_path(), id, kEpoch);
      options.environment = {{worker::kTokenVariable, token}};
      auto spawned =
          worker::Process::spawn(context_, options, [state = state_, id](worker::ProcessExit end) {
            asio::post(state->strand, [state, id, end] { exited(*state, id, end); });
          });
      if (spawned.ok()) {
        worker.process = std::move(*spawned);
        return;
      }
      const std::string why = spawned.error().message();
      state_->workers.erase(id);
      link_.stop_replica(id, why);
      state_->callbacks.lost(id, why);
    });
  }

  void send(ReplicaId id, engine::Command command) override { link_.send(id, std::move(command)); }

  void stop(ReplicaId id, bool kill) override {
    link_.stop_replica(id, "stopped by the server");
    asio::post(state_->strand, [state = state_, id, kill] {
      const auto found = state->workers.find(id);
      if (found == state->workers.end() || !found->second.process) return;
      found->second.quiet = kill;
      if (kill) found->second.process->kill();
    });
  }

  void shutdown() override {
    link_.stop();
    auto done = std::make_shared<std::promise<void>>();
    const bool runs = !context_.stopped();
    asio::post(state_->strand, [state = state_, done] {
      state->open = false;
      state->workers.clear();  // Kills those that still run.
      done->set_value();
    });
    if (runs) done->get_future().wait_for(std::chrono::seconds(5));
  }

 private:
  static constexpr uint64_t kEpoch = 1;  // A ReplicaId stands for one start only.

  struct Worker {
    engine::LoadReplica load;
    std::unique_ptr<worker::Process> process;
    std::string link_lost;  // Why, where the link went first.
    bool quiet = false;     // Nobody wants to know of its end.
  };
  struct State {
    State(asio::strand<asio::io_context::executor_type> strand_in, LauncherCallbacks callbacks_in)
        : strand(std::move(strand_in)), callbacks(std::move(callbacks_in)) {}
    asio::strand<asio::io_context::executor_type> strand;
    const LauncherCallbacks callbacks;
    std::map<ReplicaId, Worker> workers;
    bool open = true;
  };

  static worker::LinkOptions link_options(std::string folder) {
    worker::LinkOptions options;
    options.directory = std::move(folder);
    return options;
  }

  // The process is gone: that is the end, however the link sees it.
  static void exited(State& state, ReplicaId id, const worker::ProcessExit& end) {
    const auto found = state.workers.find(id);
    if (!state.open || found == state.workers.end()) return;
    const Worker worker = std::move(found->second);
    state.workers.erase(found);
    if (worker.quiet) return;
    const bool both = !worker.link_lost.empty() && end.signal == 0;
    state.callbacks.lost(id,
                         both ? fmt::format("{} ({})", end.reason, worker.link_lost) : end.reason);
  }

  worker::LinkCallbacks link_callbacks() {
    worker::LinkCallbacks out;
    out.connected = [this, state = state_](ReplicaId id, int32_t pid) {
      asio::post(state->strand, [this, state, id, pid] {
        const auto found = state->workers.find(id);
        if (!state->open || found == state->workers.end()) return;
        link_.send(id, std::move(found->second.load));
        state->callbacks.connected(id, pid);
      });
    };
    out.report = [state = state_](ReplicaId id, engine::Report report) {
      asio::post(state->strand, [state, id, report = std::move(report)]() mutable {
        if (state->open && state->workers.contains(id))
          state->callbacks.report(id, std::move(report));
      });
    };
    // Without its link a worker is of no use; its exit then tells the reason.
    out.lost = [state = state_](ReplicaId id, std::string reason) {
      asio::post(state->strand, [state, id, reason = std::move(reason)] {
        const auto found = state->workers.find(id);
        if (found == state->workers.end()) return;
        found->second.link_lost = reason;
        if (found->second.process) found->second.process->kill();
      });
    };
    return out;
  }

  asio::io_context& context_;
  const std::shared_ptr<State> state_;
  worker::LinkServer link_;
};

}  // namespace

std::unique_ptr<Launcher> make_process_launcher(asio::io_context& context, std::string folder,
                                                LauncherCallbacks callbacks) {
  return std::make_unique<ProcessLauncher>(context, std::move(folder), std::move(callbacks));
}

}  // namespace altlas::control
