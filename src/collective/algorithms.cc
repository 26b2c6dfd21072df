#include "collective/algorithms.h"

#include <cstring>
#include <vector>

#include "collective/reduce.h"

namespace altlas::collective {
namespace {

using Bytes = std::span<std::byte>;
using ConstBytes = std::span<const std::byte>;

void copy_to(ConstBytes from, std::byte* to) {
  if (!from.empty() && from.data() != to) std::memmove(to, from.data(), from.size());
}

class Algorithms {
 public:
  Algorithms(Wire& wire, int rank, int ranks, const Call& call)
      : wire_(wire), rank_(rank), ranks_(ranks), call_(call), unit_(element_bytes(call.type)) {}

  // Dissemination (Hensgen, Finkel, Manber, 1988): after round k a rank knows of 2^(k+1) ranks.
  Result<void> barrier() {
    for (int distance = 1; distance < ranks_; distance *= 2)
      ALTLAS_TRY_VOID(wire_.exchange({.to = at(distance), .from = at(-distance)}));
    return {};
  }

  Result<void> all_gather() {
    const uint64_t block = call_.bytes;
    copy_to(call_.in, call_.out.data() + static_cast<uint64_t>(rank_) * block);
    return ring_gather([&](int part) {
      return Range{static_cast<uint64_t>(part) * block, static_cast<uint64_t>(part + 1) * block};
    });
  }

  // Every pair of ranks exchanges its blocks; each rank then adds up its own, in the order of
  // ranks.
  Result<void> reduce_scatter() {
    const uint64_t block = call_.bytes;
    return reduce_block(
        [&](int part) {
          return Range{static_cast<uint64_t>(part) * block,
                       static_cast<uint64_t>(part + 1) * block};
        },
        call_.out.data());
  }

  Result<void> all_to_all() {
    std::vector<std::byte> kept;
    const std::byte* in = call_.in.data();
    // In place, a received block would overwrite one that has yet to be sent.
    if (in == call_.out.data()) {
      kept.assign(call_.in.begin(), call_.in.end());
      in = kept.data();
    }
    const auto block = [&](int rank) { return static_cast<uint64_t>(rank) * call_.bytes; };
    copy_to({in + block(rank_), call_.bytes}, call_.out.data() + block(rank_));
    for (int k = 1; k < ranks_; ++k)
      ALTLAS_TRY_VOID(wire_.exchange({.to = at(k),
                                      .out = {in + block(at(k)), call_.bytes},
                                      .from = at(-k),
                                      .in = call_.out.subspan(block(at(-k)), call_.bytes)}));
    return {};
  }

  // A root waits for nobody, so the ranks first agree that all are here.
  Result<void> broadcast() {
    ALTLAS_TRY_VOID(barrier());
    if (rank_ == call_.root) copy_to(call_.in, call_.out.data());
    return tree_broadcast(call_.root);
  }

  Result<void> all_reduce_fixed() {
    const auto part = [&](int index) { return bytes_of(index); };
    ALTLAS_TRY_VOID(reduce_block(part, call_.out.data() + part(rank_).begin));
    return ring_gather(part);
  }

  // Reduce-scatter and all-gather around a ring, 2 (n - 1) exchanges of 1/n of the vector each.
  Result<void> all_reduce_ring() {
    copy_to(call_.in, call_.out.data());
    std::vector<std::byte> came(bytes_of(0).size());
    for (int k = 0; k < ranks_ - 1; ++k) {
      const Range goes = bytes_of(at(-k)), comes = bytes_of(at(-k - 1));
      const Bytes in(came.data(), comes.size());
      ALTLAS_TRY_VOID(wire_.exchange({.to = at(1),
                                      .out = call_.out.subspan(goes.begin, goes.size()),
                                      .from = at(-1),
                                      .in = in}));
      reduce_pair(call_.type, call_.op, call_.out.data() + comes.begin, came.data(),
                  comes.size() / unit_);
    }
    const Range mine = bytes_of(at(1));  // The part whose way around the ring ended at this rank.
    if (call_.op == ReduceOp::kAvg)
      divide(call_.type, call_.out.data() + mine.begin, mine.size() / unit_, ranks_);
    return ring_gather([&](int index) { return bytes_of((index + 1) % ranks_); });
  }

