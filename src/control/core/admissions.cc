#include "control/core/admissions.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "control/core/saved_part.h"

namespace altlas::control {

void Admissions::count(uint32_t deployment, const std::string& owner, uint32_t places, bool more) {
  auto& of_owner = by_deployment_[deployment].of_owner;
  uint32_t& own = of_owner[owner];
  own = more ? own + places : own - places;
  if (own == 0) of_owner.erase(owner);
}

uint32_t Admissions::of_owner(uint32_t deployment, const std::string& owner) const {
  const auto found = by_deployment_[deployment].of_owner.find(owner);
  return found == by_deployment_[deployment].of_owner.end() ? 0 : found->second;
}

uint32_t Admissions::of_owner(const std::string& owner) const {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < by_deployment_.size(); ++i) sum += of_owner(i, owner);
  return sum;
}

void Admissions::grant(uint64_t ticket, uint32_t deployment, uint32_t tasks,
                       const std::string& owner) {
  tickets_[ticket] = {deployment, tasks, owner};
  count(deployment, owner, tasks, true);
  by_deployment_[deployment].promised += tasks;
  promised_ += tasks;
}

void Admissions::give_back(uint64_t ticket) {
  const auto found = tickets_.find(ticket);
  if (found == tickets_.end()) return;
  by_deployment_[found->second.deployment].promised -= found->second.tasks;
  promised_ -= found->second.tasks;
  count(found->second.deployment, found->second.owner, found->second.tasks, false);
  tickets_.erase(found);
}

void Admissions::hold(uint32_t deployment, const std::string& owner, bool more) {
  count(deployment, owner, 1, more);
  const uint32_t one = more ? 1 : static_cast<uint32_t>(-1);
  held_ += one;
  by_deployment_[deployment].held += one;
}

void Admissions::set_most(uint32_t max_queue_size) { most_ = std::max(most_, max_queue_size); }

void Admissions::add(uint64_t ticket, Submission submission) {
  submissions_[ticket] = std::move(submission);
}

bool Admissions::is_resolved(uint64_t ticket) const {
  const auto found = submissions_.find(ticket);
  return found != submissions_.end() && found->second.unresolved == 0;
}

Submission Admissions::take(uint64_t ticket) {
  const auto found = submissions_.find(ticket);
  Submission out = std::move(found->second);
  submissions_.erase(found);
  return out;
}

void Admissions::check_integrity() const {
  uint64_t promised = 0, held = 0, of_tickets = 0;
  for (const Counts& counts : by_deployment_) {
    promised += counts.promised;
    held += counts.held;
    uint64_t of_owners = 0;
    for (const auto& [owner, places] : counts.of_owner) of_owners += places;
    ALTLAS_CHECK(of_owners == counts.promised + counts.held, "every place is some owner's");
  }
  for (const auto& [id, ticket] : tickets_) of_tickets += ticket.tasks;
  ALTLAS_CHECK(promised == promised_ && of_tickets == promised_, "tickets and promises agree");
  ALTLAS_CHECK(held == held_, "held tasks agree with those of the deployments");
  ALTLAS_CHECK(held_ <= most_, "no more than max_queue_size wait");
  for (const auto& [ticket, submission] : submissions_)
    ALTLAS_CHECK(submission.unresolved > 0 && submission.unresolved <= submission.tasks.size(),
                 "a submission waits for some of its tasks");
}

auto Admissions::saved(auto& self) {
  return std::tie(self.tickets_, self.submissions_, self.by_deployment_, self.promised_, self.held_,
                  self.most_);
}

std::string Admissions::save() const { return save_part("admissions", 1, saved(*this)); }

uint64_t Admissions::hash() const { return hash_of_saved(save()); }

Result<void> Admissions::load(std::string_view bytes) {
  return load_part("admissions", 1, bytes, saved(*this));
}

}  // namespace altlas::control
