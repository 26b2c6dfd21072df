#include "collective/tcp_transport.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <thread>

#include "collective/algorithms.h"
#include "collective/board.h"

namespace altlas::collective {
namespace {

// A smaller stripe is not worth another connection.
constexpr uint64_t kStripeBytesMin = uint64_t{64} << 10;
// A payload up to this size goes with its header.
constexpr size_t kTogetherBytesMax = 8 * 1024;
// The longest wait for the last words of a rank whose connection ended.
constexpr std::chrono::milliseconds kLastWordsTimeout{1'000};
constexpr uint64_t kTreeBytesMax = uint64_t{64} << 10;

size_t stripes_for(uint64_t bytes, size_t lanes) {
  return std::clamp<size_t>(bytes / kStripeBytesMin, 1, lanes);
}

template <class Byte>
std::span<Byte> stripe_of(std::span<Byte> all, size_t stripes, size_t index) {
  const Range part = part_of(all.size(), static_cast<int>(stripes), static_cast<int>(index));
  return all.subspan(part.begin, part.size());
}

}  // namespace

// Threads that carry stripes beside the caller, in one exchange at a time.
class TcpTransport::Helpers {
 public:
  using Work = std::function<void(size_t helper)>;
  explicit Helpers(int count) {
    for (int i = 1; i <= count; ++i)
      threads_.emplace_back(
          [this, i](std::stop_token stop) { serve(stop, static_cast<size_t>(i)); });
  }
  void start(Work work) {
    {
      const std::lock_guard lock(mutex_);
      work_ = std::move(work);
      ++round_;
      busy_ = threads_.size();
    }
    changed_.notify_all();
  }
  void finish() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return busy_ == 0; });
  }

 private:
  void serve(std::stop_token stop, size_t helper) {
    uint64_t seen = 0;
    while (true) {
      {
        std::unique_lock lock(mutex_);
        if (!changed_.wait(lock, stop, [&] { return round_ != seen; })) return;
        seen = round_;
      }
      work_(helper);
      const std::lock_guard lock(mutex_);
      if (--busy_ == 0) changed_.notify_all();
    }
  }
  std::mutex mutex_;
  std::condition_variable_any changed_;
  Work work_;
  uint64_t round_ = 0;
  size_t busy_ = 0;
  std::vector<std::jthread> threads_;  // The last member, so that the threads end first.
};

Result<std::unique_ptr<TcpTransport>> TcpTransport::make(Setup setup) {
  Fd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return io_error("no descriptors are left for a group");
  return std::unique_ptr<TcpTransport>(new TcpTransport(std::move(setup), std::move(wake)));
}

TcpTransport::TcpTransport(Setup setup, Fd wake)
    : setup_(std::move(setup)), wake_(std::move(wake)) {
  const size_t n = setup_.peers.size();
  incoming_.resize(n);
  for (size_t rank = 0; rank < n; ++rank) incoming_[rank].resize(setup_.peers[rank].lanes.size());
  messages_out_.resize(n);
  messages_in_.resize(n);
  controls_.resize(n);
  if (setup_.threads > 1) helpers_ = std::make_unique<Helpers>(setup_.threads - 1);
}

TcpTransport::~TcpTransport() {
  helpers_.reset();
  const std::lock_guard lock(mutex_);
  if (!failure_) send_notice({.kind = NoticeKind::kLeft});
}

size_t TcpTransport::lanes() const {
  const size_t other = setup_.rank == 0 ? setup_.peers.size() - 1 : 0;
  return setup_.peers[other].lanes.size();
}

Algorithm TcpTransport::choose(uint64_t bytes) const {
  if (ranks() <= 2) return Algorithm::kFixed;  // With two ranks it moves no more bytes than a ring.
  return bytes <= kTreeBytesMax ? Algorithm::kTree : Algorithm::kRing;
}

Result<void> TcpTransport::run(const Call& call, Deadline deadline) {
  if (const auto why = failure()) return *why;
  Call mine = call;
  call_ = &mine;
  deadline_ = deadline;
  told_at_ = std::chrono::steady_clock::now() + setup_.timeout / 2;
  told_ = false;
  if (call.collective != Collective::kSendReceive) {
    step_ = call.step;
    if (ranks() > 1) return run_by_exchanges(*this, setup_.rank, ranks(), mine);
    run_alone(mine);
    return {};
  }
  return exchange({.to = call.to, .out = call.in, .from = call.from, .in = call.out});
}

FrameHeader TcpTransport::header_for(uint64_t message_bytes) const {
  FrameHeader header{.call = signature_of(*call_), .step = step_, .message_bytes = message_bytes};
  if (call_->collective == Collective::kSendReceive) header.call.bytes = message_bytes;
  return header;
}

