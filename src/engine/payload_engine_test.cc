#include "engine/payload_engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace altlas::engine {
namespace {

SubmitSequence submit(uint64_t id, std::string payload) {
  SubmitSequence s;
  s.sequence = SequenceId{id};
  s.prompt.add_payload(std::move(payload), 0);
  return s;
}

Result<std::string> shout(const std::string& payload, uint64_t call) {
  if (payload == "bad") return invalid("this payload can't be read", "payload");
  return payload + "!" + std::to_string(call);
}

// Goal: payloads are answered in order, each once; one that can't be answered fails alone.
TEST(PayloadCore, AnswersEachPayload) {
  LoadReplica load;
  load.ranks = {{.device_id = 3}, {.device_id = 4}};
  PayloadCore core(load, shout);
  EXPECT_EQ(core.loaded().sequences_max, 1024u);
  EXPECT_EQ(core.loaded().kv_blocks, 0u);
  for (const auto& [id, payload] : {std::pair{7, "a"}, {8, "bad"}, {9, "c"}})
    core.handle(submit(static_cast<uint64_t>(id), payload));
  core.handle(CancelSequence{SequenceId{7}});  // It was answered already.
  const auto said = core.take_reports();
  ASSERT_EQ(said.size(), 3u);
  EXPECT_EQ(std::get<SequenceFinished>(said[0]).result.text, "a!1");
  EXPECT_EQ(std::get<SequenceFinished>(said[0]).result.finish_reason, FinishReason::kStop);
  EXPECT_EQ(std::get<SequenceFailed>(said[1]).sequence, SequenceId{8});
  EXPECT_EQ(std::get<SequenceFailed>(said[1]).code, ErrorCode::kInvalid);
  EXPECT_EQ(std::get<SequenceFinished>(said[2]).result.text, "c!3");
  EXPECT_TRUE(core.take_reports().empty());
  EXPECT_EQ(core.stats().steps, 3u);
  EXPECT_EQ(core.stats().device_memory_used, (std::vector<uint64_t>{0, 0}));
  EXPECT_EQ(core.stats().device_busy_us.size(), 2u);
}

// Goal: a prompt without a payload, or with several, is refused alone.
TEST(PayloadCore, AnswersOnePayloadAtATime) {
  PayloadCore core(LoadReplica(), shout);
  SubmitSequence none = submit(1, "a"), two = submit(2, "b");
  none.prompt = {1, 2};
  two.prompt.add_payload("c", 0);
  core.handle(none);
  core.handle(two);
  core.handle(submit(3, "d"));
  const auto said = core.take_reports();
  ASSERT_EQ(said.size(), 3u);
  EXPECT_EQ(std::get<SequenceFailed>(said[0]).code, ErrorCode::kInvalid);
  EXPECT_EQ(std::get<SequenceFailed>(said[1]).code, ErrorCode::kInvalid);
  EXPECT_EQ(std::get<SequenceFinished>(said[2]).result.text, "d!1");
}

// Goal: after a drain nothing more is taken, and the drain is reported once; adapters are for
// models.
TEST(PayloadCore, DrainsAndTakesNoAdapters) {
  LoadReplica load;
  load.sequences_max = 5;
  PayloadCore core(load, shout);
  EXPECT_EQ(core.loaded().sequences_max, 5u);
  core.handle(LoadAdapter{{"french", "/x"}});
  core.handle(UnloadAdapter{"french"});
  core.handle(DrainReplica{});
  core.handle(DrainReplica{});
  core.handle(submit(1, "late"));
  const auto said = core.take_reports();
  ASSERT_EQ(said.size(), 3u);
  EXPECT_EQ(std::get<AdapterLoaded>(said[0]).name, "french");
  EXPECT_THAT(std::get<AdapterLoaded>(said[0]).message, ::testing::HasSubstr("takes no adapters"));
  EXPECT_TRUE(std::holds_alternative<ReplicaDrained>(said[1]));
  EXPECT_EQ(std::get<SequenceFailed>(said[2]).code, ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace altlas::engine
