// Messages between a server and its nodes, to protobuf and back. Included by frames.cc and
// convert.cc only.
#pragma once

#include "base/result.h"
#include "worker/frames.h"
#include "worker/worker.pb.h"

namespace altlas::worker {

void write_node_message(const NodeMessage& from, proto::Frame* to);
// Errors: kInvalid for an offer of no devices or too many, and for texts beyond their limits.
Result<NodeMessage> read_node_message(const proto::Frame& from);

}  // namespace altlas::worker