std::vector<TcpTransport::Stripe> TcpTransport::stripes_of(const Exchange& move,
                                                           const FrameHeader& header) const {
  const size_t sends = move.to == kNobody ? 0 : stripes_for(move.out.size(), lanes());
  const size_t receives = move.from == kNobody ? 0 : stripes_for(move.in.size(), lanes());
  std::vector<Stripe> stripes(std::max(sends, receives));
  for (size_t lane = 0; lane < stripes.size(); ++lane) {
    Stripe& stripe = stripes[lane];
    stripe.lane = lane;
    stripe.receives = lane < receives;
    if (stripe.receives) stripe.in = stripe_of(move.in, receives, lane);
    stripe.sends = lane < sends;
    if (!stripe.sends) continue;
    FrameHeader own = header;
    own.lane = static_cast<uint32_t>(lane);
    const auto head = encode(own);
    stripe.head.assign(head.begin(), head.end());
    stripe.out = stripe_of(move.out, sends, lane);
    if (stripe.out.size() <= kTogetherBytesMax) {
      stripe.head.insert(stripe.head.end(), stripe.out.begin(), stripe.out.end());
      stripe.out = {};
    }
  }
  return stripes;
}

Result<void> TcpTransport::exchange(const Exchange& move) {
  FrameHeader header = header_for(move.out.size());
  const bool message = call_->collective == Collective::kSendReceive;
  if (message && move.to != kNobody) header.step = ++messages_out_[static_cast<size_t>(move.to)];
  if (message && move.from != kNobody) ++messages_in_[static_cast<size_t>(move.from)];
  std::vector<Stripe> stripes = stripes_of(move, header);
  const bool shared = helpers_ && stripes.size() > 1;
  if (shared)
    helpers_->start([&](size_t helper) {
      // fail() makes a helper's error visible to all.
      if (const auto done = drive(move, stripes, helper); !done) fail(done.error());
    });
  const Result<void> done = drive(move, stripes, 0);
  if (shared) helpers_->finish();
  if (told_) {
    const std::lock_guard lock(mutex_);
    tell_waiting(kNobody);
  }
  if (const auto why = failure()) return *why;
  return done;
}

Result<void> TcpTransport::drive(const Exchange& move, std::span<Stripe> stripes, size_t helper) {
  const auto threads = static_cast<size_t>(setup_.threads);
  while (!failed_.load(std::memory_order_acquire)) {
    bool moved = false, done = true;
    for (size_t i = helper; i < stripes.size(); i += threads) {
      ALTLAS_TRY(const bool some, move_on(move, stripes[i]));
      moved |= some;
      done &= stripes[i].done();
    }
    if (done) return {};
    if (!moved) ALTLAS_TRY_VOID(wait(move, stripes, helper));
  }
  return *failure();
}

Result<bool> TcpTransport::move_on(const Exchange& move, Stripe& stripe) {
  bool moved = false;
  if (stripe.sends) {
    ALTLAS_TRY(moved, send_on(move, stripe));
  }
  if (stripe.receives) {
    ALTLAS_TRY(const bool received, receive_on(move, stripe));
    moved |= received;
  }
  return moved;
}

Result<bool> TcpTransport::send_on(const Exchange& move, Stripe& stripe) {
  Stream& stream = peer(move.to).lanes[stripe.lane];
  const bool in_head = stripe.head_done < stripe.head.size();
  const auto rest = in_head ? std::span<const std::byte>(stripe.head).subspan(stripe.head_done)
                            : stripe.out.subspan(stripe.out_done);
  const Result<size_t> sent = stream.write_some(rest);
  if (!sent) return gone(move.to, sent.error());
  (in_head ? stripe.head_done : stripe.out_done) += *sent;
  stripe.sends = stripe.head_done < stripe.head.size() || stripe.out_done < stripe.out.size();
  return *sent > 0;
}

Result<bool> TcpTransport::read_header(int rank, size_t lane) {
  Incoming& incoming = incoming_[static_cast<size_t>(rank)][lane];
  if (incoming.header) return true;
  const auto rest = std::span(incoming.head).subspan(incoming.head_bytes);
  ALTLAS_TRY(const size_t came, peer(rank).lanes[lane].read_some(rest));
  incoming.head_bytes += came;
  if (incoming.head_bytes < incoming.head.size()) return false;
  ALTLAS_TRY(incoming.header, decode_frame(incoming.head));
  return true;
}

