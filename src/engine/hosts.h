// Which kinds of engines there are: the register behind LoadReplica::kind.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "engine/engine_host.h"

namespace altlas::engine {

struct EngineKind {
  std::string_view name;
  std::unique_ptr<EngineHost> (*make)();
};
// All of them; a new kind of engine is a row here.
std::span<const EngineKind> engine_kinds();

// A host of whatever kind start() is asked for. An unknown one is answered by LoadFailed, kInvalid,
// which names the known.
std::unique_ptr<EngineHost> make_host();

}  // namespace altlas::engine
