#include "task/convert.h"

#include <boost/pfr/tuple_size.hpp>

#include <algorithm>

namespace altlas {

static_assert(boost::pfr::tuple_size_v<SamplingParams> == 18 &&
                  boost::pfr::tuple_size_v<Grammar> == 4,
              "write and read a new member here, and in the test");

void write_prompt(const Prompt& from,
                  google::protobuf::RepeatedPtrField<proto::PromptSegment>* to) {
  for (const PromptSegment& segment : from.segments()) {
    proto::PromptSegment* out = to->Add();
    if (segment.payload == nullptr) {
      out->mutable_tokens()->Add(segment.tokens.begin(), segment.tokens.end());
      continue;
    }
    const auto& hash = segment.payload->hash.bytes;
    proto::Payload* payload = out->mutable_payload();
    payload->set_hash(hash.data(), hash.size());
    payload->set_tokens(segment.payload->tokens);
    payload->set_content(segment.payload->content);
  }
}

Result<Prompt> read_prompt(const google::protobuf::RepeatedPtrField<proto::PromptSegment>& from) {
  Prompt to;
  for (const proto::PromptSegment& segment : from) {
    if (!segment.has_payload()) {
      to.add_tokens({segment.tokens().data(), static_cast<size_t>(segment.tokens().size())});
      continue;
    }
    const proto::Payload& payload = segment.payload();
    ContentHash hash;
    if (payload.hash().size() != hash.bytes.size())
      return invalid(fmt::format("a payload's hash of {} bytes, it has {}", payload.hash().size(),
                                 hash.bytes.size()));
    if (payload.tokens() > kPayloadTokensMax)
      return invalid(fmt::format("a payload of {} places, at most {} are possible",
                                 payload.tokens(), kPayloadTokensMax));
    std::ranges::copy(payload.hash(), hash.bytes.begin());
    to.add_payload(hash, payload.content(), payload.tokens());
  }
  return to;
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
  to->set_prompt_logprobs(from.prompt_logprobs >= 0);
  if (from.prompt_logprobs >= 0) to->set_prompt_top(from.prompt_logprobs);
  to->set_keep_special_tokens(!from.skip_special_tokens);
  to->mutable_shown_tokens()->Add(from.shown_tokens.begin(), from.shown_tokens.end());
  to->mutable_stop_token_ids()->Add(from.stop_token_ids.begin(), from.stop_token_ids.end());
  to->set_ignore_eos(from.ignore_eos);
  to->set_min_tokens(from.min_tokens);
  for (const std::string& stop : from.stop) to->add_stop(stop);
  for (const auto& [token, bias] : from.logit_bias) {
    proto::LogitBias* row = to->add_logit_bias();
    row->set_token(token);
    row->set_bias(bias);
  }
  if (from.grammar.kind == GrammarKind::kNone) return;
  to->mutable_grammar()->set_kind(static_cast<uint32_t>(from.grammar.kind));
  to->mutable_grammar()->set_text(from.grammar.text);
  to->mutable_grammar()->mutable_think_begin()->Add(from.grammar.think_begin.begin(),
                                                    from.grammar.think_begin.end());
  to->mutable_grammar()->set_think_end(from.grammar.think_end);
}

Result<SamplingParams> read_sampling(const proto::Sampling& from) {
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
  if (from.prompt_logprobs())
    to.prompt_logprobs = from.has_prompt_top() ? from.prompt_top() : std::max(to.logprobs, 0);
  to.skip_special_tokens = !from.keep_special_tokens();
  to.shown_tokens.assign(from.shown_tokens().begin(), from.shown_tokens().end());
  to.stop_token_ids.assign(from.stop_token_ids().begin(), from.stop_token_ids().end());
  to.ignore_eos = from.ignore_eos();
  to.min_tokens = from.min_tokens();
  to.stop.assign(from.stop().begin(), from.stop().end());
  for (const proto::LogitBias& row : from.logit_bias())
    to.logit_bias.emplace_back(row.token(), row.bias());
  if (from.has_grammar()) {
    ALTLAS_TRY(to.grammar.kind, to_enum(from.grammar().kind(), GrammarKind::kGbnf, "grammar"));
    to.grammar.text = from.grammar().text();
    to.grammar.think_begin.assign(from.grammar().think_begin().begin(),
                                  from.grammar().think_begin().end());
    to.grammar.think_end = from.grammar().think_end();
  }
  return to;
}

void write_logprobs(const TokenLogprobs& from, proto::TokenLogprobs* to) {
  to->set_id(from.id);
  to->set_logprob(from.logprob);
  for (const auto& [id, logprob] : from.top) {
    proto::TopToken* top = to->add_top();
    top->set_id(id);
    top->set_logprob(logprob);
  }
}

TokenLogprobs read_logprobs(const proto::TokenLogprobs& from) {
  TokenLogprobs to{from.id(), from.logprob(), {}};
  for (const proto::TopToken& top : from.top()) to.top.emplace_back(top.id(), top.logprob());
  return to;
}

void write_result(const TaskResult& from, proto::TaskResult* to) {
  to->set_text(from.text);
  to->set_tokens(from.tokens);
  to->set_finish_reason(static_cast<uint32_t>(from.finish_reason));
  to->set_stop_string(from.stop_string);
  if (from.stop_token >= 0) to->set_stop_token(from.stop_token);
  for (const TokenLogprobs& token : from.prompt_logprobs)
    write_logprobs(token, to->add_prompt_logprobs());
  to->mutable_embedding()->Add(from.embedding.begin(), from.embedding.end());
}

Result<TaskResult> read_result(const proto::TaskResult& from) {
  TaskResult to;
  to.text = from.text();
  to.tokens = from.tokens();
  ALTLAS_TRY(to.finish_reason,
             to_enum(from.finish_reason(), FinishReason::kLength, "finish_reason"));
  to.stop_string = from.stop_string();
  if (from.has_stop_token()) to.stop_token = from.stop_token();
  for (const proto::TokenLogprobs& row : from.prompt_logprobs())
    to.prompt_logprobs.push_back(read_logprobs(row));
  to.embedding.assign(from.embedding().begin(), from.embedding().end());
  return to;
}

}  // namespace altlas
