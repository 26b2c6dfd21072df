#include "server/prompt/prompt.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio.hpp>
#include <boost/json.hpp>

#include "base/clock.h"
#include "base/strings.h"
#include "server/prompt/call_id.h"
#include "server/prompt/template_values.h"
#include "text/detokenizer.h"

namespace altlas::server {

namespace asio = boost::asio;
namespace json = boost::json;

namespace {

// The words are OpenAI's, which programs look for.
Error too_long(size_t tokens, const ServedModel& model, const PromptSource& prompt, bool at_least) {
  const std::string_view field = prompt.field;
  return invalid(fmt::format("This model's maximum context length is {} tokens{}, however your {} "
                             "resulted in {}{} tokens: send a shorter one (what the model, "
                             "engine.max_model_len and its KV cache allow)",
                             model.model_len_max, prompt.embeds ? "" : " with the answer",
                             field.empty() ? "prompt" : field, at_least ? "at least " : "", tokens),
                 std::string(field))
      .with_reason(kContextLengthExceeded);
}

// Ends the prompt with the last message's content, as transformers' continue_final_message does:
// trailing spaces stay if the template kept them.
Result<void> cut_after_final(std::vector<text::Segment>& segments, std::string_view content) {
  constexpr std::string_view kSpace = " \t\r\n\v\f";
  const std::string_view with_tail = trim_begin(content, kSpace);
  const std::string_view core = trim_end(with_tail, kSpace);
  for (size_t i = segments.size(); i-- > 0 && !core.empty();) {
    if (!segments[i].is_content) continue;
    const size_t at = segments[i].text.rfind(core);
    if (at == std::string::npos) continue;
    const bool tail = std::string_view(segments[i].text).substr(at).starts_with(with_tail);
    segments[i].text.resize(at + (tail ? with_tail : core).size());
    segments.resize(i + 1);
    return {};
  }
  return invalid(
      "continue_final_message: the chat template does not show the last message's text, or it is "
      "empty: send a last message that can be gone on with",
      "continue_final_message");
}

// What the template wrote at the end decides, never what a message quotes; except for the message
// that goes on.
text::ReasoningStart start_of(const ServedModel& model, const std::vector<text::Segment>& segments,
                              const PromptSource& prompt, std::string_view final_message) {
  size_t end = segments.size();
  if (prompt.continue_final)
    while (end > 0 && segments[end - 1].is_content) --end;
  const bool written = end > 0 && !segments[end - 1].is_content;
  const std::string_view last = written ? std::string_view(segments[end - 1].text) : "";
  if (prompt.continue_final) return text::reasoning_start(model.reasoning, last, final_message);
  return text::reasoning_start(model.reasoning, last);
}

Result<std::vector<int32_t>> encode_chat(const ServedModel& model, const PromptSource& prompt) {
  if (!model.chat_template)
    return invalid(
        model.chat_template_error.empty()
            ? fmt::format("model '{}' has no chat template: use a completion route", model.id)
            : fmt::format("model '{}' has a chat template that can't be used: {}; use a "
                          "completion route",
                          model.id, model.chat_template_error),
        "model");
  json::value messages = *prompt.messages;
  fit_parts(messages, model.part_roles);
  if (model.call_id_size > 0) fit_call_ids(messages, model.call_id_size);
  text::ChatInput input;
  input.messages = to_messages(messages);
  if (prompt.tools) input.tools = to_value(*prompt.tools);
  if (prompt.template_values)
    for (const auto& [key, value] : prompt.template_values->get_object())
      input.extra.emplace_back(std::string(key), to_value(value));
  input.add_generation_prompt = prompt.add_generation_prompt && !prompt.continue_final;
  input.bos_token = std::string(model.tokenizer->bos_text());
  input.eos_token = std::string(model.tokenizer->eos_text());
  input.now_us = system_clock().now();
  ALTLAS_TRY(auto segments, model.chat_template->render_segments(input));
  std::string_view content;
  if (prompt.continue_final) {
    const json::value& last = messages.get_array().back().get_object().at("content");
    if (last.is_string())
      content = last.get_string();
    else if (!last.get_array().empty())
      content = last.get_array().back().get_object().at("text").get_string();
    ALTLAS_TRY_VOID(cut_after_final(segments, content));
  }
  if (prompt.reasoning) *prompt.reasoning = start_of(model, segments, prompt, content);
  return model.tokenizer->encode_segments(segments, /*add_special=*/false);
}

// A text whose bytes alone show that it is too long is refused before it is encoded.
Result<std::vector<int32_t>> encode_text(const ServedModel& model, const PromptSource& prompt) {
  const size_t least = prompt.text.size() / model.tokenizer->token_bytes_max();
  if (least > size_t{4} * model.model_len_max) return too_long(least, model, prompt, true);
  text::EncodeOptions options;
  options.add_special = prompt.add_special && !prompt.gap;
  options.parse_special = prompt.parse_special;
  return model.tokenizer->encode(prompt.text, options);
}

Result<std::vector<int32_t>> encode_now(const ServedModel& model, const PromptSource& prompt) {
  ALTLAS_TRY_VOID(check_grammar(prompt.grammar));
  std::vector<int32_t> ids;
  switch (prompt.kind) {
    case PromptSource::Kind::kIds:
      ids = prompt.ids;
      break;
    case PromptSource::Kind::kChat: {
      ALTLAS_TRY(ids, encode_chat(model, prompt));
      break;
    }
    case PromptSource::Kind::kText: {
      ALTLAS_TRY(ids, encode_text(model, prompt));
      // The sender may have rendered this prompt itself. If it is no rendered prompt, it may hold
      // anything.
      if (prompt.reasoning && prompt.parse_special &&
          text::reasoning_start(model.reasoning, prompt.text) == text::ReasoningStart::kUnderway)
        *prompt.reasoning = text::ReasoningStart::kUnderway;
      break;
    }
  }
  if (prompt.gap) {
    ALTLAS_TRY(ids, encode_gap(*model.tokenizer, std::move(ids), *prompt.gap, model.model_len_max));
  }
  if (ids.empty()) return invalid("the prompt has no tokens: send at least one character");
  if (ids.size() + (prompt.embeds ? 0 : 1) > model.model_len_max)
    return too_long(ids.size(), model, prompt, false);
  return ids;
}

}  // namespace

struct TextPool::Impl {
  // Half of the threads are for grammars. With one thread each lane has one, and they take turns.
  Impl(size_t threads, size_t waiting_max_in)
      : texts(std::max<size_t>(threads - threads / 2, 1)),
        grammars(std::max<size_t>(threads / 2, 1)),
        waiting_max(waiting_max_in) {}
  struct Lane {
    explicit Lane(size_t threads) : pool(threads) {}
    asio::thread_pool pool;
    std::atomic<size_t> waiting{0};
  };
  Lane texts;
  // A few bytes of grammar may take half a second: other prompts don't wait for them.
  Lane grammars;
  const size_t waiting_max;  // The limit of each lane.

