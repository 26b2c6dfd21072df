#include "worker/values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "replica/limits.h"

namespace altlas::worker {
namespace {

using ::testing::HasSubstr;

// A replica's settings and one more. Adding a setting takes the member and its row.
struct MoreConfig {
  int64_t depth = 0;
  double share = 0.5;
  Strategy strategy = Strategy::kRandom;
};
struct MoreSettings {
  uint16_t depth = 3;
  int64_t offset = -1;
  bool on = false;
  double share = 0.25;
  std::string path = "p";
  Strategy strategy = Strategy::kRoundRobin;
  std::vector<uint32_t> blocks = {1};
  std::vector<int64_t> deltas;
  std::vector<replica::AdapterFile> adapters;

  static constexpr void fields(auto&& field) {
    using S = MoreSettings;
    field("depth", &S::depth, &MoreConfig::depth);
    field("offset", &S::offset, replica::kGivenElsewhere);
    field("on", &S::on, replica::kGivenElsewhere);
    field("share", &S::share, &MoreConfig::share);
    field("path", &S::path, replica::kGivenElsewhere);
    field("strategy", &S::strategy, &MoreConfig::strategy);
    field("blocks", &S::blocks, replica::kGivenElsewhere);
    field("deltas", &S::deltas, replica::kGivenElsewhere);
    field("adapters", &S::adapters, replica::kGivenElsewhere);
  }
  friend bool operator==(const MoreSettings&, const MoreSettings&) = default;
};
static_assert(fields_complete<MoreSettings>());

struct ForgottenRow {
  int told = 0, forgotten = 0;
  static constexpr void fields(auto&& field) { field("told", &ForgottenRow::told); }
};
static_assert(!fields_complete<ForgottenRow>(), "a member without a row is seen");

ProtoValues written(const MoreSettings& settings) {
  ProtoValues out;
  write_values(settings, &out);
  return out;
}

// Goal: a setting is one row, from which both its configured value and its frame follow. Method: a
// struct of this test's own with every type that a setting can have, at its defaults, its extremes
// and as configured.
TEST(Values, ARowIsAllThatASettingNeeds) {
  const MoreSettings far{.depth = UINT16_MAX,
                         .offset = INT64_MIN,
                         .on = true,
                         .share = -1e300,
                         .path = std::string("\xff\0x", 3),
                         .strategy = Strategy::kEarliestFinish,
                         .blocks = {0, UINT32_MAX},
                         .deltas = {-5, INT64_MAX},
                         .adapters = {{"", ""}, {"a", "b"}}};
  const MoreConfig config{7, 0.75, Strategy::kTaskSpecific};
  const auto configured = replica::settings_of<MoreSettings>(config);
  EXPECT_EQ(configured.depth, 7);
  EXPECT_EQ(configured.share, 0.75);
  EXPECT_EQ(configured.strategy, Strategy::kTaskSpecific);
  EXPECT_EQ(configured.path, "p");
  MoreSettings none{};
  none.blocks.clear();
  none.path.clear();
  for (const MoreSettings& settings : {MoreSettings{}, far, configured, none}) {
    const auto got = read_values<MoreSettings>(written(settings));
    ASSERT_TRUE(got.ok()) << got.error().message();
    EXPECT_EQ(*got, settings);
  }
  EXPECT_EQ(*read_values<MoreSettings>(ProtoValues()), MoreSettings{});
}

// Goal: a row that the struct has no place for is refused, with the row's name.
TEST(Values, RefusesWhatItCannotHold) {
  const auto refusal = [](std::string_view name, auto change) {
    ProtoValues values = written(MoreSettings{});
    for (proto::Value& row : values)
      if (row.name() == name) change(row);
    const auto got = read_values<MoreSettings>(values);
    return got.ok() ? std::string("(taken)") : got.error().message();
  };
  EXPECT_THAT(refusal("depth", [](proto::Value& v) { v.set_numbers(0, 65536); }),
              ::testing::AllOf(HasSubstr("depth"), HasSubstr("65536")));
  EXPECT_THAT(refusal("on", [](proto::Value& v) { v.set_numbers(0, 2); }), HasSubstr("on"));
  EXPECT_THAT(refusal("strategy", [](proto::Value& v) { v.set_numbers(0, 7); }),
              HasSubstr("none of"));
  EXPECT_THAT(refusal("offset", [](proto::Value& v) { v.clear_numbers(); }),
              HasSubstr("a number is expected"));
  EXPECT_THAT(refusal("blocks", [](proto::Value& v) { v.add_numbers(uint64_t{1} << 32); }),
              HasSubstr("too large"));
  EXPECT_THAT(refusal("path", [](proto::Value& v) { v.add_texts("two"); }), HasSubstr("path"));
  EXPECT_THAT(refusal("adapters", [](proto::Value& v) { v.add_texts("name"); }),
              HasSubstr("a path is expected"));
  EXPECT_THAT(refusal("share", [](proto::Value& v) { v.set_name("shares"); }),
              ::testing::AllOf(HasSubstr("shares"), HasSubstr("does not know")));
}

// Goal: a replica's settings and limits reach the other end whole. Method: every row is set to
// something that is not its default, by its type alone.
TEST(Values, EverySettingAndLimitComesBack) {
  const auto change = []<class T>(T& value) {
    if constexpr (std::is_same_v<T, bool>)
      value = !value;
    else if constexpr (NamedEnum<T>)
      value = static_cast<T>(1);
    else if constexpr (std::is_arithmetic_v<T>)
      value += 1;
    else if constexpr (std::is_same_v<T, std::string>)
      value += "\xff";
    else
      value.resize(2);
  };
  const auto check = [&]<class S>(S settings) {
    S::fields([&](std::string_view, auto member, auto&&...) { change(settings.*member); });
    ProtoValues rows;
    write_values(settings, &rows);
    const auto got = read_values<S>(rows);
    ASSERT_TRUE(got.ok()) << got.error().message();
    S::fields([&](std::string_view name, auto member, auto&&...) {
      EXPECT_TRUE(*got.*member == settings.*member) << name;
    });
  };
  check(replica::ReplicaSettings());
  check(replica::ReplicaLimits());
}

}  // namespace
}  // namespace altlas::worker
