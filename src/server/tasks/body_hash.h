// What a /predict body asks for as one number: the same however it is written.
#pragma once

#include <boost/json/fwd.hpp>

#include <cstdint>

#include "config/names.h"

namespace altlas::server {

struct PendingTask;

// Members in any order; 2.0 and 2e0 as 2.
uint64_t value_hash(const boost::json::value& value);
// A hash of a task as read_task() made it, so that a default that is written out counts as left
// out. Without its key, its owner and a seed that the server drew.
uint64_t body_hash(const PendingTask& task, Strategy default_strategy);

}  // namespace altlas::server
