// Tests of the event parser: whole events, however the bytes are cut.
#include "client/sse.h"

#include <gtest/gtest.h>

#include <vector>

namespace altlas::client {
namespace {

// Goal: events do not depend on how the stream is cut, nor on its line ends. Method: each cut into
// two pieces.
TEST(Sse, AnyCut) {
  const std::string stream =
      "\xEF\xBB\xBF: hello\r\n\r\nevent: token\rdata: a\rdata:b\r\rid: 7\ndata:  c\n\ndata\n\n";
  for (size_t cut = 0; cut <= stream.size(); ++cut) {
    SCOPED_TRACE(cut);
    SseParser parser;
    std::vector<SseEvent> events;
    const SseParser::OnEvent keep = [&events](const SseEvent& event) {
      events.push_back(event);
      return true;
    };
    ASSERT_TRUE(parser.push(stream.substr(0, cut), keep).ok());
    ASSERT_TRUE(parser.push(stream.substr(cut), keep).ok());
    ASSERT_EQ(events.size(), 3u);
    EXPECT_EQ(events[0].event, "token");
    EXPECT_EQ(events[0].data, "a\nb");
    EXPECT_EQ(events[1].event, "");
    EXPECT_EQ(events[1].data, " c");
    EXPECT_EQ(events[1].id, "7");
    EXPECT_EQ(events[2].data, "");
  }
}

// Goal: a reader that has enough hears no more; an endless event is refused. Method: stop at the
// first; a line without end.
TEST(Sse, StopsAndLimits) {
  SseParser parser;
  int heard = 0;
  const auto more =
      parser.push("data: 1\n\ndata: 2\n\n", [&heard](const SseEvent&) { return ++heard < 1; });
  ASSERT_TRUE(more.ok());
  EXPECT_FALSE(*more);
  EXPECT_EQ(heard, 1);
  SseParser endless;
  const auto refused = endless.push("data: " + std::string(kSseEventBytesMax, 'x'),
                                    [](const SseEvent&) { return true; });
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kTooLarge);
}

}  // namespace
}  // namespace altlas::client
