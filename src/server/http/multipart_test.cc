#include "server/http/multipart.h"

#include <gtest/gtest.h>

namespace altlas::server {
namespace {

constexpr std::string_view kType = "multipart/form-data; boundary=\"x y\"";

// Goal: names, file names and bodies are read, whatever bytes the file has. Method: a body as curl
// and Python's clients send it.
TEST(Multipart, Parts) {
  const std::string body =
      "--x y\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n"
      "--x y\r\ncontent-disposition: FORM-DATA; filename=\"a \\\"b\\\".jsonl\"; name=file\r\n"
      "Content-Type: application/octet-stream\r\n\r\n{\"a\": 1}\r\n--x\r\n\r\n"
      "--x y\r\nContent-Disposition: form-data; name=\"empty\"\r\n\r\n\r\n--x y--\r\n";
  const auto parts = parse_multipart(kType, body);
  ASSERT_TRUE(parts.ok()) << parts.error().message();
  ASSERT_EQ(parts->size(), 3u);
  EXPECT_EQ((*parts)[0].name, "purpose");
  EXPECT_EQ((*parts)[0].body, "batch");
  EXPECT_EQ((*parts)[1].name, "file");
  EXPECT_EQ((*parts)[1].filename, "a \"b\".jsonl");
  EXPECT_EQ((*parts)[1].body, "{\"a\": 1}\r\n--x\r\n");
  EXPECT_EQ((*parts)[2].body, "");
}

// Goal: what RFC 2046 allows around boundaries is accepted. Method: one part, written in several
// ways.
TEST(Multipart, WhatStandsAroundBoundaries) {
  const std::string head = "Content-Disposition: form-data; name=\"f\"\r\n\r\nc\r\n";
  for (const std::string& body :
       {"--b\r\n" + head + "--b--\r\n", "\r\n--b\r\n" + head + "--b--", "text\r\n--b\r\n" + head + "--b--end",
        "--b  \t\r\n" + head + "--b--", "a --b\r\nb\r\n--b \r\n" + head + "--b--\r\n\r\n--b"}) {
    const auto parts = parse_multipart("Multipart/Form-Data; Boundary=\"b\"", body);
    ASSERT_TRUE(parts.ok()) << body << parts.error().message();
    ASSERT_EQ(parts->size(), 1u) << body;
    EXPECT_EQ((*parts)[0].body, "c") << body;
  }
}

// Goal: other bodies are refused with a reason, wherever they are cut. Method: all prefixes, and
// bodies with one thing wrong.
TEST(Multipart, WrongBodies) {
  const std::string body =
      "--b\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\ncontent\r\n--b--";
  const std::string type = "multipart/form-data; boundary=b";
  ASSERT_TRUE(parse_multipart(type, body).ok());
  for (size_t size = 0; size < body.size(); ++size)
    EXPECT_FALSE(parse_multipart(type, body.substr(0, size)).ok()) << size;
  EXPECT_EQ(parse_multipart("application/json", body).error().code(), ErrorCode::kUnsupported);
  EXPECT_EQ(parse_multipart("multipart/form-data", body).error().code(), ErrorCode::kUnsupported);
  EXPECT_FALSE(parse_multipart(type, "--b\r\nX-A: b\r\n\r\nc\r\n--b--").ok());
  EXPECT_FALSE(parse_multipart(type, "--b\r\nnothing\r\n\r\nc\r\n--b--").ok());
  std::string many;
  for (int i = 0; i < 33; ++i)
    many += "--b\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\nc\r\n";
  EXPECT_NE(parse_multipart(type, many + "--b--").error().message().find("32 parts"),
            std::string::npos);
}

}  // namespace
}  // namespace altlas::server
