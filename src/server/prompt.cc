#include "server/prompt.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio.hpp>
#include <boost/json.hpp>

#include "base/clock.h"
#include "text/detokenizer.h"

namespace altlas::server {

namespace asio = boost::asio;
namespace json = boost::json;

namespace {

// JSON from outside: strings become content. Depth is bounded by the body's parser.
text::Value to_value(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return {};
    case json::kind::bool_:
      return value.get_bool();
    case json::kind::int64:
      return value.get_int64();
    case json::kind::uint64:
      return static_cast<double>(value.get_uint64());
    case json::kind::double_:
      return value.get_double();
    case json::kind::string:
      return std::string(value.get_string());
    case json::kind::array: {
      std::vector<text::Value> items;
      for (const json::value& item : value.get_array()) items.push_back(to_value(item));
      return text::Value::list(std::move(items));
    }
    case json::kind::object: {
      std::vector<text::Value::Entry> entries;
      for (const auto& [key, item] : value.get_object())
        entries.emplace_back(text::Value(std::string(key)), to_value(item));
      return text::Value::object(std::move(entries));
    }
  }
  return {};
}

// Roles were checked against a list, so they count as the template's own: templates compare and
// print them.
text::Value to_messages(const json::value& messages) {
  std::vector<text::Value> items;
  for (const json::value& message : messages.get_array()) {
    std::vector<text::Value::Entry> entries;
    for (const auto& [key, item] : message.get_object()) {
      const bool is_role = key == "role" && item.is_string();
      entries.emplace_back(
          text::Value::trusted(std::string(key)),
          is_role ? text::Value::trusted(std::string(item.get_string())) : to_value(item));
    }
    items.push_back(text::Value::object(std::move(entries)));
  }
  return text::Value::list(std::move(items));
}

Error too_long(size_t tokens, const ServedModel& model, const Prompt& prompt, bool at_least) {
  return invalid(
      fmt::format("the prompt has {}{} tokens and this deployment takes {}{} (what the model, "
                  "engine.max_model_len and its KV cache allow): send a shorter one",
                  at_least ? "at least " : "", tokens, model.model_len_max,
                  prompt.embeds ? "" : " with the answer"));
}

std::string_view strip(std::string_view text, bool right) {
  constexpr std::string_view kSpace = " \t\r\n\v\f";
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  const size_t end = right ? text.find_last_not_of(kSpace) + 1 : text.size();
  return text.substr(first, end - first);
}

// Ends the prompt with the last message's content, as transformers' continue_final_message does:
// trailing spaces stay where the template kept them.
Result<void> cut_after_final(std::vector<text::Segment>& segments, std::string_view content) {
  const std::string_view core = strip(content, true), with_tail = strip(content, false);
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

Result<std::vector<int32_t>> encode_chat(const ServedModel& model, const Prompt& prompt) {
  if (!model.chat_template)
    return invalid(fmt::format("model '{}' has no chat template: use a completion route", model.id),
                   "model");
  text::ChatInput input;
  input.messages = to_messages(*prompt.messages);
  if (prompt.tools) input.tools = to_value(*prompt.tools);
  if (prompt.template_values)
    for (const auto& [key, value] : prompt.template_values->get_object())
      input.extra.emplace_back(std::string(key), to_value(value));
  input.add_generation_prompt = prompt.add_generation_prompt && !prompt.continue_final;
  input.bos_token = std::string(model.tokenizer->bos_text());
  input.eos_token = std::string(model.tokenizer->eos_text());
  input.now_us = system_clock().now();
  ALTLAS_TRY(auto segments, model.chat_template->render_segments(input));
  if (prompt.continue_final) {
    const json::value& last = prompt.messages->get_array().back();
    const json::value* content = last.get_object().if_contains("content");
    ALTLAS_TRY_VOID(cut_after_final(segments, content != nullptr && content->is_string()
                                                  ? std::string_view(content->get_string())
                                                  : std::string_view()));
  }
  return model.tokenizer->encode_segments(segments, /*add_special=*/false);
}

// A text whose bytes alone are too many is refused before the work.
Result<std::vector<int32_t>> encode_text(const ServedModel& model, const Prompt& prompt) {
  const size_t least = prompt.text.size() / model.tokenizer->token_bytes_max();
  if (least > size_t{4} * model.model_len_max) return too_long(least, model, prompt, true);
  text::EncodeOptions options;
  options.add_special = prompt.add_special && !prompt.gap;
  options.parse_special = prompt.parse_special;
  return model.tokenizer->encode(prompt.text, options);
}

Result<std::vector<int32_t>> encode_now(const ServedModel& model, const Prompt& prompt) {
  ALTLAS_TRY_VOID(check_grammar(prompt.grammar));
  std::vector<int32_t> ids;
  switch (prompt.kind) {
    case Prompt::Kind::kIds:
      ids = prompt.ids;
      break;
    case Prompt::Kind::kChat: {
      ALTLAS_TRY(ids, encode_chat(model, prompt));
      break;
    }
    case Prompt::Kind::kText: {
      ALTLAS_TRY(ids, encode_text(model, prompt));
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

struct PromptPool::Impl {
  Impl(size_t threads, size_t waiting_max_in) : pool(threads), waiting_max(waiting_max_in) {}
  asio::thread_pool pool;
  const size_t waiting_max;
  std::atomic<size_t> waiting{0};

  // Runs `work` on the pool; the answer comes back on the caller's executor.
  template <class T, class Work>
  asio::awaitable<Result<T>> run(Work work) {
    if (waiting.fetch_add(1) >= waiting_max) {
      waiting.fetch_sub(1);
      co_return Error(
          ErrorCode::kBusy,
          fmt::format("{} prompts wait to be tokenized already: try later", waiting_max));
    }
    // co_spawn wants a type that can be made empty.
    const auto job = [](Work todo) -> asio::awaitable<std::optional<Result<T>>> {
      co_return todo();
    };
    auto result = co_await asio::co_spawn(pool, job(std::move(work)), asio::use_awaitable);
    waiting.fetch_sub(1);
    co_return *std::move(result);
  }
};

PromptPool::PromptPool(size_t threads, size_t waiting_max, std::vector<ServedModel> models)
    : impl_(std::make_unique<Impl>(threads, waiting_max)) {
  for (ServedModel& model : models)
    models_.push_back(std::make_shared<const ServedModel>(std::move(model)));
}

PromptPool::~PromptPool() {
  impl_->pool.stop();
  impl_->pool.join();
}

std::vector<ServedModelPointer> PromptPool::models() const {
  const std::lock_guard lock(mutex_);
  return models_;
}

Result<ServedModelPointer> PromptPool::find(std::string_view model, std::string_view type) const {
  const std::lock_guard lock(mutex_);
  if (models_.empty()) return unavailable("no model is served");
  if (model.empty()) {
    for (const ServedModelPointer& one : models_)
      if (std::ranges::find(one->task_types, type) != one->task_types.end()) return one;
    // Nobody says who embeds: a model that is made for it before one that also generates.
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
      .with_field("model");
}

void PromptPool::add_adapter(const ServedModel& model, const std::string& adapter) {
  ServedModel made = model;
  made.task_types.clear();
  made.parent = model.id;
  made.id = made.adapter = adapter;
  remove_adapter(model.deployment, adapter);
  const std::lock_guard lock(mutex_);
  models_.push_back(std::make_shared<const ServedModel>(std::move(made)));
}

void PromptPool::remove_adapter(std::string_view deployment, std::string_view adapter) {
  const std::lock_guard lock(mutex_);
  std::erase_if(models_, [&](const ServedModelPointer& one) {
    return one->deployment == deployment && one->adapter == adapter && !adapter.empty();
  });
}

void PromptPool::set_loaded(std::string_view deployment, uint32_t model_len_max,
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

asio::awaitable<Result<std::vector<int32_t>>> PromptPool::encode(const ServedModel& model,
                                                                 Prompt prompt) {
  auto work = [&model, prompt = std::move(prompt)] { return encode_now(model, prompt); };
  co_return co_await impl_->run<std::vector<int32_t>>(std::move(work));
}

asio::awaitable<Result<std::string>> PromptPool::decode(const ServedModel& model,
                                                        std::vector<int32_t> ids) {
  auto work = [&model, ids = std::move(ids)]() -> Result<std::string> {
    return text::decode(*model.tokenizer, ids, /*show_control=*/true);
  };
  co_return co_await impl_->run<std::string>(std::move(work));
}

}  // namespace altlas::server
