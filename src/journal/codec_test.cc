#include "journal/codec.h"

#include <gtest/gtest.h>

#include "base/hash.h"
#include "journal/test_events.h"
#include "testing/data.h"

namespace altlas::journal {
namespace {

std::vector<TaskEvent> one_of_each() {
  return {event_of(1, -5, TaskAccepted{full_spec(1), DeviceId{2}}),
          event_of(1, 10, TaskStarted{DeviceId{-1}}),
          event_of(1, 20, TaskTokens{7, {1, -1, INT32_MAX, INT32_MIN}}),
          event_of(1, 30, TaskCompleted{full_result(1)}),
          event_of(1, INT64_MAX, TaskFailed{ErrorCode::kDevice, "lost \xff"}),
          event_of(1, 0, TaskCanceled{})};
}

// Goal: no field is lost. Method: every field of a spec and a result has a value that is not its
// default.
TEST(Codec, EverySpecFieldComesBack) {
  const TaskSpec want = full_spec(9);
  const Result<TaskEvent> event =
      decode_event(want.id, encode_event(event_of(9, -77, TaskAccepted{want, DeviceId{4}})));
  ASSERT_TRUE(event.ok()) << event.error().message();
  EXPECT_EQ(event->time, -77);
  EXPECT_EQ(event->task, want.id);
  const auto& accepted = std::get<TaskAccepted>(event->what);
  EXPECT_EQ(accepted.device, DeviceId{4});
  const TaskSpec& got = accepted.spec;
  EXPECT_EQ(got.id, want.id);
  EXPECT_EQ(got.owner, want.owner);
  EXPECT_EQ(got.type, want.type);
  EXPECT_EQ(got.deployment, want.deployment);
  EXPECT_EQ(got.priority, want.priority);
  EXPECT_EQ(got.asked, want.asked);
  EXPECT_EQ(got.deadline, want.deadline);
  EXPECT_EQ(got.idempotency_key, want.idempotency_key);
  EXPECT_EQ(got.body_hash, want.body_hash);
  EXPECT_EQ(got.estimated_memory, want.estimated_memory);
  EXPECT_EQ(got.strategy, want.strategy);
  EXPECT_EQ(got.specific_device, want.specific_device);
  EXPECT_EQ(got.batch_group, want.batch_group);
  EXPECT_EQ(got.durable, want.durable);
  EXPECT_EQ(got.prompt, want.prompt);
  EXPECT_EQ(got.tokens_max, want.tokens_max);
  EXPECT_EQ(got.sampling, want.sampling);
  EXPECT_EQ(got.adapter, want.adapter);
  EXPECT_EQ(got.embeds, want.embeds);
}

// Goal: a task with any strategy or priority, later ones included, is read at the next start.
TEST(Codec, EveryNamedValueComesBack) {
  const auto again = [](const TaskSpec& spec) {
    const auto event =
        decode_event(spec.id, encode_event(TaskEvent{spec.id, 0, TaskAccepted{spec, {}}}));
    EXPECT_TRUE(event.ok()) << event.error().message();
    return std::get<TaskAccepted>(event->what).spec;
  };
  TaskSpec spec;
  spec.id = task_id(1);
  for (const EnumName& name : names_of(Strategy{})) {
    spec.strategy = static_cast<Strategy>(name.value);
    EXPECT_EQ(again(spec).strategy, spec.strategy) << name.name;
  }
  for (const EnumName& name : names_of(Priority{})) {
    spec.priority = static_cast<Priority>(name.value);
    EXPECT_EQ(again(spec).priority, spec.priority) << name.name;
  }
}

// Goal: what an older altlas wrote stays readable for ever. Method: rows that version 1 wrote.
TEST(Codec, ReadsVersion1) {
  const auto bytes = [](std::string_view hex) {
    std::string out;
    for (size_t i = 0; i + 1 < hex.size(); i += 2)
      out += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
    return out;
  };
  const auto read = [&](uint64_t number, std::string_view hex) {
    const Result<TaskEvent> event = decode_event(TaskId{7, number}, bytes(hex));
    EXPECT_TRUE(event.ok()) << event.error().message();
    return event.ok() ? std::get<TaskAccepted>(event->what).spec : TaskSpec();
  };
  const TaskSpec text = read(
      1,
      "01a9435c0308a413124b0a470a03616e6e120f746578745f67656e65726174696f6e1a047177656e200160016a07"
      "02b0b712009a0170127a1a0d3333333f150000803f2d0000803f41050000000000000048011004");
  EXPECT_EQ(text.prompt, Prompt({1, 151000, 0, 77}));
  EXPECT_EQ(text.owner, "ann");
  EXPECT_EQ(text.sampling.seed, 5u);
  const TaskSpec echo = read(
      2,
      "0152d69d6608a41312340a3012046563686f1a046563686f2001600170027a110d3333333f150000803f2d000080"
      "3f48018201087b2261223a20317d1004");
  EXPECT_EQ(echo.prompt.size(), 0u);
  ASSERT_EQ(echo.prompt.payloads().size(), 1u);
  EXPECT_EQ(echo.prompt.payloads()[0].content, "{\"a\": 1}");
  EXPECT_EQ(echo.prompt.payloads()[0].hash, content_hash("{\"a\": 1}"));
  const TaskSpec embeds = read(
      3,
      "012e22b13e08a41312320a2e1209656d62656464696e671a03626765200160016a0206087a110d3333333f150000"
      "803f2d0000803f48019001011004");
  EXPECT_EQ(embeds.prompt, Prompt({3, 4}));
  EXPECT_TRUE(embeds.embeds);
}

TEST(Codec, AbsentOptionalsStayAbsent) {
  TaskSpec spec;
  spec.id = task_id(1);
  const Result<TaskEvent> event =
      decode_event(spec.id, encode_event(TaskEvent{spec.id, 0, TaskAccepted{spec, {}}}));
  ASSERT_TRUE(event.ok()) << event.error().message();
  const TaskSpec& got = std::get<TaskAccepted>(event->what).spec;
  EXPECT_FALSE(got.deadline.has_value());
  EXPECT_FALSE(got.strategy.has_value());
  EXPECT_FALSE(got.specific_device.has_value());
  EXPECT_EQ(got.sampling, SamplingParams());
}

TEST(Codec, OtherEventsComeBack) {
  const auto again = [](const TaskEvent& event) {
    return decode_event(event.task, encode_event(event)).value();
  };
  const std::vector<TaskEvent> events = one_of_each();
  EXPECT_EQ(std::get<TaskStarted>(again(events[1]).what).device, DeviceId{-1});
  const auto tokens = std::get<TaskTokens>(again(events[2]).what);
  EXPECT_EQ(tokens.first_index, 7u);
  EXPECT_EQ(tokens.ids, (std::vector<int32_t>{1, -1, INT32_MAX, INT32_MIN}));
  const auto result = std::get<TaskCompleted>(again(events[3]).what).result;
  const TaskResult want = full_result(1);
  EXPECT_EQ(result.text, want.text);
  EXPECT_EQ(result.tokens, want.tokens);
  EXPECT_EQ(result.finish_reason, want.finish_reason);
  EXPECT_EQ(result.stop_string, want.stop_string);
  EXPECT_EQ(result.prompt_logprobs, want.prompt_logprobs);
  const TaskEvent failed = again(events[4]);
  EXPECT_EQ(failed.time, INT64_MAX);
  EXPECT_EQ(std::get<TaskFailed>(failed.what).code, ErrorCode::kDevice);
  EXPECT_EQ(std::get<TaskFailed>(failed.what).message, "lost \xff");
  EXPECT_TRUE(std::holds_alternative<TaskCanceled>(again(events[5]).what));
}

// Goal: a damaged row is never taken for an event. Method: flip every bit of each payload, cut it
// at every length.
TEST(Codec, DamageIsFound) {
  for (const TaskEvent& event : one_of_each()) {
    const std::string payload = encode_event(event);
    for (size_t bit = 0; bit < payload.size() * 8; ++bit) {
      std::string damaged = payload;
      damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
      const Result<TaskEvent> got = decode_event(event.task, damaged);
      ASSERT_FALSE(got.ok()) << "bit " << bit;
      EXPECT_EQ(got.error().code(), ErrorCode::kInvalid);
    }
    for (size_t size = 0; size < payload.size(); ++size)
      ASSERT_FALSE(decode_event(event.task, std::string_view(payload).substr(0, size)).ok())
          << size;
    EXPECT_FALSE(decode_event(task_id(2), payload).ok()) << "a payload under another task's id";
  }
}

TEST(Codec, AnotherVersionIsNamed) {
  std::string payload = encode_event(one_of_each()[0]);
  payload[0] = 9;
  const Result<TaskEvent> got = decode_event(task_id(1), payload);
  ASSERT_FALSE(got.ok());
  EXPECT_EQ(got.error().message(), "payload of version 9, this altlas reads versions 1 to 2");
}

TEST(Codec, RandomBytesAreNoEvent) {
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    const std::vector<uint8_t> bytes = testing::bytes(1 + seed % 200, seed);
    std::string payload(bytes.begin(), bytes.end());
    payload[0] = 1;
    EXPECT_FALSE(decode_event(task_id(1), payload).ok());
  }
}

TEST(Codec, TaskIdsComeBackInOrder) {
  const TaskId id{0x0102030405060708, 0xf0f1f2f3f4f5f6f7};
  EXPECT_EQ(encode_task_id(id).substr(0, 3), "\x01\x02\x03");
  EXPECT_EQ(decode_task_id(encode_task_id(id)).value(), id);
  EXPECT_FALSE(decode_task_id("short").ok());
}

}  // namespace
}  // namespace altlas::journal
