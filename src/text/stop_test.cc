// Goal: nothing of a stop string is ever emitted, and nothing else is lost, however the text is
// cut. Method: every way to cut short texts, compared with a search in the whole text.
#include "text/stop.h"

#include <gtest/gtest.h>

#include "base/philox.h"

namespace altlas::text {
namespace {

struct Outcome {
  std::string text;
  bool stopped = false;
  int32_t which = -1;
  bool operator==(const Outcome&) const = default;
};

Outcome run(const std::vector<std::string>& stops, const std::vector<std::string>& pieces) {
  StopStrings matcher = *StopStrings::create(stops);
  Outcome out;
  for (const std::string& piece : pieces) {
    const auto step = matcher.push(piece);
    out.text += step.emit;
    if (!step.stopped) continue;
    out.stopped = true;
    out.which = step.which;
  }
  out.text += matcher.flush();
  return out;
}

// Returns the stop string whose end comes first; of several, the longest.
Outcome search(const std::vector<std::string>& stops, const std::string& text) {
  for (size_t end = 1; end <= text.size(); ++end) {
    int32_t best = -1;
    for (size_t i = 0; i < stops.size(); ++i)
      if (text.substr(0, end).ends_with(stops[i]) &&
          (best < 0 || stops[i].size() > stops[static_cast<size_t>(best)].size()))
        best = static_cast<int32_t>(i);
    if (best >= 0)
      return {text.substr(0, end - stops[static_cast<size_t>(best)].size()), true, best};
  }
  return {text};
}

TEST(StopStrings, EveryCutGivesTheSame) {
  for (uint64_t seed = 0; seed < 3000; ++seed) {
    auto draw = [&, i = uint64_t{0}](uint32_t below) mutable {
      return philox(seed, i++, 0)[0] % below;
    };
    std::vector<std::string> stops(1 + draw(3)), pieces(1 + draw(8));
    std::string text;
    for (std::string& s : stops)
      for (uint32_t n = 1 + draw(4); n > 0; --n) s += static_cast<char>('a' + draw(2));
    for (std::string& p : pieces) {
      for (uint32_t n = draw(4); n > 0; --n) p += static_cast<char>('a' + draw(3));
      text += p;
    }
    EXPECT_EQ(run(stops, pieces), search(stops, text)) << seed;
  }
}

TEST(StopStrings, HoldsBackOnlyWhatMayBecomeAStop) {
  StopStrings matcher = *StopStrings::create({"\n\nUser:"});
  EXPECT_EQ(matcher.push("Hi\n").emit, "Hi");
  EXPECT_EQ(matcher.push("\n").emit, "");
  EXPECT_EQ(matcher.push("Us").emit, "");
  EXPECT_EQ(matcher.push("age").emit, "\n\nUsage");
  EXPECT_EQ(matcher.push("\n\nUser: x").emit, "");
  EXPECT_TRUE(matcher.stopped());
  EXPECT_EQ(matcher.push("more").emit, "");
  EXPECT_EQ(matcher.flush(), "");
}

TEST(StopStrings, NeverCutsACharacter) {
  StopStrings matcher = *StopStrings::create({"é!"});
  EXPECT_EQ(matcher.push("è").emit, "è");  // It shares its first byte with é.
  EXPECT_EQ(matcher.push("é").emit, "");
  EXPECT_EQ(matcher.push("?").emit, "é?");
}

TEST(StopStrings, RefusesWhatCannotBeOne) {
  EXPECT_EQ(StopStrings::create({""}).error().field(), "stop");
  EXPECT_FALSE(StopStrings::create({"\xFF"}).ok());
  EXPECT_FALSE(StopStrings::create({std::string(kStopStringBytesMax + 1, 'a')}).ok());
  EXPECT_TRUE(StopStrings::create({std::string(kStopStringBytesMax, 'a')}).ok());
  EXPECT_FALSE(StopStrings::create(std::vector<std::string>(kStopStringsMax + 1, "a")).ok());
  EXPECT_EQ(StopStrings().push("all").emit, "all");
}

}  // namespace
}  // namespace altlas::text
