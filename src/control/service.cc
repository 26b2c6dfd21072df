#include "control/service.h"

#include <fmt/format.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <chrono>
#include <future>
#include <map>
#include <set>

#include "base/check.h"
#include "base/log.h"
#include "base/random.h"
#include "base/scratch_folder.h"
#include "control/board/usage_keeper.h"
#include "control/core.h"
#include "control/event_log.h"
#include "control/kept_health.h"
#include "control/nodes.h"
#include "control/sampling_thread.h"
#include "control/service_launcher.h"
#include "control/service_metrics.h"
#include "control/story_reader.h"
#include "control/subscription.h"
#include "journal/boot_epoch.h"
#include "journal/replay.h"
#include "journal/writer.h"

namespace altlas::control {
namespace {

namespace asio = boost::asio;
using asio::awaitable;
using asio::use_awaitable;

constexpr int64_t kCancelWaitMs = 30'000;  // The longest wait for the journal to hold the end.
// The subscribers of all tasks together, waiters included.
constexpr size_t kSubscribersMax = 65'536;

// All members but health() and board() run on strand_.
class ServiceImpl : public Service {
 public:
  // Sockets of worker processes are in the options' folder, or in `scratch`.
  ServiceImpl(asio::io_context& context, ServiceOptions options, std::unique_ptr<EventLog> log,
              std::optional<ScratchFolder> scratch)
      : strand_(asio::make_strand(context)),
        options_(std::move(options)),
        clock_(options_.clock != nullptr ? *options_.clock : system_clock()),
        log_(std::move(log)),
        scratch_(std::move(scratch)),
        core_(options_.setup),
        writer_(std::move(options_.store), journal::WriterOptions{.metrics = options_.metrics}),
        timer_(strand_),
        metrics_(options_.metrics, options_.tracer),
        sampler_(options_.sample_interval_us),
        board_(options_.device_prices),
        board_timer_(strand_) {
    LauncherCallbacks callbacks;
    callbacks.connected = [this](WorkerId id, int32_t pid) { post(WorkerConnected{id, pid}); };
    callbacks.report = [this](WorkerId id, engine::Report report) {
      post(WorkerReported{id, std::move(report)});
    };
    callbacks.lost = [this](WorkerId id, std::string why) { post(WorkerLost{id, std::move(why)}); };
    callbacks.node_changed = [this](uint32_t node, bool up) {
      for (const DeviceSampled& one : node_health(options_.setup, node, up)) post(one);
    };
    const std::string folder = (scratch_ ? scratch_->path() : options_.folder) + "/workers";
    launcher_ = make_launcher(options_, context, folder, std::move(callbacks));
    health_.set(core_.health());
  }
  ~ServiceImpl() override {
    door_->close();
    stop(0);
  }

