// Goal: the dashboard's files are answered as the client can take them, and never leave room for
// what is not the server's. Method: tables of request headers.
#include "server/dashboard/files.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "server/http/response_head.h"

namespace altlas::server {
namespace {

const DashboardFile& script() {
  return *std::ranges::find(dashboard_files(), "app.js", &DashboardFile::name);
}

std::string header(const Response& response, std::string_view name) {
  for (const auto& [key, value] : response.headers)
    if (key == name) return value;
  return "";
}

TEST(DashboardFiles, AreThere) {
  size_t bytes = 0;
  for (const DashboardFile& file : dashboard_files()) {
    bytes += file.bytes;
    const Response response = file_response(file, Request());
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.body.size(), file.bytes) << file.name;
    EXPECT_EQ(header(response, "Content-Encoding"), "");
  }
  EXPECT_LE(bytes, size_t{400} << 10) << "all files together";
  EXPECT_TRUE(std::ranges::any_of(dashboard_files(),
                                  [](const DashboardFile& one) { return one.name == "index.html"; }));
}

TEST(DashboardFiles, ArePackedForThoseThatTakeIt) {
  const std::pair<const char*, bool> rows[] = {
      {"", false},         {"gzip", true},          {"br, GZIP", true},   {"gzip;q=0", false},
      {"gzip; q=0.0", false}, {"gzip;q=0.01", true}, {"*", true},          {"*;q=0", false},
      {"*, gzip;q=0", false}, {"identity", false},   {"deflate, br", false}, {"x-gzip", true},
      {"gzipped", false},     {",,gzip,,", true}};
  for (const auto& [accept, packed] : rows) {
    Request request;
    request.accept_encoding = accept;
    const Response response = file_response(script(), request);
    EXPECT_EQ(header(response, "Content-Encoding") == "gzip", packed) << accept;
    EXPECT_EQ(response.body.size(), packed ? script().packed.size() : script().bytes) << accept;
    EXPECT_EQ(header(response, "Vary"), "Accept-Encoding");
  }
}

TEST(DashboardFiles, AreNotSentAgain) {
  const std::string tag = header(file_response(script(), Request()), "ETag");
  const std::pair<std::string, int> rows[] = {{tag, 304},
                                              {"W/" + tag, 304},
                                              {"\"a\", " + tag, 304},
                                              {"*", 304},
                                              {"\"a\"", 200},
                                              {"", 200},
                                              {tag.substr(1), 200},
                                              {tag.substr(0, tag.size() - 1) + "-gzip\"", 200}};
  for (const auto& [sent, status] : rows) {
    Request request;
    request.if_none_match = sent;
    const Response response = file_response(script(), request);
    EXPECT_EQ(response.status, status) << sent;
    EXPECT_EQ(response.body.empty(), status == 304) << sent;
    const std::string head = response_head(response, {});
    EXPECT_EQ(head.contains("Content-Length"), status == 200);
  }
}

TEST(DashboardFiles, KeepOthersOut) {
  for (const DashboardFile& file : dashboard_files()) {
    const Response response = file_response(file, Request());
    const std::string policy = header(response, "Content-Security-Policy");
    EXPECT_TRUE(policy.starts_with("default-src 'none'")) << file.name;
    for (const char* bad : {"unsafe", "*", "http:", "https:", "data:"})
      EXPECT_FALSE(policy.contains(bad)) << bad;
    EXPECT_EQ(header(response, "X-Content-Type-Options"), "nosniff");
  }
  const Response page = file_response(
      *std::ranges::find(dashboard_files(), "index.html", &DashboardFile::name), Request());
  for (const char* inline_code : {"<script>", " onclick=", " style=", "<style", "javascript:"})
    EXPECT_FALSE(page.body.contains(inline_code)) << inline_code;
}

}  // namespace
}  // namespace altlas::server
