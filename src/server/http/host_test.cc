#include "server/http/host.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace altlas::server {
namespace {

TEST(Host, ReadsNamesAddressesAndPorts) {
  const struct {
    const char* text;
    const char* host;
    const char* port;
  } rows[] = {
      {"localhost", "localhost", ""},       {"LocalHost:8000", "localhost", "8000"},
      {"localhost.", "localhost", ""},      {"127.0.0.1:1", "127.0.0.1", "1"},
      {"[::1]", "::1", ""},                 {"[2001:DB8::1]:443", "2001:db8::1", "443"},
      {"xn--lgame-kva.example:80", "xn--lgame-kva.example", "80"},
      {"a_b.internal", "a_b.internal", ""}, {"host:", "host", ""},
  };
  for (const auto& row : rows) {
    const auto read = parse_authority(row.text);
    ASSERT_TRUE(read) << row.text;
    EXPECT_EQ(read->host, row.host);
    EXPECT_EQ(read->port, row.port);
  }
}

TEST(Host, RefusesWhatIsNone) {
  for (const char* text :
       {"", ".", ":80", "a b", "a/b", "user@host", "host:80:80", "host:99999", "host:-1", "host:8o",
        "[::1", "[::1]x", "[127.0.0.1]", "[]", "::1", "a,b c", "a%2eb", "h\xc3\xb6st", "host\t",
        "a?b", "a#b", "[::1]]", "http://localhost"})
    EXPECT_FALSE(parse_authority(text)) << text;
}

TEST(Host, WithoutKeysOnlyOwnNames) {
  config::ServerConfig config;
  config.allowed_hosts = {"gpu.example", "[2001:db8::5]"};
  for (const char* text : {"localhost:8000", "api.localhost", "127.8.8.8", "[::1]:1", "10.0.0.7",
                           "GPU.example.", "[2001:db8:0::5]", "[::ffff:127.0.0.1]"})
    EXPECT_TRUE(host_allowed(config, *parse_authority(text), "10.0.0.7")) << text;
  for (const char* text :
       {"evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.8", "0.0.0.0",
        "notlocalhost", "x.gpu.example", "gpu.example.evil", "[::2]", "2130706433"})
    EXPECT_FALSE(host_allowed(config, *parse_authority(text), "10.0.0.7")) << text;
  config.allowed_hosts = {"*"};
  EXPECT_TRUE(host_allowed(config, *parse_authority("evil.example"), "10.0.0.7"));
}

TEST(Host, OriginsOfTheSameSite) {
  const Authority own{"127.0.0.1", "8000"};
  EXPECT_TRUE(same_site("http://127.0.0.1:8000", own));
  EXPECT_TRUE(same_site("https://gpu.example", {"gpu.example", "443"}));
  EXPECT_TRUE(same_site("https://GPU.example:443", {"gpu.example", "443"}));
  EXPECT_TRUE(same_site("http://gpu.example", {"gpu.example", ""}));
  for (const char* origin : {"null", "", "http://evil.example", "http://127.0.0.1:8001",
                             "http://127.0.0.1", "127.0.0.1:8000", "http://127.0.0.1:8000/x",
                             "file://", "http://user@127.0.0.1:8000"})
    EXPECT_FALSE(same_site(origin, own)) << origin;
}

struct PageCase {
  const char* name;
  std::string method = "POST", host = "127.0.0.1:8000", origin, authorization;
  bool has_keys = false;
  bool allowed = false;
};

TEST(Host, PagesOfOthersChangeNothing) {
  const PageCase rows[] = {
      {.name = "no page", .allowed = true},
      {.name = "own page", .origin = "http://127.0.0.1:8000", .allowed = true},
      {.name = "other page", .origin = "http://evil.example"},
      {.name = "other page deletes", .method = "DELETE", .origin = "http://evil.example"},
      {.name = "sandboxed page", .origin = "null"},
      {.name = "other port", .origin = "http://127.0.0.1:3000"},
      {.name = "other page looks", .method = "GET", .origin = "http://evil.example", .allowed = true},
      {.name = "allowed page", .origin = "https://ui.example", .allowed = true},
      {.name = "rebound name", .method = "GET", .host = "evil.example"},
      {.name = "rebound name, own origin", .host = "evil.example", .origin = "http://evil.example"},
      {.name = "keys", .host = "evil.example", .has_keys = true, .allowed = true},
      {.name = "a key that no browser adds", .origin = "http://evil.example",
       .authorization = "Bearer k", .has_keys = true, .allowed = true},
      {.name = "a key that browsers add", .origin = "http://evil.example",
       .authorization = "Basic azpr", .has_keys = true},
  };
  config::ServerConfig config;
  config.cors_origins = {"https://ui.example"};
  for (const PageCase& row : rows) {
    Request head;
    head.method = row.method;
    head.host = row.host;
    head.origin = row.origin;
    head.authorization = row.authorization;
    EXPECT_EQ(check_page(config, head, row.has_keys, "127.0.0.1").ok(), row.allowed) << row.name;
  }
}

}  // namespace
}  // namespace altlas::server