  awaitable<Result<Admission>> admit(AdmissionRequested request) override {
    co_return co_await on_strand(strand_, do_admit(std::move(request)));
  }
  awaitable<Result<std::vector<Placed>>> submit(Admission admission, std::vector<TaskSpec> specs,
                                                bool split, uint32_t min_per_device) override {
    Result<Submitted> out = co_await on_strand(
        strand_, do_submit(admission.take(), std::move(specs), split, min_per_device, false));
    if (!out.ok()) co_return out.error();
    co_return std::move(out->placed);
  }
  awaitable<Result<std::vector<OwnedTask>>> submit_owned(Admission admission,
                                                         std::vector<TaskSpec> specs) override {
    Result<Submitted> out =
        co_await on_strand(strand_, do_submit(admission.take(), std::move(specs), true, 1, true));
    if (!out.ok()) co_return out.error();
    co_return std::move(out->owned);
  }
  awaitable<Result<TaskView>> task(TaskId id) override {
    co_return co_await on_strand(strand_, do_task(id));
  }
  awaitable<Result<TaskView>> wait(TaskId id, int64_t timeout_ms) override {
    co_return co_await on_strand(strand_, do_wait(id, timeout_ms));
  }
  awaitable<TaskPage> tasks(TaskFilter filter) override {
    co_return co_await on_strand(strand_, do_tasks(std::move(filter)));
  }
  awaitable<Result<void>> cancel(TaskId id) override {
    co_return co_await on_strand(strand_, do_cancel(id));
  }
  void cancel_soon(TaskId id) override { post(CancelRequested{id}); }
  awaitable<Result<TaskStory>> explain(TaskId id) override {
    ALTLAS_CO_TRY(Remembered remembered, co_await on_strand(strand_, do_explain(id)));
    if (!remembered.files) co_return *std::move(remembered.story);
    EventLogFiles files = *std::move(remembered.files);
    auto logged = co_await stories_.read(std::move(files), id);
    if (logged.ok() && remembered.story) co_return joined(*std::move(logged), *remembered.story);
    co_return logged;
  }
  awaitable<std::vector<DeviceView>> devices() override {
    co_return co_await on_strand(strand_, do_devices());
  }
  awaitable<std::vector<DeploymentView>> deployments() override {
    co_return co_await on_strand(strand_, do_deployments());
  }
  awaitable<Result<void>> load_adapter(std::string deployment,
                                       engine::AdapterFile adapter) override {
    AdapterLoadRequested event{0, std::move(deployment), std::move(adapter)};
    co_return co_await on_strand(strand_, do_change(std::move(event)));
  }
  awaitable<Result<void>> unload_adapter(std::string deployment, std::string name) override {
    AdapterUnloadRequested event{0, std::move(deployment), std::move(name)};
    co_return co_await on_strand(strand_, do_change(std::move(event)));
  }
  awaitable<Result<void>> scale(std::string deployment, std::optional<uint32_t> replicas) override {
    ScaleRequested event{0, std::move(deployment), replicas};
    co_return co_await on_strand(strand_, do_change(std::move(event)));
  }
  awaitable<Result<std::vector<ScaleDecision>>> scale_decisions(std::string deployment) override {
    co_return co_await on_strand(strand_, do_scale_decisions(std::move(deployment)));
  }
  awaitable<Strategy> strategy() override { co_return co_await on_strand(strand_, do_strategy()); }
  awaitable<Result<void>> set_strategy(Strategy strategy) override {
    Event event = StrategyChanged{strategy};
    co_return co_await on_strand(strand_, do_event(std::move(event)));
  }
  awaitable<Result<void>> set_max_concurrent_tasks(uint32_t value) override {
    Event event = ConcurrencyChanged{value};
    co_return co_await on_strand(strand_, do_event(std::move(event)));
  }
  awaitable<Result<void>> set_limits(LimitsChanged limits) override {
    Event event = std::move(limits);
    co_return co_await on_strand(strand_, do_event(std::move(event)));
  }
  void set_sample_interval(int64_t us) override { sampler_.set_interval(us); }
  std::shared_ptr<const BoardView> board() const override { return board_.view(); }
  awaitable<HistoryView> history(bool by_minutes) override {
    return on_strand(strand_, do_history(by_minutes));
  }
  awaitable<std::vector<Change>> changes_after(uint64_t number) override {
    return on_strand(strand_, do_changes(number));
  }
  awaitable<UsageView> usage(int64_t hours) override { return on_strand(strand_, do_usage(hours)); }
  awaitable<Result<std::unique_ptr<Subscription>>> subscribe(TaskId id) override {
    co_return co_await on_strand(strand_, do_subscribe(id));
  }
  HealthView health() const override { return health_.get(writer_.failure()); }

  Result<void> start() override {
    journal::Replay replay;
    ALTLAS_TRY_VOID(writer_.store().replay(
        [&](journal::TaskEvent event) { return replay.add(std::move(event)); }));
    ALTLAS_TRY(const journal::BootEpoch boot, journal::next_boot_epoch(writer_.store()));
    if (!boot.kept.ok()) log::warn("the boot epoch can't be kept: {}", boot.kept.error().message());
    ALTLAS_TRY_VOID(launcher_->open(boot.epoch));
    UsageKeeper::load(writer_.store(), board_.usage_book());
    writer_.start();
    started_ = true;
    if (options_.metrics != nullptr)
      collector_ = options_.metrics->add_collector([this] { take_picture(); });
    post(TasksRestored{replay.take()});
    post(Started{});
    if (options_.sample) sampler_.start(options_.sample, [this](DeviceSampled one) { post(one); });
    asio::post(strand_, [this] { arm_board(); });
    return {};
  }

