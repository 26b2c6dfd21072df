#include "collective/shared_transport.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/integers.h"
#include "collective/algorithms.h"
#include "collective/reduce.h"

namespace altlas::collective {
namespace {

// Up to this size every rank reduces the whole vector, which takes one meeting instead of two.
constexpr uint64_t kWholeBytesMax = 16 * 1024;

void copy_bytes(const std::byte* from, std::byte* to, uint64_t bytes) {
  if (bytes > 0 && from != to) std::memcpy(to, from, bytes);
}

// An empty message takes a slot, too.
uint64_t slots_of(uint64_t bytes) { return std::max<uint64_t>(1, ceil_div(bytes, kMailSlotBytes)); }

}  // namespace

SharedTransport::SharedTransport(std::unique_ptr<Board> board, SharedKind kind,
                                 std::optional<Fabric> fabric)
    : board_(std::move(board)), kind_(kind), fabric_(std::move(fabric)) {
  const auto n = static_cast<size_t>(board_->ranks());
  written_.resize(n);
  read_.resize(n);
  messages_out_.resize(n);
  messages_in_.resize(n);
}

SharedTransport::~SharedTransport() { board_->leave(); }

Algorithm SharedTransport::choose(uint64_t bytes) const {
  return fabric_ ? fabric_->choose(bytes, board_->ranks()) : Algorithm::kFixed;
}

double SharedTransport::seconds() const { return fabric_ ? virtual_s_ : steady_seconds(); }

std::string SharedTransport::describe() const {
  switch (kind_) {
    case SharedKind::kThreads:
      return "threads of one process";
    case SharedKind::kProcesses:
      return "shared memory";
    case SharedKind::kSimulated:
      return "simulated: " + fabric_->describe();
  }
  return "";
}

Result<void> SharedTransport::run(const Call& call, Deadline deadline) {
  if (board_->failed()) return board_->failure();
  call_ = &call;
  deadline_ = deadline;
  compared_ = false;
  if (call.collective == Collective::kSendReceive) return message();
  if (ranks() == 1) {
    run_alone(call);
    if (fabric_) virtual_s_ += fabric_->seconds(call, 1);
    return {};
  }
  show();
  return run_collective();
}

Result<void> SharedTransport::run_collective() {
  const bool small = call_->bytes <= kSlotBytes;
  switch (call_->collective) {
    case Collective::kBarrier:
      return meet();
    case Collective::kAllGather:
      return in_threads() ? all_gather_direct() : all_gather_staged();
    case Collective::kBroadcast:
      return in_threads() ? broadcast_direct() : broadcast_staged();
    case Collective::kReduceScatter:
      return in_threads() && !small ? reduce_scatter_direct() : blocks_staged();
    case Collective::kAllToAll:
      return blocks_staged();
    case Collective::kAllReduce:
      if (call_->algorithm == Algorithm::kFixed)
        return in_threads() && !small ? all_reduce_direct() : all_reduce_staged();
      ALTLAS_TRY_VOID(meet());
      return run_by_exchanges(*this, rank(), ranks(), *call_);
    case Collective::kSendReceive:
      break;
  }
  return {};
}

void SharedTransport::show() {
  const Signature mine = signature_of(*call_);
  const uint64_t turn = call_->step & 1;
  CallBoard& call = board_->line(rank()).call[turn];
  call.what.store(mine.what | call_->step << 48, std::memory_order_relaxed);
  call.bytes.store(mine.bytes, std::memory_order_relaxed);
  if (fabric_) call.time.store(std::bit_cast<uint64_t>(virtual_s_), std::memory_order_relaxed);
  if (!in_threads()) return;
  board_->bell(rank()).shown[turn].in.store(call_->in.data(), std::memory_order_relaxed);
  board_->bell(rank()).shown[turn].out.store(call_->out.data(), std::memory_order_relaxed);
}

const std::byte* SharedTransport::shown_in(int rank) {
  return board_->bell(rank).shown[call_->step & 1].in.load(std::memory_order_relaxed);
}
std::byte* SharedTransport::shown_out(int rank) {
  return board_->bell(rank).shown[call_->step & 1].out.load(std::memory_order_relaxed);
}

Result<void> SharedTransport::meet() {
  ++phase_;
  board_->line(rank()).arrived.exchange(phase_, std::memory_order_seq_cst);
  for (int other = 0; other < ranks(); ++other)
    if (other != rank()) board_->ring(other);
  int next = 0;
  const auto all_here = [&] {
    for (; next < ranks(); ++next) {
      const uint32_t arrived = board_->line(next).arrived.load(std::memory_order_acquire);
      if (static_cast<int32_t>(arrived - phase_) < 0) return false;
    }
    return true;
  };
  ALTLAS_TRY_VOID(board_->wait(*call_, deadline_, all_here, [&] { return next; }));
  return compared_ ? Result<void>() : compare();
}

Result<void> SharedTransport::compare() {
  compared_ = true;
  const Signature mine = signature_of(*call_);
  double latest = virtual_s_;
  for (int other = 0; other < ranks(); ++other) {
    const CallBoard& call = board_->line(other).call[call_->step & 1];
    const Signature theirs{call.what.load(std::memory_order_relaxed),
                           call.bytes.load(std::memory_order_relaxed)};
    if (theirs != Signature{mine.what | call_->step << 48, mine.bytes}) {
      board_->fail(conflict(other, theirs, mine));
      return board_->failure();
    }
    if (fabric_)
      latest = std::max(latest, std::bit_cast<double>(call.time.load(std::memory_order_relaxed)));
  }
  if (fabric_) virtual_s_ = latest + fabric_->seconds(*call_, ranks());
  return {};
}

Error SharedTransport::conflict(int other, const Signature& theirs, const Signature& mine) const {
  return Error(
      ErrorCode::kConflict,
      fmt::format("{}: rank {} called {}, rank {} called {}", place_of(*call_), other,
                  collective::describe(theirs), board_->rank(), collective::describe(mine)));
}

Result<void> SharedTransport::all_gather_direct() {
  const uint64_t block = call_->bytes, mine = static_cast<uint64_t>(rank()) * block;
  copy_bytes(call_->in.data(), call_->out.data() + mine, block);
  ALTLAS_TRY_VOID(meet());
  bool one_buffer = true;
  for (int other = 0; other < ranks(); ++other) one_buffer &= shown_out(other) == shown_out(0);
  if (one_buffer) return {};  // Every rank has written its part where it belongs.
  for (int k = 1; k < ranks(); ++k) {
    const int other = (rank() + k) % ranks();
    if (shown_out(other) != call_->out.data())
      copy_bytes(shown_in(other), call_->out.data() + static_cast<uint64_t>(other) * block, block);
  }
  return meet();
}

Result<void> SharedTransport::all_gather_staged() {
  const uint64_t block = call_->bytes;
  copy_bytes(call_->in.data(), call_->out.data() + static_cast<uint64_t>(rank()) * block, block);
  uint64_t at = 0;
  do {
    const uint64_t size = std::min(kSlotBytes, block - at);
    const uint32_t turn = turn_++;
    copy_bytes(call_->in.data() + at, board_->slot(rank(), turn), size);
    ALTLAS_TRY_VOID(meet());
    for (int k = 1; k < ranks(); ++k) {
      const int other = (rank() + k) % ranks();
      copy_bytes(board_->slot(other, turn),
                 call_->out.data() + static_cast<uint64_t>(other) * block + at, size);
    }
    at += size;
  } while (at < block);
  return {};
}

// A slot that is written at one meeting is free again two meetings later: every rank that came to
// the meeting in between has read it.
Result<void> SharedTransport::all_reduce_staged() {
  const size_t unit = element_bytes(call_->type);
  const std::span<const std::byte*> parts(parts_.data(), static_cast<size_t>(ranks()));
  uint64_t at = 0;
  do {
    const uint64_t size = std::min(kSlotBytes, call_->bytes - at);
    const uint32_t turn = turn_++;
    copy_bytes(call_->in.data() + at, board_->slot(rank(), turn), size);
    ALTLAS_TRY_VOID(meet());
    const bool whole = ranks() == 2 || size <= kWholeBytesMax;
    const Range mine = whole ? Range{0, size / unit} : part_of(size / unit, ranks(), rank());
    for (int r = 0; r < ranks(); ++r)
      parts[static_cast<size_t>(r)] = board_->slot(r, turn) + mine.begin * unit;
    std::byte* const out = whole ? call_->out.data() + at : board_->slot(rank(), turn);
    reduce_in_order(call_->type, call_->op, parts, out + mine.begin * unit, mine.size());
    if (!whole) {
      ALTLAS_TRY_VOID(meet());
      for (int r = 0; r < ranks(); ++r) {
        const Range part = part_of(size / unit, ranks(), r);
        copy_bytes(board_->slot(r, turn) + part.begin * unit,
                   call_->out.data() + at + part.begin * unit, part.size() * unit);
      }
    }
    at += size;
  } while (at < call_->bytes);
  return {};
}

// Each rank reduces its part of all inputs, then takes the parts of the others. This works in
// place, too: the part that a rank writes first is read by nobody else, and all have read before
// anybody writes the rest.
Result<void> SharedTransport::all_reduce_direct() {
  const size_t unit = element_bytes(call_->type);
  const uint64_t count = call_->bytes / unit;
  ALTLAS_TRY_VOID(meet());
  const Range mine = part_of(count, ranks(), rank());
  const std::span<const std::byte*> parts(parts_.data(), static_cast<size_t>(ranks()));
  for (int r = 0; r < ranks(); ++r) parts[static_cast<size_t>(r)] = shown_in(r) + mine.begin * unit;
  reduce_in_order(call_->type, call_->op, parts, call_->out.data() + mine.begin * unit,
                  mine.size());
  ALTLAS_TRY_VOID(meet());
  for (int k = 1; k < ranks(); ++k) {
    const int other = (rank() + k) % ranks();
    const Range part = part_of(count, ranks(), other);
    copy_bytes(shown_out(other) + part.begin * unit, call_->out.data() + part.begin * unit,
               part.size() * unit);
  }
  return meet();
}

Result<void> SharedTransport::broadcast_direct() {
  ALTLAS_TRY_VOID(meet());
  if (rank() != call_->root) copy_bytes(shown_in(call_->root), call_->out.data(), call_->bytes);
  return meet();
}

Result<void> SharedTransport::broadcast_staged() {
  uint64_t at = 0;
  do {
    const uint64_t size = std::min(kSlotBytes, call_->bytes - at);
    const uint32_t turn = turn_++;
    if (rank() == call_->root) copy_bytes(call_->in.data() + at, board_->slot(rank(), turn), size);
    ALTLAS_TRY_VOID(meet());
    if (rank() != call_->root)
      copy_bytes(board_->slot(call_->root, turn), call_->out.data() + at, size);
    at += size;
  } while (at < call_->bytes);
  return {};
}

Result<void> SharedTransport::reduce_scatter_direct() {
  ALTLAS_TRY_VOID(meet());
  const std::span<const std::byte*> parts(parts_.data(), static_cast<size_t>(ranks()));
  for (int r = 0; r < ranks(); ++r)
    parts[static_cast<size_t>(r)] = shown_in(r) + static_cast<uint64_t>(rank()) * call_->bytes;
  reduce_in_order(call_->type, call_->op, parts, call_->out.data(),
                  call_->bytes / element_bytes(call_->type));
  return meet();
}

Result<void> SharedTransport::blocks_staged() {
  const auto n = static_cast<uint64_t>(ranks());
  // Shares are whole elements.
  const uint64_t block = call_->bytes, share = kSlotBytes / n / 64 * 64;
  const bool reduces = call_->collective == Collective::kReduceScatter;
  const std::span<const std::byte*> parts(parts_.data(), n);
  uint64_t at = 0;
  do {
    const uint64_t size = std::min(share, block - at);
    const uint32_t turn = turn_++;
    for (uint64_t r = 0; r < n; ++r)
      copy_bytes(call_->in.data() + r * block + at, board_->slot(rank(), turn) + r * share, size);
    ALTLAS_TRY_VOID(meet());
    for (uint64_t r = 0; r < n; ++r) {
      parts[r] = board_->slot(static_cast<int>(r), turn) + static_cast<uint64_t>(rank()) * share;
      if (!reduces) copy_bytes(parts[r], call_->out.data() + r * block + at, size);
    }
    if (reduces)
      reduce_in_order(call_->type, call_->op, parts, call_->out.data() + at,
                      size / element_bytes(call_->type));
    at += size;
  } while (at < block);
  return {};
}

// Messages of send/recv are numbered per pair of ranks, those of a collective by its step.
Result<void> SharedTransport::message() {
  Call call = *call_;
  const int peer = call.to != kNobody ? call.to : call.from;
  call.step = 1 + (call.to != kNobody ? messages_out_[static_cast<size_t>(call.to)]++
                                      : messages_in_[static_cast<size_t>(peer)]);
  if (call.from != kNobody) ++messages_in_[static_cast<size_t>(call.from)];
  call_ = &call;
  const Exchange move{.to = call.to, .out = call.in, .from = call.from, .in = call.out};
  if (fabric_) call.bytes = std::max(call.in.size(), call.out.size());
  const double begun = virtual_s_;
  ALTLAS_TRY_VOID(exchange(move));
  if (fabric_) virtual_s_ = std::max(begun, virtual_s_) + fabric_->seconds(call, ranks());
  return {};
}

uint64_t SharedTransport::message_word() const {
  Call plain = *call_;
  plain.root = 0;
  const uint64_t step = call_->collective == Collective::kSendReceive ? 0 : call_->step;
  return signature_of(plain).what | step << 48;
}

bool SharedTransport::try_send(const Exchange& move, uint64_t& slots_sent) {
  uint32_t& written = written_[static_cast<size_t>(move.to)];
  Mailbox& box = board_->mailbox(rank(), move.to);
  if (written - box.read.count.load(std::memory_order_acquire) >= kSlots) return false;
  const uint64_t at = slots_sent * kMailSlotBytes;
  copy_bytes(move.out.data() + at, board_->mail_slot(rank(), move.to, written),
             std::min(kMailSlotBytes, move.out.size() - at));
  CallBoard& message = box.written.message[written % kSlots];
  message.what.store(message_word(), std::memory_order_relaxed);
  message.bytes.store(move.out.size(), std::memory_order_relaxed);
  if (fabric_) message.time.store(std::bit_cast<uint64_t>(virtual_s_), std::memory_order_relaxed);
  box.written.count.exchange(++written, std::memory_order_seq_cst);
  ++slots_sent;
  board_->ring(move.to);
  return true;
}

Result<bool> SharedTransport::try_receive(const Exchange& move, uint64_t& slots_received) {
  uint32_t& read = read_[static_cast<size_t>(move.from)];
  Mailbox& box = board_->mailbox(move.from, rank());
  if (box.written.count.load(std::memory_order_acquire) == read) return false;
  const CallBoard& message = box.written.message[read % kSlots];
  const Signature theirs{message.what.load(std::memory_order_relaxed),
                         message.bytes.load(std::memory_order_relaxed)};
  if (const Signature mine{message_word(), move.in.size()}; theirs != mine) {
    board_->fail(conflict(move.from, theirs, mine));
    return board_->failure();
  }
  // Only send/recv carries times: in a collective the ranks' times are known from their meeting.
  if (fabric_ && call_->collective == Collective::kSendReceive)
    virtual_s_ =
        std::max(virtual_s_, std::bit_cast<double>(message.time.load(std::memory_order_relaxed)));
  const uint64_t at = slots_received * kMailSlotBytes;
  copy_bytes(board_->mail_slot(move.from, rank(), read), move.in.data() + at,
             std::min(kMailSlotBytes, move.in.size() - at));
  box.read.count.exchange(++read, std::memory_order_seq_cst);
  ++slots_received;
  board_->ring(move.from);
  return true;
}

Result<void> SharedTransport::exchange(const Exchange& move) {
  const uint64_t to_send = move.to == kNobody ? 0 : slots_of(move.out.size());
  const uint64_t to_receive = move.from == kNobody ? 0 : slots_of(move.in.size());
  uint64_t sent = 0, received = 0;
  Result<bool> came = false;
  const auto progress = [&] {
    bool moved = sent < to_send && try_send(move, sent);
    if (received < to_receive) {
      came = try_receive(move, received);
      moved |= !came.ok() || *came;
    }
    return moved;
  };
  while (sent < to_send || received < to_receive) {
    const auto waited_for = [&] { return received < to_receive ? move.from : move.to; };
    ALTLAS_TRY_VOID(board_->wait(*call_, deadline_, progress, waited_for));
    if (!came.ok()) return came.error();
  }
  return {};
}

}  // namespace altlas::collective
