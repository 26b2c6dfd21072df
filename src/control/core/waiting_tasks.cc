#include "control/core/waiting_tasks.h"

#include "base/check.h"
#include "control/core/saved_part.h"

namespace altlas::control {
namespace {

scheduler::QueueLimits queue_limits(const CoreSetup& setup) {
  scheduler::QueueLimits limits;
  limits.tasks_max = setup.max_queue_size;
  limits.age_step_us = setup.age_step_us;
  limits.rank.fill(static_cast<uint8_t>(kPriorityCount));
  for (size_t i = 0; i < setup.priority_levels.size(); ++i)
    limits.rank[static_cast<size_t>(setup.priority_levels[i])] = static_cast<uint8_t>(i);
  return limits;
}

}  // namespace

WaitingTasks::WaitingTasks(const CoreSetup& setup, const Fleet& fleet)
    : fleet_(fleet), queue_(queue_limits(setup)), sites_(setup.deployments.size()) {}

void WaitingTasks::push(const Task& task, TimeUs expires, bool front) {
  if (!turns_.contains(task.number)) {
    turns_.enter({task.number, task.site, level(task), task.spec.owner,
                  scheduler::turn_of(queue_.limits(), task.spec.priority, arrived(task))});
    if (task.first_token) turns_.served(task.number);  // It was served before this server started.
  }
  queue_.push({task.number, task.site, arrived(task), expires, turn(task), front});
  sites_[fleet_.site(task.site).deployment].insert(task.site);
  look_at(task.site);
  if (task.spec.estimated_memory == 0) return;
  with_memory_.insert(task.number);
  unsettled_.insert(task.number);
}

void WaitingTasks::erase(const Task& task) {
  queue_.erase(task.number);
  with_memory_.erase(task.number);
  if (queue_.size(task.site) == 0) sites_[fleet_.site(task.site).deployment].erase(task.site);
}

void WaitingTasks::move(const Task& task, uint32_t to) {
  queue_.move(task.number, to);
  turns_.move(task.number, to);
  if (queue_.size(task.site) == 0) sites_[fleet_.site(task.site).deployment].erase(task.site);
  sites_[fleet_.site(to).deployment].insert(to);
  look_at(to);
}

std::vector<uint64_t> WaitingTasks::of_deployment(uint32_t deployment) const {
  std::vector<uint64_t> out;
  for (const uint32_t site : sites_[deployment])
    queue_.for_each(site, [&](uint64_t number) {
      out.push_back(number);
      return true;
    });
  return out;
}

void WaitingTasks::look_at_device(DeviceId device) {
  for (const uint32_t site : fleet_.device(device).sites) look_at(site);
  for (const uint32_t slot : fleet_.device(device).slots) look_at(fleet_.slot(slot).site);
}

void WaitingTasks::look_at_deployment(uint32_t deployment) {
  sites_to_look_at_.insert(sites_[deployment].begin(), sites_[deployment].end());
}

void WaitingTasks::look_everywhere() {
  for (uint32_t site = 0; site < fleet_.sites().size(); ++site) look_at(site);
}

void WaitingTasks::settle_again() { unsettled_.insert(with_memory_.begin(), with_memory_.end()); }

void WaitingTasks::check_integrity() const {
  queue_.check_integrity();
  turns_.check_integrity();
  std::vector<std::set<uint32_t>> sites(sites_.size());
  for (uint32_t site = 0; site < fleet_.sites().size(); ++site)
    if (queue_.size(site) > 0) sites[fleet_.site(site).deployment].insert(site);
  ALTLAS_CHECK(sites == sites_, "the sites where tasks wait are those with tasks in the queue");
  for (const uint64_t number : with_memory_)
    ALTLAS_CHECK(queue_.contains(number), "only waiting tasks may have to settle");
}

auto WaitingTasks::saved(auto& self) {
  return std::tie(self.queue_, self.turns_, self.sites_, self.with_memory_, self.sites_to_look_at_,
                  self.unsettled_);
}

std::string WaitingTasks::save() const { return save_part("waiting_tasks", 2, saved(*this)); }

uint64_t WaitingTasks::hash() const { return hash_of_saved(save()); }

Result<void> WaitingTasks::load(std::string_view bytes) {
  return load_part("waiting_tasks", 2, bytes, saved(*this));
}

}  // namespace altlas::control