  void stop(int64_t timeout_ms) override {
    if (!started_ || stopped_) return;
    stopped_ = true;
    if (options_.metrics != nullptr) options_.metrics->remove_collector(collector_);
    sampler_.stop();
    stories_.stop();
    std::promise<void> idle, ended;
    asio::post(strand_, [this, &idle] {
      idle_ = &idle;
      run(DrainRequested{});
    });
    idle.get_future().wait_for(std::chrono::milliseconds(timeout_ms));
    asio::post(strand_, [this, &ended] {
      idle_ = nullptr;
      run(StopRequested{});
      usage_keeper_.save(writer_, board_.usage_book());
      ended.set_value();
    });
    // The strand does not answer if the context has stopped; then nothing else runs on it either.
    ended.get_future().wait_for(std::chrono::seconds(5));
    launcher_->shutdown();
    writer_.stop();
    std::promise<void> closed;
    asio::post(strand_, [this, &closed] {
      closed_ = true;
      timer_.cancel();
      board_timer_.cancel();
      log_->flush();
      closed.set_value();
    });
    closed.get_future().wait_for(std::chrono::seconds(5));
  }

 private:
  void post(Event event) {
    asio::post(strand_, [this, event = std::move(event)]() mutable { run(std::move(event)); });
  }

  // Handles one event: logs it, steps the core, carries out the core's actions.
  void run(Event event) {
    if (closed_) return;
    const TimeUs now = clock_.now();
    const bool tokens = is_tokens(event);
    log_->append(now, event);
    const bool replicas = Board::touches_replicas(event);
    board_.changed(event, now);
    if (!tokens) metrics_.event(event, now);
    std::vector<Action> actions;
    core_.step(std::move(event), now, actions);
    if (replicas || std::ranges::any_of(actions, Board::moves_replicas))
      board_.replicas(core_.deployments(), now);
    for (Action& action : actions) std::visit([&](auto& what) { carry_out(what); }, action);
    if (log_->wants_snapshot()) rotate_log();
    if (!tokens) health_.set(core_.health());
    if (idle_ != nullptr && core_.unfinished() == 0) std::exchange(idle_, nullptr)->set_value();
    arm(now);
  }
  void rotate_log() {  // A log that rests says so once.
    const bool rested = log_->rests();
    const auto rotated = log_->rotate(core_);
    if (!rotated.ok() && !rested) log::warn("{}", rotated.error().message());
  }

  void arm(TimeUs now) {
    const TimeUs next = core_.next_deadline();
    if (next == armed_) return;
    armed_ = next;
    if (next == INT64_MAX) {
      timer_.cancel();
      return;
    }
    timer_.expires_after(std::chrono::microseconds(std::max<int64_t>(next - now, 0)));
    timer_.async_wait([this](const boost::system::error_code& error) {
      if (error || closed_) return;
      armed_ = 0;
      run(Tick{});
    });
  }

  void carry_out(AnswerAdmission& what) {
    admissions_.insert_or_assign(what.ticket, std::move(what.admitted));
  }
  // Owned tasks are subscribed to here, before any other event, so that none can be forgotten yet.
  void carry_out(AnswerSubmission& what) {
    const bool owned = owners_.erase(what.ticket) > 0;
    Result<Submitted> answer = Submitted{};
    if (what.placed.ok()) {
      answer->placed = *std::move(what.placed);
      for (const Placed& one : answer->placed) {
        if (!owned) break;
        answer->owned.push_back({one.task, std::make_shared<SubscriptionImpl>(
                                               strand_, open_inbox(one.task), one.task, door_)});
      }
    } else {
      answer = what.placed.error();
    }
    submissions_.insert_or_assign(what.ticket, std::move(answer));
    wake(what.ticket);
  }
  void carry_out(AnswerChange& what) {
    change_answers_.insert_or_assign(what.ticket, std::move(what.outcome));
    wake(what.ticket);
  }
  void carry_out(Scaled& what) {
    metrics_.scaled(what);
    log::info("deployment '{}': {} replicas wanted, not {} ({})", what.deployment, what.to,
              what.from, what.reason);
    board_.scaled(what, clock_.now());
  }
  void carry_out(AppendJournal& what) {
    const uint64_t ticket = what.ticket;
    const auto done = [this, ticket](const Result<void>& result) {
      post(JournalWritten{ticket, result.ok(), result.ok() ? "" : result.error().message()});
    };
    if (const auto taken = writer_.append(std::move(what.events), done); !taken.ok()) done(taken);
  }
  void carry_out(ForgetTasks& what) {
    if (what.key_kept) return;
    const auto taken = writer_.forget(std::move(what.tasks), [](const Result<void>& result) {
      if (!result.ok()) log::warn("old tasks stay in the journal: {}", result.error().message());
    });
    if (!taken.ok()) log::warn("old tasks stay in the journal: {}", taken.error().message());
  }
  void carry_out(StartWorker& what) {
    metrics_.starts(what.worker, clock_.now());
    launcher_->start(what.worker, std::move(what.load));
  }
  void carry_out(StopWorker& what) { launcher_->stop(what.worker, what.kill); }
  void carry_out(SendCommand& what) { launcher_->send(what.worker, std::move(what.command)); }
  void carry_out(LogWarning& what) {
    log::warn("{}", what.text);
    board_.warned(what.text, clock_.now());
  }

