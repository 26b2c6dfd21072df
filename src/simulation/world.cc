#include "simulation/world.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>

#include "base/check.h"
#include "journal/boot_epoch.h"
#include "journal/store.h"
#include "simulation/adapter_operator.h"
#include "simulation/clients.h"
#include "simulation/faulty_vfs.h"
#include "simulation/machine.h"

namespace altlas::simulation {
namespace {

constexpr TimeUs kStart = 1'700'000'000 * kSecond;
// This long after the busy time everything is over.
constexpr int64_t kQuietUsMax = 900 * kSecond;
constexpr int64_t kAdaptersSettleUs = 60 * kSecond;
constexpr uint64_t kEventsAtOnceMax = 200'000;  // The most events at one virtual time.

bool one_in(PhiloxStream& random, uint64_t n) { return random.below(n) == 0; }

class World {
 public:
  explicit World(const WorldOptions& options)
      : options_(options),
        random_{options.seed},
        disk_(options.seed),
        events_(kStart),
        scenario_(make_scenario(options, random_)),
        checkers_(make_expected(scenario_.shapes)),
        machine_(events_, random_, scenario_, result_.shapes),
        adapters_(events_, random_, scenario_, checkers_, result_.shapes,
                  [this](control::Event event) { return step(std::move(event)); }),
        clients_(events_, random_, scenario_, checkers_, adapters_,
                 [this](control::Event event) { return step(std::move(event)); }) {}

  WorldResult run();

 private:
  bool step(control::Event event);
  GatewayHooks hooks();
  void boot();
  void boot_later(int64_t delay_us) {
    events_.after(delay_us, [this] { boot(); });
  }
  void lose_power();
  void stop_and_restart();
  void drain_and_stop();
  void stop_when_drained(uint64_t epoch, const std::vector<TaskId>& running, TimeUs patience);
  void close_when_stopped();
  void take_down(bool power_loss);
  void after_step();
  void after_commit();
  void check_devices();

  void plan_faults();
  void fault();
  void process_fault(uint64_t kind);
  void disk_fault();
  void device_fault();
  void operator_change();
  void end_faults();
  bool over() const;
  void run_until_over();
  void settle_adapters();
  void finish();
  void count_shapes(const ClientTask& task);
  void sum_up();

