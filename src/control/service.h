// Service: the control core on its strand, with the journal, the workers and the clock around it.
// What the server talks to.
#pragma once

#include <boost/asio/awaitable.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "config/config.h"
#include "control/board/board.h"
#include "control/core_setup.h"
#include "control/events.h"
#include "control/launcher.h"
#include "control/views.h"

namespace boost::asio {
class io_context;
}

namespace altlas::telemetry {
class Registry;
class Tracer;
}  // namespace altlas::telemetry
namespace altlas::journal {
class Store;
}

namespace altlas::control {

// Places in the queue, held while a request's text is tokenized. Gives them back when dropped
// unused.
class Admission {
 public:
  Admission() = default;
  Admission(uint64_t ticket, std::function<void(uint64_t)> release)
      : ticket_(ticket), release_(std::move(release)) {}
  Admission(Admission&& other) noexcept
      : ticket_(std::exchange(other.ticket_, 0)), release_(std::move(other.release_)) {}
  Admission& operator=(Admission&& other) noexcept {
    std::swap(ticket_, other.ticket_);
    std::swap(release_, other.release_);
    return *this;
  }
  ~Admission() {
    if (ticket_ != 0) release_(ticket_);
  }
  // The ticket, which is no longer given back on destruction.
  uint64_t take() { return std::exchange(ticket_, 0); }

 private:
  uint64_t ticket_ = 0;
  std::function<void(uint64_t)> release_;
};

// What happens to one task, in order, for a stream.
struct StreamEvent {
  TokenDelta delta;             // May be empty in the last event.
  std::optional<TaskView> end;  // Set in the last event: the task is over.
};

// One reader of one task's text, from its first byte. Dropping it unsubscribes.
class Subscription {
 public:
  virtual ~Subscription() = default;
  // Waits for the next event.  Errors: kBusy if the reader fell behind the buffer limit.  One call
  // at a time.
  virtual boost::asio::awaitable<Result<StreamEvent>> next() = 0;
};

// A task that is answered in the request that made it, with its only certain answer: the
// subscription was open before the task could begin, so what it says is there however many other
// tasks have ended meanwhile. Dropped before the task's end was taken, it cancels the task.
struct OwnedTask {
  TaskId id;
  std::shared_ptr<Subscription> answer;
};

// Threads: every member from any thread; answers come back on the caller's executor.
class Service {
 public:
  virtual ~Service() = default;

