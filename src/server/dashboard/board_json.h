// What the dashboard is told, as JSON: the picture of now, the history, changes, usage.
#pragma once

#include <boost/json/fwd.hpp>

#include <span>

#include "control/board/board.h"
#include "server/http/http.h"

namespace altlas::server {

// The newest picture without its changes. Users see their own requests, admins all.
boost::json::object board_json(const control::BoardView& view, const Identity& who);
// Warnings are for admins.
boost::json::array changes_json(std::span<const control::Change> changes, const Identity& who);
// Columns of equal length, so that a chart takes them as they are.
boost::json::object history_json(const control::HistoryView& history, const Identity& who);
// Users see their own usage, admins all keys'.
boost::json::object key_usage_json(const control::UsageView& usage, int64_t hours,
                                   const Identity& who);

}  // namespace altlas::server
