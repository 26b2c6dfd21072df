// Dispatcher: from waiting to running. Which waiting task starts next, on which slot, and where a
// task goes that can't start where it waits. It owns no state.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "control/core/adapters.h"
#include "control/core/fleet.h"
#include "control/core/placement_view.h"
#include "control/core/step.h"
#include "control/core/task_life.h"
#include "control/core/task_table.h"
#include "control/core/waiting_tasks.h"
#include "control/core_setup.h"

namespace altlas::control {

inline constexpr size_t kDispatchScanMax = 256;  // Waiting tasks looked at for one that fits now.
// A task that waited longer than this and does not fit holds up those behind it.
inline constexpr int64_t kPassedOverMaxUs = 10 * kSecond;
inline constexpr int kDispatchRoundsMax = 1024;  // Of moves between devices in one step.

class Dispatcher {
 public:
  struct Parts {
    const CoreSetup& setup;
    const Stage& stage;
    const Fleet& fleet;
    const PlacementView& view;
    const Adapters& adapters;
    TaskTable& tasks;
    WaitingTasks& waiting;
    TaskLife& life;
  };
  explicit Dispatcher(const Parts& parts) : in_(parts) {}

  // Starts what may start now, on the sites that are to be looked at again.
  void dispatch(Step& step);

 private:
  enum class Fit : uint8_t {
    kNow,
    kLater,      // As other tasks end.
    kNotByEnds,  // Something else must come first: it holds nobody up.
    kNever
  };
  // What one pass over a site's waiting tasks has found.
  struct Found {
    std::vector<uint64_t> starts, never;
    uint32_t slot = 0;
    std::string why;
  };
  void settle(Step& step);
  std::optional<uint32_t> site_for_crowded(const Task& task, std::string& why) const;
  void dispatch_site(uint32_t site, Step& step);
  Found scan(uint32_t site, TimeUs now);
  std::optional<uint32_t> slot_for(const Task& task, uint32_t site) const;
  Fit fits(const Task& task, uint32_t slot, std::string& why) const;
  std::vector<uint64_t> startable(const Task& head, uint32_t slot) const;
  void rebalance(uint32_t deployment, TimeUs now);
  bool take_from(uint32_t from, uint32_t to, TimeUs now);

  const Parts in_;
};

}  // namespace altlas::control
