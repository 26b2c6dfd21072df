#include "collective/board.h"

#include <fmt/format.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <thread>

namespace altlas::collective {
namespace {

constexpr uint32_t kReasonBytes = 480;
constexpr uint32_t kYields = 200;      // A rank yields this often before it sleeps.
constexpr long kSleepNs = 10'000'000;  // After each sleep it looks at the clock and at its peers.
constexpr uint32_t kNone = 0, kWriting = 1, kWritten = 2;

static_assert(std::atomic<uint64_t>::is_always_lock_free && sizeof(std::atomic<uint32_t>) == 4);

void futex(std::atomic<uint32_t>& word, int what, uint32_t value, const timespec* time) {
  ::syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), what, value, time, nullptr, 0);
}

uint64_t pages(uint64_t bytes) { return (bytes + 4095) / 4096 * 4096; }

}  // namespace

struct Board::Header {
  alignas(64) std::atomic<uint32_t> failed;
  std::atomic<uint32_t> code;
  std::atomic<uint32_t> size;
  char reason[kReasonBytes];
};

uint64_t Board::bytes_needed(int ranks) {
  const auto n = static_cast<uint64_t>(ranks);
  return pages(sizeof(Header)) + pages(n * sizeof(RankLine)) + pages(n * sizeof(RankBell)) +
         pages(n * n * sizeof(Mailbox)) + n * kSlots * kSlotBytes + n * n * kSlots * kMailSlotBytes;
}

Board::Board(std::shared_ptr<std::byte> memory, int rank, int ranks, ProcessEnded ended)
    : memory_(std::move(memory)), rank_(rank), ranks_(ranks), ended_(std::move(ended)) {
  const auto n = static_cast<uint64_t>(ranks);
  std::byte* at = memory_.get();
  const auto take = [&at](uint64_t bytes) {
    std::byte* const taken = at;
    at += pages(bytes);
    return taken;
  };
  header_ = reinterpret_cast<Header*>(take(sizeof(Header)));
  failed_ = &header_->failed;
  lines_ = reinterpret_cast<RankLine*>(take(n * sizeof(RankLine)));
  bells_ = reinterpret_cast<RankBell*>(take(n * sizeof(RankBell)));
  mailboxes_ = reinterpret_cast<Mailbox*>(take(n * n * sizeof(Mailbox)));
  slots_ = take(n * kSlots * kSlotBytes);
  mail_ = take(n * n * kSlots * kMailSlotBytes);
  // Ranks that have a core each wait for a cache line; more ranks than cores wait for a core.
  spins_ = ranks <= static_cast<int>(std::thread::hardware_concurrency()) ? 4000 : 20;
}

void Board::pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

uint32_t Board::before_sleep() {
  if (yields_ < kYields) return 0;
  const uint32_t rings = bells_[rank_].rings.load(std::memory_order_acquire);
  bells_[rank_].asleep.store(1, std::memory_order_seq_cst);
  return rings;
}

void Board::sleep(uint32_t rings) {
  if (yields_ < kYields) {
    ++yields_;
    ::sched_yield();
    return;
  }
  const timespec time{0, kSleepNs};
  futex(bells_[rank_].rings, FUTEX_WAIT, rings, &time);
}

void Board::after_sleep() {
  if (yields_ >= kYields) bells_[rank_].asleep.store(0, std::memory_order_seq_cst);
}

void Board::waited() {
  if (yields_ >= kYields) lines_[rank_].waits.store(0, std::memory_order_relaxed);
}

int Board::held_up_by(int waited_for) const {
  // The loop also ends if ranks wait for one another in a circle.
  for (int i = 0; i < ranks_; ++i) {
    const int next = lines_[waited_for].waits.load(std::memory_order_relaxed) - 1;
    if (next < 0 || next >= ranks_) break;
    waited_for = next;
  }
  return waited_for;
}

void Board::wake(int rank) {
  bells_[rank].rings.fetch_add(1, std::memory_order_seq_cst);
  futex(bells_[rank].rings, FUTEX_WAKE, 1, nullptr);
}

Result<void> Board::still_hopeful(const Call& call, Deadline deadline, int waited_for) {
  if (failed()) return failure();
  if (yields_ < kYields) return {};
  const auto end_with = [&](ErrorCode code, std::string_view what) {
    fail(Error(code, fmt::format("{}: rank {} {}", place_of(call), waited_for, what)));
    return failure();
  };
  // `left` is read before the board is read again: a rank that came and then left counts as come.
  const bool left = lines_[waited_for].left.load(std::memory_order_acquire) != 0;
  const bool ended = !left && ended_ && ended_(waited_for);
  if (std::chrono::steady_clock::now() >= deadline) {
    waited_for = held_up_by(waited_for);
    return end_with(ErrorCode::kDeadline,
                    fmt::format("did not come within the timeout, rank {} waited", rank_));
  }
  if (left || ended) {
    // A rank that was gone before the last look at the board will not come.
    if (gone_ == waited_for)
      return end_with(ErrorCode::kUnavailable, left ? "left the group" : "died");
    gone_ = waited_for;
  }
  lines_[rank_].waits.store(static_cast<int16_t>(waited_for + 1), std::memory_order_relaxed);
  return {};
}

void Board::fail(const Error& why) {
  uint32_t none = kNone;
  if (header_->failed.compare_exchange_strong(none, kWriting)) {
    const size_t size = std::min<size_t>(why.message().size(), kReasonBytes);
    std::memcpy(header_->reason, why.message().data(), size);
    header_->size.store(static_cast<uint32_t>(size));
    header_->code.store(static_cast<uint32_t>(why.code()));
    header_->failed.store(kWritten, std::memory_order_seq_cst);
  }
  for (int rank = 0; rank < ranks_; ++rank) wake(rank);
}

Error Board::failure() const {
  // A rank that fails writes its reason at once, unless it is killed in between.
  for (int i = 0; i < 1000 && header_->failed.load(std::memory_order_acquire) == kWriting; ++i)
    ::sched_yield();
  if (header_->failed.load(std::memory_order_acquire) != kWritten)
    return Error(ErrorCode::kUnavailable, "the group failed, and the rank that knows why died");
  const uint32_t size = std::min(header_->size.load(), kReasonBytes);
  return Error(error_code_of(header_->code.load()),
               printable_words({header_->reason, size}, kReasonBytes));
}

void Board::leave() {
  lines_[rank_].left.store(1, std::memory_order_seq_cst);
  for (int rank = 0; rank < ranks_; ++rank) ring(rank);
}

std::string printable_words(std::string_view words, size_t bytes_max) {
  std::string out(words.substr(0, bytes_max));
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f) c = '?';
  return out;
}

ErrorCode error_code_of(uint32_t code) {
  return code <= static_cast<uint32_t>(ErrorCode::kInternal) ? static_cast<ErrorCode>(code)
                                                             : ErrorCode::kInternal;
}

}  // namespace altlas::collective
