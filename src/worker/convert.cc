#include "worker/convert.h"

#include "task/convert.h"
#include "worker/lists.h"
#include "worker/node_convert.h"
#include "worker/step_convert.h"
#include "worker/values.h"

namespace altlas::worker {
namespace {

void write(const engine::LoadReplica& from, proto::Frame* frame) {
  proto::LoadReplica* to = frame->mutable_load();
  write_values<replica::ReplicaSettings>(from, to->mutable_settings());
  to->set_worker(from.worker);
  to->set_rendezvous(from.rendezvous);
  for (const engine::RankPlace& rank : from.ranks) {
    proto::RankPlace* place = to->add_ranks();
    place->set_worker(rank.worker);
    place->set_node(rank.node);
    place->set_device_id(rank.device_id);
    place->set_device_spec(rank.device_spec);
    place->set_cpu_first(rank.cpu_first);
  }
}

Result<Message> read_load(const proto::LoadReplica& from) {
  ALTLAS_TRY(auto settings, read_values<replica::ReplicaSettings>(from.settings()));
  engine::LoadReplica to{std::move(settings)};
  to.worker = from.worker();
  to.rendezvous = from.rendezvous();
  for (const proto::RankPlace& rank : from.ranks())
    to.ranks.push_back({.worker = rank.worker(),
                        .node = rank.node(),
                        .device_id = rank.device_id(),
                        .device_spec = rank.device_spec(),
                        .cpu_first = rank.cpu_first()});
  return Message(engine::Command(std::move(to)));
}

void write(const engine::SubmitSequence& from, proto::Frame* frame) {
  proto::SubmitSequence* to = frame->mutable_submit();
  to->set_sequence(from.sequence.value);
  write_prompt(from.prompt, to->mutable_prompt());
  write_all(from.generated, to->mutable_generated());
  to->set_tokens_max(from.tokens_max);
  to->set_level(from.level);
  to->set_turn(from.turn);
  write_sampling(from.sampling, to->mutable_sampling());
  to->set_adapter(from.adapter);
  to->set_embeds(from.embeds);
}

Result<Message> read_submit(const proto::SubmitSequence& from) {
  engine::SubmitSequence to;
  to.sequence = SequenceId{from.sequence()};
  ALTLAS_TRY(to.prompt, read_prompt(from.prompt()));
  to.generated = read_all<int32_t>(from.generated());
  to.tokens_max = from.tokens_max();
  to.level = static_cast<uint8_t>(std::min<uint32_t>(from.level(), UINT8_MAX));
  to.turn = from.turn();
  ALTLAS_TRY(to.sampling, read_sampling(from.sampling()));
  to.adapter = from.adapter();
  to.embeds = from.embeds();
  return Message(engine::Command(std::move(to)));
}

void write(const engine::CancelSequence& from, proto::Frame* to) {
  to->mutable_cancel()->set_sequence(from.sequence.value);
}
void write(const engine::DrainReplica&, proto::Frame* to) { to->mutable_drain(); }
void write(const engine::LoadAdapter& from, proto::Frame* to) {
  proto::AdapterFile* file = to->mutable_load_adapter()->mutable_adapter();
  file->set_name(from.adapter.name);
  file->set_path(from.adapter.path);
  to->mutable_load_adapter()->set_load(from.load);
}
void write(const engine::UnloadAdapter& from, proto::Frame* to) {
  to->mutable_unload_adapter()->set_name(from.name);
}
void write(const engine::LoadProgress& from, proto::Frame* to) {
  to->mutable_load_progress()->set_phase(from.phase);
  to->mutable_load_progress()->set_fraction(from.fraction);
}

void write(const engine::ReplicaLoaded& from, proto::Frame* to) {
  write_values<replica::ReplicaLimits>(from, to->mutable_loaded()->mutable_limits());
}

Result<Message> read_loaded(const proto::ReplicaLoaded& from) {
  ALTLAS_TRY(auto limits, read_values<replica::ReplicaLimits>(from.limits()));
  return Message(engine::Report(engine::ReplicaLoaded{std::move(limits)}));
}

void write(const engine::LoadFailed& from, proto::Frame* to) {
  to->mutable_load_failed()->set_code(static_cast<uint32_t>(from.code));
  to->mutable_load_failed()->set_message(from.message);
}

void write(const engine::SequenceTokens& from, proto::Frame* frame) {
  proto::SequenceTokens* to = frame->mutable_tokens();
  to->set_sequence(from.sequence.value);
  to->set_first_index(from.delta.first_index);
  write_all(from.delta.ids, to->mutable_ids());
  to->set_text_offset(from.delta.text_offset);
  to->set_text(from.delta.text);
  for (const TokenLogprobs& token : from.delta.logprobs) write_logprobs(token, to->add_logprobs());
  for (const TokenLogprobs& token : from.delta.prompt_logprobs)
    write_logprobs(token, to->add_prompt_logprobs());
}

engine::SequenceTokens read_tokens(const proto::SequenceTokens& from) {
  engine::SequenceTokens to;
  to.sequence = SequenceId{from.sequence()};
  to.delta.first_index = from.first_index();
  to.delta.ids = read_all<int32_t>(from.ids());
  to.delta.text_offset = from.text_offset();
  to.delta.text = from.text();
  for (const altlas::proto::TokenLogprobs& row : from.logprobs())
    to.delta.logprobs.push_back(read_logprobs(row));
  for (const altlas::proto::TokenLogprobs& row : from.prompt_logprobs())
    to.delta.prompt_logprobs.push_back(read_logprobs(row));
  return to;
}

void write(const engine::SequenceFinished& from, proto::Frame* frame) {
  proto::SequenceFinished* to = frame->mutable_finished();
  to->set_sequence(from.sequence.value);
  write_result(from.result, to->mutable_result());
}

Result<Message> read_finished(const proto::SequenceFinished& from) {
  engine::SequenceFinished to;
  to.sequence = SequenceId{from.sequence()};
  ALTLAS_TRY(to.result, read_result(from.result()));
  return Message(engine::Report(std::move(to)));
}

void write(const engine::SequenceFailed& from, proto::Frame* to) {
  to->mutable_failed()->set_sequence(from.sequence.value);
  to->mutable_failed()->set_code(static_cast<uint32_t>(from.code));
  to->mutable_failed()->set_message(from.message);
}
void write(const engine::SequenceCanceled& from, proto::Frame* to) {
  to->mutable_canceled()->set_sequence(from.sequence.value);
  to->mutable_canceled()->set_tokens(from.tokens);
}

void write(const engine::ReplicaStats& from, proto::Frame* to) {
  write_values(from, to->mutable_stats()->mutable_values());
}

Result<Message> read_stats(const proto::ReplicaStats& from) {
  ALTLAS_TRY(auto stats, read_values<engine::ReplicaStats>(from.values()));
  return Message(engine::Report(std::move(stats)));
}

void write(const engine::ReplicaDrained&, proto::Frame* to) { to->mutable_drained(); }
void write(const engine::AdapterLoaded& from, proto::Frame* frame) {
  proto::AdapterLoaded* to = frame->mutable_adapter_loaded();
  to->set_name(from.name);
  to->set_bytes(from.bytes);
  to->set_message(from.message);
  to->set_code(static_cast<uint32_t>(from.code));
  to->set_load(from.load);
}

Message command(engine::Command value) { return Message(std::in_place_index<0>, std::move(value)); }
Message report(engine::Report value) { return Message(std::in_place_index<1>, std::move(value)); }

Result<Message> read_adapter(const proto::AdapterLoaded& from) {
  engine::AdapterLoaded to{from.name(), from.bytes(), from.message(), ErrorCode::kInternal,
                           from.load()};
  ALTLAS_TRY(to.code, to_enum(from.code(), ErrorCode::kInternal, "error code"));
  return report(std::move(to));
}

Result<Message> read_failure(const proto::Frame& from) {
  const bool load = from.body_case() == proto::Frame::kLoadFailed;
  ALTLAS_TRY(const ErrorCode code, to_enum(load ? from.load_failed().code() : from.failed().code(),
                                           ErrorCode::kInternal, "error code"));
  if (load) return report(engine::LoadFailed{code, from.load_failed().message()});
  return report(
      engine::SequenceFailed{SequenceId{from.failed().sequence()}, code, from.failed().message()});
}

}  // namespace

void write_command(const engine::Command& from, proto::Frame* to) {
  std::visit([to](const auto& value) { write(value, to); }, from);
}

void write_report(const engine::Report& from, proto::Frame* to) {
  std::visit([to](const auto& value) { write(value, to); }, from);
}

Result<Message> read_message(const proto::Frame& from) {
  switch (from.body_case()) {
    case proto::Frame::kLoad:
      return read_load(from.load());
    case proto::Frame::kSubmit:
      return read_submit(from.submit());
    case proto::Frame::kCancel:
      return command(engine::CancelSequence{SequenceId{from.cancel().sequence()}});
    case proto::Frame::kDrain:
      return command(engine::DrainReplica{});
    case proto::Frame::kLoadAdapter:
      return command(engine::LoadAdapter{
          {from.load_adapter().adapter().name(), from.load_adapter().adapter().path()},
          from.load_adapter().load()});
    case proto::Frame::kUnloadAdapter:
      return command(engine::UnloadAdapter{from.unload_adapter().name()});
    case proto::Frame::kAdapterLoaded:
      return read_adapter(from.adapter_loaded());
    case proto::Frame::kLoadProgress:
      return report(
          engine::LoadProgress{from.load_progress().phase(), from.load_progress().fraction()});
    case proto::Frame::kLoaded:
      return read_loaded(from.loaded());
    case proto::Frame::kLoadFailed:
    case proto::Frame::kFailed:
      return read_failure(from);
    case proto::Frame::kTokens:
      return report(read_tokens(from.tokens()));
    case proto::Frame::kFinished:
      return read_finished(from.finished());
    case proto::Frame::kCanceled:
      return report(engine::SequenceCanceled{SequenceId{from.canceled().sequence()},
                                             from.canceled().tokens()});
    case proto::Frame::kStats:
      return read_stats(from.stats());
    case proto::Frame::kDrained:
      return report(engine::ReplicaDrained{});
    case proto::Frame::kPlan: {
      ALTLAS_TRY(StepPlan plan, read_plan(from.plan()));
      return Message(std::move(plan));
    }
    case proto::Frame::kResult:
      return Message(read_step_result(from.result()));
    case proto::Frame::kNodeOffer:
    case proto::Frame::kSpawnWorker:
    case proto::Frame::kKillWorker:
    case proto::Frame::kWorkerEnded: {
      ALTLAS_TRY(NodeMessage message, read_node_message(from));
      return Message(std::move(message));
    }
    default:
      return invalid("a frame of a kind that this version does not know");
  }
}

}  // namespace altlas::worker
