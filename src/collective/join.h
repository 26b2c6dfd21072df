// How ranks find each other and become a group.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "collective/group.h"
#include "collective/link_model.h"
#include "collective/tls.h"

namespace altlas::collective {

using Groups = std::vector<std::unique_ptr<Group>>;

// One Group for each of `ranks` threads of this process. Errors: kInvalid for a number of ranks
// that no group has.
Result<Groups> make_thread_groups(int ranks, const GroupOptions& options);
// The same over modelled links: real data, virtual time. Errors: as Fabric::make too.
Result<Groups> make_simulated_groups(int ranks, const FabricOptions& fabric,
                                     const GroupOptions& options);

struct SharedJoin {
  int rank = 0;
  int size = 1;
  // The same on all ranks of a group, of no other group of this user on this machine at the time.
  std::string name;
  std::string token;  // A secret that all ranks know; may be empty.
};
// Joins processes of one user on one machine, within options.timeout: rank 0 listens on an abstract
// Unix socket, checks who comes and hands out a sealed memfd. Errors: kInvalid, kUnauthorized for a
// wrong token or another user, kConflict for a rank that is there twice or another size, kDeadline
// naming the ranks that did not come, kIo.
Result<std::unique_ptr<Group>> join_shared_memory(const SharedJoin& join,
                                                  const GroupOptions& options);

struct TcpJoin {
  int rank = 0;
  int size = 1;
  std::string host = "127.0.0.1";  // For rank 0: a name or an address.
  uint16_t port = 0;               // The port of rank 0.
  std::string token;               // As SharedJoin::token.
  // Both ends of each connection show a certificate that `identity` trusts. Null: plain TCP, which
  // anybody on the way can read and change.
  std::shared_ptr<const TlsIdentity> identity;
  std::string interface;  // NCCL_SOCKET_IFNAME; empty: the one that leads to rank 0.
  int threads = 1;        // That carry one exchange.
  int sockets_per_thread = 1;
  // Rank 0: a socket that listens at host:port already, or none. It is duplicated.
  int listener = -1;
};
inline constexpr int kTcpThreadsMax = 16, kTcpSocketsMax = 64;  // NCCL's own limits.

// Joins ranks on any machines, within options.timeout: rank 0 listens at host:port. Errors: as
// join_shared_memory; kUnauthorized for a certificate that one side does not trust.
Result<std::unique_ptr<Group>> join_tcp(const TcpJoin& join, const GroupOptions& options);

// One Group for each of `ranks` threads of this process, over TCP on the loopback interface or
// join.interface; `join` gives all but ranks, host and port. Errors: as join_tcp.
Result<Groups> make_tcp_groups(int ranks, TcpJoin join, const GroupOptions& options);

// A socket that listens at a free port of `host`, and the port. Errors: kNotFound, kIo.
struct Listener {
  Fd fd;
  uint16_t port = 0;
};
Result<Listener> listen_anywhere(const std::string& host);

// Errors of all of them: kInvalid unless 1 ≤ size ≤ kRanksMax and 0 ≤ rank < size.
Result<void> check_rank(int rank, int size);
// "1, 3": the ranks that are not in.
std::string missing_ranks(const std::vector<bool>& in);

}  // namespace altlas::collective
