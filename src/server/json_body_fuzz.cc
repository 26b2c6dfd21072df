// Request bodies are read as the routes read them. Nothing crashes. The first byte chooses between
// raw bytes as a body, and a body composed from the rest, with names and values that the routes
// know.
#include <boost/json.hpp>

#include <string>
#include <vector>

#include "server/body/read.h"
#include "server/reference/bodies.h"
#include "server/reference/openapi.h"

namespace {

namespace json = boost::json;
using altlas::server::JsonReader;

// The words of the rows: names of fields, and the texts that they take.
struct Words {
  // Names beside those of the rows.
  std::vector<std::string> names{"0", "1", "-1", "tool_calls", "arguments"};
  std::vector<std::string> values{"null",
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
                                  "\"gpu_0\"",
                                  "\"\\u0000\"",
                                  "\"\\ud83d\\ude00\""};
  void add(const json::value& schema) {
    if (const json::array* list = schema.if_array())
      for (const json::value& one : *list) add(one);
    if (!schema.is_object()) return;
    for (const auto& [key, value] : schema.get_object()) {
      if (key == "properties")
        for (const auto& [name, field] : value.as_object()) names.emplace_back(name);
      if (key == "enum")
        for (const json::value& one : value.as_array()) values.push_back(json::serialize(one));
      add(value);
    }
  }
};
const Words& words() {
  static const Words made = [] {
    Words out;
    out.add(altlas::server::request_schemas(altlas::config::Config()));
    return out;
  }();
  return made;
}
constexpr int kDepthMax = 70;  // More than the parser takes.

// Turns bytes into JSON text. It always ends, since every step takes a byte.
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
      out_ += quoted(words().names[next() % words().names.size()]);
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
    out_ += words().values[next() % words().values.size()];
  }
  static std::string quoted(std::string_view name) { return "\"" + std::string(name) + "\":"; }

  std::string_view bytes_;
  size_t at_ = 0;
  std::string out_;
};

// Returns a model whose tokens are bytes.
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
  static const altlas::config::Config config;
  altlas::server::each_body([&](std::string_view, auto fields) {
    JsonReader reader(*body);
    altlas::server::read_fields(reader, fields, config);
    static_cast<void>(reader.status());
  });
  JsonReader reader(*body);
  altlas::server::OpenAiFields common;
  altlas::server::ChatCompletionBody chat;
  altlas::server::read_fields(reader, common, config);
  altlas::server::read_fields(reader, chat, config);
  static_cast<void>(altlas::server::read_grammar(common.grammar, reader));
  auto sampling = altlas::server::read_sampling(common.sampling, reader, model());
  altlas::server::read_vllm_fields(common, 1, reader, model(), sampling);
  altlas::server::PromptSource prompt;
  altlas::server::read_template_fields(chat.chat_template, reader, prompt);
  static_cast<void>(altlas::server::read_tools(chat.tools, reader));
  if (const auto* messages = body->if_contains("messages"); messages && messages->is_array()) {
    JsonReader own(*body);
    if (const auto read = altlas::server::read_messages(messages->get_array(), own))
      json::serialize(*read);
  }
  if (const auto* prompts = body->if_contains("prompt"))
    static_cast<void>(altlas::server::read_prompts(*prompts, "prompt", model()));
  return 0;
}