  // Runs `work` on the lane's threads; the answer comes back on the caller's executor.
  template <class T, class Work>
  asio::awaitable<Result<T>> run(Lane& lane, Work work) {
    if (lane.waiting.fetch_add(1) >= waiting_max) {
      lane.waiting.fetch_sub(1);
      co_return Error(
          ErrorCode::kBusy,
          fmt::format("{} prompts wait to be tokenized already: try later", waiting_max));
    }
    // co_spawn wants a type that can be made empty.
    const auto job = [](Work todo) -> asio::awaitable<std::optional<Result<T>>> {
      co_return todo();
    };
    auto result = co_await asio::co_spawn(lane.pool, job(std::move(work)), asio::use_awaitable);
    lane.waiting.fetch_sub(1);
    co_return *std::move(result);
  }
};

TextPool::TextPool(size_t threads, size_t waiting_max, std::vector<ServedModel> models)
    : impl_(std::make_unique<Impl>(threads, waiting_max)) {
  for (ServedModel& model : models)
    models_.push_back(std::make_shared<const ServedModel>(std::move(model)));
}

TextPool::~TextPool() {
  for (Impl::Lane* lane : {&impl_->texts, &impl_->grammars}) lane->pool.stop();
  for (Impl::Lane* lane : {&impl_->texts, &impl_->grammars}) lane->pool.join();
}

std::vector<ServedModelPointer> TextPool::models() const {
  const std::lock_guard lock(mutex_);
  return models_;
}

Result<ServedModelPointer> TextPool::find(std::string_view model, std::string_view type) const {
  const std::lock_guard lock(mutex_);
  if (models_.empty()) return unavailable("no model is served");
  if (model.empty()) {
    for (const ServedModelPointer& one : models_)
      if (std::ranges::find(one->task_types, type) != one->task_types.end()) return one;
    // If the request names no model, one that is made for embeddings goes before one that also
    // generates.
    for (const ServedModelPointer& one : models_)
      if (type == kEmbeddingType && one->embedding_size > 0 && !one->generates) return one;
    for (const ServedModelPointer& one : models_)
      if (type == kEmbeddingType ? one->embedding_size > 0 : one->generates) return one;
    return models_.front();
  }
  for (const ServedModelPointer& one : models_)
    if (one->id == model || one->deployment == model) return one;
  std::string known;
  for (const ServedModelPointer& one : models_)
    known += (known.empty() ? "'" : ", '") + one->id + "'";
  return Error(ErrorCode::kNotFound, fmt::format("model: '{}' is not served here, should be {}",
                                                 model.substr(0, 128), known))
      .with_field("model")
      .with_reason("model_not_found");
}

void TextPool::add_adapter(const ServedModel& model, const std::string& adapter) {
  ServedModel made = model;
  made.task_types.clear();
  made.parent = model.id;
  made.id = made.adapter = adapter;
  remove_adapter(model.deployment, adapter);
  const std::lock_guard lock(mutex_);
  models_.push_back(std::make_shared<const ServedModel>(std::move(made)));
}

void TextPool::remove_adapter(std::string_view deployment, std::string_view adapter) {
  const std::lock_guard lock(mutex_);
  std::erase_if(models_, [&](const ServedModelPointer& one) {
    return one->deployment == deployment && one->adapter == adapter && !adapter.empty();
  });
}

void TextPool::set_loaded(std::string_view deployment, uint32_t model_len_max,
                          uint32_t embedding_size, bool generates) {
  const std::lock_guard lock(mutex_);
  for (ServedModelPointer& model : models_) {
    if (model->deployment != deployment) continue;
    auto changed = std::make_shared<ServedModel>(*model);
    changed->model_len_max = model_len_max;
    changed->embedding_size = embedding_size;
    changed->generates = generates;
    model = std::move(changed);
  }
}

asio::awaitable<Result<std::vector<int32_t>>> TextPool::encode(const ServedModel& model,
                                                               PromptSource prompt) {
  Impl::Lane& lane = prompt.grammar.given() ? impl_->grammars : impl_->texts;
  auto work = [&model, prompt = std::move(prompt)] { return encode_now(model, prompt); };
  co_return co_await impl_->run<std::vector<int32_t>>(lane, std::move(work));
}

asio::awaitable<Result<std::string>> TextPool::decode(const ServedModel& model,
                                                      std::vector<int32_t> ids) {
  auto work = [&model, ids = std::move(ids)]() -> Result<std::string> {
    return text::decode(*model.tokenizer, ids, /*show_control=*/true);
  };
  co_return co_await impl_->run<std::string>(impl_->texts, std::move(work));
}

}  // namespace altlas::server
