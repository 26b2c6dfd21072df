// Request bodies, read as the routes read them. Must not crash. The first byte chooses: raw bytes
// as a body, or a body composed from the rest, with names and values that the routes know.
#include <boost/json.hpp>

#include <array>
#include <string>

#include "server/json_reader.h"
#include "server/openai/fields.h"
#include "server/prompt/chat_messages.h"
#include "server/prompt/prompt_json.h"
#include "server/tasks/task_json.h"

namespace {

using altlas::server::JsonReader;

constexpr std::array<std::string_view, 44> kNames = {"text",
                                                     "prompt",
                                                     "messages",
                                                     "role",
                                                     "content",
                                                     "type",
                                                     "max_length",
                                                     "temperature",
                                                     "top_p",
                                                     "top_k",
                                                     "min_p",
                                                     "seed",
                                                     "stop",
                                                     "priority",
                                                     "stream",
                                                     "gpu_options",
                                                     "strategy",
                                                     "logit_bias",
                                                     "logprobs",
                                                     "top_logprobs",
                                                     "n",
                                                     "echo",
                                                     "stream_options",
                                                     "tools",
                                                     "tool_calls",
                                                     "function",
                                                     "name",
                                                     "arguments",
                                                     "min_tokens",
                                                     "ignore_eos",
                                                     "model",
                                                     "deadline_s",
                                                     "best_of",
                                                     "stop_token_ids",
                                                     "suffix",
                                                     "0",
                                                     "1",
                                                     "-1",
                                                     "template",
                                                     "chat_template_kwargs",
                                                     "batch_split",
                                                     "batch",
                                                     "input",
                                                     "response_format"};
constexpr std::array<std::string_view, 24> kValues = {"null",
                                                      "true",
                                                      "false",
                                                      "0",
                                                      "-1",
                                                      "1",
                                                      "0.5",
                                                      "1e308",
                                                      "-0.0",
                                                      "1e-320",
                                                      "2",
                                                      "2147483648",
                                                      "-9223372036854775808",
                                                      "18446744073709551616",
                                                      "\"\"",
                                                      "\"high\"",
                                                      "\"user\"",
                                                      "\"assistant\"",
                                                      "\"system\"",
                                                      "\"text\"",
                                                      "\"gpu_0\"",
                                                      "\"\\u0000\"",
                                                      "\"\\ud83d\\ude00\"",
                                                      "\"raw\""};
constexpr int kDepthMax = 70;  // Beyond what the parser takes.

// Turns bytes into JSON text; always ends, since every step takes a byte.
class Composer {
 public:
  explicit Composer(std::string_view bytes) : bytes_(bytes) {}
  std::string object() {
    members(0);
    return std::move(out_);
  }

 private:
  uint8_t next() { return at_ < bytes_.size() ? static_cast<uint8_t>(bytes_[at_++]) : 0; }
  void members(int depth) {
    out_ += '{';
    for (int count = next() % 8; count > 0 && at_ < bytes_.size(); --count) {
      out_ += quoted(kNames[next() % kNames.size()]);
      value(depth + 1);
      if (count > 1 && at_ < bytes_.size()) out_ += ',';
    }
    out_ += '}';
  }
  void value(int depth) {
    const uint8_t kind = next();
    if (depth < kDepthMax && kind < 48) return members(depth);
    if (depth < kDepthMax && kind < 112) {
      out_ += '[';
      for (int count = next() % 6; count > 0 && at_ < bytes_.size(); --count) {
        value(depth + 1);
        if (count > 1 && at_ < bytes_.size()) out_ += ',';
      }
      out_ += ']';
      return;
    }
    out_ += kValues[kind % kValues.size()];
  }
  static std::string quoted(std::string_view name) { return "\"" + std::string(name) + "\":"; }

  std::string_view bytes_;
  size_t at_ = 0;
  std::string out_;
};

// Bytes as tokens.
const altlas::server::ServedModel& model() {
  static const altlas::server::ServedModel served = [] {
    altlas::text::Vocabulary vocabulary;
    vocabulary.model = "gpt2";
    vocabulary.pre = "gpt-2";
    for (char c = '!'; c <= '~'; ++c) vocabulary.tokens.push_back(std::string(1, c));
    auto tokenizer = altlas::text::Tokenizer::create(std::move(vocabulary));
    ALTLAS_CHECK(tokenizer.ok(), "the fuzzer's vocabulary is sound");
    altlas::server::ServedModel made;
    made.id = made.deployment = "fuzz";
    made.tokenizer = std::move(*tokenizer);
    made.model_len_max = 64;
    return made;
  }();
  return served;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string composed = data[0] % 4 == 0 ? std::string() : Composer(rest).object();
  const auto body = altlas::server::parse_object(data[0] % 4 == 0 ? rest : composed, 64);
  if (!body.ok()) return 0;
  {
    JsonReader reader(*body);
    altlas::SamplingParams sampling;
    altlas::server::read_sampling(reader, model(), sampling);
    altlas::server::check_known_fields(reader, size % 2 == 0, 1);
    altlas::server::read_vllm_fields(reader, model(), false, sampling);
    static_cast<void>(reader.status());
  }
  {
    JsonReader reader(*body);
    if (const auto messages = altlas::server::read_messages(reader))
      boost::json::serialize(*messages);
    altlas::server::Prompt prompt;
    altlas::server::read_template_fields(reader, prompt);
    static_cast<void>(reader.status());
  }
  JsonReader reader(*body);
  static_cast<void>(altlas::server::read_prompts(reader, "prompt", model()));
  altlas::server::read_device(reader, "specific_gpu_id");
  reader.required_text("text");
  reader.unsigned_integer("estimated_memory", 0);
  reader.object("gpu_options");
  static_cast<void>(reader.status());
  return 0;
}