  // Up a binomial tree to rank 0 and down again, 2 log2(n) exchanges of the whole vector.
  Result<void> all_reduce_tree() {
    copy_to(call_.in, call_.out.data());
    std::vector<std::byte> came(call_.out.size());
    for (int distance = 1; distance < ranks_; distance *= 2) {
      if ((rank_ & distance) != 0) {
        ALTLAS_TRY_VOID(wire_.exchange({.to = rank_ - distance, .out = call_.out}));
        break;
      }
      if (rank_ + distance >= ranks_) continue;
      ALTLAS_TRY_VOID(wire_.exchange({.from = rank_ + distance, .in = came}));
      reduce_pair(call_.type, call_.op, call_.out.data(), came.data(), call_.out.size() / unit_);
    }
    if (rank_ == 0 && call_.op == ReduceOp::kAvg)
      divide(call_.type, call_.out.data(), call_.out.size() / unit_, ranks_);
    return tree_broadcast(0);
  }

 private:
  int at(int distance) const { return ((rank_ + distance) % ranks_ + ranks_) % ranks_; }
  // Part `index` of the vector, in bytes of whole elements.
  Range bytes_of(int index) const {
    const Range elements = part_of(call_.bytes / unit_, ranks_, index);
    return {elements.begin * unit_, elements.end * unit_};
  }

  // `part(r)` is rank r's part of call_.out; afterwards every rank has all parts.
  template <class Part>
  Result<void> ring_gather(const Part& part) {
    for (int k = 0; k < ranks_ - 1; ++k) {
      const Range goes = part(at(-k)), comes = part(at(-k - 1));
      ALTLAS_TRY_VOID(wire_.exchange({.to = at(1),
                                      .out = call_.out.subspan(goes.begin, goes.size()),
                                      .from = at(-1),
                                      .in = call_.out.subspan(comes.begin, comes.size())}));
    }
    return {};
  }

  // Writes this rank's part of the result to `out`, reduced over all ranks in their order.
  template <class Part>
  Result<void> reduce_block(const Part& part, std::byte* out) {
    const Range mine = part(rank_);
    std::vector<std::byte> came(mine.size() * static_cast<size_t>(ranks_ - 1));
    std::vector<const std::byte*> parts(static_cast<size_t>(ranks_));
    parts[static_cast<size_t>(rank_)] = call_.in.data() + mine.begin;
    for (int k = 1; k < ranks_; ++k) {
      const Range goes = part(at(k));
      const Bytes in(came.data() + mine.size() * static_cast<size_t>(k - 1), mine.size());
      ALTLAS_TRY_VOID(wire_.exchange({.to = at(k),
                                      .out = call_.in.subspan(goes.begin, goes.size()),
                                      .from = at(-k),
                                      .in = in}));
      parts[static_cast<size_t>(at(-k))] = in.data();
    }
    reduce_in_order(call_.type, call_.op, parts, out, mine.size() / unit_);
    return {};
  }

  // Sends call_.out of `root` to all ranks, down a binomial tree.
  Result<void> tree_broadcast(int root) {
    const int place = ((rank_ - root) % ranks_ + ranks_) % ranks_;
    int distance = 1;
    while (distance < ranks_ && (place & distance) == 0) distance *= 2;
    if (place != 0)
      ALTLAS_TRY_VOID(
          wire_.exchange({.from = (place - distance + root) % ranks_, .in = call_.out}));
    for (distance /= 2; distance > 0; distance /= 2)
      if (place + distance < ranks_)
        ALTLAS_TRY_VOID(
            wire_.exchange({.to = (place + distance + root) % ranks_, .out = call_.out}));
    return {};
  }

  Wire& wire_;
  const int rank_, ranks_;
  const Call& call_;
  const size_t unit_;
};

}  // namespace

Result<void> run_by_exchanges(Wire& wire, int rank, int ranks, const Call& call) {
  Algorithms algorithms(wire, rank, ranks, call);
  switch (call.collective) {
    case Collective::kAllGather:
      return algorithms.all_gather();
    case Collective::kReduceScatter:
      return algorithms.reduce_scatter();
    case Collective::kBroadcast:
      return algorithms.broadcast();
    case Collective::kAllToAll:
      return algorithms.all_to_all();
    case Collective::kBarrier:
      return algorithms.barrier();
    case Collective::kSendReceive:
      break;
    case Collective::kAllReduce:
      if (call.algorithm == Algorithm::kRing) return algorithms.all_reduce_ring();
      if (call.algorithm == Algorithm::kTree) return algorithms.all_reduce_tree();
      return algorithms.all_reduce_fixed();
  }
  ALTLAS_CHECK(false, "send/recv is one exchange");
  return {};
}

void run_alone(const Call& call) {
  if (call.in.data() != nullptr && !call.out.empty() && !call.in.empty())
    copy_to(call.in, call.out.data());
}

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace altlas::collective
