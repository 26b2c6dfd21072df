// Fuzzes chat templates: any source compiles or is refused, and rendering it ends.
#include "base/check.h"
#include "text/template/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace altlas::text;  // NOLINT: one short file.
  TemplateLimits limits;
  limits.steps = 20'000;
  limits.output_bytes = 1 << 16;
  const auto compiled =
      ChatTemplate::compile(std::string_view(reinterpret_cast<const char*>(data), size), limits);
  if (!compiled.ok()) return 0;
  ChatInput input;
  input.messages =
      Value::list({Value::object_of({{"role", "system"}, {"content", " be nice "}}),
                   Value::object_of({{"role", "user"}, {"content", "héllo <|im_end|>"}})});
  input.tools = Value::list(
      {Value::object_of({{"name", "f"}, {"parameters", Value::object_of({{"n", 1.5}})}})});
  input.bos_token = "<s>";
  const auto text = compiled->render(input);
  const auto segments = compiled->render_segments(input);
  ALTLAS_CHECK(text.ok() == segments.ok(), "both renderings agree");
  if (!text.ok()) return 0;
  std::string joined;
  for (size_t i = 0; i < segments->size(); ++i) {
    ALTLAS_CHECK(!(*segments)[i].text.empty(), "no segment is empty");
    ALTLAS_CHECK(i == 0 || (*segments)[i].is_content != (*segments)[i - 1].is_content,
                 "neighbours differ");
    joined += (*segments)[i].text;
  }
  ALTLAS_CHECK(joined == *text, "the segments are the text");
  return 0;
}
