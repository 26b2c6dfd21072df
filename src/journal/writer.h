// JournalWriter: a thread in front of a Store. Appending never blocks; a commit starts as soon as
// the last one returned and takes everything that came meanwhile (group commit), so no timer
// decides between latency and throughput.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/channel.h"
#include "base/result.h"
#include "journal/commit_group.h"
#include "journal/events.h"
#include "journal/store.h"

namespace altlas::telemetry {
class Counter;
class Gauge;
class Histogram;
class Registry;
}  // namespace altlas::telemetry

namespace altlas::journal {

struct WriterOptions {
  size_t requests_max = 65536;             // Waiting calls of append, forget and put_value.
  size_t events_max = 1 << 20;             // Waiting events of all of them.
  size_t commit_events_max = 16384;        // Events of one commit; more wait for the next one.
  telemetry::Registry* metrics = nullptr;  // May be null; outlives the writer.
};

struct WriterStats {
  uint64_t events = 0;    // Written.
  uint64_t commits = 0;   // Commits of events that succeeded.
  uint64_t failures = 0;  // Calls of the store that failed.
  uint64_t waiting_events = 0;
};

// Threads: every member from any thread, but start() and stop() from one. Callbacks run on the
// writer's thread, in the order of the calls, and must be short; they may call append.
class JournalWriter {
 public:
  // Called once the request is durable, or with why it is not.
  using Callback = std::function<void(Result<void>)>;

  JournalWriter(std::unique_ptr<Store> store, const WriterOptions& options);
  ~JournalWriter();  // As stop().
  JournalWriter(const JournalWriter&) = delete;
  JournalWriter& operator=(const JournalWriter&) = delete;

  // The store, for replay and get_value: before start() or after stop() only.
  Store& store() { return *store_; }
  void start();
  // Takes no more, writes what waits, calls every callback, ends the thread.
  void stop();

  // All of `events` or none become durable. Calls that share a commit succeed or fail together.
  // Errors: kBusy when the queue is full, kUnavailable before start() and after stop(); `done` is
  // then not called.
  [[nodiscard]] Result<void> append(std::vector<TaskEvent> events, Callback done);
  // After the appends before it. No append for these tasks may follow.  Errors: as append.
  [[nodiscard]] Result<void> forget(std::vector<TaskId> tasks, Callback done);
  // The last of several values under one name wins, the earlier ones may never be written.  Errors:
  // as append.
  [[nodiscard]] Result<void> put_value(std::string name, std::string value, Callback done);

  WriterStats stats() const;
  // Why the last write failed; empty: it did not. While it did, or the store's room is low, the
  // writer tries a write of its own every second that brings none: it recovers without requests.
  std::string failure() const;

 private:
  struct Request : WriteRequest {
    uint64_t count = 0;  // The count of its events.
    std::chrono::steady_clock::time_point handed;
    Callback done;
  };
  Result<void> enqueue(Request request);
  void run();
  void try_write();
  void note(const Result<void>& written);
  // Writes a group of at least one request, those given, and answers each.
  void write(const CommitGroup& group, std::span<const Request> requests);

  // The handles of kJournalMetrics; all null without a registry.
  struct Metrics {
    telemetry::Histogram* commit = nullptr;
    telemetry::Histogram* lag = nullptr;
    telemetry::Counter* events = nullptr;
    telemetry::Counter* failures = nullptr;
    telemetry::Gauge* waiting = nullptr;
  };
  static Metrics metrics(telemetry::Registry* registry);
  void measure(std::chrono::steady_clock::time_point begin, uint64_t events, uint64_t failures,
               std::span<const Request> requests);

  const WriterOptions options_;
  const Metrics metrics_;
  const std::unique_ptr<Store> store_;
  Channel<Request> queue_;
  std::thread thread_;
  std::atomic<bool> open_ = false;
  std::atomic<uint64_t> waiting_events_ = 0;
  std::atomic<uint64_t> events_ = 0, commits_ = 0, failures_ = 0;
  mutable std::mutex failure_mutex_;
  std::string failure_;
};

}  // namespace altlas::journal
