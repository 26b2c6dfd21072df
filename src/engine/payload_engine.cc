#include "engine/payload_engine.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <utility>

#include "base/channel.h"
#include "base/check.h"
#include "base/clock.h"
#include "engine/replica.h"

namespace altlas::engine {

namespace {
// Payloads that are answered at once; more wait in the inbox.
constexpr uint32_t kSequencesMax = 1024;
}  // namespace

PayloadCore::PayloadCore(const LoadReplica& load, PayloadAnswer answer)
    : sequences_max_(load.sequences_max == 0 ? kSequencesMax : load.sequences_max),
      devices_(std::max<size_t>(1, load.ranks.size())),
      answer_(std::move(answer)) {}

void PayloadCore::handle(Command command) {
  if (const auto* submitted = std::get_if<SubmitSequence>(&command)) {
    submit(*submitted);
  } else if (auto* load = std::get_if<LoadAdapter>(&command)) {
    reports_.push_back(AdapterLoaded{std::move(load->adapter.name), 0,
                                     "this deployment is not a model: it takes no adapters",
                                     ErrorCode::kInvalid, load->load});
  } else if (std::holds_alternative<DrainReplica>(command)) {
    if (!std::exchange(draining_, true)) reports_.push_back(ReplicaDrained{});
    // A cancellation comes too late: payloads are answered as they come.
  } else {
    ALTLAS_CHECK(!std::holds_alternative<LoadReplica>(command), "loaded once, by the constructor");
  }
}

void PayloadCore::submit(const SubmitSequence& command) {
  const SequenceId id = command.sequence;
  if (draining_) {
    reports_.push_back(
        SequenceFailed{id, ErrorCode::kUnavailable, "the replica is draining; ask another one"});
    return;
  }
  if (command.prompt.payloads().size() != 1) {
    reports_.push_back(
        SequenceFailed{id, ErrorCode::kInvalid, "this deployment answers one payload at a time"});
    return;
  }
  Result<std::string> text = answer_(command.prompt.payloads()[0].content, ++calls_);
  if (!text.ok()) {
    reports_.push_back(SequenceFailed{id, text.error().code(), text.error().message()});
    return;
  }
  TaskResult result;
  result.text = *std::move(text);
  result.finish_reason = FinishReason::kStop;
  reports_.push_back(SequenceFinished{id, std::move(result)});
}

std::vector<Report> PayloadCore::take_reports() { return std::exchange(reports_, {}); }

ReplicaLoaded PayloadCore::loaded() const {
  ReplicaLoaded loaded;
  loaded.sequences_max = sequences_max_;
  return loaded;
}

ReplicaStats PayloadCore::stats() const {
  ReplicaStats stats;
  stats.steps = calls_;
  stats.device_busy_us.assign(devices_, 0);
  stats.device_memory_used.assign(devices_, 0);
  return stats;
}

namespace {

class PayloadHost final : public EngineHost {
 public:
  explicit PayloadHost(PayloadAnswer answer) : answer_(std::move(answer)), inbox_(kInboxMax) {}
  ~PayloadHost() override { PayloadHost::stop(); }

  void start(LoadReplica load, ReportSink report, EndSink) override {
    ALTLAS_CHECK(!thread_.joinable(), "a host starts once");
    report_ = std::move(report);
    thread_ = std::thread([this, core = PayloadCore(load, answer_)]() mutable { serve(core); });
  }
  bool command(Command&& command) override { return inbox_.try_send(std::move(command)); }
  void stop() override {
    stopping_ = true;
    inbox_.close();
    if (thread_.joinable()) thread_.join();
  }

 private:
  void serve(PayloadCore& core) {
    const Clock& clock = system_clock();
    report_(core.loaded());
    TimeUs stats_at = clock.now() - kStatsPeriodUs;
    while (!stopping_) {
      if (clock.now() - stats_at >= kStatsPeriodUs) {
        stats_at = clock.now();
        report_(core.stats());
      }
      const TimeUs left =
          std::clamp<TimeUs>(stats_at + kStatsPeriodUs - clock.now(), 0, kStatsPeriodUs);
      for (Command& command : inbox_.wait_drain(std::chrono::microseconds(left)))
        core.handle(std::move(command));
      for (Report& report : core.take_reports()) report_(std::move(report));
    }
  }

  const PayloadAnswer answer_;
  Channel<Command> inbox_;
  std::atomic<bool> stopping_ = false;
  ReportSink report_;
  std::thread thread_;  // The last member, since it uses the others.
};

}  // namespace

std::unique_ptr<EngineHost> make_payload_host(PayloadAnswer answer) {
  return std::make_unique<PayloadHost>(std::move(answer));
}

}  // namespace altlas::engine
