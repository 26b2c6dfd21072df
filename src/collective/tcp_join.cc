// How ranks on any machines become a group over TCP: all greet rank 0, which tells everybody where
// the others listen; then each rank connects to those below it.
#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/rand.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

#include "collective/board.h"
#include "collective/interfaces.h"
#include "collective/join.h"
#include "collective/sockets.h"
#include "collective/tcp_transport.h"

namespace altlas::collective {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// The longest time that a stranger that connects and says nothing can hold up the ranks.
constexpr milliseconds kGreetingTime{2'000};

Result<std::vector<std::byte>> read_message(Stream& stream, Deadline deadline) {
  std::array<std::byte, 4> length{};
  ALTLAS_TRY_VOID(stream.read_all(length, deadline));
  ALTLAS_TRY(const uint32_t size, decode_length(length));
  std::vector<std::byte> bytes(size);
  ALTLAS_TRY_VOID(stream.read_all(bytes, deadline));
  return bytes;
}

// A connection whose greeting was accepted.
struct Greeted {
  Stream stream;
  JoinAnswer answer;
};
Result<Greeted> greet(Fd fd, const JoinHello& hello, const TlsIdentity* identity, Deadline deadline,
                      std::string_view whom) {
  Greeted out{Stream(std::move(fd), identity, TlsSide::kClient), {}};
  const auto context = [&](const Error& error) { return Error(error).with_context(whom); };
  if (const auto sent = out.stream.write_all(encode(hello), deadline); !sent)
    return context(sent.error());
  const auto bytes = read_message(out.stream, deadline);
  if (!bytes) return context(bytes.error());
  auto answer = decode_answer(*bytes);
  if (!answer) return context(answer.error());
  out.answer = std::move(*answer);
  if (out.answer.code != 0)
    return Error(
        error_code_of(out.answer.code - 1u),
        fmt::format("{} refused: {}", whom, printable_words(out.answer.words, kWordsBytesMax)));
  return out;
}

class Joiner {
 public:
  Joiner(const TcpJoin& join, const GroupOptions& options)
      : join_(join),
        deadline_(steady_clock::now() + options.timeout),
        lanes_(join.threads * join.sockets_per_thread),
        peers_(static_cast<size_t>(join.size)) {}

  Result<std::vector<TcpPeer>> join() {
    for (int rank = 0; rank < join_.size; ++rank)
      if (rank != join_.rank)
        peers_[static_cast<size_t>(rank)].lanes.resize(static_cast<size_t>(lanes_));
    ALTLAS_TRY(master_, resolve(join_.host, join_.port));
    if (!join_.interface.empty()) {
      ALTLAS_TRY(const Interface chosen, choose_interface(join_.interface, interfaces()));
      own_ = chosen.address;
    }
    if (join_.size == 1) return std::move(peers_);
    ALTLAS_TRY_VOID(join_.rank == 0 ? gather() : report());
    for (int rank = 0; rank < join_.rank; ++rank) ALTLAS_TRY_VOID(connect_lanes(rank));
    ALTLAS_TRY_VOID(accept_lanes());
    return std::move(peers_);
  }

 private:
  const TlsIdentity* identity() const { return join_.identity.get(); }
  const Address* own() const { return own_ ? &*own_ : nullptr; }

  JoinHello hello_for(JoinHello::Purpose purpose, int lane) const {
    JoinHello hello{.purpose = purpose,
                    .rank = static_cast<int16_t>(join_.rank),
                    .size = static_cast<int16_t>(join_.size),
                    .lane = static_cast<uint16_t>(lane),
                    .lanes = static_cast<uint16_t>(lanes_),
                    .group = group_,
                    .token = join_.token};
    return hello;
  }

  // Rank 0's side: every rank greets it, then each learns where all of them are.
  Result<void> gather() {
    if (join_.listener >= 0) {
      listener_ = Fd(::fcntl(join_.listener, F_DUPFD_CLOEXEC, 0));
    } else {
      ALTLAS_TRY(listener_, listen_at(master_));
    }
    if (RAND_bytes(group_.data(), static_cast<int>(group_.size())) != 1)
      return Error(ErrorCode::kInternal, "no random bytes for a group's name");
    std::vector<Stream> members(static_cast<size_t>(join_.size));
    std::vector<bool> in(members.size());
    in[0] = true;
    JoinAnswer answer{.group = group_};
    answer.places.resize(members.size());
    answer.places[0] = {master_.address, master_.port};
    while (std::ranges::find(in, false) != in.end()) {
      ALTLAS_TRY(auto guest, accept_one(in, "join"));
      if (!guest) continue;
      auto& [stream, hello] = *guest;
      const auto rank = static_cast<size_t>(hello.rank);
      if (hello.purpose != JoinHello::Purpose::kJoin) {
        refuse(stream, invalid("this rank still gathers its group"));
      } else if (hello.rank < 1) {
        refuse(stream, invalid("rank 0 is here already"));
      } else if (in[rank]) {
        refuse(stream, Error(ErrorCode::kConflict, fmt::format("rank {} is there twice", rank)));
      } else {
        answer.places[rank] = {hello.address, hello.port};
        members[rank] = std::move(stream);
        in[rank] = true;
      }
    }
    const auto bytes = encode(answer);
    for (size_t rank = 1; rank < members.size(); ++rank)
      if (const auto sent = members[rank].write_all(bytes, deadline_); !sent)
        return Error(sent.error())
            .with_context(fmt::format("rank {} left as the group formed", rank));
    return {};
  }

  // The others' side: each tells rank 0 where it listens.
  Result<void> report() {
    ALTLAS_TRY(Fd fd, connect_to(master_, own(), deadline_));
    Endpoint here = own_endpoint(fd.get());
    here.port = 0;
    ALTLAS_TRY(listener_, listen_at(here));
    JoinHello hello = hello_for(JoinHello::Purpose::kJoin, 0);
    hello.address = here.address;
    hello.port = own_endpoint(listener_.get()).port;
    ALTLAS_TRY(Greeted greeted, greet(std::move(fd), hello, identity(), deadline_, "rank 0"));
    if (greeted.answer.places.size() != peers_.size())
      return invalid(fmt::format("rank 0 knows {} ranks, this one {}", greeted.answer.places.size(),
                                 peers_.size()));
    group_ = greeted.answer.group;
    places_ = std::move(greeted.answer.places);
    return {};
  }

  Result<void> connect_lanes(int rank) {
    const JoinAnswer::Place& place = places_[static_cast<size_t>(rank)];
    const Endpoint there = rank == 0 ? master_ : Endpoint{place.address, place.port};
    TcpPeer& peer = peers_[static_cast<size_t>(rank)];
    for (int lane = 0; lane <= lanes_; ++lane) {
      const bool control = lane == lanes_;
      const JoinHello hello =
          hello_for(control ? JoinHello::Purpose::kControl : JoinHello::Purpose::kLane, lane);
      ALTLAS_TRY(Fd fd, connect_to(there, own(), deadline_));
      ALTLAS_TRY(Greeted greeted,
                 greet(std::move(fd), hello, identity(), deadline_, fmt::format("rank {}", rank)));
      (control ? peer.control : peer.lanes[static_cast<size_t>(lane)]) = std::move(greeted.stream);
    }
    return {};
  }

  Result<void> accept_lanes() {
    std::vector<bool> in(peers_.size());
    std::fill_n(in.begin(), join_.rank + 1, true);
    while (std::ranges::find(in, false) != in.end()) {
      ALTLAS_TRY(auto guest, accept_one(in, "connect"));
      if (!guest) continue;
      auto& [stream, hello] = *guest;
      const bool control = hello.purpose == JoinHello::Purpose::kControl;
      if (hello.purpose == JoinHello::Purpose::kJoin || hello.group != group_ ||
          hello.rank <= join_.rank || hello.lane > lanes_ || control != (hello.lane == lanes_)) {
        refuse(stream, Error(ErrorCode::kConflict, "it is not of this group"));
        continue;
      }
      TcpPeer& peer = peers_[static_cast<size_t>(hello.rank)];
      Stream& place = control ? peer.control : peer.lanes[hello.lane];
      if (place.is_open()) {
        refuse(stream,
               Error(ErrorCode::kConflict, fmt::format("rank {} is there twice", hello.rank)));
        continue;
      }
      if (!stream.write_all(encode(JoinAnswer{.group = group_}), greeting_deadline())) continue;
      place = std::move(stream);
      in[static_cast<size_t>(hello.rank)] =
          peer.control.is_open() && std::ranges::all_of(peer.lanes, &Stream::is_open);
    }
    return {};
  }

  Deadline greeting_deadline() const {
    return std::min<Deadline>(deadline_, steady_clock::now() + kGreetingTime);
  }

  using Guest = std::pair<Stream, JoinHello>;
  // Returns nothing if the connection was not of this group: it was refused. Errors: kDeadline.
  Result<std::optional<Guest>> accept_one(const std::vector<bool>& in, std::string_view what) {
    pollfd waiting{listener_.get(), POLLIN, 0};
    const int left = milliseconds_until(deadline_);
    if (left == 0 || ::poll(&waiting, 1, left) == 0)
      return Error(ErrorCode::kDeadline, fmt::format("rank {} did not {} within the timeout{}",
                                                     missing_ranks(in), what, refused_));
    SocketAddress from;
    socklen_t size = sizeof(from.storage);
    Fd fd(
        ::accept4(listener_.get(), reinterpret_cast<sockaddr*>(from.storage), &size, SOCK_CLOEXEC));
    if (!fd) return std::optional<Guest>();
    const std::string who = to_string(from_socket_address(from.get()));
    Stream stream(std::move(fd), identity(), TlsSide::kServer);
    const auto send_away = [&](const Error& why) {
      refused_ = fmt::format("; {} was refused: {}", who, why.message());
      if (why.code() != ErrorCode::kDeadline) refuse(stream, why);
      return std::optional<Guest>();
    };
    const auto bytes = read_message(stream, greeting_deadline());
    if (!bytes) return send_away(bytes.error());
    auto hello = decode_hello(*bytes);
    if (!hello) return send_away(hello.error());
    if (const auto fits = check(*hello); !fits) return send_away(fits.error());
    return std::optional<Guest>(Guest(std::move(stream), std::move(*hello)));
  }

  Result<void> check(const JoinHello& hello) const {
    if (!same_secret(hello.token, join_.token))
      return Error(ErrorCode::kUnauthorized, "its token is not this group's");
    if (hello.size != join_.size || hello.rank < 0 || hello.rank >= join_.size)
      return Error(ErrorCode::kConflict, fmt::format("it is rank {} of {}, this group has {} ranks",
                                                     hello.rank, hello.size, join_.size));
    if (hello.lanes != lanes_)
      return Error(ErrorCode::kConflict,
                   fmt::format("it has {} sockets, this rank {}: NCCL_SOCKET_NTHREADS x "
                               "NCCL_NSOCKS_PERTHREAD must be the same on all ranks",
                               hello.lanes, lanes_));
    return {};
  }

  // A refusal may be lost: whoever does not read it is gone.
  void refuse(Stream& stream, const Error& why) const {
    const JoinAnswer answer{.code = static_cast<uint8_t>(static_cast<uint8_t>(why.code()) + 1),
                            .words = why.message()};
    if (const auto sent = stream.write_all(encode(answer), greeting_deadline()); !sent) return;
  }

  const TcpJoin& join_;
  const Deadline deadline_;
  const int lanes_;
  Endpoint master_;
  std::optional<Address> own_;
  Fd listener_;
  std::array<uint8_t, 16> group_{};
  std::vector<JoinAnswer::Place> places_;
  std::vector<TcpPeer> peers_;
  std::string refused_;
};

Result<void> check_join(const TcpJoin& join) {
  ALTLAS_TRY_VOID(check_rank(join.rank, join.size));
  if (join.threads < 1 || join.threads > kTcpThreadsMax || join.sockets_per_thread < 1 ||
      join.threads * join.sockets_per_thread > kTcpSocketsMax)
    return invalid(
        fmt::format("{} threads with {} sockets each: 1 to {} threads and {} sockets in all can be",
                    join.threads, join.sockets_per_thread, kTcpThreadsMax, kTcpSocketsMax));
  if (join.token.size() > 256)
    return invalid(fmt::format("a token of {} bytes: at most 256", join.token.size()));
  return {};
}

}  // namespace

Result<std::unique_ptr<Group>> join_tcp(const TcpJoin& join, const GroupOptions& options) {
  ALTLAS_TRY_VOID(check_join(join));
  Joiner joiner(join, options);
  ALTLAS_TRY(auto peers, joiner.join());
  const int sockets = join.threads * join.sockets_per_thread;
  TcpTransport::Setup setup{
      .rank = join.rank,
      .peers = std::move(peers),
      .threads = join.threads,
      .words = fmt::format("TCP {}, {} socket{} on {} thread{}",
                           join.identity ? "with mutual TLS" : "in plain text", sockets,
                           sockets == 1 ? "" : "s", join.threads, join.threads == 1 ? "" : "s"),
      .timeout = options.timeout};
  ALTLAS_TRY(auto transport, TcpTransport::make(std::move(setup)));
  return std::make_unique<Group>(join.rank, join.size, std::move(transport), options);
}

Result<Listener> listen_anywhere(const std::string& host) {
  ALTLAS_TRY(const Endpoint endpoint, resolve(host, 0));
  ALTLAS_TRY(Fd fd, listen_at(endpoint));
  const uint16_t port = own_endpoint(fd.get()).port;
  return Listener{std::move(fd), port};
}

Result<Groups> make_tcp_groups(int ranks, TcpJoin join, const GroupOptions& options) {
  ALTLAS_TRY_VOID(check_rank(0, ranks));
  join.host = "127.0.0.1";
  if (!join.interface.empty()) {
    ALTLAS_TRY(const Interface chosen, choose_interface(join.interface, interfaces()));
    const std::string text = to_string(Endpoint{chosen.address, 0});
    join.host =
        text.starts_with('[') ? text.substr(1, text.find(']') - 1) : text.substr(0, text.find(':'));
  }
  ALTLAS_TRY(const Listener listener, listen_anywhere(join.host));
  join.port = listener.port;
  join.size = ranks;
  std::vector<std::optional<Result<std::unique_ptr<Group>>>> made(static_cast<size_t>(ranks));
  {
    std::vector<std::jthread> threads;
    for (int rank = 0; rank < ranks; ++rank)
      threads.emplace_back([&, rank] {
        TcpJoin own = join;
        own.rank = rank;
        own.listener = rank == 0 ? listener.fd.get() : -1;
        made[static_cast<size_t>(rank)].emplace(join_tcp(own, options));
      });
  }
  Groups groups;
  for (auto& one : made) {
    ALTLAS_TRY(auto group, std::move(*one));
    groups.push_back(std::move(group));
  }
  return groups;
}

}  // namespace altlas::collective
