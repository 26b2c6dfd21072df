#include "control/core/task_table.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "control/core/saved_part.h"
#include "control/held_bytes.h"

namespace altlas::control {
namespace {

// One more with each change of what is saved, members of Task and TaskSpec included.
constexpr uint32_t kSavedVersion = 1;

// What is saved of a task that is over: what may still decide. What it said is in the journal.
struct OverTask {
  uint64_t number = 0;
  TaskId id;
  std::string owner;
  std::string idempotency_key;
  uint64_t body_hash = 0;
  bool durable = true;
  TaskStatus end = TaskStatus::kCompleted;
  uint32_t site = 0;
  TimeUs created = 0;  // The time from which its key stands.
};

// Returns the bytes of an ended task that grow with its request.
uint64_t bytes_kept(const Task& task) {
  uint64_t bytes = task.text.size() + task.result.text.size();
  bytes += task.result.embedding.size() * sizeof(float);
  bytes += held_bytes(task.logprobs) + held_bytes(task.result.prompt_logprobs);
  return bytes;
}

}  // namespace

Task& TaskTable::add(TaskSpec spec, TimeUs now) {
  const uint64_t number = next_task_++;
  Task& task = tasks_[number];
  task.number = number;
  task.spec = std::move(spec);
  task.created = now;
  task.prompt_tokens = static_cast<uint32_t>(task.spec.prompt.size());
  task.tokens_ahead = task.prompt_tokens + static_cast<uint64_t>(std::max(task.spec.tokens_max, 0));
  enter(task);
  return task;
}

// Enters the task into every index by which it can be found.
void TaskTable::enter(const Task& task) {
  number_of_[task.spec.id] = task.number;
  if (!task.spec.idempotency_key.empty())
    by_key_[{task.spec.owner, task.spec.idempotency_key}] = task.number;
  if (task.spec.batch_group != 0 && is_open(task))
    groups_[task.spec.batch_group].push_back(task.number);
  if (task.spec.durable)
    listing_[task.spec.owner][static_cast<size_t>(task.status)].insert(task.number);
  if (task.phase == TaskPhase::kRunning) watch_deadline(task);
  if (task.phase != TaskPhase::kOver) ++unfinished_;
}

void TaskTable::remove(Task& task) {
  if (task.phase == TaskPhase::kJournaling) {
    --unfinished_;
    leave_group(task);
  }
  number_of_.erase(task.spec.id);
  if (const auto key = by_key_.find({task.spec.owner, task.spec.idempotency_key});
      key != by_key_.end() && key->second == task.number)
    by_key_.erase(key);
  if (task.spec.durable) {
    const auto owner = listing_.find(task.spec.owner);
    owner->second[static_cast<size_t>(task.status)].erase(task.number);
    if (std::ranges::all_of(owner->second, [](const auto& numbers) { return numbers.empty(); }))
      listing_.erase(owner);
  }
  explanations_.erase(task.number);
  tasks_.erase(task.number);
}

Task* TaskTable::find(uint64_t number) {
  const auto found = tasks_.find(number);
  return found == tasks_.end() ? nullptr : &found->second;
}

const Task* TaskTable::find(const TaskId& id) const {
  const auto number = number_of_.find(id);
  return number == number_of_.end() ? nullptr : &tasks_.at(number->second);
}

Task* TaskTable::find(const TaskId& id) {
  const auto number = number_of_.find(id);
  return number == number_of_.end() ? nullptr : &tasks_.at(number->second);
}

Result<TaskTable::Known> TaskTable::known(const TaskSpec& spec, TimeUs now,
                                          int64_t key_ttl_us) const {
  if (number_of_.contains(spec.id))
    return Error(ErrorCode::kInternal, fmt::format("task id {} is taken", to_string(spec.id)));
  if (spec.idempotency_key.empty()) return Known{};
  const auto checked = [&](uint64_t body_hash, const TaskId& id, Known found) -> Result<Known> {
    if (body_hash == spec.body_hash) return found;
    return Error(ErrorCode::kConflict,
                 fmt::format(
                     "idempotency_key '{}' belongs to task {} with another body; use a new key",
                     spec.idempotency_key, to_string(id)))
        .with_field("idempotency_key");
  };
  if (const auto found = by_key_.find({spec.owner, spec.idempotency_key}); found != by_key_.end()) {
    const Task& task = tasks_.at(found->second);
    if (task.phase == TaskPhase::kOver && !holds_key(task, now, key_ttl_us)) return Known{};
    return checked(task.spec.body_hash, task.spec.id, {.number = found->second});
  }
  const KeyRecord* left = keys_.find(spec.owner, spec.idempotency_key);
  if (left == nullptr || now - left->accepted >= key_ttl_us) return Known{};
  return checked(left->body_hash, left->task, {.left = left});
}

// Whether a task that is over still stands for its idempotency key.
bool TaskTable::holds_key(const Task& task, TimeUs now, int64_t key_ttl_us) const {
  if (task.spec.idempotency_key.empty()) return false;
  const auto found = by_key_.find({task.spec.owner, task.spec.idempotency_key});
  return found != by_key_.end() && found->second == task.number && now - task.created < key_ttl_us;
}

std::span<const uint64_t> TaskTable::group(uint64_t batch_group) const {
  const auto found = groups_.find(batch_group);
  return found == groups_.end() ? std::span<const uint64_t>() : found->second;
}

void TaskTable::leave_group(const Task& task) {
  if (task.spec.batch_group == 0) return;
  const auto group = groups_.find(task.spec.batch_group);
  std::erase(group->second, task.number);
  if (group->second.empty()) groups_.erase(group);
}

void TaskTable::watch_deadline(const Task& task) {
  if (task.spec.deadline) deadlines_.emplace(*task.spec.deadline, task.number);
}

void TaskTable::unwatch_deadline(const Task& task) {
  if (task.spec.deadline) deadlines_.erase({*task.spec.deadline, task.number});
}

Task* TaskTable::past_deadline(TimeUs now) {
  if (deadlines_.empty() || deadlines_.begin()->first > now) return nullptr;
  return &at(deadlines_.begin()->second);
}

bool TaskTable::show(Task& task, TaskStatus status) {
  if (task.status == status) return false;
  if (task.spec.durable) {
    Listing& owned = listing_[task.spec.owner];
    owned[static_cast<size_t>(task.status)].erase(task.number);
    owned[static_cast<size_t>(status)].insert(task.number);
  }
  task.status = status;
  return true;
}

void TaskTable::keep(Task& task) {
  task.phase = TaskPhase::kOver;
  --unfinished_;
  (task.spec.durable ? kept_ : passing_).push(task.spec.owner, task.number, bytes_kept(task));
}

TaskTable::Forgotten TaskTable::forget_old(const Kept& kept, TimeUs now,
                                           const std::function<DeviceId(const Task&)>& device_of) {
  while (passing_.size() > kPassingTasksMax || passing_.bytes() > kPassingBytesMax)
    remove(at(passing_.pop()));
  Forgotten out;
  const auto too_many = [&] { return kept_.size() > kept.tasks_max; };
  const auto too_large = [&] { return kept_.bytes() > kept.bytes_max; };
  for (size_t i = 0; i < kForgottenAtOnceMax && (too_many() || too_large()); ++i) {
    Task& task = at(too_many() ? kept_.pop() : kept_.pop_of_largest());
    if (holds_key(task, now, kept.key_ttl_us)) {
      const KeyRecord left{task.spec.id, task.spec.body_hash, device_of(task), task.status,
                           task.created};
      if (const auto older = keys_.add(task.spec.owner, task.spec.idempotency_key, left))
        out.tasks.push_back(*older);
      out.with_key.push_back(task.spec.id);
    } else {
      out.tasks.push_back(task.spec.id);
    }
    remove(task);
  }
  if (!out.with_key.empty() || now - keys_trimmed_ >= kSecond) {
    keys_trimmed_ = now;
    for (const TaskId& id : keys_.trim(now - kept.key_ttl_us + 1, kKeysMax))
      out.tasks.push_back(id);
  }
  return out;
}

void TaskTable::keep_explanation(const Task& task, Explanation explanation) {
  explanations_[task.number] = std::move(explanation);
  while (explanations_.size() > kExplanationsMax) explanations_.erase(explanations_.begin());
}

const Explanation* TaskTable::explanation(const Task& task) const {
  const auto kept = explanations_.find(task.number);
  return kept == explanations_.end() ? nullptr : &kept->second;
}

// Merges the sets that match; each of them is in order already.
std::pair<std::vector<uint64_t>, uint64_t> TaskTable::list(const TaskFilter& filter) const {
  using Set = std::set<uint64_t>;
  std::vector<std::pair<Set::const_reverse_iterator, Set::const_reverse_iterator>> ranges;
  std::vector<uint64_t> out;
  uint64_t total = 0;
  const auto add_owner = [&](const Listing& owned) {
    for (size_t status = 0; status < owned.size(); ++status) {
      if (filter.status && static_cast<size_t>(*filter.status) != status) continue;
      total += owned[status].size();
      if (!owned[status].empty()) ranges.emplace_back(owned[status].rbegin(), owned[status].rend());
    }
  };
  if (filter.owner) {
    if (const auto owned = listing_.find(*filter.owner); owned != listing_.end())
      add_owner(owned->second);
  } else {
    for (const auto& [owner, owned] : listing_) add_owner(owned);
  }
  for (uint64_t skipped = 0; out.size() < filter.limit && !ranges.empty();) {
    const auto newest =
        std::ranges::max_element(ranges, {}, [](const auto& range) { return *range.first; });
    const uint64_t number = *newest->first;
    if (++newest->first == newest->second) ranges.erase(newest);
    if (skipped++ < filter.offset) continue;
    out.push_back(number);
  }
  return {std::move(out), total};
}

void TaskTable::check_integrity() const {
  size_t unfinished = 0, over = 0, listed = 0, durable = 0, grouped = 0;
  for (const auto& [number, task] : tasks_) {
    ALTLAS_CHECK(task.number == number && number < next_task_, "a task knows its number");
    ALTLAS_CHECK(number_of_.at(task.spec.id) == number, "ids and numbers agree");
    ALTLAS_CHECK(is_over(task.status) == (task.phase == TaskPhase::kOver),
                 "an end is shown once it is durable");
    unfinished += task.phase != TaskPhase::kOver;
    over += task.phase == TaskPhase::kOver;
    grouped += task.spec.batch_group != 0 && is_open(task);
    if (!task.spec.durable) continue;
    ++durable;
    ALTLAS_CHECK(
        listing_.at(task.spec.owner)[static_cast<size_t>(task.status)].contains(task.number),
        "a durable task is listed under its status");
  }
  ALTLAS_CHECK(number_of_.size() == tasks_.size(), "every id has one task");
  ALTLAS_CHECK(unfinished == unfinished_, "the count of unfinished tasks agrees");
  ALTLAS_CHECK(over == kept_.size() + passing_.size(), "what is over will be forgotten in turn");
  for (const auto& [owner, owned] : listing_)
    for (const auto& numbers : owned) listed += numbers.size();
  ALTLAS_CHECK(listed == durable, "only durable tasks are listed");
  for (const auto& [group, numbers] : groups_) grouped -= numbers.size();
  ALTLAS_CHECK(grouped == 0, "groups hold the open tasks of their batches");
  for (const auto& [deadline, number] : deadlines_)
    ALTLAS_CHECK(at(number).phase == TaskPhase::kRunning && at(number).spec.deadline == deadline,
                 "deadlines are of running tasks");
}

auto TaskTable::saved(auto& self) {
  return std::tie(self.kept_, self.passing_, self.keys_, self.keys_trimmed_, self.next_task_);
}

std::string TaskTable::save() const {
  std::vector<const Task*> open;
  std::vector<OverTask> over;
  for (const auto& [number, task] : tasks_) {
    if (task.phase != TaskPhase::kOver) {
      open.push_back(&task);
      continue;
    }
    over.push_back({number, task.spec.id, task.spec.owner, task.spec.idempotency_key,
                    task.spec.body_hash, task.spec.durable, task.end, task.site, task.created});
  }
  std::string bytes;
  codec::write(bytes, static_cast<uint64_t>(open.size()));
  for (const Task* task : open) codec::write(bytes, *task);
  codec::write(bytes, over);
  return save_part("task_table", kSavedVersion, std::tuple_cat(saved(*this), std::tie(bytes)));
}

uint64_t TaskTable::hash() const { return hash_of_saved(save()); }

Result<void> TaskTable::load(std::string_view saved_bytes) {
  std::string bytes;
  ALTLAS_TRY_VOID(load_part("task_table", kSavedVersion, saved_bytes,
                            std::tuple_cat(saved(*this), std::tie(bytes))));
  std::string_view in = bytes;
  uint64_t count = 0;
  bool ok = codec::read(in, count);
  for (uint64_t i = 0; ok && i < count; ++i) {
    Task task;
    ok = codec::read(in, task);
    const uint64_t number = task.number;
    if (ok) ok = tasks_.emplace(number, std::move(task)).second;
  }
  std::vector<OverTask> over;
  ok = ok && codec::read(in, over) && in.empty();
  if (!ok) return invalid("the saved tasks can't be read");
  for (OverTask& one : over) {
    Task& task = tasks_[one.number];
    task.number = one.number;
    task.spec.id = one.id;
    task.spec.owner = std::move(one.owner);
    task.spec.idempotency_key = std::move(one.idempotency_key);
    task.spec.body_hash = one.body_hash;
    task.spec.durable = one.durable;
    task.phase = TaskPhase::kOver;
    task.status = task.end = one.end;
    task.site = one.site;
    task.created = one.created;
  }
  for (const auto& [number, task] : tasks_) enter(task);
  return {};
}

}  // namespace altlas::control
