// The parts apart from any group: frames, names, variables, interfaces, links, patterns; and how
// ranks that should not join are turned away.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "collective/board.h"
#include "collective/environment.h"
#include "collective/frames.h"
#include "collective/interfaces.h"
#include "collective/pattern.h"
#include "collective/test_worlds.h"
#include "testing/data.h"

namespace altlas::collective {
namespace {

using std::chrono::milliseconds;

std::vector<std::byte> after_length(const std::vector<std::byte>& message) {
  return {message.begin() + 4, message.end()};
}

// Goal: what is written is read back, and no shorter or longer frame is taken for it.
TEST(Frames, RoundTripAndTruncation) {
  const FrameHeader header{
      .call = {0x1234, 99}, .step = 7, .message_bytes = uint64_t{1} << 40, .lane = 3};
  EXPECT_EQ(decode_frame(encode(header)).value(), header);
  const Notice notice{NoticeKind::kFailed, 9, 2, 77, "rank 1 died"};
  EXPECT_EQ(decode_notice(encode(notice)).value(), notice);
  const JoinHello hello{.purpose = JoinHello::Purpose::kLane,
                        .rank = 3,
                        .size = 7,
                        .lane = 2,
                        .lanes = 4,
                        .port = 29500,
                        .token = "secret"};
  JoinAnswer answer{.code = 4, .words = "no", .places = {{{1, 2}, 5}, {{3}, 6}}};
  const auto hello_bytes = after_length(encode(hello)), answer_bytes = after_length(encode(answer));
  EXPECT_EQ(decode_hello(hello_bytes).value(), hello);
  EXPECT_EQ(decode_answer(answer_bytes).value(), answer);
  for (size_t size = 0; size < hello_bytes.size(); ++size)
    EXPECT_FALSE(decode_hello(std::span(hello_bytes).first(size)).ok());
  for (size_t size = 0; size < answer_bytes.size(); ++size)
    EXPECT_FALSE(decode_answer(std::span(answer_bytes).first(size)).ok());
  auto longer = hello_bytes;
  longer.push_back({});
  EXPECT_FALSE(decode_hello(longer).ok());
}

// Goal: an announced size beyond the limit is refused before memory is taken.
TEST(Frames, LengthsHaveALimit) {
  const auto length = [](uint32_t value) {
    std::array<std::byte, 4> bytes{};
    std::memcpy(bytes.data(), &value, 4);
    return decode_length(bytes);
  };
  EXPECT_EQ(length(kSetupBytesMax).value(), kSetupBytesMax);
  EXPECT_EQ(length(kSetupBytesMax + 1).error().code(), ErrorCode::kTooLarge);
  EXPECT_FALSE(length(0xffffffff).ok());
}

// Goal: any 128 bits from another process can be shown as words.
TEST(Types, AnySignatureHasWords) {
  for (const uint64_t what : {uint64_t{0}, uint64_t{0xffff}, ~uint64_t{0}})
    EXPECT_FALSE(describe(Signature{what, ~uint64_t{0}}).empty());
  EXPECT_EQ(printable_words("a\033[2J\xff\n", 100), "a?[2J??");
}

// Goal: names are read as printed, short ones too; others are told what there is.
TEST(Types, Names) {
  for (const ElementType type : kElementTypes)
    EXPECT_EQ(parse_element_type(to_string(type)).value(), type);
  for (const ReduceOp op : kReduceOps) EXPECT_EQ(parse_reduce_op(to_string(op)).value(), op);
  EXPECT_EQ(parse_element_type("bf16").value(), ElementType::kBF16);
  EXPECT_TRUE(parse_element_type("float8").error().message().contains("bfloat16"));
}

Result<NcclSettings> settings_of(const std::map<std::string, std::string>& variables) {
  return read_nccl_settings([&](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

// Goal: NCCL's variables are read and listed with their effect; senseless values are named.
TEST(Environment, NcclVariables) {
  const auto settings = settings_of({{"NCCL_P2P_DISABLE", "0"},
                                     {"NCCL_SHM_DISABLE", "1"},
                                     {"NCCL_SOCKET_IFNAME", "eth0"},
                                     {"NCCL_IB_DISABLE", "0"},
                                     {"NCCL_IB_HCA", "mlx5_0"},
                                     {"NCCL_SOCKET_NTHREADS", "8"},
                                     {"NCCL_NSOCKS_PERTHREAD", "4"},
                                     {"NCCL_DEBUG", "warn"}})
                            .value();
  EXPECT_TRUE(settings.shm_disable);
  EXPECT_EQ(settings.socket_ifname, "eth0");
  EXPECT_EQ(settings.socket_nthreads * settings.nsocks_perthread, 32);
  EXPECT_EQ(settings.debug, NcclDebug::kWarn);
  EXPECT_EQ(settings.read.size(), 8u);
  EXPECT_EQ(std::ranges::count(settings.read, false, &NcclSettings::Read::acts), 3);
  for (const auto& one : settings.read) EXPECT_EQ(one.effect.starts_with("no effect"), !one.acts);
  const std::pair<const char*, const char*> wrong[] = {
      {"NCCL_SHM_DISABLE", "yes"},      {"NCCL_SHM_DISABLE", "2"},
      {"NCCL_SOCKET_NTHREADS", "0"},    {"NCCL_SOCKET_NTHREADS", "17"},
      {"NCCL_SOCKET_NTHREADS", "4x"},   {"NCCL_NSOCKS_PERTHREAD", "-1"},
      {"NCCL_NSOCKS_PERTHREAD", "65"},  {"NCCL_DEBUG", "loud"},
      {"NCCL_P2P_DISABLE", "nonsense"}, {"NCCL_IB_DISABLE", " "}};
  for (const auto& [name, value] : wrong) {
    const auto result = settings_of({{name, value}});
    ASSERT_FALSE(result.ok()) << name << "=" << value;
    EXPECT_TRUE(result.error().message().starts_with(std::string(name) + "=" + value));
  }
  EXPECT_FALSE(settings_of({{"NCCL_SOCKET_NTHREADS", "16"}, {"NCCL_NSOCKS_PERTHREAD", "5"}}).ok());
}

// Goal: interfaces are chosen as NCCL chooses them: prefixes, whole names, exclusions.
TEST(Interfaces, ChosenByPattern) {
  const Interface all[] = {{"lo", {}}, {"docker0", {}}, {"eth0", {}}, {"eth01", {}}, {"ib0", {}}};
  const auto chosen = [&](std::string_view pattern) {
    const auto found = choose_interface(pattern, all);
    return found ? found->name : found.error().message();
  };
  EXPECT_EQ(chosen("eth"), "eth0");
  EXPECT_EQ(chosen("=eth01"), "eth01");
  EXPECT_EQ(chosen("wlan,ib"), "ib0");
  EXPECT_EQ(chosen("^lo,docker"), "eth0");
  EXPECT_TRUE(chosen("=eth").contains("lo, docker0, eth0, eth01, ib0"));
  EXPECT_TRUE(chosen("").contains("no network interface"));
}

// Goal: the model's bus bandwidth nears the link's for large vectors, latency rules small ones, and
// a second node costs.
TEST(LinkModel, BandwidthAndLatency) {
  const Fabric fabric = Fabric::make({}).value();
  const auto seconds = [&](uint64_t bytes, int ranks) {
    return fabric.seconds({.collective = Collective::kAllReduce,
                           .algorithm = fabric.choose(bytes, ranks),
                           .bytes = bytes},
                          ranks);
  };
  const double busbw = 1.75 * (1 << 30) / seconds(1 << 30, 8);
  EXPECT_NEAR(busbw / 450e9, 0.8, 0.01);
  EXPECT_LT(seconds(8, 8), 20e-6);
  EXPECT_NEAR(seconds(8, 8), seconds(1024, 8), 1e-6);
  EXPECT_GT(seconds(1 << 30, 16), 4 * seconds(1 << 30, 8));
  EXPECT_TRUE(Fabric::make({.inside = "string"}).error().message().contains("nvswitch"));
  EXPECT_FALSE(Fabric::make({.device = "h101"}).ok());
  EXPECT_FALSE(Fabric::make({.devices_per_node = 0}).ok());
}

// Goal: one wrong element of a pattern is counted as one, wherever it is.
TEST(Pattern, CountsWrongElements) {
  for (const ElementType type : kElementTypes) {
    const auto period = reduced_pattern(type, ReduceOp::kSum, 3);
    std::vector<std::byte> data(1003 * element_bytes(type));
    fill_pattern(period, 2, data);
    EXPECT_EQ(count_wrong(period, 2, data), 0u);
    EXPECT_GT(count_wrong(period, 3, data), 500u);
    data[data.size() - 1] ^= std::byte{1};
    data[0] ^= std::byte{1};
    EXPECT_EQ(count_wrong(period, 2, data), 2u);
  }
}

using Joined = Result<std::unique_ptr<Group>>;

// Rank 0 beside a rank 1 that the test makes; returns what both got.
std::pair<Joined, Joined> both(const std::function<Joined()>& host,
                               const std::function<Joined()>& guest) {
  std::optional<Joined> first, second;
  {
    std::jthread one([&] { first.emplace(host()); });
    std::jthread two([&] { second.emplace(guest()); });
  }
  return {std::move(*first), std::move(*second)};
}

void expect_words(const Joined& joined, std::string_view words) {
  ASSERT_FALSE(joined.ok()) << words;
  EXPECT_TRUE(joined.error().message().contains(words)) << joined.error().message();
}

// Goal: over shared memory, who is not of the group is refused with words on both sides, in time.
TEST(Join, SharedMemoryTurnsStrangersAway) {
  const GroupOptions options{.timeout = milliseconds(1'500)};
  const auto attempt = [&](SharedJoin host, SharedJoin guest) {
    host.name = guest.name = unique_name();
    return both([&] { return join_shared_memory(host, options); },
                [&] { return join_shared_memory(guest, options); });
  };
  const auto [a, b] = attempt({0, 2, "", "right"}, {1, 2, "", "wrong"});
  expect_words(a, "rank 1 did not join");
  expect_words(a, "token");
  expect_words(b, "token");
  const auto [c, d] = attempt({0, 2, "", ""}, {1, 3, "", ""});
  expect_words(d, "wants a group of 3 ranks, this one has 2");
  const auto [e, f] = attempt({0, 3, "", ""}, {1, 3, "", ""});
  expect_words(e, "rank 2 did not join");
  EXPECT_FALSE(f.ok());
}

TcpJoin tcp(int rank, int size, const Listener& listener) {
  return {.rank = rank,
          .size = size,
          .port = listener.port,
          .listener = rank == 0 ? listener.fd.get() : -1};
}

// Goal: over TCP, a wrong token, a certificate of another authority, plain text where TLS is wanted
// and the other way round, another number of sockets: refused with words.
TEST(Join, TcpTurnsStrangersAway) {
  const GroupOptions options{.timeout = milliseconds(1'500)};
  const auto attempt = [&](const std::function<void(TcpJoin & host, TcpJoin & guest)>& change) {
    const Listener listener = listen_anywhere("127.0.0.1").value();
    TcpJoin host = tcp(0, 2, listener), guest = tcp(1, 2, listener);
    change(host, guest);
    return both([&] { return join_tcp(host, options); }, [&] { return join_tcp(guest, options); });
  };
  const auto [a, b] = attempt([](TcpJoin& host, TcpJoin& guest) {
    host.token = "right";
    guest.token = "wrong";
  });
  expect_words(a, "token");
  expect_words(b, "refused: its token is not this group's");
  const auto [c, d] = attempt([](TcpJoin& host, TcpJoin& guest) {
    host.identity = TlsIdentity::make_ephemeral().value();
    guest.identity = TlsIdentity::make_ephemeral().value();
  });
  expect_words(c, "certificate");
  expect_words(d, "certificate");
  const auto [e, f] = attempt(
      [](TcpJoin& host, TcpJoin&) { host.identity = TlsIdentity::make_ephemeral().value(); });
  expect_words(e, "speaks no TLS");
  EXPECT_FALSE(f.ok());
  const auto [g, h] = attempt(
      [](TcpJoin&, TcpJoin& guest) { guest.identity = TlsIdentity::make_ephemeral().value(); });
  expect_words(g, "it is no rank of a group");
  EXPECT_FALSE(h.ok());
  const auto [i, j] = attempt([](TcpJoin&, TcpJoin& guest) { guest.sockets_per_thread = 2; });
  expect_words(j, "must be the same on all ranks");
  EXPECT_FALSE(i.ok());
}

// Goal: a stranger that sends garbage or nothing does not keep a group from forming.
TEST(Join, AGroupFormsBesideStrangers) {
  const auto identity = TlsIdentity::make_ephemeral().value();
  for (const bool secure : {false, true}) {
    const Listener listener = listen_anywhere("127.0.0.1").value();
    std::vector<Fd> strangers;
    for (int i = 0; i < 2; ++i) {
      Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      const SocketAddress there = to_socket_address(resolve("127.0.0.1", listener.port).value());
      ASSERT_EQ(::connect(fd.get(), there.get(), there.bytes), 0);
      const auto garbage = testing::bytes(200, static_cast<uint64_t>(i));
      if (i == 0) ASSERT_EQ(::send(fd.get(), garbage.data(), garbage.size(), MSG_NOSIGNAL), 200);
      strangers.push_back(std::move(fd));
    }
    TcpJoin host = tcp(0, 2, listener), guest = tcp(1, 2, listener);
    if (secure) host.identity = guest.identity = identity;
    const auto [a, b] =
        both([&] { return join_tcp(host, {}); }, [&] { return join_tcp(guest, {}); });
    EXPECT_TRUE(a.ok()) << a.error().message();
    EXPECT_TRUE(b.ok()) << b.error().message();
  }
}

}  // namespace
}  // namespace altlas::collective
