#include "engine/hosts.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

#include "engine/load.h"
#include "engine/payload_engine.h"
#include "engine/replica.h"

namespace altlas::engine {
namespace {

// The host of a model: a Replica.
class ModelHost final : public EngineHost {
 public:
  void start(LoadReplica load, ReportSink report, EndSink ended) override {
    ReplicaOptions options;
    options.load = std::move(load);
    options.loader = load_replica;
    options.report = std::move(report);
    options.ended = [ended = std::move(ended)](const Result<void>& end) {
      if (!end.ok()) ended(end.error());
    };
    replica_ = std::make_unique<Replica>(std::move(options));
    replica_->start();
  }
  bool command(Command&& command) override { return replica_->send(std::move(command)); }
  void stop() override {
    if (replica_) replica_->stop();
  }

 private:
  std::unique_ptr<Replica> replica_;
};

// Answers the payload as it came, and the number of the call.
Result<std::string> echo(const std::string& payload, uint64_t call) {
  return fmt::format(R"({{"echo": {}, "calls": {}}})", payload.empty() ? "null" : payload, call);
}

constexpr EngineKind kKinds[] = {
    {"model", [] -> std::unique_ptr<EngineHost> { return std::make_unique<ModelHost>(); }},
    {"echo", [] { return make_payload_host(echo); }},
};

class HostOfAnyKind final : public EngineHost {
 public:
  void start(LoadReplica load, ReportSink report, EndSink ended) override {
    const auto kind = std::ranges::find(kKinds, load.kind, &EngineKind::name);
    if (kind != std::end(kKinds)) {
      host_ = kind->make();
      host_->start(std::move(load), std::move(report), std::move(ended));
      return;
    }
    std::string known;
    for (const EngineKind& one : kKinds)
      known += fmt::format("{}{}", known.empty() ? "" : ", ", one.name);
    const Error unknown = invalid(
        fmt::format("replica kind '{}'; known are: {}", load.kind.substr(0, 100), known), "kind");
    report(LoadFailed{unknown.code(), unknown.message()});
    ended(unknown);
  }
  // Where no host was started, nobody waits for an answer.
  bool command(Command&& command) override {
    return host_ == nullptr || host_->command(std::move(command));
  }
  void stop() override {
    if (host_) host_->stop();
  }

 private:
  std::unique_ptr<EngineHost> host_;
};

}  // namespace

std::span<const EngineKind> engine_kinds() { return kKinds; }

std::unique_ptr<EngineHost> make_host() { return std::make_unique<HostOfAnyKind>(); }

}  // namespace altlas::engine
