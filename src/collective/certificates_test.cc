// Tests of the certificates that this room makes, by handshakes between two ends.
#include "collective/certificates.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "base/scratch_folder.h"
#include "collective/sockets.h"
#include "collective/stream.h"

namespace altlas::collective {
namespace {

using Identity = std::shared_ptr<const TlsIdentity>;
namespace fs = std::filesystem;

class Certificates : public ::testing::Test {
 protected:
  std::string folder(const std::string& name) const { return scratch_.path() + "/" + name; }
  // The certificate of `name`, signed by the authority of the folder.
  Identity identity(const std::string& in, const std::string& name, const Validity& validity = {}) {
    const auto files = make_certificate(folder(in), name, validity);
    EXPECT_TRUE(files.ok()) << files.error().message();
    auto loaded = TlsIdentity::load({files->certificate, files->key, folder(in) + "/ca.pem"});
    EXPECT_TRUE(loaded.ok()) << loaded.error().message();
    return *loaded;
  }

  ScratchFolder scratch_ = ScratchFolder::make().value();
};

struct Ends {
  Result<void> client, server;
  std::string client_saw, server_saw;  // Names.
};
// A connection on which each end sends a byte and waits for the other's.
Ends shake(const Identity& server, const Identity& client, const std::string& host) {
  int pair[2];
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  Ends out;
  const auto run = [](Stream& stream) -> Result<void> {
    const Deadline deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    std::byte byte[1] = {};
    ALTLAS_TRY_VOID(stream.write_all(byte, deadline));
    return stream.read_all(byte, deadline);
  };
  // The server's end stays open until the client has read all of it: a socket closed with an unread
  // byte in it throws away what it sent, and the client would see an end where the reason was.
  Stream serving(Fd(pair[0]), server.get(), TlsSide::kServer);
  std::thread other([&] {
    out.server = run(serving);
    out.server_saw = serving.peer_name();
  });
  {
    Stream stream(Fd(pair[1]), client.get(), TlsSide::kClient);
    stream.expect_host(host);
    out.client = run(stream);
    out.client_saw = stream.peer_name();
    if (!out.client.ok()) stream = Stream();
    other.join();
  }
  return out;
}

TEST_F(Certificates, MembersKnowEachOtherByName) {
  const auto ends = shake(identity("a", "gateway"), identity("a", "node-1"), "gateway");
  EXPECT_TRUE(ends.client.ok()) << ends.client.error().message();
  EXPECT_TRUE(ends.server.ok()) << ends.server.error().message();
  EXPECT_EQ(ends.client_saw, "gateway");
  EXPECT_EQ(ends.server_saw, "node-1");
  const Identity loopback = identity("a", "localhost");
  for (const char* host : {"localhost", "127.0.0.1", "::1"})
    EXPECT_TRUE(shake(loopback, loopback, host).client.ok()) << host;
  const Identity address = identity("a", "10.1.2.3");
  EXPECT_TRUE(shake(address, loopback, "10.1.2.3").client.ok());
}

// Goal: whoever is no member, or is not whom it should be, is refused, and both ends say why.
TEST_F(Certificates, OthersAreRefusedWithWords) {
  const Identity server = identity("a", "gateway");
  constexpr int64_t kDay = 24 * 3600;
  // An expired certificate is refused when it is loaded; here it is one that expires in between.
  const Identity early = identity("a", "early", {.begins = kDay, .ends = 2 * kDay});
  struct Case {
    Identity server, client;
    std::string host, client_says, server_says;
  };
  const Case cases[] = {
      // The client looks first: it knows no authority that signed the server's.
      {server, identity("b", "node"), "gateway", "is not trusted", "unknown ca"},
      {server, early, "gateway", "certificate", "certificate is not yet valid"},
      {identity("b", "gateway"), identity("a", "node"), "gateway", "is not trusted", ""},
      {server, identity("a", "node"), "elsewhere", "hostname mismatch", ""},
      {server, identity("a", "node"), "10.0.0.1", "IP address mismatch", ""},
      {server, TlsIdentity::make_ephemeral().value(), "gateway", "not trusted", "unknown ca"},
      {early, identity("a", "node"), "early", "not yet valid", ""},
  };
  for (const Case& one : cases) {
    const Ends ends = shake(one.server, one.client, one.host);
    ASSERT_FALSE(ends.client.ok()) << one.client_says;
    ASSERT_FALSE(ends.server.ok()) << one.server_says;
    EXPECT_NE(ends.client.error().message().find(one.client_says), std::string::npos)
        << ends.client.error().message();
    EXPECT_NE(ends.server.error().message().find(one.server_says), std::string::npos)
        << ends.server.error().message();
  }
}

TEST_F(Certificates, AnExpiredOneIsNamed) {
  const auto files = make_certificate(folder("a"), "old", {.begins = -7200, .ends = -60});
  ASSERT_TRUE(files.ok());
  const auto loaded = TlsIdentity::load({files->certificate, files->key, folder("a") + "/ca.pem"});
  ASSERT_FALSE(loaded.ok());
  EXPECT_NE(loaded.error().message().find("old.pem' has expired"), std::string::npos);
}

TEST_F(Certificates, KeysAreClosedAndTheAuthorityIsKept) {
  ASSERT_TRUE(make_authority(folder("a")).ok());
  std::ifstream file(folder("a") + "/ca.pem");
  const std::string before((std::istreambuf_iterator<char>(file)), {});
  const auto made = make_certificate(folder("a"), "one");
  ASSERT_TRUE(made.ok());
  std::ifstream again(folder("a") + "/ca.pem");
  EXPECT_EQ(std::string((std::istreambuf_iterator<char>(again)), {}), before);
  for (const std::string& key : {folder("a") + "/ca-key.pem", made->key}) {
    struct stat info{};
    ASSERT_EQ(::stat(key.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777u, 0600u) << key;
  }
}

TEST_F(Certificates, WhatCanNotBeIsAnError) {
  for (const char* name : {"", "../evil", "a/b", "ca", "a,DNS:b", "-x", ".x", "a b", "\n"}) {
    const auto made = make_certificate(folder("a"), name);
    ASSERT_FALSE(made.ok()) << name;
    EXPECT_EQ(made.error().code(), ErrorCode::kInvalid);
  }
  ASSERT_TRUE(make_authority(folder("a")).ok());
  fs::permissions(folder("a") + "/ca-key.pem", fs::perms(0644));
  const auto open = make_certificate(folder("a"), "x");
  ASSERT_FALSE(open.ok());
  EXPECT_NE(open.error().message().find("can be read by others"), std::string::npos);
  fs::remove(folder("a") + "/ca-key.pem");
  const auto keyless = make_certificate(folder("a"), "x");
  ASSERT_FALSE(keyless.ok());
  EXPECT_NE(keyless.error().message().find("without its key"), std::string::npos);
  ASSERT_TRUE(make_authority(folder("c"), {.begins = -7200, .ends = -60}).ok());
  const auto expired = make_certificate(folder("c"), "x");
  ASSERT_FALSE(expired.ok());
  EXPECT_NE(expired.error().message().find("has expired"), std::string::npos);
}

TEST(HostPort, IsReadAsPeopleWriteIt) {
  EXPECT_EQ(parse_host_port("gateway:7000")->host, "gateway");
  EXPECT_EQ(parse_host_port("10.0.0.1:0")->port, 0);
  EXPECT_EQ(parse_host_port("[fe80::1]:65535")->host, "fe80::1");
  for (const char* text :
       {"", ":", "a", "a:", ":1", "a:b", "a:65536", "a:-1", "a:1x", "fe80::1:7", "[]:1", "a: 1"})
    EXPECT_FALSE(parse_host_port(text).ok()) << text;
}

}  // namespace
}  // namespace altlas::collective
