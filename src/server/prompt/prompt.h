// TextPool: turns a request's text or messages into token ids, on its own threads.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/json/fwd.hpp>

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "server/prompt/fim_prompt.h"
#include "server/prompt/grammar_request.h"
#include "server/prompt/template_values.h"
#include "text/template/chat_template.h"
#include "text/tokenizer/tokenizer.h"
#include "text/tool_calls/tool_calls.h"

namespace altlas::server {

// One model as the APIs show it. Immutable.
struct ServedModel {
  std::string id;          // In /v1/models and in requests.
  std::string deployment;  // Where its tasks go.
  std::string adapter;     // LoRA adapter of the deployment's model; empty: the model itself.
  std::string parent;      // Id of that model; empty for the model itself.
  std::shared_ptr<const text::Tokenizer> tokenizer;
  std::shared_ptr<const text::ChatTemplate> chat_template;  // Null: the model has none.
  std::vector<std::string> task_types;  // Whose tasks go here when they name no model.
  std::string chat_template_error;      // Why its template can't be used; then that is null.
  PartRoles part_roles;                 // As its template takes contents,
  uint32_t call_id_size = 0;            // and ids of calls.
  // As loaded:
  uint32_t model_len_max = 0;
  text::ToolFormat tool_format = text::ToolFormat::kHermes;  // How its template shows tool calls.
  text::ReasoningTags reasoning;                             // As its template marks it.
  uint32_t embedding_size = 0;  // Values of an embedding; 0: the model gives none.
  bool generates = true;        // False: it only embeds.
};

// Requests hold theirs to their end, also when it is not served any more.
using ServedModelPointer = std::shared_ptr<const ServedModel>;

inline constexpr std::string_view kEmbeddingType = "embedding";
inline constexpr std::string_view kGenerationType = "text_generation";

// What is to be tokenized: plain text, token ids as they are, or messages for the chat template.
struct PromptSource {
  enum class Kind : uint8_t { kText, kIds, kChat };
  Kind kind = Kind::kText;
  std::string field;  // The field of the request that it comes from, for messages.
  std::string text;
  std::vector<int32_t> ids;
  std::shared_ptr<const boost::json::value>
      messages;  // A list of {role, content, …}; checked by the parser of the body.
  std::shared_ptr<const boost::json::value> tools;            // Null: none.
  std::shared_ptr<const boost::json::value> template_values;  // Object of more variables, or null.
  bool add_generation_prompt = true;
  bool continue_final = false;  // The last message goes on instead of being answered.
  bool add_special = true;      // For text: BOS and EOS as the model asks for.
  bool parse_special = false;   // For text: "<|im_end|>" becomes that token.
  std::shared_ptr<text::ReasoningStart> reasoning;  // Where not null, encode() tells here.
  std::optional<Gap> gap;  // For text and ids: the answer stands between them and its suffix.
  GrammarRequest grammar;  // Compiled before the text is tokenized, to be refused with a reason.
  bool embeds = false;     // Nothing follows it: it may fill the model's whole length.
};

class TextPool {
 public:
  // At most `waiting_max` prompts wait, and as many that have a grammar, which has threads of its
  // own; the next is answered kBusy. threads: 1 or more.
  TextPool(size_t threads, size_t waiting_max, std::vector<ServedModel> models);
  ~TextPool();

  // The model of this id or deployment name; for an empty name the one that takes tasks of `type`,
  // else the first.  Errors: kNotFound, field "model".
  Result<ServedModelPointer> find(std::string_view model, std::string_view type) const;
  std::vector<ServedModelPointer> models() const;
  // Shows `adapter` of the model's deployment as a model of its own, behind the others; in place of
  // one of the same name.
  void add_adapter(const ServedModel& model, const std::string& adapter);
  void remove_adapter(std::string_view deployment, std::string_view adapter);
  // What a loaded replica of the deployment takes and gives.
  void set_loaded(std::string_view deployment, uint32_t model_len_max, uint32_t embedding_size,
                  bool generates);

  // Token ids of the prompt.  Errors: kInvalid (no chat template, a template's own refusal, longer
  // than the model: with both numbers), kBusy.
  boost::asio::awaitable<Result<std::vector<int32_t>>> encode(const ServedModel& model,
                                                              PromptSource prompt);
  // Text of the ids, control tokens as they are spelled.
  boost::asio::awaitable<Result<std::string>> decode(const ServedModel& model,
                                                     std::vector<int32_t> ids);

 private:
  struct Impl;
  mutable std::mutex mutex_;  // Any thread may ask while adapters come and go.
  std::vector<ServedModelPointer> models_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace altlas::server