  const WorldOptions options_;
  WorldResult result_;
  PhiloxStream random_;
  FaultyVfs disk_;  // It outlives every store.
  EventQueue events_;
  const Scenario scenario_;
  Checkers checkers_;
  Machine machine_;
  AdapterOperator adapters_;
  Clients clients_;
  std::shared_ptr<Gateway> gateway_;  // Null: the server is down.
  uint64_t epoch_ = 0;
  uint64_t power_losses_ = 0;  // The disk's power losses that were noticed already.
  bool faulty_ = false;        // Whether faults happen.
  bool stopping_ = false;
  bool booting_ = false;  // Whether the server is reading its journal.
  Hasher hash_;
};

bool World::step(control::Event event) {
  if (!gateway_) return false;
  gateway_->step(std::move(event));
  return true;
}

GatewayHooks World::hooks() {
  GatewayHooks hooks;
  hooks.start_worker = [this](WorkerId worker, uint64_t epoch) {
    machine_.start_worker(worker, epoch);
  };
  hooks.kill_worker = [this](WorkerId worker) { machine_.kill_worker(worker); };
  hooks.write = [this](worker::ConnectionId connection, std::string bytes) {
    machine_.write(connection, std::move(bytes));
  };
  hooks.close = [this](worker::ConnectionId connection) { machine_.close(connection); };
  hooks.admission = [this](uint64_t ticket, const Result<void>& admitted) {
    clients_.on_admission(ticket, admitted);
  };
  hooks.submission = [this](uint64_t ticket, const Result<std::vector<control::Placed>>& placed) {
    clients_.on_submission(ticket, placed);
  };
  hooks.adapter = [this](const control::AnswerChange& answer) { adapters_.on_answer(answer); };
  hooks.delta = [this](const control::PublishDelta& said) {
    checkers_.delta(said.task, said.delta);
  };
  hooks.status = [this](const control::PublishStatus& said) {
    checkers_.status(gateway_->core(), said.task, said.status);
  };
  hooks.forgotten = [this](const std::vector<TaskId>& tasks) {
    for (const TaskId& task : tasks) checkers_.forgotten(task, booting_);
  };
  hooks.stepped = [this] { after_step(); };
  hooks.committed = [this] { after_commit(); };
  return hooks;
}

// Starts the server, and if its disk does not let it, again a little later.
void World::boot() {
  if (gateway_) return;
  stopping_ = false;
  disk_.set_time(events_.now());
  auto store = journal::open_sqlite_store("journal", disk_.name());
  const auto failed = [&](const Error& error) {
    power_losses_ = disk_.power_losses();
    if (!faulty_ || error.code() != ErrorCode::kIo)
      checkers_.fail(fmt::format("the server does not start: {}", error.message()));
    boot_later(500 * kMillisecond);
  };
  if (!store.ok()) return failed(store.error());
  const Result<journal::BootEpoch> boot = journal::next_boot_epoch(**store);
  if (!boot.ok() || !boot->kept.ok()) {
    store->reset();
    return failed(boot.ok() ? boot->kept.error() : boot.error());
  }
  if (boot->epoch <= epoch_)
    checkers_.fail(fmt::format("boot epoch {} follows {}", boot->epoch, epoch_));
  epoch_ = boot->epoch;
  gateway_ = std::make_shared<Gateway>(events_, random_, std::move(store).value(), scenario_.setup,
                                       epoch_, hash_, hooks());
  machine_.set_gateway(gateway_, epoch_);
  booting_ = true;
  const Result<void> started = gateway_->start();
  booting_ = false;
  if (!started.ok()) {
    machine_.set_gateway(nullptr, epoch_);
    gateway_->kill().reset();
    gateway_.reset();
    return failed(started.error());
  }
  checkers_.server_restarted(gateway_->core());
}

// Ends the server at once; with `power_loss` also what its disk had not synchronised.
void World::take_down(bool power_loss) {
  result_.events += gateway_->events_stepped();
  const std::unique_ptr<journal::Store> store = gateway_->kill();
  gateway_.reset();
  machine_.set_gateway(nullptr, epoch_);
  if (power_loss && disk_.power_losses() == power_losses_) disk_.power_loss();
  power_losses_ = disk_.power_losses();
  checkers_.server_lost();
  adapters_.server_lost();
  clients_.server_lost();
  boot_later(static_cast<int64_t>(50 * kMillisecond +
                                  random_.below(one_in(random_, 2) ? kSecond : 6 * kSecond)));
}

void World::lose_power() {
  if (!gateway_) return;
  ++result_.server_crashes;
  take_down(/*power_loss=*/true);
}

void World::stop_and_restart() {
  if (!gateway_ || stopping_) return;
  stopping_ = true;
  step(control::StopRequested());
  close_when_stopped();
}

// Ends the server as an operator does: nothing new is taken, and what runs may end within a time.
void World::drain_and_stop() {
  if (!gateway_ || stopping_) return;
  step(control::DrainRequested());
  if (!gateway_) return;
  const TimeUs patience =
      events_.now() +
      static_cast<int64_t>(random_.below(one_in(random_, 2) ? kSecond : 20 * kSecond));
  stop_when_drained(epoch_, checkers_.unfinished(), patience);
}

void World::stop_when_drained(uint64_t epoch, const std::vector<TaskId>& running, TimeUs patience) {
  if (!gateway_ || stopping_ || epoch_ != epoch) return;
  const bool drained = gateway_->core().unfinished() == 0;
  if (!drained && events_.now() < patience) {
    events_.after(10 * kMillisecond, [this, epoch, running, patience] {
      stop_when_drained(epoch, running, patience);
    });
    return;
  }
  if (!running.empty()) ++(drained ? result_.shapes.drained : result_.shapes.stopped_while_running);
  for (const TaskId task : running)
    if (const auto& known = checkers_.tasks().at(task); drained && !known.end && !known.forgotten)
      checkers_.fail(fmt::format("the server drained, and task {} has not ended", to_string(task)));
  stop_and_restart();
}

void World::close_when_stopped() {
  if (!gateway_ || !stopping_) return;
  if (gateway_->idle()) return take_down(/*power_loss=*/false);
  events_.after(10 * kMillisecond, [this] { close_when_stopped(); });
}

void World::after_commit() {
  if (disk_.power_losses() == power_losses_) return;
  lose_power();
}

void World::after_step() {
  if (!gateway_) return;
  checkers_.waiting(gateway_->core().held(), scenario_.setup.max_queue_size);
  if (gateway_->events_stepped() % 16 == 0) check_devices();
}

void World::check_devices() {
  std::vector<uint64_t> reserved(scenario_.setup.devices.size(), 0);
  std::vector<std::string> whose(scenario_.setup.devices.size());
  for (const auto& [id, task] : checkers_.tasks()) {
    if (task.spec.estimated_memory == 0 || task.end) continue;
    const auto view = gateway_->core().task(id);
    // A task whose end is being journalled is still shown as running, but holds nothing.
    if (!view.ok() || view->status != TaskStatus::kRunning || !gateway_->core().cancelable(id).ok())
      continue;
    const auto device = static_cast<size_t>(view->device.value);
    reserved[device] += task.spec.estimated_memory;
    whose[device] += fmt::format("; {} for task {}", task.spec.estimated_memory, to_string(id));
  }
  const std::vector<control::DeviceView> shown = gateway_->core().devices();
  for (DeviceUse& use : machine_.device_use(reserved)) {
    use.shown_bytes = shown.at(static_cast<size_t>(use.device.value)).memory_used;
    use.what += whose[static_cast<size_t>(use.device.value)];
    checkers_.device(use);
  }
}

void World::plan_faults() {
  const uint64_t changes = random_.below(6);
  for (uint64_t i = 0; i < changes; ++i)
    events_.after(static_cast<int64_t>(random_.below(static_cast<uint64_t>(options_.busy_us))),
                  [this] { operator_change(); });
  if (scenario_.shapes.graceful_stop)
    events_.after(static_cast<int64_t>(random_.below(static_cast<uint64_t>(options_.busy_us))),
                  [this] { drain_and_stop(); });
  if (!options_.faults) return;
  faulty_ = true;
  const uint64_t faults = 3 + random_.below(12);
  for (uint64_t i = 0; i < faults; ++i)
    events_.after(static_cast<int64_t>(random_.below(static_cast<uint64_t>(options_.busy_us))),
                  [this] { fault(); });
  events_.after(options_.busy_us, [this] { end_faults(); });
}

void World::operator_change() {
  if (one_in(random_, 2)) {
    step(control::StrategyChanged{static_cast<Strategy>(random_.below(std::size(kStrategyNames)))});
  } else {
    step(control::ConcurrencyChanged{static_cast<uint32_t>(random_.below(6))});
  }
}

void World::fault() {
  const uint64_t kind = random_.below(14);
  if (kind < 7) return process_fault(kind);
  switch (kind) {
    case 7:
      return lose_power();
    case 8:
      return disk_.power_loss_after(1 + random_.below(60));
    case 9:
    case 10:
      return disk_fault();
    case 11:
    case 12:
      return device_fault();
    default:
      if (one_in(random_, 4)) {
        step(control::DrainRequested());
      } else {
        stop_and_restart();
      }
  }
}

void World::process_fault(uint64_t kind) {
  const auto time = static_cast<int64_t>(100 * kMillisecond + random_.below(8 * kSecond));
  switch (kind) {
    case 0:
    case 1:
      result_.worker_crashes += machine_.crash_worker() ? 1 : 0;
      return;
    case 2:
      machine_.stall_worker(time);
      return;
    case 3:
    case 4:
      for (uint64_t i = 1 + random_.below(4); i > 0; --i)
        result_.link_breaks += machine_.break_link() ? 1 : 0;
      return;
    case 5:
      machine_.stall_link(time);
      return;
    default:
      machine_.fail_next_load();
      result_.worker_crashes += machine_.crash_worker() ? 1 : 0;
  }
}

void World::disk_fault() {
  DiskFaults faults;
  if (one_in(random_, 3)) {
    faults.bytes_max = disk_.bytes_used() + random_.below(30'000) + 1;
  } else {
    faults.read_error = random_.uniform() * 0.02;
    faults.write_error = random_.uniform() * 0.2;
    faults.sync_error = random_.uniform() * 0.3;
  }
  disk_.set_faults(faults);
  ++result_.disk_faults;
  events_.after(static_cast<int64_t>(random_.below(4 * kSecond)), [this] { disk_.set_faults({}); });
}

void World::device_fault() {
  control::DeviceSampled sample;
  sample.device = DeviceId{static_cast<int32_t>(random_.below(options_.devices))};
  const uint64_t kind = random_.below(3);
  sample.healthy = kind != 0;
  sample.temperature = kind == 1 ? 95 : 40;
  sample.foreign_utilization = kind == 2 ? 99 : 0;
  sample.utilization = sample.foreign_utilization;
  step(sample);
  events_.after(static_cast<int64_t>(random_.below(8 * kSecond)), [this, device = sample.device] {
    control::DeviceSampled well;
    well.device = device;
    well.temperature = 40;
    step(well);
  });
}

void World::end_faults() {
  faulty_ = false;
  disk_.set_faults({});
  disk_.power_loss_after(0);
  machine_.heal();
}

bool World::over() const {
  if (faulty_ || !gateway_ || !clients_.idle() || !adapters_.idle() || !gateway_->idle())
    return false;
  return events_.now() >= kStart + options_.busy_us && gateway_->core().unfinished() == 0 &&
         checkers_.unfinished().empty();
}

// Checks that the journal and the server say the same.
void World::finish() {
  gateway_->core().check_integrity();
  journal::Replay replay;
  const Result<void> read = gateway_->store().replay(
      [&replay](journal::TaskEvent event) { return replay.add(std::move(event)); });
  if (!read.ok())
    checkers_.fail(fmt::format("the journal can't be read: {}", read.error().message()));
  const journal::ReplayCounts counts = replay.counts();
  checkers_.finish(gateway_->core(), counts, replay.take());
}

WorldResult World::run() {
  boot();
  clients_.schedule(options_.requests, options_.busy_us);
  adapters_.schedule(options_.busy_us);
  plan_faults();
  run_until_over();
  settle_adapters();
  if (!checkers_.failure()) finish();
  sum_up();
  return result_;
}

void World::run_until_over() {
  TimeUs last = kStart;
  uint64_t at_once = 0;
  while (!checkers_.failure() && !over()) {
    if (events_.empty()) {
      checkers_.fail("nothing is to happen any more, and there is work");
      break;
    }
    events_.run_one();
    at_once = events_.now() == last ? at_once + 1 : 0;
    last = events_.now();
    if (at_once > kEventsAtOnceMax) checkers_.fail("time stands still");
    if (last > kStart + options_.busy_us + kQuietUsMax) {
      const std::vector<TaskId> left = checkers_.unfinished();
      checkers_.fail(fmt::format("{} tasks are not over {} s after the last fault, the first is {}",
                                 left.size(), kQuietUsMax / kSecond,
                                 left.empty() ? "unknown" : to_string(left.front())));
    }
  }
}

// Checks that replicas have the adapters that the server knows, however they came and went.
void World::settle_adapters() {
  const TimeUs patience = events_.now() + kAdaptersSettleUs;
  while (!checkers_.failure()) {
    const std::string unlike = machine_.adapters_unlike(gateway_->core().deployments());
    if (unlike.empty()) return;
    if (events_.now() > patience) return checkers_.fail(unlike);
    events_.run_one();
  }
}

void World::count_shapes(const ClientTask& task) {
  ShapeCounts& counts = result_.shapes;
  const auto& deployments = scenario_.setup.deployments;
  const auto found =
      std::ranges::find(deployments, task.spec.deployment, &control::DeploymentSetup::name);
  const Answers answers = scenario_.answers.at(static_cast<size_t>(found - deployments.begin()));
  counts.adapter_tasks += task.spec.adapter.empty() ? 0 : 1;
  counts.grammar_tasks += task.spec.sampling.grammar.kind == GrammarKind::kNone ? 0 : 1;
  counts.payload_tasks += answers == Answers::kPayloads ? 1 : 0;
  const Prompt& prompt = task.spec.prompt;
  counts.payload_prompts += !prompt.empty() && !prompt.payloads().empty() ? 1 : 0;
  counts.encoder_tasks += answers == Answers::kEmbeddings ? 1 : 0;
  counts.embedding_tasks += task.spec.embeds ? 1 : 0;
  counts.two_rank_tasks += found->load.tensor_parallel_size == 2 ? 1 : 0;
}

void World::sum_up() {
  if (gateway_) result_.events += gateway_->events_stepped();
  for (const auto& [id, task] : checkers_.tasks()) {
    hash_.add(id.high).add(id.low).add(task.end ? static_cast<int>(*task.end) : -1);
    if (!task.accepted || !task.end) continue;
    ++result_.tasks;
    if (*task.end == TaskStatus::kCompleted) {
      ++result_.completed;
      count_shapes(task);
    }
    if (*task.end == TaskStatus::kFailed) ++result_.failed;
    if (*task.end == TaskStatus::kCanceled) ++result_.canceled;
  }
  result_.virtual_us = events_.now() - kStart;
  result_.event_hash = hash_.add(disk_.hash()).value();
  result_.failure = checkers_.failure();
  if (gateway_) {
    machine_.set_gateway(nullptr, epoch_);
    gateway_->kill().reset();
  }
}

}  // namespace

WorldResult run_world(const WorldOptions& options) {
  World world(options);
  return world.run();
}

}  // namespace altlas::simulation
