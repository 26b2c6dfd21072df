// Goal: what a connection sends is read as RFC 9112 defines it: as one request, or as a refusal
// where others could see another request in it. Method: tables of bytes and of what must come out,
// given whole and byte by byte.
#include <gtest/gtest.h>

#include <algorithm>

#include "server/http/request_reader.h"
#include "server/http/target.h"

namespace altlas::server {
namespace {

using State = RequestReader::State;

config::ServerConfig small_limits() {
  config::ServerConfig config;
  config.body_bytes_max = 64;
  config.file_bytes_max = 4096;
  config.header_bytes_max = 1024;
  config.header_count_max = 8;
  config.target_bytes_max = 256;
  return config;
}

struct Outcome {
  State state = State::kHead;
  int status = 0;
  std::string path, body, rest;
};

// Gives `bytes` in steps of `step`, as a connection would: bytes that are left come again.
Outcome read(const std::string& bytes, size_t step) {
  static const config::ServerConfig config = small_limits();
  RequestReader reader(config);
  size_t begin = 0;
  for (size_t end = std::min(step, bytes.size());; end = std::min(end + step, bytes.size())) {
    for (size_t used = 1; used > 0;) {
      used = reader.put(std::string_view(bytes).substr(begin, end - begin));
      begin += used;
    }
    if (reader.state() >= State::kDone || end == bytes.size()) break;
  }
  Outcome out;
  out.state = reader.state();
  out.rest = bytes.substr(begin);
  if (out.state == State::kRefused) {
    out.status = reader.refusal().status;
    EXPECT_FALSE(reader.refusal().message.empty());
  } else if (out.state == State::kDone) {
    Request request = reader.take();
    out.path = request.path;
    out.body = request.body;
  }
  return out;
}

void expect_same_in_pieces(const std::string& bytes, const Outcome& whole) {
  for (const size_t step : {size_t{1}, size_t{3}, size_t{17}}) {
    const Outcome pieces = read(bytes, step);
    EXPECT_EQ(pieces.state, whole.state) << bytes;
    EXPECT_EQ(pieces.status, whole.status) << bytes;
    EXPECT_EQ(pieces.path, whole.path) << bytes;
    EXPECT_EQ(pieces.body, whole.body) << bytes;
  }
}

TEST(RequestReader, TakesWhatIsARequest) {
  const struct {
    std::string bytes, path, body, rest;
  } cases[] = {
      {"GET /health HTTP/1.1\r\nHost: a\r\n\r\n", "/health", "", ""},
      {"\r\nGET /health HTTP/1.1\r\nHost: a\r\n\r\n", "/health", "", ""},
      {"\r\n\r\n\r\nPOST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", "/echo", "{}", ""},
      {"GET http://a.example:8000/v1/models?x=1 HTTP/1.1\r\nHost: a\r\n\r\n", "/v1/models", "", ""},
      {"GET HTTPS://[::1]:8000 HTTP/1.1\r\nHost: a\r\n\r\n", "/", "", ""},
      {"GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n", "/", "", ""},
      {"GET /a%20b|c{d} HTTP/1.0\r\n\r\n", "/a b|c{d}", "", ""},
      {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "*", "", ""},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
       "3\r\nabc\r\n2;x=\"y\"\r\nde\r\n0\r\n\r\n",
       "/echo", "abcde", ""},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\t CHUNKED \r\n\r\n"
       "1\r\na\r\n0\r\nX: y\r\n\r\nGET /",
       "/echo", "a", "GET /"},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\naGET /next HTTP/1.1\r\nHost: a\r\n\r\n", "/echo", "a",
       "GET /next HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"GET /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n", "/a", "",
       "GET /b HTTP/1.1\r\nHost: a\r\n\r\n"},
  };
  for (const auto& one : cases) {
    const Outcome whole = read(one.bytes, one.bytes.size());
    EXPECT_EQ(whole.state, State::kDone) << one.bytes << whole.status;
    EXPECT_EQ(whole.path, one.path) << one.bytes;
    EXPECT_EQ(whole.body, one.body) << one.bytes;
    EXPECT_EQ(whole.rest, one.rest) << one.bytes;
    expect_same_in_pieces(one.bytes, whole);
  }
}

