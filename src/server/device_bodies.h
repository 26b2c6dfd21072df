// The bodies of /api/v1/config and /api/v1/deployments.
#pragma once

#include "base/fields.h"
#include "server/body/field.h"

namespace altlas::server {

struct StrategyBody {
  std::optional<Strategy> strategy;

  static constexpr void fields(auto&& field) {
    field("strategy", &StrategyBody::strategy,
          BodyField{.help = "One of gpu.multi_gpu.strategies", .needed = "should name a strategy"});
  }
};
static_assert(fields_complete<StrategyBody>(), "describe every member in fields()");

struct ScaleBody {
  std::optional<int64_t> replicas;
  bool autoscale = false;

  static constexpr void fields(auto&& field) {
    field("replicas", &ScaleBody::replicas,
          BodyField{.help = "Replicas from now on, whatever the load is", .min = 0, .max = 4096});
    field("autoscale", &ScaleBody::autoscale,
          BodyField{.help = "Instead: the number follows the load again"});
  }
};
static_assert(fields_complete<ScaleBody>(), "describe every member in fields()");

struct ConcurrencyBody {
  int64_t value = 0;

  static constexpr void fields(auto&& field) {
    field("value", &ConcurrencyBody::value,
          BodyField{.help = "Tasks per device at a time",
                    .needed = "should be an integer",
                    .min = 1,
                    .max = 65536});
  }
};
static_assert(fields_complete<ConcurrencyBody>(), "describe every member in fields()");

}  // namespace altlas::server
