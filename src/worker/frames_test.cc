#include "worker/frames.h"

#include <gtest/gtest.h>

#include "testing/data.h"
#include "worker/test_messages.h"

namespace altlas::worker {
namespace {

std::vector<Frame> all_frames() {
  std::vector<Frame> frames{
      {1, 0, Hello{3, "token\0x", WorkerId{ReplicaId{4}, 9}, -5, "host", 6, 7}},
      {2, 0, HelloAck{3, 4, "h", 5, 6}},
      {UINT64_MAX, 0, Ack{UINT64_MAX, 2}},
      {4, 0, Ping{9}},
      {5, 0, Pong{10}},
      {6, 0, Goodbye{"why \xff"}}};
  uint64_t sequence = 0;
  for (auto& command : all_commands()) frames.push_back({7, ++sequence, std::move(command)});
  for (auto& report : all_reports()) frames.push_back({8, ++sequence, std::move(report)});
  frames.push_back({9, ++sequence, full_plan()});
  frames.push_back({9, ++sequence, StepPlan()});
  frames.push_back({9, ++sequence, full_result()});
  for (auto& message : all_node_messages()) frames.push_back({0, ++sequence, std::move(message)});
  return frames;
}

Result<Frame> again(const Frame& frame) {
  ALTLAS_TRY(const std::string bytes, encode_frame(frame));
  return decode_frame(std::string_view(bytes).substr(kFrameHeaderBytes));
}

template <class T>
T message_again(const auto& message) {
  using Kind = std::conditional_t<std::is_constructible_v<engine::Command, T>, engine::Command,
                                  engine::Report>;
  return std::get<T>(std::get<Kind>(again(Frame{1, 1, Kind(message)}).value().body));
}

// Goal: nothing is lost on the way. Method: a frame that is encoded, decoded and encoded again has
// the same bytes, and (below) each field is compared.
TEST(Frames, EveryKindComesBack) {
  for (const Frame& frame : all_frames()) {
    const Result<Frame> got = again(frame);
    ASSERT_TRUE(got.ok()) << got.error().message();
    EXPECT_EQ(got->epoch, frame.epoch);
    EXPECT_EQ(got->sequence, frame.sequence);
    EXPECT_EQ(got->body.index(), frame.body.index());
    EXPECT_EQ(encode_frame(*got).value(), encode_frame(frame).value());
  }
}

TEST(Frames, NodeMessagesComeBack) {
  const auto messages = all_node_messages();
  const auto got = [&](size_t i) {
    return std::get<NodeMessage>(again(Frame{0, 1, messages[i]}).value().body);
  };
  EXPECT_EQ(std::get<NodeOffer>(got(0)).devices, std::get<NodeOffer>(messages[0]).devices);
  const auto spawned = std::get<SpawnWorker>(got(1));
  EXPECT_EQ(spawned.worker, (WorkerId{ReplicaId{7}, 2}));
  EXPECT_EQ(spawned.epoch, UINT64_MAX);
  EXPECT_EQ(spawned.token, "token\xff");
  EXPECT_EQ(std::get<KillWorker>(got(2)).worker, spawned.worker);
  const auto ended = std::get<WorkerEnded>(got(3));
  EXPECT_EQ(ended.worker, spawned.worker);
  EXPECT_EQ(ended.reason, "killed by signal 9");
}

// Goal: what a node says of itself is bounded.
TEST(Frames, OffersBeyondTheirLimitsAreErrors) {
  const NodeDevice plain{"a", "cpu", "cpu", 1, 0};
  NodeDevice wordy = plain;
  wordy.spec = std::string(257, 'x');
  for (const NodeOffer& offer : {NodeOffer{}, NodeOffer{{wordy}},
                                 NodeOffer{std::vector<NodeDevice>(kNodeDevicesMax + 1, plain)}})
    EXPECT_FALSE(again(Frame{0, 1, NodeMessage(offer)}).ok());
}

TEST(Frames, HelloFieldsComeBack) {
  const auto hello = std::get<Hello>(again(all_frames()[0]).value().body);
  EXPECT_EQ(hello.version, 3u);
  EXPECT_EQ(hello.token, "token\0x");
  EXPECT_EQ(hello.worker, (WorkerId{ReplicaId{4}, 9}));
  EXPECT_EQ(hello.pid, -5);
  EXPECT_EQ(hello.host, "host");
  EXPECT_EQ(hello.received, 6u);
  EXPECT_EQ(hello.credit, 7u);
}

TEST(Frames, CommandFieldsComeBack) {
  const auto commands = all_commands();
  const auto& load = std::get<engine::LoadReplica>(commands[0]);
  const auto got = message_again<engine::LoadReplica>(load);
  EXPECT_EQ(got.kind, load.kind);
  EXPECT_EQ(got.model_path, load.model_path);
  EXPECT_EQ(got.worker, load.worker);
  EXPECT_EQ(got.ranks, load.ranks);
  EXPECT_EQ(got.own_ranks(), std::vector<uint32_t>{1});
  EXPECT_EQ(got.tensor_parallel_size, load.tensor_parallel_size);
  EXPECT_EQ(got.pipeline_parallel_size, load.pipeline_parallel_size);
  EXPECT_EQ(got.expert_parallel_size, load.expert_parallel_size);
  EXPECT_EQ(got.model_len_max, load.model_len_max);
  EXPECT_EQ(got.sequences_max, load.sequences_max);
  EXPECT_EQ(got.step_tokens_max, load.step_tokens_max);
  EXPECT_EQ(got.block_tokens, load.block_tokens);
  EXPECT_EQ(got.executor_depth, load.executor_depth);
  EXPECT_EQ(got.memory_utilization, load.memory_utilization);
  EXPECT_EQ(got.kv_dtype, load.kv_dtype);
  EXPECT_EQ(got.prefix_caching, load.prefix_caching);
  const auto& submit = std::get<engine::SubmitSequence>(commands[1]);
  const auto sequence = message_again<engine::SubmitSequence>(submit);
  EXPECT_EQ(sequence.sequence, submit.sequence);
  EXPECT_EQ(sequence.prompt, submit.prompt);
  EXPECT_EQ(sequence.generated, submit.generated);
  EXPECT_EQ(sequence.tokens_max, submit.tokens_max);
  EXPECT_EQ(sequence.level, submit.level);
  EXPECT_EQ(sequence.turn, submit.turn);
  EXPECT_EQ(sequence.sampling, submit.sampling);
  EXPECT_EQ(message_again<engine::CancelSequence>(commands[2]).sequence, SequenceId{7});
}

TEST(Frames, ReportFieldsComeBack) {
  const auto reports = all_reports();
  EXPECT_EQ(message_again<engine::LoadProgress>(reports[0]).fraction, 0.75);
  const auto loaded = message_again<engine::ReplicaLoaded>(reports[1]);
  EXPECT_EQ(loaded.sequences_max, 1u);
  EXPECT_EQ(loaded.model_len_max, 2u);
  EXPECT_EQ(loaded.block_tokens, 3u);
  EXPECT_EQ(loaded.kv_blocks, 4u);
  EXPECT_EQ(loaded.ranks,
            (std::vector<replica::RankMemory>{{UINT64_MAX, 7, {5, 6}}, {0, 0, {}}, {1, 2, {3}}}));
  EXPECT_EQ(loaded.simd, "avx512_vnni");
  EXPECT_EQ(message_again<engine::LoadFailed>(reports[2]).code, ErrorCode::kDevice);
  const auto& want = std::get<engine::SequenceTokens>(reports[3]).delta;
  const auto delta = message_again<engine::SequenceTokens>(reports[3]).delta;
  EXPECT_EQ(delta.first_index, want.first_index);
  EXPECT_EQ(delta.ids, want.ids);
  EXPECT_EQ(delta.text_offset, want.text_offset);
  EXPECT_EQ(delta.text, want.text);
  EXPECT_EQ(delta.logprobs, want.logprobs);
  const auto result = message_again<engine::SequenceFinished>(reports[4]).result;
  EXPECT_EQ(result.text, "text");
  EXPECT_EQ(result.tokens, 3u);
  EXPECT_EQ(result.finish_reason, FinishReason::kLength);
  EXPECT_EQ(result.stop_string, "stop");
  EXPECT_EQ(result.prompt_logprobs, want.logprobs);
  EXPECT_EQ(message_again<engine::SequenceFailed>(reports[5]).code, ErrorCode::kTooLarge);
  EXPECT_EQ(message_again<engine::SequenceCanceled>(reports[6]).tokens, 17u);
  const auto stats = message_again<engine::ReplicaStats>(reports[7]);
  EXPECT_EQ(stats.steps, 1u);
  EXPECT_EQ(stats.running, 2u);
  EXPECT_EQ(stats.waiting, 3u);
  EXPECT_EQ(stats.kv_blocks_free, 4u);
  EXPECT_EQ(stats.preemptions, 5u);
  EXPECT_EQ(stats.prompt_tokens, 6u);
  EXPECT_EQ(stats.generated_tokens, 7u);
  EXPECT_EQ(stats.device_busy_us, (std::vector<int64_t>{-1, 8}));
  EXPECT_EQ(stats.device_memory_used, (std::vector<uint64_t>{9, UINT64_MAX}));
}

TEST(Frames, PlanFieldsComeBack) {
  const StepPlan want = full_plan();
  const auto got = std::get<StepPlan>(again(Frame{1, 1, want}).value().body);
  EXPECT_EQ(got.id, want.id);
  ASSERT_EQ(got.starts.size(), 1u);
  EXPECT_EQ(got.starts[0].slot, 3);
  EXPECT_EQ(got.starts[0].request->prompt, want.starts[0].request->prompt);
  EXPECT_EQ(got.starts[0].request->generated, (std::vector<int32_t>{8, 9}));
  EXPECT_EQ(got.starts[0].request->sampling.seed, 77u);
  EXPECT_EQ(got.starts[0].request->adapter, 2u);
  EXPECT_TRUE(got.starts[0].request->embeds);
  ASSERT_EQ(got.tables.size(), 1u);
  EXPECT_EQ(got.tables[0].slot, 3);
  EXPECT_EQ(got.tables[0].changes.at(1).first_index, 5u);
  EXPECT_EQ(got.tables[0].changes.at(1).blocks, (std::vector<BlockId>{{4}, {2}}));
  EXPECT_EQ(got.swap_out.at(0).block, BlockId{6});
  EXPECT_EQ(got.swap_out.at(0).place, 7u);
  EXPECT_EQ(got.copies.at(0).to, BlockId{9});
  EXPECT_EQ(got.swap_in.at(0).group, 1u);
  ASSERT_EQ(got.entries.size(), 2u);
  EXPECT_EQ(got.entries[0].tokens, (std::vector<int32_t>{5, kTokenGuessed, kTokenGuessed}));
  EXPECT_EQ(got.entries[0].guesses, 2u);
  EXPECT_TRUE(got.entries[0].samples);
  EXPECT_EQ(got.entries[0].position, 40u);
  EXPECT_EQ(*got.entries[0].allowed, (std::vector<uint64_t>{5, UINT64_MAX}));
  EXPECT_EQ(got.entries[1].allowed, nullptr);
  EXPECT_TRUE(got.entries[1].prompt_logprobs);
  EXPECT_EQ(got.ends, (std::vector<int32_t>{1, 4}));
}

TEST(Frames, StepResultFieldsComeBack) {
  const auto got = std::get<StepResult>(again(Frame{1, 1, full_result()}).value().body);
  EXPECT_EQ(got.id, StepId{12});
  EXPECT_EQ(got.busy_us, 4);
  EXPECT_EQ(got.rank_busy_us, (std::vector<int64_t>{4, 5}));
  ASSERT_EQ(got.sampled.size(), 1u);
  EXPECT_EQ(got.sampled[0].slot, 2);
  EXPECT_EQ(got.sampled[0].token, 99);
  EXPECT_EQ(got.sampled[0].following.at(1).token, 7);
  EXPECT_TRUE(got.sampled[0].finite);
  EXPECT_TRUE(got.sampled[0].following[0].finite);
  EXPECT_FALSE(got.sampled[0].following[1].finite);
  StepResult broken = full_result();
  broken.sampled[0].finite = false;
  EXPECT_FALSE(std::get<StepResult>(again(Frame{1, 1, broken}).value().body).sampled.at(0).finite);
  EXPECT_EQ(got.sampled[0].prompt_logprobs.size(), 1u);
  EXPECT_EQ(got.sampled[0].embedding, (std::vector<float>{0.5f, -0.25f}));
}

// Goal: hostile bytes never crash and never pass for another epoch's message unseen. Method: cut
// every frame at every length, flip every bit; whatever still decodes must encode to itself.
TEST(Frames, HostileBytesAreErrorsOrFrames) {
  for (const Frame& frame : all_frames()) {
    const std::string bytes = encode_frame(frame).value().substr(kFrameHeaderBytes);
    for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
      std::string damaged = bytes;
      damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
      const Result<Frame> got = decode_frame(damaged);
      if (!got.ok()) {
        EXPECT_EQ(got.error().code(), ErrorCode::kInvalid);
        continue;
      }
      const std::string once = encode_frame(*got).value();
      EXPECT_EQ(encode_frame(again(*got).value()).value(), once);
    }
    for (size_t size = 0; size < bytes.size(); ++size)
      (void)decode_frame(std::string_view(bytes).substr(0, size));
  }
  for (uint64_t seed = 0; seed < 3000; ++seed) {
    const std::vector<uint8_t> random = testing::bytes(seed % 300, seed);
    (void)decode_frame(
        std::string_view(reinterpret_cast<const char*>(random.data()), random.size()));
  }
}

TEST(Frames, SequenceNumbersBelongToMessages) {
  EXPECT_FALSE(again(Frame{1, 5, Ping{1}}).ok());
  EXPECT_FALSE(again(Frame{1, 0, engine::Command(engine::DrainReplica{})}).ok());
  EXPECT_FALSE(decode_frame("").ok());
}

TEST(Frames, TooLargeIsRefusedOnBothSides) {
  const Result<std::string> got =
      encode_frame(Frame{1, 0, Goodbye{std::string(kFrameBytesMax, 'x')}});
  ASSERT_FALSE(got.ok());
  EXPECT_EQ(got.error().code(), ErrorCode::kTooLarge);
  FrameReader reader(16);
  reader.feed(std::string("\x11\0\0\0", 4));
  const auto next = reader.next();
  ASSERT_FALSE(next.ok());
  EXPECT_EQ(next.error().message(), "a frame of 17 bytes, the limit here is 16");
}

// Goal: the reader finds the same frames however the bytes are cut. Method: pieces of 1 to 50
// bytes.
TEST(FrameReader, GivesTheMemoryOfALargeFrameBack) {
  Frame ping;
  ping.body = Ping{7};
  Frame large;
  large.body = Goodbye{std::string(8 << 20, 'x')};
  FrameReader reader;
  for (int i = 0; i < 3; ++i) {
    reader.feed(encode_frame(large).value());
    ASSERT_TRUE(reader.next().value());
    ASSERT_FALSE(reader.next().value());
    reader.feed(encode_frame(ping).value());
    ASSERT_TRUE(reader.next().value());
    EXPECT_LT(reader.held_bytes(), size_t{2} << 20);
  }
}

TEST(FrameReader, AnyPiecesGiveTheSameFrames) {
  std::string stream;
  for (const Frame& frame : all_frames()) stream += encode_frame(frame).value();
  for (size_t piece = 1; piece <= 50; ++piece) {
    FrameReader reader;
    std::string joined;
    size_t count = 0;
    for (size_t at = 0; at < stream.size(); at += piece) {
      reader.feed(std::string_view(stream).substr(at, piece));
      for (;;) {
        const auto message = reader.next().value();
        if (!message) break;
        joined += encode_frame(decode_frame(*message).value()).value();
        ++count;
      }
    }
    EXPECT_EQ(count, all_frames().size());
    EXPECT_EQ(joined, stream);
    EXPECT_EQ(reader.waiting_bytes(), 0u);
  }
}

}  // namespace
}  // namespace altlas::worker
