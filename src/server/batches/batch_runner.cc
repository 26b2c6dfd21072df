#include "server/batches/batch_runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio.hpp>
#include <deque>
#include <map>
#include <set>

#include "base/log.h"
#include "base/random.h"
#include "server/batches/batch_json.h"
#include "server/batches/file_desk.h"
#include "server/handlers.h"
#include "server/http/problem.h"
#include "server/routes.h"

namespace altlas::server {

namespace asio = boost::asio;
using asio::awaitable;

namespace {
constexpr size_t kBatchesAtOnce = 4;
constexpr int64_t kRetryMsMin = 200, kRetryMsMax = 5000;

std::string_view header_of(const Response& response, std::string_view name) {
  for (const auto& [key, value] : response.headers)
    if (key == name) return value;
  return {};
}

// Makes a timer that never expires: its wait ends when the timer is cancelled.
void never_expire(asio::steady_timer& timer) {
  timer.expires_at(asio::steady_timer::time_point::max());
}
}  // namespace

struct BatchRunner::Impl : std::enable_shared_from_this<Impl> {
  // A batch whose requests run. Only the strand touches it.
  struct Active {
    explicit Active(const asio::any_io_executor& executor) : wake(executor), expiry(executor) {}
    Batch batch;
    asio::steady_timer wake;    // It is cancelled when a place is free or a request has ended.
    asio::steady_timer expiry;  // It expires when the completion window has passed.
    std::set<std::shared_ptr<Disconnect>> open;
    size_t running = 0;
    bool wants = false;  // Whether it waits for a place.
    bool cancelled = false, expired = false;
    std::string full;  // The reason why no more results can be written.

    bool ends() const { return cancelled || expired || !full.empty(); }
  };
  using ActivePtr = std::shared_ptr<Active>;

  Impl(asio::io_context& io_in, FileDesk& desk_in, Services& services_in)
      : io(io_in), strand(asio::make_strand(io_in)), desk(desk_in), services(services_in) {}

  asio::io_context& io;
  asio::strand<asio::io_context::executor_type> strand;
  FileDesk& desk;
  Services& services;
  std::deque<std::string> waiting;
  std::map<std::string, ActivePtr> active;
  size_t running = 0;  // The running requests of all batches.
  bool stopping = false;

