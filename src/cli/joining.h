// The machines that a server waits for before it serves: cluster.listen, cluster.workers.
#pragma once

#include <memory>
#include <vector>

#include "base/result.h"
#include "config/config.h"
#include "control/core_setup.h"
#include "control/nodes.h"

namespace boost::asio {
class io_context;
}

namespace altlas::cli {

// Listens. `context` runs already. Errors: kInvalid naming the setting, kNotFound, kIo.
Result<std::unique_ptr<control::Nodes>> listen_for_nodes(const config::ClusterConfig& cluster,
                                                         boost::asio::io_context& context);

// Waits for all of them and appends their devices. Errors: kDeadline, naming who is missing;
// kInvalid for a device of a kind that is none.
Result<void> wait_for_nodes(const config::ClusterConfig& cluster, control::Nodes& nodes,
                            std::vector<control::DeviceSetup>& devices);

}  // namespace altlas::cli
