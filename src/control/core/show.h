// What the core shows: pictures of tasks, devices, deployments and health, copied out of its parts.
#pragma once

#include <vector>

#include "control/core/adapters.h"
#include "control/core/admissions.h"
#include "control/core/fleet.h"
#include "control/core/memory_ledger.h"
#include "control/core/placement_view.h"
#include "control/core/step.h"
#include "control/core/task_table.h"
#include "control/core/waiting_tasks.h"
#include "control/core_setup.h"
#include "control/views.h"

namespace altlas::control {

// `texts`: with the result's text and embedding.
TaskView show_task(const Task& task, const Fleet& fleet, const WaitingTasks& waiting,
                   bool texts = true);
TaskPage show_tasks(const TaskFilter& filter, const TaskTable& tasks, const Fleet& fleet,
                    const WaitingTasks& waiting);
std::vector<DeviceView> show_devices(const Fleet& fleet, const MemoryLedger& ledger);
std::vector<DeploymentView> show_deployments(const Fleet& fleet, const Adapters& adapters);
// Health of the default deployment.  O(1) beside sites that have changed.
HealthView show_health(const CoreSetup& setup, const Stage& stage, const Fleet& fleet,
                       const Admissions& admissions, const PlacementView& view);

}  // namespace altlas::control
