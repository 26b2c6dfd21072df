// Engine messages to protobuf and back. Included by frames.cc and convert.cc only: it sees
// protobuf's types.
#pragma once

#include "base/result.h"
#include "worker/worker.pb.h"
#include "worker/frames.h"

namespace altlas::worker {

void write_command(const engine::Command& from, proto::Frame* to);
void write_report(const engine::Report& from, proto::Frame* to);
// Errors: kInvalid for an unknown kind and for values outside their enums.
Result<Message> read_message(const proto::Frame& from);

}  // namespace altlas::worker