  void carry_out(PublishDelta& what) {
    if (const auto view = core_.task(what.task); view.ok()) {
      metrics_.delta(what.task, *view, what.delta.ids.size(), clock_.now());
      board_.said(*view, what.delta.ids.size(), clock_.now());
    }
    for_subscribers(what.task,
                    [&](Inbox& inbox) { push(inbox, StreamEvent{what.delta, std::nullopt}); });
  }
  void carry_out(PublishStatus& what) {
    if (what.status == TaskStatus::kQueued) board_.put_back(what.task);
    if (what.status == TaskStatus::kQueued) return;
    const auto view = core_.task(what.task);
    if (!is_over(what.status) && view.ok()) board_.started(*view);
    if (!is_over(what.status)) return;
    if (view.ok()) {
      metrics_.ended(*view);
      board_.ended(*view, clock_.now());
    }
    if (inboxes_.contains(what.task)) {
      for_subscribers(what.task, [&](Inbox& inbox) {
        if (view.ok()) push(inbox, StreamEvent{TokenDelta{}, *view});
      });
      inboxes_.erase(what.task);
    }
    const auto waiting = waiters_.equal_range(what.task);
    for (auto it = waiting.first; it != waiting.second; ++it) {
      if (view.ok()) it->second->end = *view;
      it->second->wake.cancel();
    }
  }

  void for_subscribers(const TaskId& id, auto&& visit) {
    const auto found = inboxes_.find(id);
    if (found == inboxes_.end()) return;
    std::erase_if(found->second, [](const auto& weak) { return weak.expired(); });
    for (const auto& weak : found->second)
      if (const auto inbox = weak.lock()) visit(*inbox);
    if (found->second.empty()) inboxes_.erase(found);
  }
  void push(Inbox& inbox, StreamEvent event) const {
    inbox.put(std::move(event), options_.stream_buffer_bytes_max);
    inbox.wake.cancel();
  }

  awaitable<Result<Admission>> do_admit(AdmissionRequested request) {
    const uint64_t ticket = next_ticket_++;
    request.ticket = ticket;
    run(std::move(request));
    const auto answer = admissions_.find(ticket);
    if (answer == admissions_.end()) co_return unavailable("the server is stopping");
    const Result<void> admitted = std::move(answer->second);
    admissions_.erase(answer);
    if (!admitted.ok()) co_return admitted.error();
    std::function<void(uint64_t)> release = [door = door_](uint64_t unused) {
      door->post(AdmissionReleased{unused});
    };
    co_return Admission(ticket, std::move(release));
  }

  awaitable<Result<Submitted>> do_submit(uint64_t ticket, std::vector<TaskSpec> specs, bool split,
                                         uint32_t min_per_device, bool owned) {
    if (owned && inboxes_.size() + specs.size() > kSubscribersMax) {
      run(AdmissionReleased{ticket});
      co_return Error(ErrorCode::kBusy, "too many streams are open").with_retry_after_ms(1000);
    }
    if (ticket == 0) ticket = next_ticket_++;
    if (owned) owners_.insert(ticket);
    for (TaskSpec& spec : specs) {
      if (spec.id == TaskId{}) spec.id = TaskId{random_bits(), random_bits()};
    }
    TasksSubmitted event{ticket, std::move(specs), split, min_per_device};
    co_return co_await run_for_answer(std::move(event), submissions_);
  }

  template <class Request>
  awaitable<Result<void>> do_change(Request event) {
    event.ticket = next_ticket_++;
    co_return co_await run_for_answer(std::move(event), change_answers_);
  }

  awaitable<Result<std::vector<ScaleDecision>>> do_scale_decisions(std::string deployment) {
    co_return core_.scale_decisions(deployment);
  }

