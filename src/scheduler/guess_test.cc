#include "scheduler/guess.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/philox.h"

namespace altlas::scheduler {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Goal: what followed the same tokens last time is guessed, the longer match first, and repeated if
// the text itself repeats.
TEST(PromptLookup, GuessesWhatFollowedLastTime) {
  PromptLookup lookup;
  EXPECT_THAT(lookup.guess(std::vector<int32_t>{1, 2, 3, 4, 5}, 4), IsEmpty());
  EXPECT_THAT(lookup.guess(std::vector<int32_t>{1, 2, 3, 4, 5, 1, 2}, 3), ElementsAre(3, 4, 5));
  PromptLookup longer;  // 7 followed 8 9 last, but 1 followed 5 6 8 9.
  EXPECT_THAT(longer.guess(std::vector<int32_t>{5, 6, 8, 9, 1, 2, 8, 9, 7, 5, 6, 8, 9}, 2),
              ElementsAre(1, 2));
  PromptLookup loop;
  EXPECT_THAT(loop.guess(std::vector<int32_t>{7, 1, 2, 3, 1, 2, 3}, 7),
              ElementsAre(1, 2, 3, 1, 2, 3, 1));
  EXPECT_THAT(PromptLookup().guess({}, 4), IsEmpty());
  EXPECT_THAT(PromptLookup().guess(std::vector<int32_t>{1}, 4), IsEmpty());
}

// Goal: a lookup that saw the tokens one by one guesses like one that saw them at once, unless its
// table grew in between; guesses always are what followed some equal tokens. Method: random text of
// few words, compared with a search of the whole text.
TEST(PromptLookup, AgreesWithASearch) {
  PhiloxStream random{.seed = 3};
  for (int round = 0; round < 20; ++round) {
    PromptLookup steps;
    std::vector<int32_t> text;
    size_t found = 0;
    for (int i = 0; i < 600; ++i) {
      text.push_back(static_cast<int32_t>(random.below(6)));
      const auto guess = steps.guess(text, 1);
      if (guess.empty()) continue;
      ++found;
      bool followed = false;
      for (size_t at = 2; at < text.size(); ++at)
        followed = followed || (text[at - 2] == text[text.size() - 2] &&
                                text[at - 1] == text.back() && text[at] == guess[0]);
      EXPECT_TRUE(followed) << "after " << text.size() << " tokens";
    }
    EXPECT_GT(found, 400u) << "pairs of 6 words recur";
  }
}

// Goal: right guesses make more, wrong ones make fewer and pause; never more than is allowed.
TEST(GuessPace, FollowsWhatWasRight) {
  GuessPace pace(10);
  EXPECT_EQ(pace.take(), 4u);
  pace.told(4, 4);
  EXPECT_EQ(pace.take(), 8u);
  pace.told(8, 8);
  EXPECT_EQ(pace.take(), 10u);
  pace.told(10, 2);
  EXPECT_EQ(pace.take(), 5u);
  pace.told(5, 0);  // One pause of one token.
  EXPECT_EQ(pace.take(), 0u);
  EXPECT_EQ(pace.take(), 2u);
  pace.told(2, 0);
  EXPECT_EQ(pace.take() + pace.take(), 0u);
  EXPECT_EQ(pace.take(), 1u);
  uint32_t guessed = 0;
  for (int token = 0; token < 1000; ++token) {
    const uint32_t count = pace.take();
    guessed += count;
    if (count > 0) pace.told(count, 0);
  }
  EXPECT_LT(guessed, 25u) << "text that can't be guessed costs next to nothing";
  EXPECT_EQ(GuessPace(0).take(), 0u);
}

}  // namespace
}  // namespace altlas::scheduler
