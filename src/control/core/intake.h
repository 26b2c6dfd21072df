// Intake: the way in. Places in the queue, checks, the choice of a device, acceptance by the
// journal, tasks restored after a restart. It owns no state.
//
// Promises: a TasksSubmitted is answered once; its durable tasks are in the journal before it is
// answered ok, or none of them exists; at most max_queue_size tasks wait that were not promised a
// start at once (tasks back from lost replicas apart).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/range.h"
#include "control/core/adapters.h"
#include "control/core/admissions.h"
#include "control/core/dispatcher.h"
#include "control/core/fleet.h"
#include "control/core/journal_queue.h"
#include "control/core/placement_view.h"
#include "control/core/step.h"
#include "control/core/task_life.h"
#include "control/core/task_table.h"
#include "control/core/waiting_tasks.h"
#include "control/core_setup.h"

namespace altlas::control {

class Intake {
 public:
  struct Parts {
    const CoreSetup& setup;
    const Stage& stage;
    const PlacementView& view;
    const Adapters& adapters;
    Fleet& fleet;
    TaskTable& tasks;
    WaitingTasks& waiting;
    JournalQueue& journal;
    Admissions& admissions;
    TaskLife& life;
    Dispatcher& dispatcher;
  };
  explicit Intake(const Parts& parts) : in_(parts) {}

  void admit(const AdmissionRequested& event, Step& step);
  // `epoch`: events stepped before this one.
  void submit(TasksSubmitted& event, uint64_t epoch, Step& step);
  // The journal has the tasks: they wait, and start if they can; then whoever waits for them is
  // answered.
  void accepted(const std::vector<uint64_t>& tasks, Step& step);
  void not_accepted(const std::vector<uint64_t>& tasks, const std::string& why, Step& step);
  void restore(journal::RestoredTask& restored, Step& step);

 private:
  enum class Spread : uint8_t { kAll, kOneDevice };
  // The specs of one TasksSubmitted: which repeat known tasks, and which make new ones.
  struct Sorted {
    std::vector<uint64_t> numbers;       // Known tasks; 0 for others.
    std::map<size_t, Placed> forgotten;  // Specs that repeat tasks of which only the key is left.
    std::vector<size_t> repeats;         // An earlier spec of the same batch; SIZE_MAX: none.
    std::vector<size_t> fresh;           // Specs that make tasks.
  };
  Result<void> accepting(uint32_t deployment) const;
  Result<void> fits_at_all(uint32_t deployment, const std::string& owner, uint64_t tasks,
                           Spread spread, std::optional<DeviceId> device = std::nullopt) const;
  Result<void> has_places(uint32_t deployment, const std::string& owner, uint32_t tasks) const;
  Result<void> has_share(uint32_t deployment, const std::string& owner, uint32_t tasks,
                         uint32_t places) const;
  bool nothing_else(uint32_t deployment, size_t own) const;
  Result<Sorted> sort(std::vector<TaskSpec>& specs, TimeUs now) const;
  Result<Sorted> make(TasksSubmitted& event, uint64_t epoch, std::vector<uint64_t>& fresh,
                      TimeUs now);
  Result<void> place_group(TasksSubmitted& event, Range group, uint64_t epoch,
                           std::vector<uint64_t>& fresh, TimeUs now);
  Result<void> has_room(const scheduler::Placement& placement, uint32_t site, size_t tasks,
                        size_t own) const;
  scheduler::PlacementRequest placement_request(const TasksSubmitted& event, Range group) const;
  void answer(uint64_t ticket, Step& step);

  const Parts in_;
};

}  // namespace altlas::control
