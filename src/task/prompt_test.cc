// Goal: a prompt is the list of its segments, whichever way it is looked at, and survives the way
// through its frames. Method: prompts with runs and payloads in every order.
#include "task/prompt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "task/convert.h"

namespace altlas {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// 't' stands for two tokens, 'p' for a payload of three places, '0' for a payload that takes none.
Prompt make(std::string_view kinds) {
  Prompt out;
  int32_t next = 1;
  for (const char kind : kinds) {
    if (kind == 't') {
      out.push_back(next);
      out.push_back(next + 1);
    } else {
      out.add_payload("content " + std::to_string(next), kind == 'p' ? 3 : 0);
    }
    next += 10;
  }
  return out;
}

TEST(Prompt, ReadsAsTokensWithPlaces) {
  const Prompt prompt = make("tpt");
  EXPECT_EQ(prompt.size(), 7u);
  EXPECT_THAT(prompt.tokens(),
              ElementsAre(1, 2, kTokenPayload, kTokenPayload, kTokenPayload, 21, 22));
  ASSERT_EQ(prompt.payloads().size(), 1u);
  EXPECT_EQ(prompt.payloads()[0].first, 2u);
  EXPECT_EQ(prompt.payloads()[0].hash, content_hash("content 11"));
  EXPECT_TRUE(Prompt().empty());
  EXPECT_EQ(make("0").size(), 0u);
}

TEST(Prompt, SegmentsGiveThePromptAgain) {
  for (const char* kinds :
       {"", "t", "p", "0", "tp", "pt", "pp", "tpt", "0t", "t0p", "ptptp", "p0p"}) {
    SCOPED_TRACE(kinds);
    const Prompt prompt = make(kinds);
    Prompt again;
    for (const PromptSegment& segment : prompt.segments()) {
      EXPECT_EQ(segment.payload == nullptr, !segment.tokens.empty());
      if (segment.payload == nullptr)
        again.add_tokens(segment.tokens);
      else
        again.add_payload(segment.payload->content, segment.payload->tokens);
    }
    EXPECT_EQ(again, prompt);
    EXPECT_TRUE(prompt.rebuild());
    google::protobuf::RepeatedPtrField<proto::PromptSegment> frames;
    write_prompt(prompt, &frames);
    const Result<Prompt> read = read_prompt(frames);
    ASSERT_TRUE(read.ok()) << read.error().message();
    EXPECT_EQ(*read, prompt);
  }
}

TEST(Prompt, HashTellsContentsApart) {
  const auto hash = [](const Prompt& prompt) {
    Hasher hasher;
    prompt.add_to(hasher);
    return hasher.value();
  };
  Prompt one, other, longer;
  one.add_payload("one", 2);
  other.add_payload("other", 2);
  longer.add_payload("one", 3);
  EXPECT_NE(hash(one), hash(other));
  EXPECT_NE(hash(one), hash(longer));
  EXPECT_NE(hash(one), hash({kTokenPayload, kTokenPayload}));
}

TEST(Prompt, WrongFramesAreRefused) {
  google::protobuf::RepeatedPtrField<proto::PromptSegment> frames;
  frames.Add()->mutable_payload()->set_hash("short");
  EXPECT_THAT(read_prompt(frames).error().message(), HasSubstr("hash of 5 bytes"));
  frames[0].mutable_payload()->set_hash(std::string(32, 'x'));
  frames[0].mutable_payload()->set_tokens(UINT32_MAX);
  EXPECT_THAT(read_prompt(frames).error().message(), HasSubstr("4294967295 places"));
}

}  // namespace
}  // namespace altlas
