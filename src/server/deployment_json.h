// Deployments and their replicas as the answers show them.
#pragma once

#include <boost/json/fwd.hpp>

#include "control/views.h"

namespace altlas::server {

// As Ray's serve.status() has it: status, message, counts by replica state; and the replicas.
boost::json::object deployment_to_json(const control::DeploymentView& view);
boost::json::object scale_decision_to_json(const control::ScaleDecision& decision);

}  // namespace altlas::server