Result<bool> TcpTransport::receive_on(const Exchange& move, Stripe& stripe) {
  Incoming& incoming = incoming_[static_cast<size_t>(move.from)][stripe.lane];
  const size_t before = incoming.head_bytes;
  const Result<bool> known = read_header(move.from, stripe.lane);
  if (!known) return gone(move.from, known.error());
  if (!*known) return incoming.head_bytes > before;
  ALTLAS_TRY_VOID(check_expected(move.from, stripe.lane, *incoming.header, move.in.size()));
  if (stripe.in_done < stripe.in.size()) {
    const Result<size_t> came =
        peer(move.from).lanes[stripe.lane].read_some(stripe.in.subspan(stripe.in_done));
    if (!came) return gone(move.from, came.error());
    stripe.in_done += *came;
    if (stripe.in_done < stripe.in.size()) return *came > 0;
  }
  stripe.receives = false;
  incoming.header.reset();
  incoming.head_bytes = 0;
  return true;
}

Result<void> TcpTransport::check_expected(int rank, size_t lane, const FrameHeader& header,
                                          uint64_t message_bytes) {
  FrameHeader wanted = header_for(message_bytes);
  wanted.lane = static_cast<uint32_t>(lane);
  if (call_->collective == Collective::kSendReceive)
    wanted.step = messages_in_[static_cast<size_t>(rank)];
  if (header == wanted) return {};
  const Signature mine = wanted.call;
  return fail(Error(ErrorCode::kConflict,
                    fmt::format("{}, step {}: rank {} called {} (step {}), rank {} called {}",
                                to_string(call_->collective), wanted.step, rank,
                                collective::describe(header.call), header.step, setup_.rank,
                                collective::describe(mine))));
}

// Checks a rank that this step does not receive from: it may be a step ahead, or about to be
// received from in this step.
Result<void> TcpTransport::check_ahead(int rank) {
  const auto& header = incoming_[static_cast<size_t>(rank)][0].header;
  const auto collective = static_cast<Collective>(header->call.what & 0xff);
  if (collective == Collective::kSendReceive || call_->collective == Collective::kSendReceive ||
      header->step > step_ || (header->step == step_ && header->call == signature_of(*call_)))
    return {};
  return check_expected(rank, 0, *header, header->message_bytes);
}