  void pump();
  void wake_all();
  void end_requests(Active& one);
  awaitable<void> restore();
  awaitable<void> run_batch(ActivePtr one);
  awaitable<Result<std::vector<BatchLine>>> prepare(ActivePtr one, bool last);
  template <class T>
  awaitable<Result<T>> patiently(std::function<awaitable<Result<T>>(bool last)> work,
                                 std::function<bool(bool last)> goes_on);
  awaitable<void> run_lines(ActivePtr one, std::vector<BatchLine> lines);
  awaitable<void> run_line(ActivePtr one, BatchLine line);
  awaitable<Result<Response>> call(ActivePtr one, Request request);
  awaitable<void> write_rest(ActivePtr one, std::vector<BatchLine> lines, std::string code,
                             std::string why);
  awaitable<Result<Batch>> finish(ActivePtr one);
  awaitable<Result<BatchRequest>> read_line(ActivePtr one, BatchLine line);
  bool may_begin(const Active& one) const;
  bool may_go_on(const Active& one) const { return !stopping && !one.ends(); }
};

void BatchRunner::Impl::pump() {
  while (!stopping && active.size() < kBatchesAtOnce && !waiting.empty()) {
    const std::string id = waiting.front();
    waiting.pop_front();
    if (active.contains(id)) continue;
    const auto one = std::make_shared<Active>(strand);
    one->batch.id = id;
    active[id] = one;
    asio::co_spawn(strand, run_batch(one), [self = shared_from_this(), id](std::exception_ptr bad) {
      if (bad) log::error("batch {} failed by an exception", id);
      self->active.erase(id);
      self->pump();
    });
  }
}

void BatchRunner::Impl::wake_all() {
  for (const auto& [id, one] : active) one->wake.cancel();
}

void BatchRunner::Impl::end_requests(Active& one) {
  for (const auto& disconnect : std::exchange(one.open, {})) disconnect->fire();
  one.wake.cancel();
}

awaitable<void> BatchRunner::Impl::restore() {
  auto all = co_await desk.run<std::vector<Batch>>(
      [](Files&, Batches& batches) -> Result<std::vector<Batch>> { return batches.list(); });
  if (!all.ok()) co_return;
  std::ranges::reverse(*all);  // The oldest comes first.
  for (const Batch& batch : *all)
    if (!is_over(batch.status)) waiting.push_back(batch.id);
  pump();
}

// Reads and checks the input. Returns the requests that have no result yet. Errors: the batch is
// over, or its input can't be read: kIo if that may pass, unless this is the `last` try.
awaitable<Result<std::vector<BatchLine>>> BatchRunner::Impl::prepare(ActivePtr one, bool last) {
  BatchInputLimits limits;
  limits.lines_max = static_cast<size_t>(services.config.server.batch_lines_max);
  limits.line_bytes_max = static_cast<size_t>(services.config.server.body_bytes_max);
  limits.depth_max = static_cast<size_t>(services.config.server.json_depth_max);
  using Lines = Result<std::vector<BatchLine>>;
  auto work = [id = one->batch.id, limits, last](Files& files, Batches& batches) -> Lines {
    ALTLAS_TRY(Batch batch, batches.find(id));
    if (is_over(batch.status)) return Error(ErrorCode::kConflict, "the batch is over");
    std::vector<BatchLine> todo;
    if (batch.finalizing != 0) return todo;
    auto content = files.read(batch.input_file, 0, files.limits().file_bytes_max);
    if (!content.ok() && content.error().code() == ErrorCode::kIo && !last)
      return content.error();
    BatchInput input;
    if (content.ok()) {
      input = check_batch_input(*content, batch.endpoint, limits);
    } else {
      input.errors.push_back({"input_file", content.error().message(), "input_file_id", 0});
    }
    if (!input.errors.empty() && batch.status != BatchStatus::kCancelling) {
      batch.status = BatchStatus::kFailed;
      batch.failed = system_clock().now();
      batch.errors = std::move(input.errors);
      ALTLAS_TRY_VOID(batches.update(batch));
      return Error(ErrorCode::kInvalid, "the input is wrong");
    }
    batch.total = static_cast<uint32_t>(input.lines.size());
    if (batch.status == BatchStatus::kValidating) {
      batch.status = BatchStatus::kInProgress;
      batch.in_progress = system_clock().now();
    }
    ALTLAS_TRY_VOID(batches.update(batch));
    const std::vector<uint32_t> done = batches.lines_done(id);
    for (const BatchLine& line : input.lines)
      if (!std::ranges::binary_search(done, line.number)) todo.push_back(line);
    return todo;
  };
  ALTLAS_CO_TRY(auto lines, co_await desk.run<std::vector<BatchLine>>(std::move(work)));
  auto find = [id = one->batch.id](Files&, Batches& batches) { return batches.find(id); };
  ALTLAS_CO_TRY(one->batch, co_await desk.run<Batch>(std::move(find)));
  if (one->batch.status == BatchStatus::kCancelling) one->cancelled = true;
  co_return lines;
}

// Does `work` again while it fails for a reason that may pass (too many files are open, a disk that
// comes back) and `goes_on` agrees. The `last` try comes after six seconds; more may follow it.
template <class T>
awaitable<Result<T>> BatchRunner::Impl::patiently(
    std::function<awaitable<Result<T>>(bool last)> work, std::function<bool(bool last)> goes_on) {
  asio::steady_timer pause(strand);
  for (int64_t wait_ms = kRetryMsMin;; wait_ms = std::min(2 * wait_ms, kRetryMsMax)) {
    const bool last = wait_ms == kRetryMsMax;
    auto done = co_await work(last);
    if (done.ok() || done.error().code() != ErrorCode::kIo || !goes_on(last)) co_return done;
    pause.expires_after(std::chrono::milliseconds(wait_ms));
    co_await pause.async_wait(asio::as_tuple(asio::use_awaitable));
  }
}

awaitable<void> BatchRunner::Impl::run_batch(ActivePtr one) {
  const auto until_stop = [this](bool) { return !stopping; };
  std::function prepared = [this, one](bool last) { return prepare(one, last); };
  const auto lines = co_await patiently(std::move(prepared), until_stop);
  if (!lines.ok()) co_return;
  const bool runs = one->batch.finalizing == 0;
  if (runs) {
    const TimeUs left = one->batch.expires - system_clock().now();
    one->expiry.expires_after(std::chrono::microseconds(std::max<TimeUs>(left, 0)));
    one->expiry.async_wait([self = shared_from_this(), one](boost::system::error_code error) {
      if (error) return;
      one->expired = true;
      self->end_requests(*one);
    });
    co_await run_lines(one, *lines);
    one->expiry.cancel();
    if (stopping) co_return;
    if (one->cancelled) {
      co_await write_rest(one, *lines, "batch_cancelled",
                          "the batch was cancelled before this request was carried out");
    } else if (one->expired) {
      co_await write_rest(one, *lines, "batch_expired",
                          "the completion window passed before this request was carried out");
    } else if (!one->ends()) {
      co_await write_rest(one, *lines, "internal_error",
                          "the server could not carry this request out, its log says why");
    }
  }
  std::function ended = [this, one](bool) { return finish(one); };
  const auto finished = co_await patiently(std::move(ended), until_stop);
  if (!finished.ok())
    log::error("batch {}: {}; it is finished after the next start", one->batch.id,
               finished.error().message());
}

// A place goes to the batch that has the fewest, so that a long batch does not hold up those after
// it.
bool BatchRunner::Impl::may_begin(const Active& one) const {
  if (running >= static_cast<size_t>(services.config.server.batch_parallel_max)) return false;
  return std::ranges::none_of(active, [&](const auto& other) {
    return other.second->wants && other.second->running < one.running;
  });
}

awaitable<void> BatchRunner::Impl::run_lines(ActivePtr one, std::vector<BatchLine> lines) {
  for (const BatchLine& line : lines) {
    while (!may_begin(*one) && may_go_on(*one)) {
      one->wants = true;
      never_expire(one->wake);
      co_await one->wake.async_wait(asio::as_tuple(asio::use_awaitable));
    }
    if (std::exchange(one->wants, false)) wake_all();  // Others may have let this one go first.
    if (!may_go_on(*one)) break;
    ++running;
    ++one->running;
    asio::co_spawn(strand, run_line(one, line),
                   [self = shared_from_this(), one](std::exception_ptr bad) {
                     if (bad) log::error("a request of batch {} failed", one->batch.id);
                     --self->running;
                     --one->running;
                     self->wake_all();
                   });
  }
  while (one->running > 0) {
    never_expire(one->wake);
    co_await one->wake.async_wait(asio::as_tuple(asio::use_awaitable));
  }
}

awaitable<Result<BatchRequest>> BatchRunner::Impl::read_line(ActivePtr one, BatchLine line) {
  auto read = [file = one->batch.input_file, line](Files& files, Batches&) {
    return files.read(file, line.offset, line.size);
  };
  ALTLAS_CO_TRY(const std::string text, co_await desk.run<std::string>(std::move(read)));
  co_return read_batch_request(text, one->batch.endpoint,
                               static_cast<size_t>(services.config.server.json_depth_max));
}

// Returns the handler's answer. The handler runs on a strand of its own, as a connection's would.
awaitable<Result<Response>> BatchRunner::Impl::call(ActivePtr one, Request request) {
  const RouteMatch match = match_route(routes(), request.method, request.path);
  if (match.route == nullptr) co_return not_found("no such endpoint");
  const auto disconnect = request.disconnect;
  one->open.insert(disconnect);
  const auto job = [](const Route* route, Request asked,
                      Services& around) -> awaitable<std::optional<Result<Response>>> {
    try {
      co_return co_await route->handler(std::move(asked), around);
    } catch (const std::exception& error) {
      log::error("{} of a batch failed: {}", route->pattern, error.what());
      co_return Error(ErrorCode::kInternal, "internal error, logged");
    }
  };
  const asio::any_io_executor executor = executor_for(request, services, asio::make_strand(io));
  auto answer = co_await asio::co_spawn(executor, job(match.route, std::move(request), services),
                                        asio::use_awaitable);
  one->open.erase(disconnect);
  co_return *std::move(answer);
}

awaitable<void> BatchRunner::Impl::run_line(ActivePtr one, BatchLine line) {
  std::function read = [this, one, line](bool) { return read_line(one, line); };
  const auto goes_on = [this, one](bool last) { return !last && may_go_on(*one); };
  const auto asked = co_await patiently(std::move(read), goes_on);
  if (!asked.ok()) {
    log::error("batch {}, line {}: {}", one->batch.id, line.number, asked.error().message());
    co_return;
  }
  const std::string request_id = random_hex();
  const TimeUs asked_first = system_clock().now();
  asio::steady_timer pause(strand);
  for (int64_t wait_ms = kRetryMsMin; may_go_on(*one);
       wait_ms = std::min(wait_ms * 2, kRetryMsMax)) {
    Request request;
    request.method = "POST";
    request.path = one->batch.endpoint;
    request.content_type = "application/json";
    request.body = asked->body;
    request.request_id = request_id;
    request.identity = Identity{one->batch.owner, Role::kUser};
    request.received = asked_first;  // A request that was refused for want of room keeps its age.
    request.disconnect = std::make_shared<Disconnect>();
    if (services.request_memory)
      request.memory = std::make_shared<MemoryLease>(services.request_memory);
    if (request.memory) request.memory->set_owner(one->batch.owner);
    request.background = true;
    const auto answer = co_await call(one, std::move(request));
    const int status = answer.ok() ? answer->status : http_status(answer.error().code());
    const bool ok = status == 200;
    if (!ok && !may_go_on(*one)) co_return;  // It ended because the batch did.
    if (status == 429 || status == 503) {    // There is no room now, so it is tried again later.
      pause.expires_after(std::chrono::milliseconds(wait_ms));
      co_await pause.async_wait(asio::as_tuple(asio::use_awaitable));
      continue;
    }
    const std::string body = answer.ok() ? answer->body : problem(answer.error(), true).body;
    std::string text = answer_line(
        one->batch, line.number, asked->custom_id,
        {status, request_id, body, answer.ok() ? header_of(*answer, "X-Altlas-Ignored") : ""});
    auto write = [id = one->batch.id, line, ok, text = std::move(text)](Files&, Batches& batches) {
      return batches.add_result(id, line.number, ok, text);
    };
    const auto written = co_await desk.run<void>(std::move(write));
    if (written.ok()) co_return;
    log::error("batch {}: {}", one->batch.id, written.error().message());
    one->full = written.error().message();
    end_requests(*one);
    co_return;
  }
}

// Requests without a result get a line in the error file, so that every request of the input has
// one.
awaitable<void> BatchRunner::Impl::write_rest(ActivePtr one, std::vector<BatchLine> lines,
                                              std::string code, std::string why) {
  auto find = [id = one->batch.id](Files&, Batches& batches) -> Result<std::vector<uint32_t>> {
    return batches.lines_done(id);
  };
  const auto done = co_await desk.run<std::vector<uint32_t>>(std::move(find));
  for (const BatchLine& line : lines) {
    if (done.ok() && std::ranges::binary_search(*done, line.number)) continue;
    const auto asked = co_await read_line(one, line);
    std::string text =
        error_line(one->batch, line.number, asked.ok() ? asked->custom_id : "", code, why);
    auto write = [id = one->batch.id, line, text = std::move(text)](Files&, Batches& batches) {
      // Results that are there already stay as they are.
      return batches.add_result(id, line.number, false, text);
    };
    if (const auto written = co_await desk.run<void>(std::move(write)); !written.ok()) {
      one->full = written.error().message();
      co_return;
    }
  }
}

awaitable<Result<Batch>> BatchRunner::Impl::finish(ActivePtr one) {
  auto work = [id = one->batch.id, expired = one->expired, full = one->full](
                  Files&, Batches& batches) -> Result<Batch> {
    ALTLAS_TRY(Batch batch, batches.find(id));
    const TimeUs now = system_clock().now();
    if (batch.finalizing == 0) {
      batch.finalizing = now;
      if (batch.status != BatchStatus::kCancelling) batch.status = BatchStatus::kFinalizing;
      if (expired) batch.expired = now;
      if (!full.empty()) batch.errors.push_back({"storage_full", full, "", 0});
      ALTLAS_TRY_VOID(batches.update(batch));
    }
    if (batch.status == BatchStatus::kCancelling) {
      batch.status = BatchStatus::kCancelled;
      batch.cancelled = now;
      batch.expired = 0;
    } else if (!batch.errors.empty()) {
      batch.status = BatchStatus::kFailed;
      batch.failed = now;
    } else if (batch.expired != 0) {
      batch.status = BatchStatus::kExpired;
    } else if (uint64_t{batch.done} + batch.faulty != batch.total) {
      batch.status = BatchStatus::kFailed;
      batch.failed = now;
      batch.errors.push_back(
          {"results_missing",
           fmt::format("{} of {} requests have no result",
                       int64_t{batch.total} - batch.done - batch.faulty, batch.total),
           "", 0});
    } else {
      batch.status = BatchStatus::kCompleted;
      batch.completed = now;
    }
    return batches.finish(batch);
  };
  co_return co_await desk.run<Batch>(std::move(work));
}

BatchRunner::BatchRunner(asio::io_context& io, FileDesk& desk, Services& services)
    : impl_(std::make_shared<Impl>(io, desk, services)) {}

void BatchRunner::start() {
  asio::co_spawn(impl_->strand, impl_->restore(), [impl = impl_](std::exception_ptr bad) {
    if (bad) log::error("batches of an earlier run were not taken up");
  });
}

void BatchRunner::submit(std::string batch) {
  asio::post(impl_->strand, [impl = impl_, batch = std::move(batch)]() mutable {
    impl->waiting.push_back(std::move(batch));
    impl->pump();
  });
}

void BatchRunner::cancel(std::string batch) {
  asio::post(impl_->strand, [impl = impl_, batch = std::move(batch)] {
    const auto found = impl->active.find(batch);
    if (found == impl->active.end()) return;
    found->second->cancelled = true;
    impl->end_requests(*found->second);
  });
}

void BatchRunner::stop() {
  asio::post(impl_->strand, [impl = impl_] {
    impl->stopping = true;
    impl->wake_all();
  });
}

}  // namespace altlas::server
