// Goal: pages of allowed origins may send what they ask for and read every answer; others may not.
// Method: tables of what a browser sends and of the headers that come back.
#include <gtest/gtest.h>

#include <algorithm>

#include "server/http/cors.h"
#include "server/http/response_head.h"

namespace altlas::server {
namespace {

std::string header(const Response& response, std::string_view name) {
  const auto found = std::ranges::find(response.headers, name,
                                       &std::pair<std::string, std::string>::first);
  return found == response.headers.end() ? "" : found->second;
}

config::ServerConfig allowing(std::vector<std::string> origins) {
  config::ServerConfig config;
  config.cors_origins = std::move(origins);
  return config;
}

TEST(Cors, PreflightAllowsTheHeadersThatAreAskedFor) {
  const struct {
    std::string asked, allowed;
  } cases[] = {
      {"x-stainless-os, x-stainless-lang,content-type",
       "x-stainless-os, x-stainless-lang, content-type"},
      {"openai-beta", "openai-beta"},
      {"", "Authorization, Content-Type, X-Request-Id"},
      {"x-a, b c, x-d\r\nEvil: 1, \"q\", x-e", "x-a, x-e"},
      {", ,\t", "Authorization, Content-Type, X-Request-Id"},
      {std::string(200, 'a') + ",x-b", "x-b"},
  };
  const auto config = allowing({"http://page"});
  for (const auto& one : cases) {
    Request request;
    request.origin = "http://page";
    request.cors_headers = one.asked;
    const Response response = preflight(config, request, "POST");
    EXPECT_EQ(response.status, 204);
    EXPECT_EQ(header(response, "Access-Control-Allow-Headers"), one.allowed) << one.asked;
  }
  Request many;
  many.origin = "http://page";
  for (int i = 0; i < 10'000; ++i) many.cors_headers += "x-" + std::to_string(i) + ",";
  const Response bounded = preflight(config, many, "POST");
  EXPECT_LT(header(bounded, "Access-Control-Allow-Headers").size(), 10'000u);
  many.origin = "http://other";
  EXPECT_EQ(header(preflight(config, many, "POST"), "Access-Control-Allow-Headers"), "");
}

// Goal: a page of the internet may ask this machine only if its preflight is told so.
TEST(Cors, PrivateNetworksAreOpenedToAllowedPages) {
  for (const bool asked : {false, true}) {
    for (const char* origin : {"http://page", "http://other"}) {
      Request request;
      request.origin = origin;
      request.cors_private_network = asked;
      const Response response = preflight(allowing({"http://page"}), request, "POST");
      EXPECT_EQ(header(response, "Access-Control-Allow-Private-Network"),
                asked && request.origin == "http://page" ? "true" : "");
    }
  }
}

// Goal: a cache gives no page what it holds for another. Method: which answers vary by origin.
TEST(Cors, EveryAnswerOfAListOfOriginsVaries) {
  const struct {
    std::vector<std::string> origins;
    std::string origin, vary;
  } cases[] = {
      {{"http://a"}, "http://a", "Origin"}, {{"http://a"}, "http://b", "Origin"},
      {{"http://a"}, "", "Origin"},         {{"*"}, "http://a", ""},
      {{}, "http://a", ""},
  };
  for (const auto& one : cases) {
    Response response;
    add_cors(allowing(one.origins), one.origin, response);
    EXPECT_EQ(header(response, "Vary"), one.vary) << one.origin;
  }
}

TEST(Cors, AnswersCanBeReadByAllowedPagesOnly) {
  const struct {
    std::vector<std::string> origins;
    std::string origin, allowed;
  } cases[] = {
      {{"*"}, "http://any", "*"},
      {{"http://a", "http://b"}, "http://b", "http://b"},
      {{"http://a"}, "http://b", ""},
      {{"http://a"}, "http://a.evil", ""},
      {{}, "http://a", ""},
      {{"*"}, "", ""},
  };
  for (const auto& one : cases) {
    Response response;
    add_cors(allowing(one.origins), one.origin, response);
    EXPECT_EQ(header(response, "Access-Control-Allow-Origin"), one.allowed) << one.origin;
    const std::string exposed = header(response, "Access-Control-Expose-Headers");
    EXPECT_EQ(exposed.find("Retry-After") != std::string::npos, !one.allowed.empty());
    EXPECT_EQ(exposed.find("X-Request-Id") != std::string::npos, !one.allowed.empty());
  }
}

TEST(Cors, FindsTheOriginOfAHeaderThatIsTooLarge) {
  EXPECT_EQ(find_origin("GET / HTTP/1.1\r\nHost: a\r\nORIGIN:  http://a \r\nX: y"), "http://a");
  EXPECT_EQ(find_origin("xxx\r\norigin: http://a\r\n"), "http://a");
  EXPECT_EQ(find_origin("GET / HTTP/1.1\r\nX-Origin: http://a\r\nX: y"), "");
  EXPECT_EQ(find_origin("GET / HTTP/1.1\r\nOrigin: http://a"), "") << "perhaps cut";
  EXPECT_EQ(find_origin(""), "");
}

TEST(ResponseHead, SaysHowLongTheBodyIs) {
  Response plain = json_response("{}");
  Response stream, known;
  stream.stream = known.stream = [](WriteChunk) -> boost::asio::awaitable<void> { co_return; };
  known.stream_bytes = 70'000;
  Response none;
  none.status = 204;
  const struct {
    const Response& response;
    unsigned version;
    bool head;
    std::string there, absent;
  } cases[] = {
      {plain, 11, false, "Content-Length: 2\r\n", "Connection"},
      {plain, 11, true, "Content-Length: 2\r\n", "Transfer"},
      {plain, 10, false, "Connection: keep-alive\r\n", "Transfer"},
      {stream, 11, false, "Transfer-Encoding: chunked\r\n", "Content-Length"},
      {stream, 11, true, "HTTP/1.1 200 OK\r\n", "Content-Length"},
      {stream, 10, false, "HTTP/1.0 200 OK\r\n", "Transfer"},
      {known, 11, false, "Content-Length: 70000\r\n", "Transfer"},
      {known, 11, true, "Content-Length: 70000\r\n", "Transfer"},
      {none, 11, false, "HTTP/1.1 204 No Content\r\n", "Content-"},
  };
  for (const auto& one : cases) {
    HeadOptions options;
    options.version = one.version;
    options.head = one.head;
    const std::string head = response_head(one.response, options);
    EXPECT_NE(head.find(one.there), std::string::npos) << head;
    EXPECT_EQ(head.find(one.absent), std::string::npos) << head;
    EXPECT_TRUE(head.starts_with(answer_prefix(one.version)));
    EXPECT_TRUE(head.ends_with("\r\n\r\n"));
    EXPECT_NE(head.find("Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"), std::string::npos);
  }
  plain.headers.emplace_back("X-Request-Id", "a\r\nEvil: b");
  EXPECT_EQ(response_head(plain, {}).find("Evil"), std::string::npos);
}

}  // namespace
}  // namespace altlas::server
