#include "telemetry/trace.h"

#include <gmock/gmock.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <thread>

namespace altlas::telemetry {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

size_t spans_in(const std::string& json) {
  size_t count = 0;
  for (size_t at = json.find("\"ph\":\"X\""); at != json.npos;
       at = json.find("\"ph\":\"X\"", at + 1))
    ++count;
  return count;
}

class FixedClock : public Clock {
 public:
  TimeUs now() const override { return time_ += 5; }

 private:
  mutable TimeUs time_ = 100;
};

// Goal: the JSON is Chrome's, byte for byte. Method: two spans with arguments on a named track, out
// of order.
TEST(Trace, ChromeJson) {
  Tracer tracer(100);
  tracer.name_track({1, 2}, "worker 1", "rank \"0\"");
  tracer.record({.name = "inner", .category = "engine", .start = 20, .end = 30, .track = {1, 2}});
  tracer.record({.name = "step",
                 .category = "engine",
                 .start = 20,
                 .end = 50,
                 .track = {1, 2},
                 .args = {{{"tokens", 7}, {"batch", 2}}}});
  EXPECT_EQ(tracer.write_chrome_trace(0, 100),
            "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n"
            "{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":1,\"tid\":2,\"args\":{\"name\":"
            "\"worker 1\"}},\n"
            "{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":1,\"tid\":2,\"args\":{\"name\":\"rank "
            "\\\"0\\\"\"}},\n"
            "{\"name\":\"step\",\"cat\":\"engine\",\"ph\":\"X\",\"ts\":20,\"dur\":30,\"pid\":1,"
            "\"tid\":2,\"args\":{\"tokens\":7,\"batch\":2}},\n"
            "{\"name\":\"inner\",\"cat\":\"engine\",\"ph\":\"X\",\"ts\":20,\"dur\":10,\"pid\":1,"
            "\"tid\":2,\"args\":{}}\n"
            "]}\n");
  EXPECT_EQ(Tracer(10).write_chrome_trace(0, 1),
            "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n\n]}\n");
}

// Goal: only spans that touch the asked time are written. Method: spans before it, across each end,
// inside, after.
TEST(Trace, Window) {
  Tracer tracer(100);
  for (const auto& [start, end] : {std::pair{0, 9}, {5, 10}, {12, 13}, {20, 30}, {21, 30}}) {
    tracer.record({.name = std::to_string(start), .start = start, .end = end});
  }
  const std::string json = tracer.write_chrome_trace(10, 20);
  EXPECT_EQ(spans_in(json), 3u);
  EXPECT_THAT(json, Not(HasSubstr("\"name\":\"21\"")));
}

// Goal: memory is limited, and the newest spans stay. Method: far more spans than there is room
// for, from one thread.
TEST(Trace, RingKeepsTheNewest) {
  Tracer tracer(80);  // This thread's stripe holds ten.
  for (int i = 0; i < 25; ++i)
    tracer.record({.name = "n" + std::to_string(i), .start = i, .end = i});
  const std::string json = tracer.write_chrome_trace(0, 1000);
  EXPECT_EQ(spans_in(json), 10u);
  EXPECT_EQ(tracer.overwritten(), 15u);
  EXPECT_THAT(json, HasSubstr("\"n24\""));
  EXPECT_THAT(json, HasSubstr("\"n15\""));
  EXPECT_THAT(json, Not(HasSubstr("\"n14\"")));
}

// Goal: foreign names can't break the JSON or make it grow. Method: quotes, control and non-UTF-8
// bytes, 1 MB.
TEST(Trace, HostileNames) {
  Tracer tracer(100);
  tracer.record({.name = "a\"\\\n\x01\xff", .start = 1, .end = 2});
  tracer.record({.name = std::string(1 << 20, 'x'), .start = 3, .end = 4});
  std::string cut(46, 'y');
  tracer.record({.name = cut + "ü", .start = 5, .end = 6});
  const std::string json = tracer.write_chrome_trace(0, 10);
  EXPECT_THAT(json, HasSubstr("\"name\":\"a\\\"\\\\\\u000a\\u0001?\""));
  EXPECT_THAT(json, HasSubstr("\"" + std::string(kSpanNameBytesMax, 'x') + "\""));
  EXPECT_THAT(json, HasSubstr("\"" + cut + "?\""));
  EXPECT_LT(json.size(), 1000u);
}

// Goal: while off, nothing is kept, and a size of 0 is allowed. Method: the switch, and a tracer of
// size 0.
TEST(Trace, SwitchedOff) {
  Tracer tracer(10);
  tracer.set_enabled(false);
  tracer.record({.name = "a", .start = 1, .end = 2});
  EXPECT_EQ(spans_in(tracer.write_chrome_trace(0, 10)), 0u);
  tracer.set_enabled(true);
  tracer.record({.name = "a", .start = 1, .end = 2});
  EXPECT_EQ(spans_in(tracer.write_chrome_trace(0, 10)), 1u);
  Tracer none(0);
  none.set_enabled(true);
  none.record({.name = "a", .start = 1, .end = 2});
  EXPECT_FALSE(none.enabled());
}

// Goal: a block's time becomes its span; without a tracer nothing happens. Method: a clock that
// ticks 5 us a reading.
TEST(Trace, ScopedSpan) {
  Tracer tracer(10);
  const FixedClock clock;
  {
    ScopedSpan span(&tracer, clock, "tokenization", "text", {0, 1});
    span.arg("tokens", 12);
  }
  {
    ScopedSpan none(nullptr, clock, "x", "y", {});
  }
  const std::string json = tracer.write_chrome_trace(0, 1000);
  EXPECT_THAT(
      json,
      HasSubstr("\"name\":\"tokenization\",\"cat\":\"text\",\"ph\":\"X\",\"ts\":105,\"dur\":5"));
  EXPECT_THAT(json, HasSubstr("{\"tokens\":12}"));
}

// Goal: threads record while one writes, and nothing is lost below the limit. Method: four writers,
// exact count.
TEST(Trace, ManyThreads) {
  Tracer tracer(8 * 4000);
  {
    std::vector<std::jthread> threads;
    for (uint32_t t = 0; t < 4; ++t) {
      threads.emplace_back([&tracer, t] {
        for (int i = 0; i < 1000; ++i)
          tracer.record({.name = "s", .start = i, .end = i + 1, .track = {0, t}});
      });
    }
    for (int i = 0; i < 5; ++i) static_cast<void>(tracer.write_chrome_trace(0, 10));
  }
  EXPECT_EQ(spans_in(tracer.write_chrome_trace(0, 2000)), 4000u);
  EXPECT_EQ(tracer.overwritten(), 0u);
}

// Goal: spans that overlap get lanes of their own, a free lane is taken again, and the number of
// lanes is limited. Method: spans in the order of their ends, then more at once than lanes.
TEST(Trace, SpansBesideEachOther) {
  Tracer tracer(1000);
  const auto lane_of = [&](TimeUs start, TimeUs end) {
    Span span{.name = "s", .category = "c", .start = start, .end = end, .track = {7, 0}};
    tracer.record_beside(span, "row");
    const std::string text = tracer.write_chrome_trace(start, end);
    const std::string key =
        fmt::format("\"ts\":{},\"dur\":{},\"pid\":7,\"tid\":", start, end - start);
    const size_t at = text.rfind(key);
    return at == text.npos ? -1 : std::atoi(text.c_str() + at + key.size());
  };
  EXPECT_EQ(lane_of(5, 6), 0);
  EXPECT_EQ(lane_of(0, 10), 1);
  EXPECT_EQ(lane_of(7, 12), 0);
  EXPECT_EQ(lane_of(1, 13), 2);
  EXPECT_EQ(lane_of(12, 14), 0);
  for (TimeUs i = 0; i < 200; ++i) EXPECT_LT(lane_of(3, 1000 + i), static_cast<int>(kLanesMax));
  EXPECT_EQ(lane_of(4, 2000), static_cast<int>(kLanesMax) - 1);
}

}  // namespace
}  // namespace altlas::telemetry
