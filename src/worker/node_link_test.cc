// Tests of the workers' port for other machines: real sockets under TLS, raw clients that are no
// workers, and a node with its processes.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include "base/scratch_folder.h"
#include "collective/certificates.h"
#include "collective/sockets.h"
#include "worker/host.h"
#include "worker/link.h"
#include "worker/node_agent.h"

namespace altlas::worker {
namespace {
using namespace std::chrono_literals;
using collective::TlsIdentity;

class NodeLink : public ::testing::Test {
 protected:
  std::shared_ptr<const TlsIdentity> identity(const std::string& authority,
                                              const std::string& name) {
    const std::string folder = scratch_.path() + "/" + authority;
    const auto files = collective::make_certificate(folder, name);
    EXPECT_TRUE(files.ok());
    return *TlsIdentity::load({files->certificate, files->key, folder + "/ca.pem"});
  }
  void start(const std::string& name = "localhost") {
    options_.tls = TlsAddress{"127.0.0.1", 0, identity("a", name)};
    LinkCallbacks callbacks;
    callbacks.connected = [](WorkerId, int32_t) {};
    callbacks.report = [](WorkerId, const engine::Report&) {};
    callbacks.lost = [](WorkerId, const std::string&) {};
    callbacks.node_said = [this](uint32_t node, NodeMessage message) {
      change([&] { said.emplace_back(node, std::move(message)); });
    };
    callbacks.node_lost = [this](uint32_t, std::string reason) {
      change([&] { lost = std::move(reason); });
    };
    server_ = std::make_unique<LinkServer>(context_, options_, callbacks);
    const Result<void> started = server_->start();
    ASSERT_TRUE(started.ok()) << started.error().message();
    server_->expect_node(1, "beta");
    io_ = std::thread([this] { context_.run(); });
  }
  void TearDown() override {
    if (server_) server_->stop();
    guard_.reset();
    context_.stop();
    if (io_.joinable()) io_.join();
    server_.reset();
  }
  TlsAddress address(std::shared_ptr<const TlsIdentity> who) const {
    return {"127.0.0.1", server_->port(), std::move(who)};
  }
  // A node's life with this certificate, until it ends.
  std::pair<int, std::string> run_node(std::shared_ptr<const TlsIdentity> who) const {
    NodeAgentOptions options;
    options.server = address(std::move(who));
    options.offer.devices = {{"a", "cpu", "cpu:1:1", 1, 0}};
    options.connect_max = 5 * kSecond;
    options.silence_max = 5 * kSecond;
    options.spawn.executable = "/bin/false";
    std::string message;
    const int code = run_node_agent(options, &message);
    return {code, message};
  }
  Fd connect() const {
    return collective::connect_to(*collective::resolve("127.0.0.1", server_->port()), nullptr,
                                  std::chrono::steady_clock::now() + 5s)
        .value();
  }
  // Whether the server closes the connection within the time.
  static bool closes(const Fd& fd, std::chrono::milliseconds within) {
    const auto deadline = std::chrono::steady_clock::now() + within;
    for (char buffer[4096]; std::chrono::steady_clock::now() < deadline;) {
      pollfd waiting{fd.get(), POLLIN, 0};
      ::poll(&waiting, 1, collective::milliseconds_until(deadline));
      const ssize_t size = ::recv(fd.get(), buffer, sizeof buffer, MSG_DONTWAIT);
      if (size == 0 || (size < 0 && errno != EAGAIN)) return true;
    }
    return false;
  }
  template <class F>
  bool wait(F condition, std::chrono::milliseconds timeout = 20s) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, timeout, condition);
  }
  template <class F>
  void change(F f) {
    const std::lock_guard lock(mutex_);
    f();
    changed_.notify_all();
  }

  std::vector<std::pair<uint32_t, NodeMessage>> said;
  std::optional<std::string> lost;
  ScratchFolder scratch_ = ScratchFolder::make().value();
  boost::asio::io_context context_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard_{
      context_.get_executor()};
  LinkOptions options_;
  std::unique_ptr<LinkServer> server_;
  std::thread io_;
  std::mutex mutex_;
  std::condition_variable changed_;
};

