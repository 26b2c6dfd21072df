// A rank's handle on its group: collectives between the ranks of one model, wherever they run.
#pragma once

#include <chrono>
#include <memory>
#include <span>
#include <string>

#include "collective/types.h"

namespace altlas::collective {

class Transport;

struct GroupOptions {
  // Every call ends within this, with an error that names the rank it waited for.
  std::chrono::milliseconds timeout{30'000};
  // The algorithm of all_reduce, where the call does not say.
  Algorithm algorithm = Algorithm::kAuto;
};

// Buffers are the caller's; each is in use until the call returns. Vectors are whole elements of
// `type` and may lie at any address. `in` and `out` must not overlap but where "in place" is said.
//
// All ranks make the same collectives in the same order, each with the same type, size, op, root
// and algorithm. A rank that calls otherwise, dies, leaves (destroys its Group) or stalls ends the
// group: this call and all later ones, on every rank, return one error that names the rank, the
// collective and its step. Nobody waits longer than the timeout.
//
// Errors of all calls: kInvalid for sizes that don't fit (nothing was sent, the group goes on);
// kConflict for calls that differ; kUnavailable for a rank that died or left; kDeadline for one
// that stalled; kCanceled after abort(); kIo.
//
// Threads: one at a time, abort() from any.
class Group {
 public:
  using Bytes = std::span<std::byte>;
  using ConstBytes = std::span<const std::byte>;

  // `transport` belongs to the group alone. 0 ≤ rank < size ≤ kRanksMax.
  Group(int rank, int size, std::unique_ptr<Transport> transport, GroupOptions options);
  ~Group();
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  std::chrono::milliseconds timeout() const { return options_.timeout; }
  // Collectives begun so far; send and receive are not counted.
  uint64_t steps() const { return step_; }
  std::string describe() const;
  // The machine's steady clock, or the virtual time of a simulated group.
  double seconds() const;

  // in, out: the same number of bytes. In place: the same address.
  Result<void> all_reduce(ElementType type, ReduceOp op, ConstBytes in, Bytes out,
                          Algorithm algorithm = Algorithm::kAuto);
  // out: size() blocks as long as `in`, in the order of ranks. In place: `in` is this rank's block
  // of `out`. Threads of one process may all give one and the same `out`, in place: then nothing is
  // copied.
  Result<void> all_gather(ElementType type, ConstBytes in, Bytes out);
  // in: size() blocks as long as `out`; rank r gets block r of every rank, reduced in the order of
  // ranks. In place: `out` is this rank's block of `in`.
  Result<void> reduce_scatter(ElementType type, ReduceOp op, ConstBytes in, Bytes out);
  // data: of the root; on the others it is overwritten.
  Result<void> broadcast(ElementType type, Bytes data, int root);
  // in, out: size() blocks each; block s of rank r's `in` becomes block r of rank s's `out`. In
  // place: the same address.
  Result<void> all_to_all(ElementType type, ConstBytes in, Bytes out);
  // Returns once every rank has called it.
  Result<void> barrier();

  // Messages between two ranks, in order; both sides give the same type and size. A small one may
  // be on its way when send() returns. Between two ranks they keep the order of their collectives.
  Result<void> send(ElementType type, ConstBytes out, int to);
  Result<void> receive(ElementType type, Bytes in, int from);
  // Both at once, so that rings of ranks don't wait for each other.
  Result<void> send_receive(ElementType type, ConstBytes out, int to, Bytes in, int from);

  // Ends the group on every rank: who waits wakes with kCanceled and these words. Any thread.
  void abort(std::string_view why);

 private:
  Result<void> run(Call& call);
  Result<void> check_peer(int peer) const;

  const int rank_, size_;
  const std::unique_ptr<Transport> transport_;
  const GroupOptions options_;
  uint64_t step_ = 0;
};

}  // namespace altlas::collective