Result<void> TcpTransport::wait(const Exchange& move, std::span<Stripe> stripes, size_t helper) {
  std::vector<pollfd> waiting{{wake_.get(), POLLIN, 0}};
  for (size_t i = helper; i < stripes.size(); i += static_cast<size_t>(setup_.threads)) {
    const Stripe& stripe = stripes[i];
    if (stripe.sends) {
      const Stream& to = peer(move.to).lanes[stripe.lane];
      waiting.push_back({to.fd(), to.write_waits_for(), 0});
    }
    if (stripe.receives) {
      const Stream& from = peer(move.from).lanes[stripe.lane];
      waiting.push_back({from.fd(), from.read_waits_for(), 0});
    }
  }
  const size_t own = waiting.size();
  for (int rank = 0; helper == 0 && rank < ranks(); ++rank) {
    if (rank == setup_.rank) continue;
    const Incoming& incoming = incoming_[static_cast<size_t>(rank)][0];
    if (!incoming.closed && !incoming.header && rank != move.from)
      waiting.push_back({peer(rank).lanes[0].fd(), POLLIN, 0});
    if (!control_closed(rank)) waiting.push_back({peer(rank).control.fd(), POLLIN, 0});
  }
  const auto now = std::chrono::steady_clock::now();
  const bool tells = helper == 0 && !told_ && told_at_ < deadline_;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(
      (tells ? std::max(told_at_, now) : deadline_) - now);
  if (!tells && left.count() <= 0) return late(move.from != kNobody ? move.from : move.to);
  ::poll(waiting.data(), waiting.size(),
         static_cast<int>(std::clamp<int64_t>(left.count(), 0, 60'000)));
  if (helper != 0) return {};
  const bool around = std::any_of(waiting.begin() + static_cast<std::ptrdiff_t>(own), waiting.end(),
                                  [](const pollfd& p) { return p.revents != 0; });
  if (around) ALTLAS_TRY_VOID(look_around(move));
  if (tells && std::chrono::steady_clock::now() >= told_at_) {
    const std::lock_guard lock(mutex_);
    tell_waiting(move.from != kNobody ? move.from : move.to);
  }
  return {};
}

bool TcpTransport::control_closed(int rank) {
  const std::lock_guard lock(mutex_);
  return controls_[static_cast<size_t>(rank)].closed;
}

Result<void> TcpTransport::look_around(const Exchange& move) {
  for (int rank = 0; rank < ranks(); ++rank) {
    if (rank == setup_.rank) continue;
    ALTLAS_TRY_VOID(read_notices(rank));
    Incoming& incoming = incoming_[static_cast<size_t>(rank)][0];
    if (incoming.closed || incoming.header || rank == move.from) continue;
    const Result<bool> known = read_header(rank, 0);
    if (!known) {
      // The rank may have left after its part was done; whoever still needs it reads or writes, and
      // notices.
      incoming.closed = true;
    } else if (*known) {
      ALTLAS_TRY_VOID(check_ahead(rank));
    }
  }
  return {};
}

Result<void> TcpTransport::read_notices(int rank) {
  const std::lock_guard lock(mutex_);
  Control& control = controls_[static_cast<size_t>(rank)];
  while (!control.closed) {
    const auto rest = std::span(control.notice).subspan(control.bytes);
    const Result<size_t> came = peer(rank).control.read_some(rest);
    control.closed = !came.ok();
    if (control.closed || *came == 0) break;
    control.bytes += *came;
    if (control.bytes < control.notice.size()) continue;
    control.bytes = 0;
    const Result<Notice> notice = decode_notice(control.notice);
    control.closed = !notice.ok();
    if (notice) ALTLAS_TRY_VOID(take_notice(control, *notice));
  }
  return {};
}

Result<void> TcpTransport::take_notice(Control& control, const Notice& notice) {
  switch (notice.kind) {
    case NoticeKind::kFailed:
      // Passed on, though the sender tells all ranks itself: whoever sees this rank go must not
      // hear of the cause after that.
      return fail_locked(
          Error(error_code_of(notice.code), printable_words(notice.words, kWordsBytesMax)));
    case NoticeKind::kLeft:
      control.left = true;
      break;
    case NoticeKind::kWaiting:
      control.waits_for = notice.rank;
      control.waits_in = notice.step;
      break;
  }
  return {};
}

// `how` the connection ended says little. The rank may have said more before, such as that another
// one was gone first; those words come over a connection of their own, maybe later.
Error TcpTransport::gone(int rank, const Error& how) {
  const Deadline until = std::min(deadline_, std::chrono::steady_clock::now() + kLastWordsTimeout);
  while (true) {
    if (const auto told = read_notices(rank); !told) return told.error();
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    if (control_closed(rank) || left.count() <= 0) break;
    pollfd words{peer(rank).control.fd(), POLLIN, 0};
    ::poll(&words, 1, static_cast<int>(left.count()));
  }
  const std::lock_guard lock(mutex_);
  const bool left = controls_[static_cast<size_t>(rank)].left;
  const std::string what =
      left ? "left the group" : fmt::format("died or was cut off ({})", how.message());
  return fail_locked(Error(
      ErrorCode::kUnavailable,
      fmt::format("{}, step {}: rank {} {}", to_string(call_->collective), step_, rank, what)));
}

// Names the rank that holds up `waited_for`, if that one said whom it waits for.
Error TcpTransport::late(int waited_for) {
  for (int rank = 0; rank < ranks(); ++rank)
    if (rank != setup_.rank)
      if (const auto told = read_notices(rank); !told) return told.error();
  const std::lock_guard lock(mutex_);
  for (int i = 0; i < ranks(); ++i) {
    const Control& control = controls_[static_cast<size_t>(waited_for)];
    if (control.waits_for == kNobody || control.waits_for >= ranks() ||
        control.waits_for == setup_.rank || control.waits_in != step_)
      break;
    waited_for = control.waits_for;
  }
  return fail_locked(
      Error(ErrorCode::kDeadline,
            fmt::format("{}, step {}: rank {} did not come within the timeout, rank {} waited",
                        to_string(call_->collective), step_, waited_for, setup_.rank)));
}

void TcpTransport::tell_waiting(int rank) {
  told_ = rank != kNobody;
  send_notice({.kind = NoticeKind::kWaiting, .rank = static_cast<int16_t>(rank), .step = step_});
}

// Sends a notice without waiting. A peer whose socket has no room for it does not read, and misses
// it.
void TcpTransport::send_notice(const Notice& notice) {
  const auto bytes = encode(notice);
  for (size_t rank = 0; rank < setup_.peers.size(); ++rank)
    if (setup_.peers[rank].control.is_open() && !controls_[rank].closed) {
      const Result<size_t> sent = setup_.peers[rank].control.write_some(bytes);
      controls_[rank].closed = !sent.ok() || *sent != bytes.size();
    }
}

Error TcpTransport::fail_locked(const Error& why) {
  if (failure_) return *failure_;
  failure_ = why;
  failed_.store(true, std::memory_order_release);
  ::eventfd_write(wake_.get(), 1);
  send_notice({.kind = NoticeKind::kFailed,
               .code = static_cast<uint8_t>(why.code()),
               .words = why.message()});
  return *failure_;
}

Error TcpTransport::fail(const Error& why) {
  const std::lock_guard lock(mutex_);
  return fail_locked(why);
}

std::optional<Error> TcpTransport::failure() {
  if (!failed_.load(std::memory_order_acquire)) return std::nullopt;
  const std::lock_guard lock(mutex_);
  return failure_;
}

}  // namespace altlas::collective
