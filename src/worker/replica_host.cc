#include "worker/replica_host.h"

#include <utility>

#include "engine/load.h"
#include "engine/replica.h"

namespace altlas::worker {
namespace {

class ReplicaHost final : public EngineHost {
 public:
  void start(engine::LoadReplica load, ReportSink report, EndSink ended) override {
    engine::ReplicaOptions options;
    options.load = std::move(load);
    options.loader = engine::load_replica;
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

}  // namespace

std::unique_ptr<EngineHost> make_replica_host() { return std::make_unique<ReplicaHost>(); }

}  // namespace altlas::worker