// Goal: bodies are refused that could hide a second request from somebody who reads them otherwise.
TEST(RequestReader, RefusesUnclearBodies) {
  const std::string_view fields[] = {
      "Transfer-Encoding: xchunked",
      "Transfer-Encoding: chunked, gzip",
      "Transfer-Encoding: gzip, chunked",
      "Transfer-Encoding: chunked, chunked",
      "Transfer-Encoding: \"chunked\"",
      "Transfer-Encoding:",
      "Transfer-Encoding: identity",
      "Transfer-Encoding: chunked;q=1",
      "Transfer-Encoding: ,chunked",
      "Transfer-Encoding: \vchunked",
      "Transfer-Encoding : chunked",
      "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
      "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
      "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
      "Transfer-Encoding: chunked\r\nContent-Length: 30",
      "Content-Length: 30\r\nTransfer-Encoding: chunked",
      "Content-Length: 0\r\nTransfer-Encoding: chunked",
      "Content-Length: 5\r\nContent-Length: 5",
      "Content-Length: 5\r\nContent-Length: 30",
      "Content-Length: 5, 5",
      "Content-Length: +5",
      "Content-Length: 0x5",
      "Content-Length: 5 5",
      "Content-Length: -1",
      "Content-Length:",
      "Content-Length: 99999999999999999999999",
  };
  for (const std::string_view field : fields) {
    const std::string bytes = "POST /echo HTTP/1.1\r\nHost: a\r\n" + std::string(field) +
                              "\r\n\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: a\r\n\r\n";
    const Outcome whole = read(bytes, bytes.size());
    EXPECT_EQ(whole.state, State::kRefused) << field;
    EXPECT_EQ(whole.status, 400) << field;
    expect_same_in_pieces(bytes, whole);
  }
  for (const std::string_view old : {"Transfer-Encoding: chunked", "Transfer-Encoding: x"}) {
    const std::string bytes = "POST /echo HTTP/1.0\r\n" + std::string(old) +
                              "\r\n\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: a\r\n\r\n";
    EXPECT_EQ(read(bytes, bytes.size()).status, 400) << old;
  }
}

// Goal: a request has one name of one host, so that nobody in front of the server can read another
// one.
TEST(RequestReader, RefusesUnclearHosts) {
  for (const std::string_view fields :
       {"", "Host:\r\n", "Host: a\r\nHost: a\r\n", "Host: a\r\nhOST: b\r\n", "Host: a b\r\n",
        "Host: u@a\r\n", "Host: a:b\r\n", "Host: a/b\r\n", "Host: [::1\r\n", "Host: a,b:c\r\n"}) {
    const std::string bytes = "GET /health HTTP/1.1\r\n" + std::string(fields) + "\r\n";
    const Outcome whole = read(bytes, bytes.size());
    EXPECT_EQ(whole.status, 400) << fields;
    expect_same_in_pieces(bytes, whole);
  }
  for (const std::string_view target : {"http://u@a/", "http://a:b/", "http://[::1/", "http://a b/"})
    EXPECT_EQ(read("GET " + std::string(target) + " HTTP/1.1\r\nHost: a\r\n\r\n", 1000).status, 400)
        << target;
}

TEST(RequestReader, RefusesWhatIsNoRequest) {
  const std::string x(300, 'x'), y(2000, 'y');
  const struct {
    std::string bytes;
    int status;
  } cases[] = {
      {"GET  /health HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET /health\r\n\r\n", 400},
      {"GET /hea lth HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET /health HTTP/2.0\r\n\r\n", 400},
      {"GET health HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET ftp://a/health HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET http:///health HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"CONNECT a.example:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET /a%2 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET /a?b=%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET /a HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", 400},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", 400},
      {"GET /" + x + " HTTP/1.1\r\nHost: a\r\n\r\n", 414},
      {"GET /" + y + " HTTP/1.1\r\nHost: a\r\n\r\n", 414},
      {"GET / HTTP/1.1\r\nHost: a\r\nX: " + y + "\r\n\r\n", 431},
      {"GET / HTTP/1.1\r\nHost: a\r\na:\r\nb:\r\nc:\r\nd:\r\ne:\r\nf:\r\ng:\r\nh:\r\ni:\r\n\r\n", 431},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 65\r\n\r\n", 413},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n41\r\n" + x, 413},
      {"POST /v1/files?x HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\n\r\n", 413},
      {"POST http://a/v1/files HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\n\r\n", 413},
  };
  for (const auto& one : cases) {
    const Outcome whole = read(one.bytes, one.bytes.size());
    EXPECT_EQ(whole.state, State::kRefused) << one.bytes.substr(0, 80);
    EXPECT_EQ(whole.status, one.status) << one.bytes.substr(0, 80);
    const Outcome pieces = read(one.bytes, 7);
    EXPECT_EQ(pieces.status, one.status) << one.bytes.substr(0, 80);
  }
}

