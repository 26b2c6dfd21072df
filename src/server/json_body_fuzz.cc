// Any bytes as a request body: parsed, and its fields read as the routes read them. Must not crash.
#include <boost/json.hpp>

#include "server/chat_messages.h"
#include "server/json_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto body =
      altlas::server::parse_object(std::string_view(reinterpret_cast<const char*>(data), size), 64);
  if (!body.ok()) return 0;
  altlas::server::JsonReader reader(*body);
  static constexpr std::string_view kNames[] = {"high", "normal", "low"};
  reader.required_text("text");
  reader.integer("max_length", 128, 1, INT32_MAX);
  reader.number("temperature", 0.7, 0, 2);
  reader.choice("priority", kNames, 1);
  reader.texts("stop", 16, 1024);
  reader.unsigned_integer("estimated_memory", 0);
  reader.optional_integer("seed", INT64_MIN, INT64_MAX);
  reader.boolean("stream", false);
  reader.object("gpu_options");
  if (const auto messages = altlas::server::read_messages(reader))
    boost::json::serialize(*messages);
  static_cast<void>(reader.status());
  return 0;
}
