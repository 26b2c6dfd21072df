// One TCP connection, plain or under TLS, that never blocks.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "base/fd.h"
#include "collective/tls.h"
#include "collective/transport.h"

struct ssl_st;  // OpenSSL's SSL.

namespace altlas::collective {

enum class TlsSide : uint8_t { kClient, kServer };

// Threads: one at a time.
class Stream {
 public:
  Stream() = default;
  // `fd`: a connected socket, made non-blocking here. identity: null for plain TCP.
  Stream(Fd fd, const TlsIdentity* identity, TlsSide side);

  // The other side must be `host`, a name or an address in its certificate. Before anything is read
  // or written.
  void expect_host(const std::string& host);
  // Whether hands were shaken; of plain TCP always.
  bool is_ready() const;
  // The name in the other side's certificate, once hands were shaken; empty without TLS.
  std::string peer_name() const;

  // Bytes moved, 0: none at present. Errors: kUnavailable when the other side closed,
  // kUnauthorized for a certificate that one side refused, kIo.
  Result<size_t> read_some(std::span<std::byte> to);
  Result<size_t> write_some(std::span<const std::byte> from);

  // All bytes, or an error; kDeadline at the deadline. The first of them shakes hands.
  Result<void> read_all(std::span<std::byte> to, Deadline deadline);
  Result<void> write_all(std::span<const std::byte> from, Deadline deadline);

  // What poll() should wait for before the next read or write: POLLIN or POLLOUT.
  short read_waits_for() const { return read_waits_for_; }
  short write_waits_for() const { return write_waits_for_; }
  int fd() const { return fd_.get(); }
  bool is_open() const { return static_cast<bool>(fd_); }

 private:
  Result<size_t> tls_result(int returned, short& waits_for);
  template <class Step>
  Result<void> repeat(size_t size, const short& waits_for, Deadline deadline, const Step& step);

  struct FreeTls {
    void operator()(ssl_st* tls) const;
  };
  Fd fd_;
  std::unique_ptr<ssl_st, FreeTls> tls_;
  short read_waits_for_ = 1;   // POLLIN.
  short write_waits_for_ = 4;  // POLLOUT.
};

}  // namespace altlas::collective