// Goal: a node offers its devices, starts what it is asked to, tells of its end, and ends with a
// goodbye.
TEST_F(NodeLink, ANodeStartsWorkersAndTellsOfTheirEnd) {
  start();
  std::pair<int, std::string> end;
  std::thread node([&] { end = run_node(identity("a", "beta")); });
  ASSERT_TRUE(wait([&] { return said.size() == 1; }));
  EXPECT_EQ(std::get<NodeOffer>(said[0].second).devices.size(), 1u);
  const WorkerId worker{ReplicaId{5}, 1};
  server_->send_to_node(1, SpawnWorker{worker, 3, "t"});
  ASSERT_TRUE(wait([&] { return said.size() == 2; }));
  const auto ended = std::get<WorkerEnded>(said[1].second);
  EXPECT_EQ(ended.worker, worker);
  EXPECT_EQ(ended.reason, "exited with code 1");
  server_->stop();
  node.join();
  EXPECT_EQ(end.first, kExitStopped);
  EXPECT_NE(end.second.find("the server stops"), std::string::npos) << end.second;
}

// Goal: who is no member is refused, and the reason is said at its own end.
TEST_F(NodeLink, OthersCertificatesAreRefused) {
  start();
  const auto strange = run_node(identity("b", "beta"));
  EXPECT_EQ(strange.first, kExitRefused);
  EXPECT_NE(strange.second.find("certificate"), std::string::npos) << strange.second;
  const auto unnamed = run_node(identity("a", "delta"));
  EXPECT_EQ(unnamed.first, kExitRefused);
  EXPECT_NE(unnamed.second.find("does not expect 'delta'"), std::string::npos) << unnamed.second;
  EXPECT_TRUE(said.empty());
}

// Goal: bytes that are no handshake, and handshakes that are not finished, end their own connection
// in bounded time; meanwhile a node gets in.
TEST_F(NodeLink, HostileConnectionsEndAlone) {
  options_.hello_max = 300 * kMillisecond;
  start();
  const std::string hello_of_tls("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11);
  const std::string texts[] = {"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                               std::string(100'000, '\0'),
                               std::string(70'000, '\xff'),
                               "SSH-2.0-x\r\n",
                               hello_of_tls,
                               ""};
  std::vector<Fd> strangers;
  for (const std::string& text : texts) {
    strangers.push_back(connect());
    ::send(strangers.back().get(), text.data(), text.size(), MSG_NOSIGNAL);
  }
  std::thread node([&] { run_node(identity("a", "beta")); });
  EXPECT_TRUE(wait([&] { return said.size() == 1; }));
  for (const Fd& fd : strangers) EXPECT_TRUE(closes(fd, 10s));
  server_->stop();
  node.join();
}

// Goal: a member that says something else than a hello, or too much, is refused under TLS too.
TEST_F(NodeLink, MembersThatSpeakOtherwiseAreRefused) {
  start();
  const auto member = identity("a", "beta");
  Frame early;
  early.body = Ping{1};
  const std::string too_long("\xff\xff\xff\x7f", 4);
  struct Case {
    std::string bytes, reason;
  };
  for (const Case& one :
       {Case{"GET / HTTP/1.1\r\n\r\n", "a frame of"}, Case{too_long, "a frame of"},
        Case{encode_frame(early).value(), "a worker says hello first"},
        Case{std::string("\x04\0\0\0abcd", 8), "no frame of the worker protocol"}}) {
    auto stream = connect_tls(address(member), 5s);
    ASSERT_TRUE(stream.ok());
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    ASSERT_TRUE(stream->write_all(std::as_bytes(std::span(one.bytes)), deadline).ok());
    std::string answer;
    for (std::byte byte[1]; stream->read_all(byte, deadline).ok();)
      answer += static_cast<char>(byte[0]);
    EXPECT_NE(answer.find(one.reason), std::string::npos) << answer;
  }
}

// Goal: many connections that say nothing are bounded, and a node gets in once they are closed.
TEST_F(NodeLink, ManyConnectionsAreBounded) {
  options_.hello_max = 500 * kMillisecond;
  options_.unknown_max = 8;
  start();
  std::vector<Fd> strangers;
  for (int i = 0; i < 200; ++i) strangers.push_back(connect());
  for (const Fd& fd : strangers) EXPECT_TRUE(closes(fd, 10s));
  std::thread node([&] { run_node(identity("a", "beta")); });
  EXPECT_TRUE(wait([&] { return said.size() == 1; }));
  server_->stop();
  node.join();
}

// Goal: a server that is not the one that was called is told nothing.
TEST_F(NodeLink, AServerOfAnotherNameIsRefused) {
  start("elsewhere");
  const auto end = run_node(identity("a", "beta"));
  EXPECT_EQ(end.first, kExitRefused);
  EXPECT_NE(end.second.find("IP address mismatch"), std::string::npos) << end.second;
  EXPECT_TRUE(said.empty());
}

}  // namespace
}  // namespace altlas::worker
