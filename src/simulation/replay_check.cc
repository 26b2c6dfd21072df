#include "simulation/replay_check.h"

#include "base/check.h"
#include "control/event_log.h"

namespace altlas::simulation {

void ReplayCheck::before(const control::Event& event, TimeUs now, const control::Core& core) {
  // Snapshots are taken at the 1st, 2nd, 4th, 8th … event, so the last one is in the second half of
  // the life.
  const size_t count = events_.size();
  if ((count & (count - 1)) == 0) {
    snapshot_ = core.save();
    snapshot_at_ = count;
  }
  events_.emplace_back(now, control::encode(event));
}

uint64_t ReplayCheck::replay(control::Core& core, size_t first) const {
  std::vector<control::Action> actions;
  for (size_t i = first; i < events_.size(); ++i) {
    auto event = control::decode_event(events_[i].second);
    ALTLAS_CHECK(event.ok(), event.error().message());
    actions.clear();
    core.step(*std::move(event), events_[i].first, actions);
  }
  core.check_integrity();
  return core.hash();
}

void ReplayCheck::compare(const control::Core& core) const {
  if (events_.empty()) return;
  control::Core from_start(setup_), from_snapshot(setup_);
  ALTLAS_CHECK(replay(from_start, 0) == core.hash(), "a replay from the start gives the same core");
  const auto loaded = from_snapshot.load(snapshot_);
  ALTLAS_CHECK(loaded.ok(), loaded.error().message());
  ALTLAS_CHECK(replay(from_snapshot, snapshot_at_) == core.hash(),
               "a replay from a snapshot gives the same core");
}

}  // namespace altlas::simulation