  // Steps the core with an event that has a ticket, and waits until `answers`, a member, holds the
  // ticket's answer.
  template <class Event, class Answer>
  awaitable<Result<Answer>> run_for_answer(Event event,
                                           std::map<uint64_t, Result<Answer>>& answers) {
    const uint64_t ticket = event.ticket;
    const auto woken = std::make_shared<Timer>(strand_, Timer::time_point::max());
    ticket_waiters_[ticket] = woken;
    run(std::move(event));
    while (!answers.contains(ticket) && !closed_) {
      woken->expires_at(Timer::time_point::max());
      co_await woken->async_wait(asio::as_tuple(use_awaitable));
    }
    ticket_waiters_.erase(ticket);
    const auto found = answers.find(ticket);
    if (found == answers.end()) co_return unavailable("the server is stopping");
    Result<Answer> answer = std::move(found->second);
    answers.erase(found);
    co_return answer;
  }

  void wake(uint64_t ticket) {
    const auto waiter = ticket_waiters_.find(ticket);
    if (waiter != ticket_waiters_.end()) waiter->second->cancel();
  }

  awaitable<Result<TaskView>> do_task(TaskId id) { co_return core_.task(id); }
  awaitable<TaskPage> do_tasks(TaskFilter filter) { co_return core_.tasks(filter); }
  // What memory has of a task's story; where the choice is missing, also the log to read it from.
  struct Remembered {
    std::optional<TaskStory> story;
    std::optional<EventLogFiles> files;
  };
  awaitable<Result<Remembered>> do_explain(TaskId id) {
    Remembered out{core_.story(id), std::nullopt};
    if (out.story && out.story->choice) co_return out;
    if (log_->path().empty())
      co_return not_found(
          fmt::format("the choice for task {} is not in memory any more, and without a data "
                      "directory there is no event log",
                      to_string(id)));
    ALTLAS_CO_TRY_VOID(stories_.reserve());
    log_->flush();
    out.files = open_event_log(log_->path());
    co_return out;
  }
  awaitable<std::vector<DeviceView>> do_devices() { co_return core_.devices(); }
  awaitable<std::vector<DeploymentView>> do_deployments() { co_return core_.deployments(); }
  awaitable<Strategy> do_strategy() { co_return core_.strategy(); }
  awaitable<Result<void>> do_event(Event event) {
    run(std::move(event));
    co_return Result<void>();
  }
  awaitable<Result<void>> do_cancel(TaskId id) {
    Result<void> possible = core_.cancelable(id);
    if (!possible.ok() && possible.error().code() == ErrorCode::kNotFound) co_return possible;
    if (possible.ok()) run(CancelRequested{id});
    // A durable task's end shows once the journal has it: the answer must not be ahead of what
    // others see.
    const Result<TaskView> view = co_await do_wait(id, kCancelWaitMs);
    if (!view.ok()) co_return view.error();
    if (!is_over(view->status))
      co_return unavailable(
          fmt::format("task {} ends once the journal can be written", to_string(id)));
    if (possible.ok() && view->status != TaskStatus::kCanceled)
      co_return Error(ErrorCode::kConflict,
                      fmt::format("task {} is over: {}", to_string(id), to_string(view->status)));
    co_return possible;
  }

  awaitable<Result<TaskView>> do_wait(TaskId id, int64_t timeout_ms) {
    Result<TaskView> view = core_.task(id);
    if (!view.ok() || is_over(view->status) || timeout_ms <= 0) co_return view;
    if (waiters_.size() >= kSubscribersMax)
      co_return Error(ErrorCode::kBusy, "too many requests wait for tasks");
    const auto waiter = std::make_shared<Waiter>(strand_, timeout_ms);
    const auto entry = waiters_.emplace(id, waiter);
    co_await waiter->wake.async_wait(asio::as_tuple(use_awaitable));
    waiters_.erase(entry);
    if (waiter->end) co_return *std::move(waiter->end);
    co_return core_.task(id);
  }

  awaitable<Result<std::unique_ptr<Subscription>>> do_subscribe(TaskId id) {
    const Result<TaskView> view = core_.task(id);
    if (!view.ok()) co_return view.error();
    if (inboxes_.size() >= kSubscribersMax)
      co_return Error(ErrorCode::kBusy, "too many streams are open");
    std::unique_ptr<Subscription> out = std::make_unique<SubscriptionImpl>(strand_, open_inbox(id));
    co_return out;
  }

