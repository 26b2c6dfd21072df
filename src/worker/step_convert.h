// Steps to and from their messages: plans of a replica's leading worker for the others, and what
// their ranks answer.
#pragma once

#include "base/result.h"
#include "step/step_plan.h"
#include "worker/worker.pb.h"

namespace altlas::worker {

void write_plan(const StepPlan& from, proto::StepPlan* to);
// Whether slots, blocks and tokens are there is for the rank to say.  Errors: kInvalid for a prompt
// or for sampling parameters that can't be.
Result<StepPlan> read_plan(const proto::StepPlan& from);
void write_step_result(const StepResult& from, proto::StepResult* to);
StepResult read_step_result(const proto::StepResult& from);

}  // namespace altlas::worker
