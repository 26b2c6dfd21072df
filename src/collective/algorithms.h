// Collectives made of exchanges between two ranks: rings, trees, pairs.
#pragma once

#include "collective/transport.h"

namespace altlas::collective {

// Carries out `call` as rank `rank` of `ranks` ≥ 2 (not send/recv, which is one exchange). No rank
// returns ok before every rank has come to the same call.
Result<void> run_by_exchanges(Wire& wire, int rank, int ranks, const Call& call);

// What one rank alone does: its input is the result.
void run_alone(const Call& call);

}  // namespace altlas::collective
