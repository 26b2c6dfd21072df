#include "worker/convert.h"

#include <fmt/format.h>

namespace altlas::worker {
namespace {

template <class E>
Result<E> to_enum(uint32_t value, E last, std::string_view field) {
  if (value > static_cast<uint32_t>(last))
    return invalid(fmt::format("{} is {}, the last one known is {}", field, value,
                               static_cast<uint32_t>(last)));
  return static_cast<E>(value);
}

template <class Repeated, class T>
void write_all(const std::vector<T>& from, Repeated* to) {
  to->Add(from.begin(), from.end());
}
template <class T, class Repeated>
std::vector<T> read_all(const Repeated& from) {
  return std::vector<T>(from.begin(), from.end());
}

void write_sampling(const SamplingParams& from, proto::Sampling* to) {
  to->set_temperature(from.temperature);
  to->set_top_p(from.top_p);
  to->set_top_k(from.top_k);
  to->set_min_p(from.min_p);
  to->set_repetition_penalty(from.repetition_penalty);
  to->set_presence_penalty(from.presence_penalty);
  to->set_frequency_penalty(from.frequency_penalty);
  to->set_seed(from.seed);
  to->set_logprobs(from.logprobs);
  to->set_prompt_logprobs(from.prompt_logprobs);
  to->set_ignore_eos(from.ignore_eos);
  to->set_min_tokens(from.min_tokens);
  for (const std::string& stop : from.stop) to->add_stop(stop);
  for (const auto& [token, bias] : from.logit_bias) {
    proto::LogitBias* row = to->add_logit_bias();
    row->set_token(token);
    row->set_bias(bias);
  }
}

SamplingParams read_sampling(const proto::Sampling& from) {
  SamplingParams to;
  to.temperature = from.temperature();
  to.top_p = from.top_p();
  to.top_k = from.top_k();
  to.min_p = from.min_p();
  to.repetition_penalty = from.repetition_penalty();
  to.presence_penalty = from.presence_penalty();
  to.frequency_penalty = from.frequency_penalty();
  to.seed = from.seed();
  to.logprobs = from.logprobs();
  to.prompt_logprobs = from.prompt_logprobs();
  to.ignore_eos = from.ignore_eos();
  to.min_tokens = from.min_tokens();
  to.stop.assign(from.stop().begin(), from.stop().end());
  for (const proto::LogitBias& row : from.logit_bias())
    to.logit_bias.emplace_back(row.token(), row.bias());
  return to;
}

template <class Repeated>
void write_logprobs(const std::vector<TokenLogprobs>& from, Repeated* to) {
  for (const TokenLogprobs& token : from) {
    proto::TokenLogprobs* row = to->Add();
    row->set_id(token.id);
    row->set_logprob(token.logprob);
    for (const auto& [id, logprob] : token.top) {
      proto::TopToken* top = row->add_top();
      top->set_id(id);
      top->set_logprob(logprob);
    }
  }
}

template <class Repeated>
std::vector<TokenLogprobs> read_logprobs(const Repeated& from) {
  std::vector<TokenLogprobs> to;
  for (const proto::TokenLogprobs& row : from) {
    TokenLogprobs token{row.id(), row.logprob(), {}};
    for (const proto::TopToken& top : row.top()) token.top.emplace_back(top.id(), top.logprob());
    to.push_back(std::move(token));
  }
  return to;
}

void write(const engine::LoadReplica& from, proto::Frame* frame) {
  proto::LoadReplica* to = frame->mutable_load();
  to->set_kind(from.kind);
  to->set_model_path(from.model_path);
  to->set_device_spec(from.device_spec);
  write_all(from.device_ids, to->mutable_device_ids());
  write_all(from.cpu_first, to->mutable_cpu_first());
  write_all(from.ranks, to->mutable_ranks());
  to->set_tensor_parallel_size(from.tensor_parallel_size);
  to->set_pipeline_parallel_size(from.pipeline_parallel_size);
  to->set_expert_parallel_size(from.expert_parallel_size);
  to->set_model_len_max(from.model_len_max);
  to->set_sequences_max(from.sequences_max);
  to->set_step_tokens_max(from.step_tokens_max);
  to->set_block_tokens(from.block_tokens);
  to->set_executor_depth(from.executor_depth);
  to->set_memory_utilization(from.memory_utilization);
  to->set_kv_dtype(from.kv_dtype);
  to->set_prefix_caching(from.prefix_caching);
}

engine::LoadReplica read_load(const proto::LoadReplica& from) {
  engine::LoadReplica to;
  to.kind = from.kind();
  to.model_path = from.model_path();
  to.device_spec = from.device_spec();
  to.device_ids = read_all<uint32_t>(from.device_ids());
  to.cpu_first = read_all<uint32_t>(from.cpu_first());
  to.ranks = read_all<uint32_t>(from.ranks());
  to.tensor_parallel_size = from.tensor_parallel_size();
  to.pipeline_parallel_size = from.pipeline_parallel_size();
  to.expert_parallel_size = from.expert_parallel_size();
  to.model_len_max = from.model_len_max();
  to.sequences_max = from.sequences_max();
  to.step_tokens_max = from.step_tokens_max();
  to.block_tokens = from.block_tokens();
  to.executor_depth = from.executor_depth();
  to.memory_utilization = from.memory_utilization();
  to.kv_dtype = from.kv_dtype();
  to.prefix_caching = from.prefix_caching();
  return to;
}

void write(const engine::SubmitSequence& from, proto::Frame* frame) {
  proto::SubmitSequence* to = frame->mutable_submit();
  to->set_sequence(from.sequence.value);
  write_all(from.prompt, to->mutable_prompt());
  write_all(from.generated, to->mutable_generated());
  to->set_tokens_max(from.tokens_max);
  to->set_priority(static_cast<uint32_t>(from.priority));
  write_sampling(from.sampling, to->mutable_sampling());
  to->set_payload(from.payload);
}

Result<Message> read_submit(const proto::SubmitSequence& from) {
  engine::SubmitSequence to;
  to.sequence = SequenceId{from.sequence()};
  to.prompt = read_all<int32_t>(from.prompt());
  to.generated = read_all<int32_t>(from.generated());
  to.tokens_max = from.tokens_max();
  ALTLAS_TRY(to.priority, to_enum(from.priority(), Priority::kLow, "priority"));
  to.sampling = read_sampling(from.sampling());
  to.payload = from.payload();
  return Message(engine::Command(std::move(to)));
}

void write(const engine::CancelSequence& from, proto::Frame* to) {
  to->mutable_cancel()->set_sequence(from.sequence.value);
}
void write(const engine::DrainReplica&, proto::Frame* to) { to->mutable_drain(); }
void write(const engine::LoadProgress& from, proto::Frame* to) {
  to->mutable_load_progress()->set_phase(from.phase);
  to->mutable_load_progress()->set_fraction(from.fraction);
}

void write(const engine::ReplicaLoaded& from, proto::Frame* frame) {
  proto::ReplicaLoaded* to = frame->mutable_loaded();
  to->set_sequences_max(from.sequences_max);
  to->set_model_len_max(from.model_len_max);
  to->set_block_tokens(from.block_tokens);
  to->set_kv_blocks(from.kv_blocks);
  to->set_block_bytes(from.block_bytes);
  to->set_weight_bytes(from.weight_bytes);
  to->set_activation_bytes(from.activation_bytes);
  to->set_simd(from.simd);
}

engine::ReplicaLoaded read_loaded(const proto::ReplicaLoaded& from) {
  return {from.sequences_max(), from.model_len_max(), from.block_tokens(),     from.kv_blocks(),
          from.block_bytes(),   from.weight_bytes(),  from.activation_bytes(), from.simd()};
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
  write_logprobs(from.delta.logprobs, to->mutable_logprobs());
}

engine::SequenceTokens read_tokens(const proto::SequenceTokens& from) {
  engine::SequenceTokens to;
  to.sequence = SequenceId{from.sequence()};
  to.delta.first_index = from.first_index();
  to.delta.ids = read_all<int32_t>(from.ids());
  to.delta.text_offset = from.text_offset();
  to.delta.text = from.text();
  to.delta.logprobs = read_logprobs(from.logprobs());
  return to;
}

void write(const engine::SequenceFinished& from, proto::Frame* frame) {
  proto::SequenceFinished* to = frame->mutable_finished();
  to->set_sequence(from.sequence.value);
  to->set_text(from.result.text);
  to->set_tokens(from.result.tokens);
  to->set_finish_reason(static_cast<uint32_t>(from.result.finish_reason));
  to->set_stop_string(from.result.stop_string);
  write_logprobs(from.result.prompt_logprobs, to->mutable_prompt_logprobs());
}

Result<Message> read_finished(const proto::SequenceFinished& from) {
  engine::SequenceFinished to;
  to.sequence = SequenceId{from.sequence()};
  to.result.text = from.text();
  to.result.tokens = from.tokens();
  ALTLAS_TRY(to.result.finish_reason,
             to_enum(from.finish_reason(), FinishReason::kLength, "finish_reason"));
  to.result.stop_string = from.stop_string();
  to.result.prompt_logprobs = read_logprobs(from.prompt_logprobs());
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

void write(const engine::ReplicaStats& from, proto::Frame* frame) {
  proto::ReplicaStats* to = frame->mutable_stats();
  to->set_steps(from.steps);
  to->set_running(from.running);
  to->set_waiting(from.waiting);
  to->set_kv_blocks_free(from.kv_blocks_free);
  to->set_preemptions(from.preemptions);
  to->set_prompt_tokens(from.prompt_tokens);
  to->set_generated_tokens(from.generated_tokens);
  write_all(from.device_busy_us, to->mutable_device_busy_us());
  write_all(from.device_memory_used, to->mutable_device_memory_used());
}

engine::ReplicaStats read_stats(const proto::ReplicaStats& from) {
  return {from.steps(),
          from.running(),
          from.waiting(),
          from.kv_blocks_free(),
          from.preemptions(),
          from.prompt_tokens(),
          from.generated_tokens(),
          read_all<int64_t>(from.device_busy_us()),
          read_all<uint64_t>(from.device_memory_used())};
}

void write(const engine::ReplicaDrained&, proto::Frame* to) { to->mutable_drained(); }

Message command(engine::Command value) { return Message(std::in_place_index<0>, std::move(value)); }
Message report(engine::Report value) { return Message(std::in_place_index<1>, std::move(value)); }

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
      return command(read_load(from.load()));
    case proto::Frame::kSubmit:
      return read_submit(from.submit());
    case proto::Frame::kCancel:
      return command(engine::CancelSequence{SequenceId{from.cancel().sequence()}});
    case proto::Frame::kDrain:
      return command(engine::DrainReplica{});
    case proto::Frame::kLoadProgress:
      return report(
          engine::LoadProgress{from.load_progress().phase(), from.load_progress().fraction()});
    case proto::Frame::kLoaded:
      return report(read_loaded(from.loaded()));
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
      return report(read_stats(from.stats()));
    case proto::Frame::kDrained:
      return report(engine::ReplicaDrained{});
    default:
      return invalid("a frame of a kind that this version does not know");
  }
}

}  // namespace altlas::worker
