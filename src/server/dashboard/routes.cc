// The dashboard: its files, and what it is told of the server beside what other routes say.
#include <fmt/format.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json.hpp>

#include <algorithm>
#include <chrono>

#include "server/body/query.h"
#include "server/dashboard/board_json.h"
#include "server/dashboard/files.h"
#include "server/handlers.h"
#include "server/http/auth.h"
#include "server/http/sse.h"
#include "server/routes.h"
#include "text/json_text.h"

namespace altlas::server {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
using asio::awaitable;

// How often a stream looks for a new picture, which comes once a second.
constexpr auto kLook = std::chrono::milliseconds(100);
// Changes that a stream begins with.
constexpr uint64_t kFirstChanges = 50;

const DashboardFile* find_file(std::string_view name) {
  const auto files = dashboard_files();
  const auto found = std::ranges::find(files, name, &DashboardFile::name);
  return found == files.end() ? nullptr : &*found;
}

awaitable<Result<Response>> page(Request request, Services&) {
  co_return file_response(*find_file("index.html"), request);
}

awaitable<Result<Response>> file(Request request, Services&) {
  const std::string_view name = request.parameter("file");
  const DashboardFile* found = find_file(name);
  if (found == nullptr)
    co_return not_found(fmt::format("the dashboard has no file '{}'", name.substr(0, 64)));
  co_return file_response(*found, request);
}

// Who asks, as of now: a key may have been taken away since. Nothing: it was.
std::optional<Identity> still(const Identity& who, const std::string& authorization,
                              const Services& services) {
  if (services.auth == nullptr) return who;
  auto now = services.auth->identify(authorization);
  if (!now.ok() || now->name != who.name || now->role != who.role) return std::nullopt;
  return who;
}

// GET /api/v1/live: the picture of now, once a second, until the client goes, its key is taken away
// or the server stops.
awaitable<Result<Response>> live(Request request, Services& services) {
  Response response = sse_response();
  response.stream = [who = request.identity, authorization = request.authorization,
                     &services](WriteChunk write) -> awaitable<void> {
    asio::steady_timer timer(co_await asio::this_coro::executor);
    uint64_t shown = 0, changes = 0;
    while (still(who, authorization, services)) {
      const auto view = services.service.board();
      if (view != nullptr && view->number != shown) {
        if (shown == 0) changes = view->changes - std::min(view->changes, kFirstChanges);
        std::vector<control::Change> news;
        if (view->changes > changes) news = co_await services.service.changes_after(changes);
        if (!news.empty()) changes = news.back().number;
        shown = view->number;
        json::object event = board_json(*view, who);
        event["changes"] = changes_json(news, who);
        std::string text = sse_event(text::json_text(event));
        const auto written = co_await write(std::move(text));
        if (!written.ok()) co_return;
      }
      if (services.service.health().status == control::HealthStatus::kDraining) co_return;
      timer.expires_after(kLook);
      co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
    }
  };
  co_return response;
}

constexpr std::string_view kSteps[] = {"seconds", "minutes"};

struct HistoryQuery {
  std::string by = "seconds";
  static constexpr void fields(auto&& field) {
    field("by", &HistoryQuery::by,
          BodyField{.help = "The last half hour by seconds, or the last day by minutes",
                    .choices = kSteps});
  }
};
static_assert(fields_complete<HistoryQuery>(), "describe every member in fields()");

awaitable<Result<Response>> history(Request request, Services& services) {
  ALTLAS_CO_TRY(const HistoryQuery query, read_query<HistoryQuery>(request, *services.now()));
  const control::HistoryView view = co_await services.service.history(query.by == "minutes");
  co_return json_response(text::json_text(history_json(view, request.identity)));
}

struct UsageQuery {
  int64_t hours = 24;
  static constexpr void fields(auto&& field) {
    field("hours", &UsageQuery::hours,
          BodyField{.help = "How far back it goes, the hour that goes on included",
                    .min = 1,
                    .max = control::UsageBook::kHoursMax});
  }
};
static_assert(fields_complete<UsageQuery>(), "describe every member in fields()");

awaitable<Result<Response>> usage(Request request, Services& services) {
  ALTLAS_CO_TRY(const UsageQuery query, read_query<UsageQuery>(request, *services.now()));
  const control::UsageView view = co_await services.service.usage(query.hours);
  co_return json_response(text::json_text(key_usage_json(view, query.hours, request.identity)));
}

awaitable<Result<Response>> whoami(Request request, Services& services) {
  const json::object answer{{"name", request.identity.name},
                            {"role", to_string(request.identity.role)},
                            {"keys", services.auth != nullptr && services.auth->has_keys()},
                            {"version", services.version}};
  co_return json_response(text::json_text(answer));
}

}  // namespace

std::vector<Route> dashboard_routes() {
  return {
      {"GET", "/", Access::kOpen, page, "The dashboard", "", "", {}, {}, "text/html"},
      {"GET",
       "/dashboard/{file}",
       Access::kOpen,
       file,
       "The dashboard's files",
       "",
       "",
       {},
       {404},
       "*/*"},
      {"GET", "/api/v1/whoami", Access::kUser, whoami, "The key's name and role", "", "WhoAmI"},
      {"GET",
       "/api/v1/live",
       Access::kUser,
       live,
       "What goes on now, once a second, as server-sent events (Live)",
       "",
       "",
       {},
       {},
       "text/event-stream"},
      {"GET",
       "/api/v1/history",
       Access::kUser,
       history,
       "Queue, rates, latencies and devices over time, and what changed",
       "",
       "History",
       &kQueryOf<HistoryQuery>,
       {400}},
      {"GET",
       "/api/v1/usage",
       Access::kUser,
       usage,
       "What each key used, by hours; users see their own",
       "",
       "KeyUsage",
       &kQueryOf<UsageQuery>,
       {400}},
  };
}

}  // namespace altlas::server
