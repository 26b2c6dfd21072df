#include "server/batches/batch_input.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/utf8.h"

namespace altlas::server {
namespace {

std::string line(std::string_view id, std::string_view body = R"({"prompt": "x"})",
                 std::string_view url = "/v1/completions", std::string_view method = "POST") {
  return fmt::format(R"({{"custom_id": "{}", "method": "{}", "url": "{}", "body": {}}})", id,
                     method, url, body);
}

// Goal: every request is found in its line. Method: empty lines, CRLF, no line end at the end.
TEST(BatchInput, Lines) {
  const std::string content = line("a") + "\r\n\n  \n" + line("b");
  const BatchInput input = check_batch_input(content, "/v1/completions", {});
  ASSERT_TRUE(input.errors.empty()) << input.errors[0].message;
  ASSERT_EQ(input.lines.size(), 2u);
  EXPECT_EQ(input.lines[1].number, 4u);
  const auto second = read_batch_request(
      std::string_view(content).substr(input.lines[1].offset, input.lines[1].size),
      "/v1/completions", 64);
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(second->custom_id, "b");
  EXPECT_EQ(second->body, R"({"prompt":"x"})");
}

// Goal: byte order marks are no part of a request, and UTF-16 is named once. Method: files that
// editors saved, and that were put together.
TEST(BatchInput, ByteOrderMarks) {
  const std::string mark = "\xEF\xBB\xBF";
  for (const std::string& content :
       {mark + line("a") + "\n" + line("b"), mark + line("a") + "\r\n" + mark + line("b") + "\n",
        mark + "\n" + line("a") + "\n" + mark + " \r\n" + line("b") + "\n" + mark}) {
    const BatchInput input = check_batch_input(content, "/v1/completions", {});
    ASSERT_TRUE(input.errors.empty()) << input.errors[0].message;
    ASSERT_EQ(input.lines.size(), 2u);
    const BatchLine& one = input.lines[0];
    const auto first = read_batch_request(std::string_view(content).substr(one.offset, one.size),
                                          "/v1/completions", 64);
    ASSERT_TRUE(first.ok());
    EXPECT_EQ(first->custom_id, "a");
  }
  std::string little, big;
  for (const char c : line("a") + "\n" + line("b")) {
    (little += c) += '\0';
    (big += '\0') += c;
  }
  for (const std::string& content : {"\xFF\xFE" + little, little, "\xFE\xFF" + big, big}) {
    const BatchInput input = check_batch_input(content, "/v1/completions", {});
    ASSERT_EQ(input.errors.size(), 1u);
    EXPECT_EQ(input.errors[0].code, "unsupported_encoding");
    EXPECT_TRUE(input.errors[0].message.contains("UTF-16")) << input.errors[0].message;
  }
}

// Goal: each wrong line is named with its fault. Method: one fault per line.
TEST(BatchInput, Errors) {
  struct Case {
    std::string content, code, param;
    uint32_t line;
  };
  const Case cases[] = {
      {"", "empty_file", "", 0},
      {"{bad\n", "invalid_json_line", "", 1},
      {"[1]\n", "invalid_json_line", "", 1},
      {line("a") + "\n" + line("a"), "duplicate_custom_id", "custom_id", 2},
      {line(std::string(63, 'x') + "ğ") + "\n" + line(std::string(63, 'x') + "ğ"),
       "duplicate_custom_id", "custom_id", 2},
      {line(""), "invalid_request", "custom_id", 1},
      {line(std::string(513, 'x')), "invalid_request", "custom_id", 1},
      {line("a", "{}", "/v1/embeddings"), "invalid_request", "url", 1},
      {line("a", "{}", "/v1/completions", "GET"), "invalid_request", "method", 1},
      {line("a", "3"), "invalid_request", "body", 1},
      {line("a", "null"), "invalid_request", "body", 1},
      {line("a", R"({"stream": true})"), "invalid_request", "body.stream", 1},
      {line("a") + "\n" + line("b") + "\n" + line("c"), "too_many_lines", "", 3},
      {line("a", fmt::format(R"({{"prompt": "{}"}})", std::string(600, 'x'))), "line_too_large", "",
       1},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.content.substr(0, 80));
    BatchInputLimits limits;
    limits.lines_max = 2;
    limits.line_bytes_max = one.code == "line_too_large" ? 600 : 8 << 20;
    const BatchInput input = check_batch_input(one.content, "/v1/completions", limits);
    ASSERT_FALSE(input.errors.empty());
    EXPECT_EQ(input.errors[0].code, one.code);
    EXPECT_EQ(input.errors[0].param, one.param);
    EXPECT_EQ(input.errors[0].line, one.line);
    EXPECT_TRUE(is_valid_utf8(input.errors[0].message));
  }
}

// Goal: a file of nothing but faults is answered with a limited number of them.
TEST(BatchInput, ErrorsAreBounded) {
  std::string content;
  for (int i = 0; i < 1000; ++i) content += "x\n";
  EXPECT_EQ(check_batch_input(content, "/v1/completions", {}).errors.size(), kBatchErrorsMax);
}

}  // namespace
}  // namespace altlas::server
