// Groups of threads, of simulated devices, and of processes of one machine.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include "base/fd.h"
#include "collective/join.h"
#include "collective/shared_transport.h"

namespace altlas::collective {
namespace {

constexpr uint64_t kHelloMagic = 0x616c746c61734301;  // Its last byte is the version.
constexpr size_t kTokenBytesMax = 256;
constexpr size_t kWordsBytesMax = 400;
constexpr size_t kGuestsMax = 128;  // Connections that have not yet said who they are.

// Fixed-size packets of a SOCK_SEQPACKET socket: one is read whole or refused.
struct Hello {
  uint64_t magic;
  int32_t rank, size;
  uint32_t token_size;
  char token[kTokenBytesMax];
};
struct Answer {
  uint64_t magic;
  uint32_t code;  // ErrorCode + 1; 0: welcome, with the board's descriptor.
  uint32_t words_size;
  char words[kWordsBytesMax];
  int32_t pids[kRanksMax];
};

Error errno_error(std::string_view what) {
  return io_error(fmt::format("{}: {}", what, std::strerror(errno)));
}

std::shared_ptr<std::byte> heap_board(int ranks) {
  const uint64_t bytes = Board::bytes_needed(ranks);
  void* const memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  return {static_cast<std::byte*>(memory), [bytes](std::byte* at) { ::munmap(at, bytes); }};
}

Result<Groups> make_groups(int ranks, SharedKind kind, const std::optional<Fabric>& fabric,
                           const GroupOptions& options) {
  ALTLAS_TRY_VOID(check_rank(0, ranks));
  const auto memory = heap_board(ranks);
  if (!memory) return errno_error("memory for a group");
  Groups groups;
  for (int rank = 0; rank < ranks; ++rank) {
    auto board = std::make_unique<Board>(memory, rank, ranks, nullptr);
    auto transport = std::make_unique<SharedTransport>(std::move(board), kind, fabric);
    groups.push_back(std::make_unique<Group>(rank, ranks, std::move(transport), options));
  }
  return groups;
}

// A name in the abstract namespace leaves no file behind. The kernel says who is at the other end.
std::pair<sockaddr_un, socklen_t> address_of(const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = fmt::format("altlas-collective/{}/{}", ::geteuid(), name);
  const size_t size = std::min(path.size(), sizeof(address.sun_path) - 1);
  std::memcpy(address.sun_path + 1, path.data(), size);
  return {address, static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + size)};
}

Result<ucred> peer_of(int fd) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
    return errno_error("who is at the other end");
  if (peer.uid != ::geteuid())
    return Error(ErrorCode::kUnauthorized,
                 fmt::format("process {} belongs to user {}, this group to user {}", peer.pid,
                             peer.uid, ::geteuid()));
  return peer;
}

int milliseconds_until(Deadline deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
      deadline - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<int64_t>(left.count(), 0, 1'000'000));
}

void refuse(int fd, const Error& why) {
  Answer answer{};
  answer.magic = kHelloMagic;
  answer.code = static_cast<uint32_t>(why.code()) + 1;
  answer.words_size = static_cast<uint32_t>(std::min(why.message().size(), kWordsBytesMax));
  std::memcpy(answer.words, why.message().data(), answer.words_size);
  ::send(fd, &answer, sizeof(answer), MSG_NOSIGNAL | MSG_DONTWAIT);
}

bool send_with_fd(int socket, const Answer& answer, int fd) {
  iovec part{const_cast<Answer*>(&answer), sizeof(answer)};
  alignas(cmsghdr) char space[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = space;
  message.msg_controllen = sizeof(space);
  cmsghdr* const control = CMSG_FIRSTHDR(&message);
  control->cmsg_level = SOL_SOCKET;
  control->cmsg_type = SCM_RIGHTS;
  control->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(control), &fd, sizeof(int));
  return ::sendmsg(socket, &message, MSG_NOSIGNAL) == static_cast<ssize_t>(sizeof(answer));
}

