// Collectives over TCP: a connection for data, or several, and one for notices between each pair of
// ranks. The rank's own thread drives all of them; helpers share the work of large messages.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "collective/frames.h"
#include "collective/stream.h"
#include "collective/transport.h"

namespace altlas::collective {

// The connections to one other rank.
struct TcpPeer {
  std::vector<Stream> lanes;
  Stream control;
};

class TcpTransport final : public Transport, private Wire {
 public:
  struct Setup {
    int rank = 0;
    std::vector<TcpPeer> peers;  // By rank; this rank's own is empty. All with as many lanes.
    int threads = 1;             // ≤ lanes.
    std::string words;           // describe().
    std::chrono::milliseconds timeout{0};
  };
  // Errors: kIo without descriptors.
  static Result<std::unique_ptr<TcpTransport>> make(Setup setup);
  ~TcpTransport() override;

  Result<void> run(const Call& call, Deadline deadline) override;
  void abort(const Error& why) override { fail(why); }
  Algorithm choose(uint64_t bytes) const override;
  double seconds() const override { return steady_seconds(); }
  std::string describe() const override { return setup_.words; }

 private:
  class Helpers;
  // What has come of a frame on one lane.
  struct Incoming {
    std::array<std::byte, kFrameHeaderBytes> head{};
    size_t head_bytes = 0;
    std::optional<FrameHeader> header;
    bool closed = false;
  };
  // A stripe under way.
  struct Stripe {
    size_t lane = 0;
    std::vector<std::byte> head;  // The header, and a short payload with it.
    size_t head_done = 0;
    std::span<const std::byte> out;
    size_t out_done = 0;
    bool sends = false, receives = false;
    std::span<std::byte> in;
    size_t in_done = 0;
    bool done() const { return !sends && !receives; }
  };

  explicit TcpTransport(Setup setup, Fd wake);
  int ranks() const { return static_cast<int>(setup_.peers.size()); }
  TcpPeer& peer(int rank) { return setup_.peers[static_cast<size_t>(rank)]; }
  size_t lanes() const;

  Result<void> exchange(const Exchange& move) override;
  std::vector<Stripe> stripes_of(const Exchange& move, const FrameHeader& header) const;
  // Stripes whose lane is `helper` modulo the number of threads, until they are done.
  Result<void> drive(const Exchange& move, std::span<Stripe> stripes, size_t helper);
  Result<bool> move_on(const Exchange& move, Stripe& stripe);
  Result<bool> send_on(const Exchange& move, Stripe& stripe);
  Result<bool> receive_on(const Exchange& move, Stripe& stripe);
  // Reads a header as far as it came. Errors: kUnavailable at the end of the connection.
  Result<bool> read_header(int rank, size_t lane);
  Result<void> wait(const Exchange& move, std::span<Stripe> stripes, size_t helper);
  // Notices, and headers of ranks that make another call: of thread 0 alone.
  Result<void> look_around(const Exchange& move);
  Result<void> read_notices(int rank);
  Result<void> check_expected(int rank, size_t lane, const FrameHeader& header,
                              uint64_t message_bytes);
  Result<void> check_ahead(int rank);

  FrameHeader header_for(uint64_t message_bytes) const;
  Error gone(int rank, const Error& how);
  Error late(int waited_for);
  // The first says why; returns why.
  Error fail(const Error& why);
  std::optional<Error> failure();
  bool control_closed(int rank);

  struct Control {
    std::array<std::byte, kNoticeBytes> notice{};
    size_t bytes = 0;
    bool closed = false, left = false;
    int waits_for = kNobody;
    uint64_t waits_in = 0;  // The step.
  };
  // These four with mutex_ held.
  Error fail_locked(const Error& why);
  Result<void> take_notice(Control& control, const Notice& notice);
  void tell_waiting(int rank);
  void send_notice(const Notice& notice);

  Setup setup_;
  const Fd wake_;  // An eventfd, readable once the group failed.
  std::unique_ptr<Helpers> helpers_;
  std::vector<std::vector<Incoming>> incoming_;  // By rank and lane.
  std::vector<uint64_t> messages_out_, messages_in_;
  const Call* call_ = nullptr;
  Deadline deadline_, told_at_;
  uint64_t step_ = 0;
  bool told_ = false;

  std::atomic<bool> failed_{false};
  std::mutex mutex_;  // Guards what follows, and the control connections.
  std::optional<Error> failure_;
  std::vector<Control> controls_;
};

}  // namespace altlas::collective
