#include "journal/writer.h"

#include <fmt/format.h>

#include <chrono>
#include <utility>

#include "journal/metrics.h"
#include "telemetry/registry.h"

namespace altlas::journal {
namespace {

// As large as a request's events may be: a smaller trial could find room where they would not.
constexpr size_t kTrialBytes = 64 << 10;

}  // namespace

JournalWriter::JournalWriter(std::unique_ptr<Store> store, const WriterOptions& options)
    : options_(options),
      metrics_(metrics(options.metrics)),
      store_(std::move(store)),
      queue_(options.requests_max) {
  ALTLAS_CHECK(store_ != nullptr, "a writer needs a store");
}

JournalWriter::Metrics JournalWriter::metrics(telemetry::Registry* registry) {
  if (registry == nullptr) return {};
  return {.commit = registry->histogram(kCommitSeconds),
          .lag = registry->histogram(kLagSeconds),
          .events = registry->counter(kEventsTotal),
          .failures = registry->counter(kFailuresTotal),
          .waiting = registry->gauge(kWaitingEvents)};
}

JournalWriter::~JournalWriter() { stop(); }

void JournalWriter::start() {
  ALTLAS_CHECK(!thread_.joinable() && !queue_.closed(), "start() once");
  open_ = true;
  thread_ = std::thread([this] { run(); });
}

void JournalWriter::stop() {
  open_ = false;
  queue_.close();
  if (thread_.joinable()) thread_.join();
}

Result<void> JournalWriter::enqueue(Request request) {
  if (!open_) return unavailable("the journal is closed");
  const uint64_t count = request.count = request.events.size();
  request.handed = std::chrono::steady_clock::now();
  const uint64_t waiting = waiting_events_.fetch_add(count) + count;
  if (waiting > options_.events_max && waiting > count) {
    waiting_events_ -= count;
    return Error(ErrorCode::kBusy,
                 fmt::format("the journal has {} events to write, the limit is {}", waiting - count,
                             options_.events_max));
  }
  const auto waits = [&](double events) {
    if (metrics_.waiting != nullptr) metrics_.waiting->add(events);
  };
  waits(static_cast<double>(count));
  if (!queue_.try_send(std::move(request))) {
    waits(-static_cast<double>(count));
    waiting_events_ -= count;
    if (queue_.closed()) return unavailable("the journal is closed");
    return Error(ErrorCode::kBusy,
                 fmt::format("the journal has {} requests to write, which is the limit",
                             options_.requests_max));
  }
  return {};
}

Result<void> JournalWriter::append(std::vector<TaskEvent> events, Callback done) {
  Request request;
  request.events = std::move(events);
  request.done = std::move(done);
  return enqueue(std::move(request));
}

Result<void> JournalWriter::forget(std::vector<TaskId> tasks, Callback done) {
  Request request;
  request.forgotten = std::move(tasks);
  request.done = std::move(done);
  return enqueue(std::move(request));
}

Result<void> JournalWriter::put_value(std::string name, std::string value, Callback done) {
  ALTLAS_CHECK(!name.empty(), "a value has a name");
  Request request;
  request.name = std::move(name);
  request.value = std::move(value);
  request.done = std::move(done);
  return enqueue(std::move(request));
}

std::string JournalWriter::failure() const {
  const std::lock_guard lock(failure_mutex_);
  return failure_;
}

void JournalWriter::note(const Result<void>& written) {
  const std::lock_guard lock(failure_mutex_);
  failure_ = written.ok() ? "" : written.error().message();
}

void JournalWriter::try_write() {
  if (failure().empty() && !store_->room_is_low()) return;
  note(store_->put_value("trial", std::string(kTrialBytes, '\0')));
}

void JournalWriter::run() {
  for (;;) {
    // `closed` is read before the drain, so what was sent before close() is part of it.
    const bool closed = queue_.closed();
    std::vector<Request> requests = queue_.wait_drain(std::chrono::seconds(1));
    if (requests.empty() && closed) return;
    if (requests.empty()) try_write();
    for (size_t first = 0, last = 0; first < requests.size(); first = last) {
      CommitGroup group(options_.commit_events_max);
      while (last < requests.size() && group.add(requests[last])) ++last;
      write(group, std::span(requests).subspan(first, last - first));
    }
  }
}

void JournalWriter::write(const CommitGroup& group, std::span<const Request> requests) {
  const auto begin = std::chrono::steady_clock::now();
  const CommitGroup::Outcome outcome = group.write(*store_);
  const uint64_t count = group.events();
  if (count > 0) note(outcome.appended);
  failures_ += outcome.failures();
  if (outcome.appended.ok() && count > 0) {
    events_ += count;
    ++commits_;
  }
  waiting_events_ -= count;
  measure(begin, outcome.appended.ok() ? count : 0, outcome.failures(), requests);
  for (const Request& request : requests) {
    if (!request.done) continue;
    request.done(!request.name.empty()        ? outcome.valued
                 : !request.forgotten.empty() ? outcome.forgot
                                              : outcome.appended);
  }
}

void JournalWriter::measure(std::chrono::steady_clock::time_point begin, uint64_t events,
                            uint64_t failures, std::span<const Request> requests) {
  if (metrics_.commit == nullptr) return;
  using Seconds = std::chrono::duration<double>;
  const auto end = std::chrono::steady_clock::now();
  metrics_.commit->observe(Seconds(end - begin).count());
  metrics_.events->add(static_cast<double>(events));
  metrics_.failures->add(static_cast<double>(failures));
  for (const Request& request : requests) {
    metrics_.lag->observe(Seconds(end - request.handed).count());
    metrics_.waiting->add(-static_cast<double>(request.count));
  }
}

WriterStats JournalWriter::stats() const { return {events_, commits_, failures_, waiting_events_}; }

}  // namespace altlas::journal