Result<Fd> receive_with_fd(int socket, Answer& answer) {
  iovec part{&answer, sizeof(answer)};
  alignas(cmsghdr) char space[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = space;
  message.msg_controllen = sizeof(space);
  const ssize_t size = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  Fd fd;
  for (cmsghdr* at = CMSG_FIRSTHDR(&message); at != nullptr; at = CMSG_NXTHDR(&message, at))
    if (at->cmsg_level == SOL_SOCKET && at->cmsg_type == SCM_RIGHTS &&
        at->cmsg_len == CMSG_LEN(sizeof(int))) {
      int number = -1;
      std::memcpy(&number, CMSG_DATA(at), sizeof(int));
      fd = Fd(number);
    }
  if (size != static_cast<ssize_t>(sizeof(answer)) || answer.magic != kHelloMagic)
    return Error(ErrorCode::kUnavailable, size == 0 ? "rank 0 left while the group formed"
                                                    : "rank 0 answered what no rank 0 answers");
  if (answer.code != 0)
    return Error(
        error_code_of(answer.code - 1),
        "rank 0 refused: " +
            printable_words({answer.words, std::min<size_t>(answer.words_size, kWordsBytesMax)},
                            kWordsBytesMax));
  if (!fd) return Error(ErrorCode::kUnavailable, "rank 0 sent no memory");
  return fd;
}

Result<Fd> make_memory(uint64_t bytes) {
  Fd fd(::memfd_create("altlas-collective", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd || ::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0 ||
      ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return errno_error("shared memory for a group");
  return fd;
}

// The memory must be sealed: whoever could shrink it could crash this process.
Result<std::shared_ptr<std::byte>> map_memory(int fd, uint64_t bytes) {
  const off_t size = ::lseek(fd, 0, SEEK_END);
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (size != static_cast<off_t>(bytes) || seals < 0 || (seals & F_SEAL_SHRINK) == 0)
    return Error(
        ErrorCode::kUnauthorized,
        fmt::format("rank 0 sent memory of {} bytes, wanted {} bytes, sealed", size, bytes));
  void* const at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) return errno_error("shared memory for a group");
  return std::shared_ptr<std::byte>(static_cast<std::byte*>(at),
                                    [bytes](std::byte* memory) { ::munmap(memory, bytes); });
}

// A descriptor for each rank's process, which becomes readable when it ends. A process without one
// (it is in another PID namespace) is noticed by the timeout alone.
Board::ProcessEnded watch_processes(std::span<const int32_t> pids) {
  auto watched = std::make_shared<std::vector<Fd>>();
  for (const int32_t pid : pids)
    watched->emplace_back(pid > 0 ? static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)) : -1);
  return [watched](int rank) {
    pollfd process{(*watched)[static_cast<size_t>(rank)].get(), POLLIN, 0};
    return process.fd >= 0 && ::poll(&process, 1, 0) == 1 && (process.revents & POLLIN) != 0;
  };
}

Result<std::unique_ptr<Group>> make_group(const SharedJoin& join, const GroupOptions& options,
                                          int memory_fd, std::span<const int32_t> pids) {
  ALTLAS_TRY(auto memory, map_memory(memory_fd, Board::bytes_needed(join.size)));
  auto board =
      std::make_unique<Board>(std::move(memory), join.rank, join.size, watch_processes(pids));
  auto transport =
      std::make_unique<SharedTransport>(std::move(board), SharedKind::kProcesses, std::nullopt);
  return std::make_unique<Group>(join.rank, join.size, std::move(transport), options);
}

// Rank 0's side: it learns who came, and as which rank.
class Host {
 public:
  Host(const SharedJoin& join, Deadline deadline)
      : join_(join), deadline_(deadline), members_(static_cast<size_t>(join.size)) {
    pids_[0] = ::getpid();
  }

