// What messages of engines add to the rows that they inherit, for codec.h.
#pragma once

#include <tuple>

#include "control/codec.h"
#include "engine/messages.h"

namespace altlas::control {

template <>
inline constexpr auto codec::kOwnMembers<engine::LoadReplica> = std::tuple(
    &engine::LoadReplica::worker, &engine::LoadReplica::ranks, &engine::LoadReplica::rendezvous);
static_assert(sizeof(engine::LoadReplica) == sizeof(replica::ReplicaSettings) + sizeof(uint64_t) +
                                                 sizeof(std::vector<engine::RankPlace>) +
                                                 sizeof(std::string),
              "name every member of LoadReplica above");
static_assert(sizeof(engine::ReplicaLoaded) == sizeof(replica::ReplicaLimits),
              "ReplicaLoaded adds no member to its rows");

}  // namespace altlas::control
