#include "control/board/board.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <variant>

namespace altlas::control {
namespace {

double seconds(TimeUs from, TimeUs until) {
  return static_cast<double>(elapsed_us(from, until)) / static_cast<double>(kSecond);
}

// The time over which a request's tokens per second are told.
constexpr int64_t kRateUs = 3 * kSecond;

}  // namespace

void Board::started(const TaskView& task) {
  const auto [entry, first] = running_.try_emplace(task.id);
  Running& one = entry->second;
  one.view.task = task.id;
  one.view.owner = task.owner;
  one.view.deployment = task.deployment;
  one.view.device = task.device;
  one.view.created = task.created_at.value_or(0);
  one.view.prompt_tokens = task.prompt_tokens;
  one.view.generated_tokens = task.generated_tokens;
  one.view.listed = task.durable;
  // A task that was moved or made to wait has had its first start.
  if (first && task.created_at && task.started_at && task.generated_tokens == 0)
    latencies_.queue.add(seconds(*task.created_at, *task.started_at));
}

void Board::said(const TaskView& task, size_t tokens, TimeUs now) {
  if (tokens == 0) return;
  tokens_ += tokens;
  const auto found = running_.find(task.id);
  if (found == running_.end()) return;
  Running& one = found->second;
  one.view.generated_tokens = task.generated_tokens;
  if (one.last_token == 0) {
    // A resumed task's first token here is not its first one.
    if (task.generated_tokens <= tokens) latencies_.first_token.add(seconds(one.view.created, now));
    one.rate_from = now;
    one.tokens_at_rate = task.generated_tokens;
  } else {
    const double each = seconds(one.last_token, now) / static_cast<double>(tokens);
    latencies_.inter_token.add(each, static_cast<uint32_t>(tokens));
  }
  one.last_token = now;
}

void Board::ended(const TaskView& task, TimeUs now) {
  running_.erase(task.id);
  const bool completed = task.status == TaskStatus::kCompleted;
  (completed ? completed_ : task.status == TaskStatus::kFailed ? failed_ : canceled_) += 1;
  if (completed && task.created_at && task.finished_at)
    latencies_.total.add(seconds(*task.created_at, *task.finished_at));
  Usage& usage = usage_.at(task.owner, now);
  (completed                            ? usage.completed
   : task.status == TaskStatus::kFailed ? usage.failed
                                        : usage.canceled) += 1;
  // A task that never ran has computed nothing of its prompt.
  if (task.started_at) usage.prompt_tokens += task.prompt_tokens;
  usage.generated_tokens += task.generated_tokens;
}

void Board::note(Change change, TimeUs now) {
  change.number = ++change_number_;
  change.at = now;
  changes_.push_back(std::move(change));
  if (changes_.size() > kChangesMax) changes_.pop_front();
}

void Board::warned(const std::string& text, TimeUs now) {
  note({.what = "warning", .deployment = {}, .value = {}, .reason = text}, now);
}

void Board::scaled(const Scaled& what, TimeUs now) {
  note({.what = "scale",
        .deployment = what.deployment,
        .value = fmt::format("{} -> {}", what.from, what.to),
        .reason = what.reason},
       now);
}

void Board::changed(const Event& event, TimeUs now) {
  const auto say = [&](std::string what, std::string value) {
    note({.what = std::move(what), .deployment = {}, .value = std::move(value), .reason = {}}, now);
  };
  if (const auto* one = std::get_if<StrategyChanged>(&event))
    say("strategy", std::string(to_string(one->strategy)));
  if (const auto* one = std::get_if<ConcurrencyChanged>(&event))
    say("max_concurrent_tasks", std::to_string(one->max_concurrent_tasks));
  if (std::holds_alternative<LimitsChanged>(event)) say("limits", "");
  if (std::holds_alternative<DrainRequested>(event)) say("drain", "");
}

bool Board::moves_replicas(const Action& action) {
  return std::holds_alternative<StartWorker>(action) ||
         std::holds_alternative<StopWorker>(action) || std::holds_alternative<Scaled>(action);
}

bool Board::touches_replicas(const Event& event) {
  if (const auto* one = std::get_if<WorkerReported>(&event))
    return std::holds_alternative<engine::ReplicaLoaded>(one->report) ||
           std::holds_alternative<engine::LoadFailed>(one->report) ||
           std::holds_alternative<engine::ReplicaDrained>(one->report);
  return std::holds_alternative<WorkerConnected>(event) ||
         std::holds_alternative<WorkerLost>(event) || std::holds_alternative<Started>(event);
}

void Board::replicas(const std::vector<DeploymentView>& deployments, TimeUs now) {
  std::map<std::pair<std::string, uint32_t>, Place> fresh;
  for (const DeploymentView& deployment : deployments) {
    for (const ReplicaView& replica : deployment.replicas) {
      const std::pair key{deployment.name, replica.place};
      const auto before = places_.find(key);
      if (before == places_.end() || before->second.state != replica.state ||
          before->second.message != replica.message || before->second.restarts != replica.restarts)
        note({.what = "replica",
              .deployment = deployment.name,
              .place = replica.place,
              .restarts = replica.restarts,
              .value = std::string(to_string(replica.state)),
              .reason = replica.message},
             now);
      fresh[key] = {replica.state, replica.message, replica.restarts};
    }
  }
  for (const auto& [key, place] : places_)
    if (!fresh.contains(key))
      note({.what = "replica",
            .deployment = key.first,
            .place = key.second,
            .value = "REMOVED",
            .reason = {}},
           now);
  places_ = std::move(fresh);
}

// Books the time since the last tick: a device's among those that run on it.
void Board::share_out_time(int64_t passed_us, TimeUs now) {
  std::map<DeviceId, uint32_t> sharers;
  for (const auto& [id, one] : running_) ++sharers[one.view.device];
  for (const auto& [id, one] : running_) {
    const auto device = static_cast<size_t>(one.view.device.value);
    const double price = device < prices_.size() ? prices_[device] : 0;
    const double share =
        static_cast<double>(passed_us) / static_cast<double>(kSecond) / sharers[one.view.device];
    Usage& usage = usage_.at(one.view.owner, now);
    usage.device_seconds += share;
    usage.cost_usd += share * price / 3600;
    if (price <= 0) usage.unpriced_seconds += share;
  }
}

Sample Board::close_second(const BoardView& view, TimeUs now) {
  const double passed = std::max(seconds(last_tick_, now), 1e-3);
  const auto rate = [&](uint64_t& count) {
    return static_cast<float>(static_cast<double>(std::exchange(count, 0)) / passed);
  };
  Sample sample;
  sample.at = now;
  sample.waiting = static_cast<float>(view.waiting);
  sample.running = static_cast<float>(view.running);
  sample.tokens = rate(tokens_);
  sample.completed = rate(completed_);
  sample.failed = rate(failed_);
  sample.canceled = rate(canceled_);
  for (const DeviceView& device : view.devices) {
    if (sample.devices.size() == kHistoryDevices) break;
    DeviceSample& one = sample.devices.emplace_back();
    one.utilization = static_cast<float>(device.utilization);
    one.memory_used = static_cast<float>(device.memory_used);
    if (device.temperature >= 0) one.temperature = static_cast<float>(device.temperature);
    if (device.power >= 0) one.power = static_cast<float>(device.power);
  }
  latencies_.fill(sample);
  history_.add(sample, latencies_);
  latencies_ = Latencies();
  return sample;
}

void Board::tick(BoardView now_view, TimeUs now) {
  usage_.begin(now);
  if (last_tick_ == 0) last_tick_ = now - kSecond;
  if (now <= last_tick_) return;
  // After a pause of the whole process nobody has used the devices.
  share_out_time(std::min(now - last_tick_, 5 * kSecond), now);
  replicas(now_view.deployments, now);
  now_view.number = ++view_number_;
  now_view.at = now;
  now_view.changes = change_number_;
  now_view.running = 0;
  for (const DeviceView& device : now_view.devices)
    now_view.running += device.task_count - std::min(device.task_count, device.queued_count);
  now_view.rates = close_second(now_view, now);
  const Latencies window = history_.window();
  now_view.queue = window.queue.quantiles();
  now_view.first_token = window.first_token.quantiles();
  now_view.inter_token = window.inter_token.quantiles();
  now_view.total = window.total.quantiles();
  for (auto& [id, one] : running_) {
    if (one.last_token == 0) continue;
    const int64_t passed = now - one.rate_from;
    if (passed < kSecond / 2) continue;
    const auto more = static_cast<double>(one.view.generated_tokens - one.tokens_at_rate);
    one.view.tokens_per_second = static_cast<float>(more / seconds(one.rate_from, now));
    if (passed < kRateUs) continue;
    one.rate_from = now;
    one.tokens_at_rate = one.view.generated_tokens;
  }
  for (const auto& [id, one] : running_) now_view.requests.push_back(one.view);
  std::ranges::sort(now_view.requests, {}, &RunningView::created);
  if (now_view.requests.size() > kRunningShown) now_view.requests.resize(kRunningShown);
  last_tick_ = now;
  auto fresh = std::make_shared<const BoardView>(std::move(now_view));
  const std::lock_guard lock(mutex_);
  view_ = std::move(fresh);
}

std::shared_ptr<const BoardView> Board::view() const {
  const std::lock_guard lock(mutex_);
  return view_;
}

std::vector<Change> Board::changes_after(uint64_t number) const {
  const auto first = std::ranges::upper_bound(changes_, number, {}, &Change::number);
  return {first, changes_.end()};
}

HistoryView Board::history(bool by_minutes) const {
  const std::deque<Sample>& from = by_minutes ? history_.coarse() : history_.fine();
  HistoryView out;
  out.step_us = by_minutes ? kCoarseStepUs : kFineStepUs;
  out.samples.assign(from.begin(), from.end());
  const int64_t span = out.step_us * static_cast<int64_t>(by_minutes ? kCoarseSteps : kFineSteps);
  const TimeUs first = last_tick_ - span;
  for (const Change& one : changes_)
    if (one.at >= first) out.changes.push_back(one);
  return out;
}

}  // namespace altlas::control