  Result<void> gather() {
    const auto [address, size] = address_of(join_.name);
    listener_ = Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!listener_) return errno_error("a Unix socket");
    if (::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0)
      return errno == EADDRINUSE
                 ? Error(ErrorCode::kConflict,
                         fmt::format("another rank 0 of group '{}' is there", join_.name))
                 : errno_error("a Unix socket");
    if (::listen(listener_.get(), kRanksMax) != 0) return errno_error("a Unix socket");
    while (missing() > 0) ALTLAS_TRY_VOID(wait_for_guests());
    return {};
  }

  Result<void> welcome(int memory_fd) {
    Answer answer{};
    answer.magic = kHelloMagic;
    std::ranges::copy(pids_, answer.pids);
    for (int rank = 1; rank < join_.size; ++rank)
      if (!send_with_fd(members_[static_cast<size_t>(rank)].get(), answer, memory_fd))
        return unavailable(fmt::format("rank {} left while the group formed", rank));
    return {};
  }

  std::span<const int32_t> pids() const { return {pids_, static_cast<size_t>(join_.size)}; }

 private:
  int missing() const {
    return static_cast<int>(std::ranges::count_if(members_, [](const Fd& fd) { return !fd; })) - 1;
  }

  Result<void> wait_for_guests() {
    std::vector<pollfd> waiting{{listener_.get(), POLLIN, 0}};
    for (const Fd& guest : guests_) waiting.push_back({guest.get(), POLLIN, 0});
    const int left = milliseconds_until(deadline_);
    if (left == 0) {
      std::vector<bool> in{true};
      for (size_t rank = 1; rank < members_.size(); ++rank) in.push_back(bool(members_[rank]));
      return Error(ErrorCode::kDeadline,
                   fmt::format("rank {} did not join group '{}' within the timeout{}",
                               missing_ranks(in), join_.name, refused_));
    }
    ::poll(waiting.data(), waiting.size(), left);
    std::vector<Fd> still;
    for (size_t i = 0; i < guests_.size(); ++i) {
      if (waiting[i + 1].revents == 0)
        still.push_back(std::move(guests_[i]));
      else
        hear(std::move(guests_[i]));
    }
    guests_ = std::move(still);
    if (waiting[0].revents != 0 && guests_.size() < kGuestsMax) {
      Fd guest(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (guest) guests_.push_back(std::move(guest));
    }
    return {};
  }

  void hear(Fd guest) {
    const Result<int> rank = check(guest.get());
    if (rank) {
      members_[static_cast<size_t>(*rank)] = std::move(guest);
      return;
    }
    refuse(guest.get(), rank.error());
    refused_ = "; refused was: " + rank.error().message();
  }

  Result<int> check(int fd) {
    ALTLAS_TRY(const ucred peer, peer_of(fd));
    Hello hello{};
    const ssize_t size = ::recv(fd, &hello, sizeof(hello), MSG_DONTWAIT);
    if (size != static_cast<ssize_t>(sizeof(hello)) || hello.magic != kHelloMagic)
      return invalid(fmt::format("process {} said what no rank says", peer.pid));
    const std::string_view token(hello.token, std::min<size_t>(hello.token_size, kTokenBytesMax));
    if (!same_secret(token, join_.token))
      return Error(ErrorCode::kUnauthorized,
                   fmt::format("the token of process {} is not this group's", peer.pid));
    if (hello.size != join_.size)
      return Error(ErrorCode::kConflict,
                   fmt::format("process {} wants a group of {} ranks, this one has {}", peer.pid,
                               hello.size, join_.size));
    if (hello.rank < 1 || hello.rank >= join_.size)
      return invalid(
          fmt::format("process {} wants to be rank {} of {}", peer.pid, hello.rank, join_.size));
    if (members_[static_cast<size_t>(hello.rank)])
      return Error(ErrorCode::kConflict, fmt::format("rank {} is there twice, as process {} and {}",
                                                     hello.rank, pids_[hello.rank], peer.pid));
    pids_[hello.rank] = peer.pid;
    return hello.rank;
  }

  const SharedJoin& join_;
  const Deadline deadline_;
  Fd listener_;
  std::vector<Fd> guests_;
  std::vector<Fd> members_;  // By rank; [0] stays empty.
  int32_t pids_[kRanksMax] = {};
  std::string refused_;
};

