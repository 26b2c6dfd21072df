// The objects of llama-server's /infill.
#include <boost/json.hpp>

#include "server/openai/answers.h"

namespace altlas::server {

namespace json = boost::json;

namespace {

double milliseconds(TimeUs from, TimeUs until) {
  return static_cast<double>(std::max<TimeUs>(until - from, 0)) / 1000;
}

void add_speed(json::object& out, const std::string& name, uint64_t tokens, double ms) {
  const auto count = static_cast<double>(tokens);
  out[name + "_n"] = tokens;
  out[name + "_ms"] = ms;
  out[name + "_per_token_ms"] = tokens > 0 ? ms / count : 0;
  out[name + "_per_second"] = ms > 0 ? count * 1000 / ms : 0;
}

std::string_view stop_type(const TaskResult& result) {
  if (result.finish_reason == FinishReason::kLength) return "limit";
  return result.stop_string.empty() ? "eos" : "word";
}

}  // namespace

json::object infill_answer(const OpenAiReply& reply, const std::string& text,
                           const control::TaskView& view) {
  const TaskResult result = view.result.value_or(TaskResult());
  const uint64_t tokens = reply.drop_generated ? 0 : result.tokens;
  const TimeUs started = view.started_at.value_or(view.created_at.value_or(0));
  const TimeUs first = view.first_token_at.value_or(started);
  const TimeUs finished = view.finished_at.value_or(first);
  json::object timings;
  add_speed(timings, "prompt", view.prompt_tokens, milliseconds(started, first));
  add_speed(timings, "predicted", tokens, milliseconds(first, finished));
  return {{"index", 0},
          {"content", reply.drop_generated ? std::string() : text},
          {"tokens", json::array()},
          {"stop", true},
          {"model", reply.model},
          {"tokens_predicted", tokens},
          {"tokens_evaluated", view.prompt_tokens},
          {"tokens_cached", view.prompt_tokens + tokens},
          {"has_new_line", result.text.contains('\n')},
          {"truncated", false},
          {"stop_type", reply.drop_generated ? "limit" : stop_type(result)},
          {"stopping_word", result.stop_string},
          {"seed", reply.seed},
          {"timings", std::move(timings)}};
}

json::object infill_piece(const TokenDelta& delta) {
  return {{"index", 0},
          {"content", delta.text},
          {"tokens", json::array(delta.ids.begin(), delta.ids.end())},
          {"stop", false},
          {"tokens_predicted", delta.first_index + delta.ids.size()}};
}

}  // namespace altlas::server
