// Memory that the ranks of one machine share: who has come to which step, what is ready to be read,
// and why the group ended. Lies in this process or is mapped by several; whatever other processes
// write here only ever becomes data, words or a wait that ends, never an address or a size.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "collective/transport.h"

namespace altlas::collective {

// Bytes of a rank's vector that are moved at a time.
inline constexpr uint64_t kSlotBytes = uint64_t{128} << 10;
// Bytes of a message that are moved at a time.
inline constexpr uint64_t kMailSlotBytes = uint64_t{32} << 10;
inline constexpr uint32_t kSlots = 2;  // One is written while the other is still read.

// What a rank is about to do. Two, used in turn: a rank may begin its next call while others still
// compare this one.
struct CallBoard {
  std::atomic<uint64_t> what, bytes;
  std::atomic<uint64_t> time;  // Virtual seconds, as bits of a double.
};

struct alignas(64) RankLine {
  std::atomic<uint32_t> arrived;  // Phases that this rank has come to; wraps.
  std::atomic<uint16_t> left;     // 1: it destroyed its Group.
  std::atomic<int16_t> waits;     // 1 + the rank that it has waited for long; 0: none.
  CallBoard call[2];
};

// Where a rank that gave up spinning sleeps, and the addresses that threads of one process show
// each other.
struct alignas(64) RankBell {
  std::atomic<uint32_t> rings;   // A futex.
  std::atomic<uint32_t> asleep;  // 1: ring it.
  struct {
    std::atomic<const std::byte*> in;
    std::atomic<std::byte*> out;
  } shown[2];  // In turn, as RankLine::call.
};

// Messages of one rank to one other, a ring of kSlots slots.
struct Mailbox {
  struct alignas(64) {
    std::atomic<uint32_t> count;  // Slots written; wraps.
    CallBoard message[kSlots];    // The message that each slot belongs to.
  } written;
  struct alignas(64) {
    std::atomic<uint32_t> count;  // Slots read; wraps.
  } read;
};

// One rank's view of the board. Threads: one, fail() from any.
class Board {
 public:
  // True when the rank's process has ended; may be null.
  using ProcessEnded = std::function<bool(int rank)>;

  static uint64_t bytes_needed(int ranks);
  // `memory`: bytes_needed() bytes, 4096-aligned, zeroed before the first rank.
  Board(std::shared_ptr<std::byte> memory, int rank, int ranks, ProcessEnded ended);

  int rank() const { return rank_; }
  int ranks() const { return ranks_; }
  RankLine& line(int rank) { return lines_[rank]; }
  RankBell& bell(int rank) { return bells_[rank]; }
  Mailbox& mailbox(int from, int to) { return mailboxes_[from * ranks_ + to]; }
  std::byte* slot(int rank, uint32_t turn) {
    return slots_ + (static_cast<uint64_t>(rank) * kSlots + turn % kSlots) * kSlotBytes;
  }
  std::byte* mail_slot(int from, int to, uint32_t turn) {
    const auto box = static_cast<uint64_t>(from * ranks_ + to);
    return mail_ + (box * kSlots + turn % kSlots) * kMailSlotBytes;
  }

  // Wakes `rank` if it sleeps; call it after what it waits for is stored, sequentially consistent.
  void ring(int rank) {
    if (bells_[rank].asleep.load(std::memory_order_seq_cst) != 0) wake(rank);
  }

  // Waits until ready() is true. `waited_for()`: the rank that it waits for now. Errors: why the
  // group failed; this rank fails the group when the deadline passes or that rank is gone.
  template <class Ready, class WaitedFor>
  Result<void> wait(const Call& call, Deadline deadline, const Ready& ready,
                    const WaitedFor& waited_for) {
    yields_ = 0;
    gone_ = kNobody;
    for (uint32_t i = 0; i < spins_; ++i) {
      if (ready()) return {};
      if (failed_->load(std::memory_order_acquire) != 0) return failure();
      pause();
    }
    while (true) {
      const uint32_t rings = before_sleep();
      const bool done = ready();
      if (!done && failed_->load(std::memory_order_acquire) == 0) sleep(rings);
      after_sleep();
      if (done || ready()) {
        waited();
        return {};
      }
      ALTLAS_TRY_VOID(still_hopeful(call, deadline, waited_for()));
    }
  }

  // The first to fail says why; all ranks wake.
  void fail(const Error& why);
  // Why the group failed. Only after it did.
  Error failure() const;
  bool failed() const { return failed_->load(std::memory_order_acquire) != 0; }
  // This rank leaves; who waits for it learns of it.
  void leave();

 private:
  static void pause();
  uint32_t before_sleep();
  void sleep(uint32_t rings);
  void after_sleep();
  void waited();
  void wake(int rank);
  Result<void> still_hopeful(const Call& call, Deadline deadline, int waited_for);
  // The rank that holds up `waited_for`, who may itself wait.
  int held_up_by(int waited_for) const;

  struct Header;
  const std::shared_ptr<std::byte> memory_;
  const int rank_, ranks_;
  const ProcessEnded ended_;
  uint32_t spins_;
  uint32_t yields_ = 0;  // The yields of the wait that goes on.
  int gone_ = kNobody;   // Who was seen gone in it.
  Header* header_;
  std::atomic<uint32_t>* failed_;
  RankLine* lines_;
  RankBell* bells_;
  Mailbox* mailboxes_;
  std::byte* slots_;
  std::byte* mail_;
};

// Control characters become '?', so that words of another process can't steer a terminal.
std::string printable_words(std::string_view words, size_t bytes_max);
// As it came from another process: an unknown code is kInternal.
ErrorCode error_code_of(uint32_t code);

}  // namespace altlas::collective