  // Errors: kBusy with retry_after_ms when the queue is full, kUnavailable while the server drains
  // or stops, kNotFound for a deployment that is not there.
  virtual boost::asio::awaitable<Result<Admission>> admit(AdmissionRequested request) = 0;
  // Durable and placed when it returns. Ids of tasks without one are drawn here.
  // Errors: kInvalid with the numbers for what can never fit, kConflict for another body under the
  // same idempotency key, kUnavailable while the journal can't be written or the server stops.
  // min_per_device: of a split batch, neighbours stay together in groups of
  // at least this many.
  virtual boost::asio::awaitable<Result<std::vector<Placed>>> submit(
      Admission admission, std::vector<TaskSpec> specs, bool split,
      uint32_t min_per_device = 1) = 0;
  // The same for tasks whose answers go to this caller and nobody else; in the order of the specs.
  // Errors also: kBusy when too many streams are open.
  virtual boost::asio::awaitable<Result<std::vector<OwnedTask>>> submit_owned(
      Admission admission, std::vector<TaskSpec> specs) = 0;
  virtual boost::asio::awaitable<Result<TaskView>> task(TaskId id) = 0;  // Errors: kNotFound.
  // Returns when the task is over or the time has passed. A task that was there at the call is
  // never kNotFound.  Errors: kNotFound, kBusy when too many wait.
  virtual boost::asio::awaitable<Result<TaskView>> wait(TaskId id, int64_t timeout_ms) = 0;
  virtual boost::asio::awaitable<TaskPage> tasks(TaskFilter filter) = 0;
  // Returns once everybody sees that the task is cancelled: in the journal, where it is durable.
  // Errors: kNotFound, kConflict when it ended otherwise or earlier (then everybody sees that),
  // kUnavailable while the journal can't be written.
  virtual boost::asio::awaitable<Result<void>> cancel(TaskId id) = 0;
  // The same without an answer, for a client that has gone away. Returns at once.
  virtual void cancel_soon(TaskId id) = 0;
  // Why the task's device was chosen; the choice is there. What memory has forgotten is read from
  // the event log, on a thread of its own.  Errors: kNotFound, kBusy when too many are being read,
  // kUnavailable while the server stops; kIo, kInvalid where the log can't be read.
  virtual boost::asio::awaitable<Result<TaskStory>> explain(TaskId id) = 0;
  virtual boost::asio::awaitable<std::vector<DeviceView>> devices() = 0;
  virtual boost::asio::awaitable<std::vector<DeploymentView>> deployments() = 0;
  // Returns once every replica of the deployment has it; tasks may name it then, also after
  // restarts of replicas.  Errors: kInvalid (the file is for another model or shape, cut short, …:
  // nothing has it then; the name is taken; too many), kNotFound, kConflict, kUnavailable.
  virtual boost::asio::awaitable<Result<void>> load_adapter(std::string deployment,
                                                            engine::AdapterFile adapter) = 0;
  // New tasks can't name it from now on; returns once those that do have ended.
  // Errors: kNotFound, kConflict while it is being loaded, kUnavailable.
  virtual boost::asio::awaitable<Result<void>> unload_adapter(std::string deployment,
                                                              std::string name) = 0;
  // From now on this number of replicas of the deployment is wanted; nothing: its autoscaler
  // decides. Returns once that is so, not once they run. Errors: kNotFound, kInvalid with the
  // number of places, kUnavailable.
  virtual boost::asio::awaitable<Result<void>> scale(std::string deployment,
                                                     std::optional<uint32_t> replicas) = 0;
  // How many replicas it should have, as it was decided, oldest first.  Errors: kNotFound.
  virtual boost::asio::awaitable<Result<std::vector<ScaleDecision>>> scale_decisions(
      std::string deployment) = 0;
  virtual boost::asio::awaitable<Strategy> strategy() = 0;  // The default one.
  virtual boost::asio::awaitable<Result<void>> set_strategy(Strategy strategy) = 0;
  virtual boost::asio::awaitable<Result<void>> set_max_concurrent_tasks(uint32_t value) = 0;
  virtual boost::asio::awaitable<Result<void>> set_limits(LimitsChanged limits) = 0;
  // Devices are measured once in so long from now on.
  virtual void set_sample_interval(int64_t us) = 0;
  // For a task that this process accepted or replayed.  Errors: kNotFound, kBusy when too many
  // streams are open.
  virtual boost::asio::awaitable<Result<std::unique_ptr<Subscription>>> subscribe(TaskId id) = 0;
  // What people look at, made once a second; null in the first one. Never waits on the strand.
  virtual std::shared_ptr<const BoardView> board() const = 0;
  // The last day by minutes, or the last half hour by seconds.
  virtual boost::asio::awaitable<HistoryView> history(bool by_minutes) = 0;
  // What changed after the change with this number, oldest first.
  virtual boost::asio::awaitable<std::vector<Change>> changes_after(uint64_t number) = 0;
  virtual boost::asio::awaitable<UsageView> usage(int64_t hours) = 0;
  // As a request sent now would meet. Never waits on the strand: within microseconds also under
  // load.
  virtual HealthView health() const = 0;

  // stop(): no admissions, waits up to timeout_ms for running tasks, then stops workers and closes
  // the journal.
  virtual Result<void> start() = 0;
  virtual void stop(int64_t timeout_ms) = 0;
};

struct ServiceOptions {
  CoreSetup setup;
  std::unique_ptr<journal::Store> store;
  std::string folder;  // The data directory: the event log is there. Empty: none is kept.
  bool in_process_workers = false;
  telemetry::Registry* metrics = nullptr;      // May be null; outlives the service.
  const Clock* clock = nullptr;                // Null: the system's.
  uint64_t stream_buffer_bytes_max = 1 << 20;  // The limit of one subscriber that does not read.
  uint64_t event_log_bytes_max = 64 << 20;
  telemetry::Tracer* tracer = nullptr;  // Gets a span for each task's wait and run. Likewise.
  int64_t sample_interval_us = kSecond;
  // Measures every device; called on a thread of the service's. Empty: utilization
  // is what replicas report, nothing else is known.
  std::function<std::vector<DeviceSampled>()> sample;
  // USD per hour by device; 0, or no such entry: not known.
  std::vector<double> device_prices;
  // Carries the links of worker processes; as `context` run until stop() has returned. Null:
  // `context` does it. By a thread of its own, large messages keep no event of the core waiting.
  boost::asio::io_context* links = nullptr;
  // Where replicas live; empty: processes, or threads with in_process_workers.
  std::function<std::unique_ptr<Launcher>(LauncherCallbacks)> launcher;
  // Machines whose devices are in `setup`; null: there are none. It outlives the service.
  Nodes* nodes = nullptr;
};

// `context` must be run by at least one thread that lives until stop() has returned, and outlives
// the service. Errors: kInvalid, kIo for a folder that can't be used.
Result<std::unique_ptr<Service>> make_service(boost::asio::io_context& context,
                                              ServiceOptions options);

}  // namespace altlas::control
