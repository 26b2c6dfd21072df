// Collectives through memory that the ranks share: threads of one process, processes of one
// machine, and simulated devices, whose ranks are threads with a virtual clock.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "collective/board.h"
#include "collective/link_model.h"

namespace altlas::collective {

// Where the board lies, and so what ranks may show each other.
enum class SharedKind : uint8_t { kThreads, kProcesses, kSimulated };

class SharedTransport final : public Transport, private Wire {
 public:
  // fabric: of kSimulated only.
  SharedTransport(std::unique_ptr<Board> board, SharedKind kind, std::optional<Fabric> fabric);
  ~SharedTransport() override;

  Result<void> run(const Call& call, Deadline deadline) override;
  void abort(const Error& why) override { board_->fail(why); }
  Algorithm choose(uint64_t bytes) const override;
  double seconds() const override;
  std::string describe() const override;

 private:
  Result<void> run_collective();
  Result<void> exchange(const Exchange& move) override;
  Result<void> message();

  // Shows this call; the ranks compare at their first meeting.
  void show();
  // Every rank has come here, and what it stored before can be read.
  Result<void> meet();
  Result<void> compare();

  Result<void> all_gather_direct();
  Result<void> all_gather_staged();
  Result<void> all_reduce_staged();
  Result<void> all_reduce_direct();
  Result<void> broadcast_direct();
  Result<void> broadcast_staged();
  Result<void> reduce_scatter_direct();
  // reduce_scatter and all_to_all: every rank has a block for every other.
  Result<void> blocks_staged();

  uint64_t message_word() const;
  bool try_send(const Exchange& move, uint64_t& slots_sent);
  Result<bool> try_receive(const Exchange& move, uint64_t& slots_received);
  Error conflict(int other, const Signature& theirs, const Signature& mine) const;

  int rank() const { return board_->rank(); }
  int ranks() const { return board_->ranks(); }
  const std::byte* shown_in(int rank);
  std::byte* shown_out(int rank);
  bool in_threads() const { return kind_ != SharedKind::kProcesses; }

  const std::unique_ptr<Board> board_;
  const SharedKind kind_;
  const std::optional<Fabric> fabric_;
  const Call* call_ = nullptr;  // The one that goes on.
  Deadline deadline_;
  uint32_t phase_ = 0;
  bool compared_ = false;
  uint32_t turn_ = 0;  // Which slot is written next.
  double virtual_s_ = 0;
  std::array<const std::byte*, kRanksMax>
      parts_{};  // Where each rank's part lies, for a reduction.
  // Slots written to and read from each other rank, and messages: never read back from the board.
  std::vector<uint32_t> written_, read_;
  std::vector<uint64_t> messages_out_, messages_in_;
};

}  // namespace altlas::collective
