#include "collective/group.h"

#include <fmt/format.h>

#include <functional>

#include "collective/algorithms.h"
#include "collective/transport.h"

namespace altlas::collective {
namespace {

bool overlap(std::span<const std::byte> a, std::span<const std::byte> b) {
  const std::less<const std::byte*> before;
  return !a.empty() && !b.empty() && before(a.data(), b.data() + b.size()) &&
         before(b.data(), a.data() + a.size());
}

// `in_place` is where the input may lie within the output, or the output within the input.
Result<void> check_vectors(const Call& call, uint64_t in_bytes, uint64_t out_bytes,
                           const std::byte* in_place) {
  if (call.in.size() != in_bytes || call.out.size() != out_bytes)
    return invalid(fmt::format("{}: input of {} bytes and output of {}, wanted {} and {}",
                               to_string(call.collective), call.in.size(), call.out.size(),
                               in_bytes, out_bytes));
  if (call.bytes % element_bytes(call.type) != 0)
    return invalid(fmt::format("{}: {} bytes are no whole number of {}", to_string(call.collective),
                               call.bytes, to_string(call.type)));
  const std::byte* smaller = in_bytes <= out_bytes ? call.in.data() : call.out.data();
  if (overlap(call.in, call.out) && smaller != in_place)
    return invalid(fmt::format("{}: input and output overlap, and not as in place means",
                               to_string(call.collective)));
  return {};
}

}  // namespace

Group::Group(int rank, int size, std::unique_ptr<Transport> transport, GroupOptions options)
    : rank_(rank), size_(size), transport_(std::move(transport)), options_(options) {
  ALTLAS_CHECK(size >= 1 && size <= kRanksMax && rank >= 0 && rank < size, "a rank of a group");
}

Group::~Group() = default;

std::string Group::describe() const { return transport_->describe(); }
double Group::seconds() const { return transport_->seconds(); }

void Group::abort(std::string_view why) {
  transport_->abort(
      Error(ErrorCode::kCanceled, fmt::format("rank {} aborted the group: {}", rank_, why)));
}

Result<void> Group::run(Call& call) {
  if (call.collective != Collective::kSendReceive) call.step = ++step_;
  return transport_->run(call, std::chrono::steady_clock::now() + options_.timeout);
}

Result<void> Group::check_peer(int peer) const {
  if (peer >= 0 && peer < size_ && peer != rank_) return {};
  return invalid(fmt::format("rank {} can't exchange messages with rank {}: of {} ranks it is {}",
                             rank_, peer, size_, peer == rank_ ? "itself" : "none"));
}

Result<void> Group::all_reduce(ElementType type, ReduceOp op, ConstBytes in, Bytes out,
                               Algorithm algorithm) {
  if (algorithm == Algorithm::kAuto) algorithm = options_.algorithm;
  if (algorithm == Algorithm::kAuto) algorithm = transport_->choose(in.size());
  Call call{.collective = Collective::kAllReduce,
            .type = type,
            .op = op,
            .algorithm = algorithm,
            .bytes = in.size(),
            .in = in,
            .out = out};
  ALTLAS_TRY_VOID(check_vectors(call, in.size(), in.size(), out.data()));
  return run(call);
}

Result<void> Group::all_gather(ElementType type, ConstBytes in, Bytes out) {
  Call call{
      .collective = Collective::kAllGather, .type = type, .bytes = in.size(), .in = in, .out = out};
  const auto size = static_cast<uint64_t>(size_), rank = static_cast<uint64_t>(rank_);
  ALTLAS_TRY_VOID(check_vectors(call, in.size(), size * in.size(), out.data() + rank * in.size()));
  return run(call);
}

Result<void> Group::reduce_scatter(ElementType type, ReduceOp op, ConstBytes in, Bytes out) {
  Call call{.collective = Collective::kReduceScatter,
            .type = type,
            .op = op,
            .bytes = out.size(),
            .in = in,
            .out = out};
  const auto size = static_cast<uint64_t>(size_), rank = static_cast<uint64_t>(rank_);
  const std::byte* in_place = size_ == 1 ? out.data() : in.data() + rank * out.size();
  ALTLAS_TRY_VOID(check_vectors(call, size * out.size(), out.size(), in_place));
  return run(call);
}

Result<void> Group::broadcast(ElementType type, Bytes data, int root) {
  if (root < 0 || root >= size_)
    return invalid(fmt::format("broadcast from rank {}: the group has {} ranks", root, size_));
  Call call{.collective = Collective::kBroadcast,
            .type = type,
            .root = root,
            .bytes = data.size(),
            .in = data,
            .out = data};
  ALTLAS_TRY_VOID(check_vectors(call, data.size(), data.size(), data.data()));
  return run(call);
}

Result<void> Group::all_to_all(ElementType type, ConstBytes in, Bytes out) {
  Call call{.collective = Collective::kAllToAll,
            .type = type,
            .bytes = in.size() / static_cast<uint64_t>(size_),
            .in = in,
            .out = out};
  const uint64_t all = call.bytes * static_cast<uint64_t>(size_);
  ALTLAS_TRY_VOID(check_vectors(call, all, all, out.data()));
  return run(call);
}

Result<void> Group::barrier() {
  Call call{.collective = Collective::kBarrier};
  return run(call);
}

Result<void> Group::send(ElementType type, ConstBytes out, int to) {
  ALTLAS_TRY_VOID(check_peer(to));
  Call call{.collective = Collective::kSendReceive, .type = type, .in = out, .to = to};
  return run(call);
}

Result<void> Group::receive(ElementType type, Bytes in, int from) {
  ALTLAS_TRY_VOID(check_peer(from));
  Call call{.collective = Collective::kSendReceive, .type = type, .out = in, .from = from};
  return run(call);
}

Result<void> Group::send_receive(ElementType type, ConstBytes out, int to, Bytes in, int from) {
  ALTLAS_TRY_VOID(check_peer(to));
  ALTLAS_TRY_VOID(check_peer(from));
  if (overlap(out, in)) return invalid("send/recv: the vectors overlap");
  Call call{.collective = Collective::kSendReceive,
            .type = type,
            .in = out,
            .out = in,
            .to = to,
            .from = from};
  return run(call);
}

}  // namespace altlas::collective
