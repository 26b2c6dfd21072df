// Step: what the handling of one event is given, its time, and what it fills, the list of actions.
// Stage: how far the server is in its life.
#pragma once

#include <vector>

#include "base/clock.h"
#include "control/events.h"

namespace altlas::control {

struct Step {
  TimeUs now = 0;
  std::vector<Action>& out;  // The edge carries them out in this order.
};

struct Stage {
  bool started = false;   // Replicas may start, and statuses are published.
  bool draining = false;  // No new tasks are taken.
  bool stopping = false;  // Nothing starts any more.
};

}  // namespace altlas::control
