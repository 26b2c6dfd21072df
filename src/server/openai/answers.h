// The objects of OpenAI's API reference: completions, chat completions, their chunks, logprobs,
// usage.
#pragma once

#include <boost/json.hpp>

#include "server/openai/choices.h"

namespace altlas::server {

// What one request's answers have in common.
struct OpenAiReply {
  bool chat = false;
  bool infill = false;  // llama-server's /infill: its answer's form.
  std::string id;       // "chatcmpl-…".
  std::string model;
  int64_t created = 0;         // Unix seconds.
  int64_t seed = 0;            // The first choice's.
  std::vector<int64_t> seeds;  // One per choice; told beside each where there are several.
  bool fills = false;          // A gap: the model's tokens for gaps end it, and are no stop_reason.
  bool echo = false;           // Completions: the prompt's text goes before each choice's.
  size_t choices_per_prompt = 1;
  std::vector<std::string> prompt_texts;  // One per prompt, where echo.
  // The first token of each prompt, where echo with logprobs: nothing predicts it.
  std::vector<int32_t> first_tokens;
  bool token_ids = false;  // Completions: choices tell the ids of their tokens.
  std::vector<std::vector<int32_t>> prompt_ids;  // One list per prompt, where token_ids.
  bool drop_generated = false;                   // max_tokens 0: only the prompt is wanted.
  int32_t logprobs = -1;                         // As SamplingParams::logprobs.
  int32_t prompt_logprobs = -1;                  // Asked for by that name; likewise.
  ServedModelPointer served;
  std::string fingerprint;         // system_fingerprint: the server's version.
  bool include_stop = false;       // A stop string that ended the text is part of it.
  std::vector<std::string> tools;  // Names of functions that the model may call.
  std::shared_ptr<const text::ReasoningStart> reasoning;  // Chat: known once it is submitted.
  bool forced_call = false;                               // The answer is calls and nothing else.
  bool one_call = false;
  bool named_call = false;   // They are of one function that the request named.
  bool shows_usage = false;  // Chunks say `usage: null` until the last, as include_usage wants.
};

// The usage of all choices; a prompt counts once.
boost::json::object usage_of(const OpenAiReply& reply, std::span<const Choice> choices,
                             size_t prompts);
// The text of the whole answer in pieces that follow each other: its head, each choice, its end.
inline size_t answer_pieces(std::span<const Choice> choices) { return choices.size() + 2; }
std::string answer_piece(const OpenAiReply& reply, std::span<const Choice> choices, size_t prompts,
                         size_t piece);
// Log-probabilities in the choices, alternatives included.
size_t logprob_count(std::span<const Choice> choices);
// The stream chunks of one choice, event by event.
class ChunkWriter {
 public:
  // reply: outlives it, and is complete.
  ChunkWriter(const OpenAiReply& reply, size_t index);
  // None where the event says nothing yet.
  std::vector<boost::json::object> chunks(const control::StreamEvent& event);

 private:
  boost::json::object chunk(boost::json::object choice) const;

  const OpenAiReply* reply_;
  size_t index_;
  bool first_ = true;
  uint64_t logprobs_offset_ = 0;  // Characters of the tokens whose log-probabilities were told.
  std::optional<text::AnswerReader> reader_;  // Chat only.
};
// As llama-server answers /infill: all of it, or a piece of a stream.
boost::json::object infill_answer(const OpenAiReply& reply, const std::string& text,
                                  const control::TaskView& view);
boost::json::object infill_piece(const TokenDelta& delta);
// The last chunk of a stream with include_usage: no choices.
boost::json::object usage_chunk(const OpenAiReply& reply, boost::json::object usage);

}  // namespace altlas::server
