// Goal: bodies that ask for the same have equal hashes however they are written; others do not.
// Method: tables of values and of tasks. How bodies become tasks is tested by
// tests/test_same_request.py.
#include "server/tasks/body_hash.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <functional>
#include <set>
#include <vector>

#include "base/hash.h"
#include "control/codec.h"
#include "server/tasks/hashed_members.h"
#include "server/tasks/task_json.h"

namespace altlas::server {

// What a struct with a nested one is in three versions of a program.
namespace versions {

struct Inner1 {
  int a = 1;
  std::string b;
};
struct Outer1 {
  uint8_t x = 0;
  Inner1 inner;
  std::vector<int> list;
};
struct Inner2 {
  int a = 1;
  bool added = true;
  std::string b;
  friend bool operator==(const Inner2&, const Inner2&) = default;
};
struct Outer2 {
  uint8_t x = 0;
  Inner2 inner;
  std::vector<int> list;
};
struct Outer3 {
  uint8_t x = 0;
  float first_of_all = 0.5f;
  Inner2 inner;
  std::vector<int> list;
  std::optional<Inner2> whole;
};

}  // namespace versions

template <>
struct HashedMembers<versions::Inner2> {
  using S = versions::Inner2;
  static constexpr std::tuple first{&S::a, &S::b};
  static constexpr std::tuple later{LaterMember{"added", &S::added}};
};
template <>
struct HashedMembers<versions::Outer2> {
  using S = versions::Outer2;
  static constexpr std::tuple first{&S::x, &S::inner, &S::list};
  static constexpr std::tuple<> later{};
};
template <>
struct HashedMembers<versions::Outer3> {
  using S = versions::Outer3;
  static constexpr std::tuple first{&S::x, &S::inner, &S::list};
  static constexpr std::tuple later{LaterMember{"first_of_all", &S::first_of_all},
                                    LaterMember{"whole", &S::whole}};
};

namespace {

namespace json = boost::json;

TEST(BodyHash, ValuesCountNotTheirSpelling) {
  const std::vector<const char*> same[] = {
      {R"({"a": 1, "b": {"c": null, "d": [1, 2]}})", R"({"b":{"d":[1,2],"c":null},"a":1})",
       R"({"b": {"d": [1.0, 2e0], "c": null}, "a": 10e-1})"},
      {"0", "-0", "0.0", "-0.0", "0e5"},
      {"4503599627370497", "4503599627370497.0", "45035996273704970e-1"},
      {"18446744073709551615", "18446744073709551615"},
      {R"("ağ")", R"("a\u011f")"},
      {"[]", "[ ]"},
      {"0.1", "1e-1", "0.10"},
      {"[1, 2]"},
      {"[2, 1]"},
      {"{}"},
      {"null"},
      {"false"},
      {"true"},
      {R"("1")"},
      {"1"},
      {"[1]"},
      {"[[1]]"},
      {R"({"a": 1})"},
      {R"({"a": {"b": 1}})"},
      {R"({"a": {}, "b": 1})"},
      {R"([{"a": 1}, {}])"},
      {"9007199254740993"},
      {"9007199254740992"},
  };
  std::set<uint64_t> hashes;
  for (const auto& spellings : same) {
    const uint64_t hash = value_hash(json::parse(spellings.front()));
    for (const char* one : spellings) EXPECT_EQ(value_hash(json::parse(one)), hash) << one;
    EXPECT_TRUE(hashes.insert(hash).second) << spellings.front() << " is like another";
  }
}

PendingTask task() {
  PendingTask out;
  out.spec.deployment = "d";
  out.prompt.text = "text";
  return out;
}

uint64_t hash_of(const std::function<void(PendingTask&)>& change) {
  PendingTask one = task();
  change(one);
  return body_hash(one, Strategy::kLeastLoaded);
}

TEST(BodyHash, WhatTheServerAddsDoesNotCount) {
  const std::function<void(PendingTask&)> changes[] = {
      [](PendingTask& t) {
        t.spec.id = TaskId{1, 2};
      },
      [](PendingTask& t) { t.spec.owner = "somebody"; },
      [](PendingTask& t) { t.spec.idempotency_key = "key"; },
      [](PendingTask& t) { t.spec.strategy = Strategy::kLeastLoaded; },
      [](PendingTask& t) { t.spec.deadline = 77; },
      [](PendingTask& t) { t.spec.body_hash = 3; },
      [](PendingTask& t) { t.spec.asked = 3; },
  };
  for (size_t i = 0; i < std::size(changes); ++i)
    EXPECT_EQ(hash_of(changes[i]), hash_of([](PendingTask&) {})) << i;
  const auto drawn = [](uint64_t seed) {
    return hash_of([seed](PendingTask& t) { t.spec.sampling.seed = seed, t.seed_drawn = true; });
  };
  EXPECT_EQ(drawn(1), drawn(2));
  const auto schema = [](const char* text) {
    return hash_of([text](PendingTask& t) {
      t.spec.sampling.grammar = {GrammarKind::kJsonSchema, text};
    });
  };
  EXPECT_EQ(schema(R"({"type": "string", "maxLength": 3})"),
            schema(R"({"maxLength": 3.0, "type": "string"})"));
  EXPECT_NE(schema(R"({"maxLength": 3})"), schema(R"({"maxLength": 4})"));
}

TEST(BodyHash, WhatIsAskedCounts) {
  const std::function<void(PendingTask&)> changes[] = {
      [](PendingTask&) {},
      [](PendingTask& t) { t.prompt.text = "other"; },
      [](PendingTask& t) { t.prompt.kind = PromptSource::Kind::kChat; },
      [](PendingTask& t) { t.prompt.parse_special = true; },
      [](PendingTask& t) { t.spec.type = "embedding"; },
      [](PendingTask& t) { t.spec.deployment = "e"; },
      [](PendingTask& t) { t.spec.adapter = "e"; },
      [](PendingTask& t) { t.spec.priority = Priority::kLow; },
      [](PendingTask& t) { t.spec.tokens_max = 129; },
      [](PendingTask& t) { t.spec.estimated_memory = 1; },
      [](PendingTask& t) { t.spec.strategy = Strategy::kRandom; },
      [](PendingTask& t) { t.spec.specific_device = DeviceId{0}; },
      [](PendingTask& t) { t.deadline_after = 1; },
      [](PendingTask& t) { t.spec.sampling.seed = 1; },
      [](PendingTask& t) { t.seed_drawn = true; },
      [](PendingTask& t) { t.spec.sampling.temperature = 0.5f; },
      [](PendingTask& t) { t.spec.sampling.stop = {"a"}; },
      [](PendingTask& t) {
        t.spec.sampling.stop = {"a", ""};
      },
      [](PendingTask& t) {
        t.spec.sampling.logit_bias = {{1, 1}};
      },
      [](PendingTask& t) {
        t.spec.sampling.grammar = {GrammarKind::kRegex, "a"};
      },
      [](PendingTask& t) {
        t.spec.sampling.grammar = {GrammarKind::kGbnf, "a"};
      },
      [](PendingTask& t) {
        t.spec.sampling.grammar = {GrammarKind::kJsonObject, ""};
      },
  };
  std::set<uint64_t> hashes;
  for (size_t i = 0; i < std::size(changes); ++i)
    EXPECT_TRUE(hashes.insert(hash_of(changes[i])).second) << i;
}

template <class T>
std::string hashed(const T& value) {
  HashedBytes bytes;
  add_hashed(bytes, value);
  return bytes.first + bytes.later;
}

// A program of a later version tells tasks of the journal apart as the earlier one did.
TEST(BodyHash, AMemberThatWasAddedCountsOnlyWhereItIsNotTheDefault) {
  const std::pair<int, const char*> values[] = {{1, ""}, {7, "text"}, {-3, "added"}};
  std::set<std::string> all;
  for (const auto& [number, text] : values) {
    const versions::Outer1 one{3, {number, text}, {number, 2}};
    std::string before;
    control::codec::write(before, one);
    versions::Outer2 two{3, {.a = number, .b = text}, {number, 2}};
    versions::Outer3 three{.x = 3, .inner = two.inner, .list = two.list};
    EXPECT_EQ(hashed(two), before);
    EXPECT_EQ(hashed(three), before);
    EXPECT_TRUE(all.insert(before).second);
    three.first_of_all = 0;
    EXPECT_TRUE(all.insert(hashed(three)).second);
    three.whole.emplace();
    EXPECT_TRUE(all.insert(hashed(three)).second);
    three.first_of_all = 0.5f;
    EXPECT_TRUE(all.insert(hashed(three)).second);
    two.inner.added = false;
    EXPECT_TRUE(all.insert(hashed(two)).second);
  }
}

// These hashes are in journals. A change of them is a conflict for each task that is sent again
// after an upgrade.
TEST(BodyHash, HashesStayWhatTheyAre) {
  EXPECT_EQ(hash_of([](PendingTask&) {}), 14351792331858185619u);
  EXPECT_EQ(hash_of([](PendingTask& t) {
              t.spec.priority = Priority::kHigh;
              t.spec.adapter = "a";
              t.spec.specific_device = DeviceId{2};
              t.deadline_after = 5'000'000;
              t.spec.sampling.stop = {"one", "two"};
              t.spec.sampling.logit_bias = {{5, -1.5f}};
              t.spec.sampling.grammar = {GrammarKind::kRegex, "[ab]+"};
            }),
            2778114638318326014u);
  EXPECT_EQ(hash_of([](PendingTask& t) {
              t.seed_drawn = true;
              t.spec.prompt = Prompt{1, 2, 3};
              t.spec.sampling.grammar = {GrammarKind::kJsonSchema, R"({"type": "object"})"};
            }),
            6101043349054887489u);
}

}  // namespace
}  // namespace altlas::server