Result<Fd> connect_to_host(const SharedJoin& join, Deadline deadline) {
  const auto [address, size] = address_of(join.name);
  while (true) {
    Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    if (!fd) return errno_error("a Unix socket");
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0) return fd;
    if (errno != ECONNREFUSED && errno != EAGAIN) return errno_error("to reach rank 0");
    const int left = milliseconds_until(deadline);
    if (left == 0)
      return Error(ErrorCode::kDeadline, fmt::format("rank 0 of group '{}' did not come within the "
                                                     "timeout",
                                                     join.name));
    // Rank 0 is not there yet.
    ::poll(nullptr, 0, std::min(left, 5));
  }
}

Result<std::unique_ptr<Group>> join_as_guest(const SharedJoin& join, const GroupOptions& options,
                                             Deadline deadline) {
  ALTLAS_TRY(const Fd fd, connect_to_host(join, deadline));
  ALTLAS_TRY([[maybe_unused]] const ucred host, peer_of(fd.get()));
  Hello hello{};
  hello.magic = kHelloMagic;
  hello.rank = join.rank;
  hello.size = join.size;
  hello.token_size = static_cast<uint32_t>(join.token.size());
  std::memcpy(hello.token, join.token.data(), join.token.size());
  if (::send(fd.get(), &hello, sizeof(hello), MSG_NOSIGNAL) < 0)
    return errno_error("to greet rank 0");
  pollfd answered{fd.get(), POLLIN, 0};
  if (::poll(&answered, 1, milliseconds_until(deadline)) == 0)
    return Error(ErrorCode::kDeadline,
                 fmt::format("group '{}' was not complete within the timeout", join.name));
  Answer answer{};
  ALTLAS_TRY(const Fd memory, receive_with_fd(fd.get(), answer));
  return make_group(join, options, memory.get(), {answer.pids, static_cast<size_t>(join.size)});
}

}  // namespace

Result<void> check_rank(int rank, int size) {
  if (size < 1 || size > kRanksMax)
    return invalid(fmt::format("a group of {} ranks: 1 to {} can be", size, kRanksMax));
  if (rank < 0 || rank >= size)
    return invalid(fmt::format("rank {} of {}: 0 to {} can be", rank, size, size - 1));
  return {};
}

std::string missing_ranks(const std::vector<bool>& in) {
  std::string out;
  for (size_t rank = 0; rank < in.size(); ++rank)
    if (!in[rank]) out += fmt::format("{}{}", out.empty() ? "" : ", ", rank);
  return out;
}

Result<Groups> make_thread_groups(int ranks, const GroupOptions& options) {
  return make_groups(ranks, SharedKind::kThreads, std::nullopt, options);
}

Result<Groups> make_simulated_groups(int ranks, const FabricOptions& fabric,
                                     const GroupOptions& options) {
  ALTLAS_TRY(Fabric made, Fabric::make(fabric));
  return make_groups(ranks, SharedKind::kSimulated, std::move(made), options);
}

Result<std::unique_ptr<Group>> join_shared_memory(const SharedJoin& join,
                                                  const GroupOptions& options) {
  ALTLAS_TRY_VOID(check_rank(join.rank, join.size));
  if (join.token.size() > kTokenBytesMax)
    return invalid(
        fmt::format("a token of {} bytes: at most {}", join.token.size(), kTokenBytesMax));
  if (join.name.empty() || join.name.size() > 60)
    return invalid("a group's name has 1 to 60 bytes");
  const Deadline deadline = std::chrono::steady_clock::now() + options.timeout;
  if (join.rank != 0) return join_as_guest(join, options, deadline);
  Host host(join, deadline);
  ALTLAS_TRY_VOID(host.gather());
  ALTLAS_TRY(const Fd memory, make_memory(Board::bytes_needed(join.size)));
  ALTLAS_TRY_VOID(host.welcome(memory.get()));
  return make_group(join, options, memory.get(), host.pids());
}

}  // namespace altlas::collective