  // Returns an inbox with what the core knows of the task; all that comes from now on follows.
  std::shared_ptr<Inbox> open_inbox(TaskId id) {
    const Result<TaskView> view = core_.task(id);
    ALTLAS_CHECK(view.ok(), "a task that is subscribed to is there");
    auto inbox = std::make_shared<Inbox>(strand_);
    StreamEvent first;
    first.delta.text = *core_.said_text(id);
    first.delta.ids = *core_.said_tokens(id);
    first.delta.logprobs = *core_.said_logprobs(id);
    first.delta.prompt_logprobs = *core_.said_prompt_logprobs(id);
    if (is_over(view->status)) first.end = *view;
    if (first.end || !first.delta.text.empty() || !first.delta.ids.empty())
      inbox->put(std::move(first), options_.stream_buffer_bytes_max);
    if (!is_over(view->status)) inboxes_[id].push_back(inbox);
    return inbox;
  }

  // Runs on the thread that writes the metrics. It waits for the strand, but not for long.
  void take_picture() {
    const auto done = std::make_shared<std::promise<void>>();
    asio::post(strand_, [this, done] {
      metrics_.picture(core_.devices(), core_.deployments(), core_.waiting());
      done->set_value();
    });
    done->get_future().wait_for(std::chrono::seconds(1));
  }

  // Makes a picture once a second, and keeps the usage once a minute.
  void arm_board() {
    board_timer_.expires_after(std::chrono::seconds(1));
    board_timer_.async_wait([this](const boost::system::error_code& error) {
      if (error || closed_) return;
      BoardView view;
      view.devices = core_.devices();
      view.deployments = core_.deployments();
      view.health = core_.health();
      view.strategy = core_.strategy();
      view.waiting = static_cast<uint32_t>(core_.waiting());
      board_.tick(std::move(view), clock_.now());
      if (board_.view()->number % 60 == 0) usage_keeper_.save(writer_, board_.usage_book());
      arm_board();
    });
  }
  awaitable<HistoryView> do_history(bool by_minutes) { co_return board_.history(by_minutes); }
  awaitable<std::vector<Change>> do_changes(uint64_t n) { co_return board_.changes_after(n); }
  awaitable<UsageView> do_usage(int64_t hours) { co_return board_.usage(hours, clock_.now()); }

  const Strand strand_;
  const std::shared_ptr<Door> door_ =
      std::make_shared<Door>([this](Event event) { post(std::move(event)); });
  ServiceOptions options_;
  const Clock& clock_;
  std::unique_ptr<EventLog> log_;
  std::optional<ScratchFolder> scratch_;  // It outlives the launcher, whose sockets lie in it.
  Core core_;
  journal::JournalWriter writer_;
  std::unique_ptr<Launcher> launcher_;
  Timer timer_;
  ServiceMetrics metrics_;
  telemetry::Registry::CollectorId collector_ = 0;
  TimeUs armed_ = 0;
  uint64_t next_ticket_ = 1;
  // Only the thread that starts and stops the service uses them.
  bool started_ = false, stopped_ = false;
  bool closed_ = false;
  std::promise<void>* idle_ = nullptr;           // stop() waits here for the last task.
  std::map<uint64_t, Result<void>> admissions_;  // Answers that nobody has taken yet.
  std::map<uint64_t, Result<Submitted>> submissions_;
  std::set<uint64_t> owners_;  // Tickets of owned tasks that wait for their answer.
  std::map<uint64_t, Result<void>> change_answers_;
  // Timers that wake when the ticket is answered.
  std::map<uint64_t, std::shared_ptr<Timer>> ticket_waiters_;
  std::multimap<TaskId, std::shared_ptr<Waiter>> waiters_;
  std::map<TaskId, std::vector<std::weak_ptr<Inbox>>> inboxes_;
  KeptHealth health_;
  SamplingThread sampler_;
  Board board_;
  Timer board_timer_;
  UsageKeeper usage_keeper_;
  StoryReader stories_;
};

}  // namespace

Result<std::unique_ptr<Service>> make_service(asio::io_context& context, ServiceOptions options) {
  ALTLAS_CHECK(options.store != nullptr, "the service has a journal");
  EventLog::Options log;
  if (!options.folder.empty()) log.path = options.folder + "/control.events";
  log.file_bytes_max = options.event_log_bytes_max;
  ALTLAS_TRY(auto opened, EventLog::open(std::move(log), options.setup));
  std::optional<ScratchFolder> scratch;
  if (options.folder.empty() && !options.launcher && !options.in_process_workers) {
    ALTLAS_TRY(ScratchFolder made, ScratchFolder::make());
    scratch.emplace(std::move(made));
  }
  std::unique_ptr<Service> out = std::make_unique<ServiceImpl>(
      context, std::move(options), std::move(opened), std::move(scratch));
  return out;
}

}  // namespace altlas::control