TEST(RequestReader, StopsBehindTheHead) {
  const config::ServerConfig config = small_limits();
  for (const std::string head :
       {"POST /v1/files HTTP/1.1\r\nHost: a\r\nContent-Length: 65\r\n\r\n",
        "POST /v1/files HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST http://a/v1/files?b HTTP/1.1\r\nHost: a\r\nContent-Length: 65\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 64\r\n\r\n"}) {
    RequestReader reader(config);
    EXPECT_EQ(reader.put(head + "body"), head.size());
    EXPECT_EQ(reader.state(), State::kBody) << head;
  }
  RequestReader idle(config);
  EXPECT_EQ(idle.put("\r\n\r\n\r"), 4u);
  EXPECT_FALSE(idle.begun());
}

TEST(RequestReader, KeepsTheHeadersThatHandlersRead) {
  const config::ServerConfig config;
  RequestReader reader(config);
  reader.put(
      "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nOrigin: http://a\r\n"
      "content-encoding: br\r\nAccess-Control-Request-Headers: a,b\r\nX-Request-Id: 7\r\nExpect: 100-Continue\r\n"
      "Connection: close\r\nContent-Length: 5\r\n\r\n");
  EXPECT_EQ(reader.head().content_encoding, "gzip, br");
  EXPECT_EQ(reader.head().origin, "http://a");
  EXPECT_EQ(reader.head().cors_headers, "a,b");
  EXPECT_EQ(reader.head().request_id, "7");
  EXPECT_TRUE(reader.expects_continue());
  EXPECT_FALSE(reader.keep_alive());
}

// Goal: "close" and "keep-alive" are found on every line of the field, among others, in any case.
TEST(RequestReader, ConnectionsStayOrEndAsAsked) {
  const struct {
    std::string version, fields;
    bool stays;
  } cases[] = {
      {"1.1", "", true},
      {"1.1", "Connection: foo\r\nConnection: close\r\n", false},
      {"1.1", "Connection: close\r\nConnection: keep-alive\r\n", false},
      {"1.1", "Connection: Upgrade,HTTP2-Settings , CLOSE\r\n", false},
      {"1.1", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n", true},
      {"1.1", "Connection: closed, not-close\r\n", true},
      {"1.1", "Connection: ,\r\nConnection:\tclose\t\r\n", false},
      {"1.0", "", false},
      {"1.0", "Connection: Keep-Alive\r\n", true},
      {"1.0", "Connection: TE\r\nConnection: keep-alive\r\n", true},
      {"1.0", "Connection: keep-alive, close\r\n", false},
  };
  const config::ServerConfig config;
  for (const auto& one : cases) {
    RequestReader reader(config);
    reader.put("GET /a HTTP/" + one.version + "\r\nHost: a\r\n" + one.fields + "\r\n");
    ASSERT_EQ(reader.state(), State::kDone) << one.fields;
    EXPECT_EQ(reader.keep_alive(), one.stays) << one.version << " " << one.fields;
  }
}

TEST(Target, QueriesKeepWhatBrowsersSendRaw) {
  using Query = std::vector<std::pair<std::string, std::string>>;
  const struct {
    std::string target, path;
    Query query;
  } cases[] = {
      {"/a?filter={\"x\":[1]}", "/a", {{"filter", "{\"x\":[1]}"}}},
      {"/a?q=a|b^c\\d`e", "/a", {{"q", "a|b^c\\d`e"}}},
      {"/a?q=%7B+%2B&r", "/a", {{"q", "{ +"}, {"r", ""}}},
      {"/a?x=1&&y=2=3&", "/a", {{"x", "1"}, {"y", "2=3"}}},
      {"/a?q=\xc3\xa9/?", "/a", {{"q", "\xc3\xa9/?"}}},
      {"/a+b?", "/a+b", {}},
      {"http://h:1?a[]=1", "/", {{"a[]", "1"}}},
      {"//v1//models", "//v1//models", {}},
  };
  for (const auto& one : cases) {
    const auto target = parse_target(one.target);
    ASSERT_TRUE(target) << one.target;
    EXPECT_EQ(target->path, one.path) << one.target;
    EXPECT_EQ(target->query, one.query) << one.target;
  }
}

}  // namespace
}  // namespace altlas::server
