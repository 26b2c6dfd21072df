#include "worker/model_host.h"

#include <fmt/format.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "collective/join.h"
#include "engine/hosts.h"
#include "engine/load.h"
#include "engine/replica.h"

namespace altlas::worker {
namespace {

// The wait for a plan, which comes when there is work: a leader that is gone is noticed all the
// same, and one that hangs is the server's to end.
constexpr std::chrono::hours kForever{24 * 365};

Result<std::shared_ptr<collective::Group>> join(const engine::LoadReplica& load,
                                                const std::string& what, int rank, int size,
                                                std::chrono::milliseconds timeout) {
  ALTLAS_TRY(auto group,
             collective::join_shared_memory({.rank = rank,
                                             .size = size,
                                             .name = fmt::format("{}/{}", load.rendezvous, what),
                                             .token = {}},
                                            {.timeout = timeout}));
  return std::shared_ptr<collective::Group>(std::move(group));
}

void abort_all(const WorkerGroups& groups, const std::string& why) {
  const auto abort = [&](const std::shared_ptr<collective::Group>& group) {
    if (group) group->abort(why);
  };
  abort(groups.line.plans);
  abort(groups.line.results);
  for (const model::StageLinkOptions& link : groups.links) {
    abort(link.ranks);
    abort(link.before);
    abort(link.behind);
  }
}

Result<std::unique_ptr<engine::LoadedReplica>> load_leader(
    const engine::LoadReplica& load, const engine::LoadProgressSink& progress) {
  ALTLAS_TRY(WorkerGroups groups, join_workers(load));
  const std::vector<uint32_t> workers = load.rank_workers();
  const auto answering = static_cast<uint32_t>(workers.size() - load.tensor_parallel_size);
  engine::LeadOptions options;
  options.links = groups.links;
  options.lead =
      [line = groups.line, workers,
       answering](std::unique_ptr<engine::CpuExecutor> own) -> std::unique_ptr<engine::Executor> {
    return std::make_unique<LeadingExecutor>(std::move(own), line, workers, answering);
  };
  Result<std::unique_ptr<engine::LoadedReplica>> loaded =
      engine::load_leading(load, progress, std::move(options));
  if (!loaded.ok()) abort_all(groups, loaded.error().message());
  return loaded;
}

// A worker that leads: a Replica whose executor has all workers' ranks.
class LeaderHost final : public engine::EngineHost {
 public:
  void start(engine::LoadReplica load, ReportSink report, EndSink ended) override {
    engine::ReplicaOptions options;
    options.load = std::move(load);
    options.loader = load_leader;
    options.report = std::move(report);
    options.ended = [ended = std::move(ended)](const Result<void>& end) {
      if (!end.ok()) ended(end.error());
    };
    replica_ = std::make_unique<engine::Replica>(std::move(options));
    replica_->start();
  }
  bool command(engine::Command&& command) override { return replica_->send(std::move(command)); }
  void stop() override {
    if (replica_) replica_->stop();
  }

 private:
  std::unique_ptr<engine::Replica> replica_;
};

// A worker that does not lead: it loads its ranks, carries out the leader's plans, and says that it
// lives.
class FollowerHost final : public engine::EngineHost {
 public:
  ~FollowerHost() override { stop(); }
  void start(engine::LoadReplica load, ReportSink report, EndSink ended) override {
    thread_ = std::thread([this, load = std::move(load), report = std::move(report),
                           ended = std::move(ended)] { run(load, report, ended); });
  }
  // Only the leader has sequences.
  bool command(engine::Command&&) override { return true; }
  void stop() override {
    {
      const std::scoped_lock lock(mutex_);
      stopping_ = true;
      if (groups_) abort_all(*groups_, "the worker is stopped");
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
  }

 private:
  void run(const engine::LoadReplica& load, const ReportSink& report, const EndSink& ended) {
    const Result<void> end = serve(load, report);
    const std::scoped_lock lock(mutex_);
    if (end.ok() || stopping_) return;
    report(engine::LoadFailed{end.error().code(), end.error().message()});
    ended(end.error());
  }

  Result<void> serve(const engine::LoadReplica& load, const ReportSink& report) {
    ALTLAS_TRY(WorkerGroups groups, join_workers(load));
    {
      const std::scoped_lock lock(mutex_);
      groups_ = groups;
      if (stopping_) return {};
    }
    auto loaded = engine::load_ranks(
        load, [&](const engine::LoadProgress& progress) { report(progress); }, groups.links);
    if (!loaded.ok()) {
      abort_all(groups, loaded.error().message());
      return loaded.error();
    }
    report(engine::ReplicaLoaded{(*loaded)->limits()});
    std::thread alive([&] { say_alive(report); });
    const Result<void> followed = follow(**loaded, groups.line);
    {
      const std::scoped_lock lock(mutex_);
      over_ = true;
    }
    wake_.notify_all();
    alive.join();
    if (followed.ok()) return {};
    return Error(ErrorCode::kDevice, followed.error().message());
  }

  void say_alive(const ReportSink& report) {
    std::unique_lock lock(mutex_);
    while (!over_ && !stopping_) {
      report(engine::ReplicaStats{});
      wake_.wait_for(lock, std::chrono::microseconds(engine::kStatsPeriodUs));
    }
  }

  std::mutex mutex_;  // Guards what follows.
  std::condition_variable wake_;
  bool stopping_ = false, over_ = false;
  std::optional<WorkerGroups> groups_;
  std::thread thread_;
};

class WorkerHost final : public engine::EngineHost {
 public:
  void start(engine::LoadReplica load, ReportSink report, EndSink ended) override {
    if (load.workers() == 1 || load.kind != replica::ReplicaSettings().kind)
      host_ = engine::make_host();
    else if (load.leads())
      host_ = std::make_unique<LeaderHost>();
    else
      host_ = std::make_unique<FollowerHost>();
    host_->start(std::move(load), std::move(report), std::move(ended));
  }
  bool command(engine::Command&& command) override {
    return host_ == nullptr || host_->command(std::move(command));
  }
  void stop() override {
    if (host_) host_->stop();
  }

 private:
  std::unique_ptr<engine::EngineHost> host_;
};

}  // namespace

Result<WorkerGroups> join_workers(const engine::LoadReplica& load) {
  if (load.rendezvous.empty())
    return invalid("a replica of several workers has no rendezvous", "rendezvous");
  if (load.tensor_parallel_size == 0 ||
      load.ranks.size() != size_t{load.tensor_parallel_size} * load.pipeline_parallel_size)
    return invalid(
        fmt::format("{} ranks for tensor_parallel_size {} x pipeline_parallel_size {}",
                    load.ranks.size(), load.tensor_parallel_size, load.pipeline_parallel_size),
        "ranks");
  const std::chrono::seconds timeout(load.distributed_timeout_seconds);
  const auto own = static_cast<int>(load.worker), all = static_cast<int>(load.workers());
  WorkerGroups out;
  ALTLAS_TRY(out.line.plans, join(load, "plans", own, all, kForever));
  ALTLAS_TRY(out.line.results, join(load, "results", own, all, timeout));
  ALTLAS_TRY(out.links,
             model::join_stages(
                 load.rank_workers(), load.tensor_parallel_size, load.worker,
                 [&](const model::WorkerGroup& group, int rank) {
                   return join(load,
                               fmt::format("{}{}", group.enters ? "enter" : "stage", group.stage),
                               rank, static_cast<int>(group.workers.size()), timeout);
                 }));
  return out;
}

std::unique_ptr<engine::EngineHost> make_worker_host() { return std::make_unique<WorkerHost>(); }

}  // namespace altlas::worker
