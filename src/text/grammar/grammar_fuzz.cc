// Any bytes as a schema, a pattern or rules (by the first byte), and as a text held to it. Must
// not crash, and must end. What compiles lets nothing through that leads nowhere.
#include <cstdint>
#include <cstdlib>

#include "text/grammar/configurations.h"
#include "text/grammar/program.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace altlas;
  using namespace altlas::text::grammar;
  if (size < 2) return 0;
  const auto kind = static_cast<GrammarKind>(2 + data[0] % 3);
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  const auto program = compile(altlas::Grammar{kind, std::string(text)});
  if (!program.ok()) return 0;
  Configurations all(*program);
  // The grammar's own bytes as a text, then whatever byte goes on: never stuck before an end.
  int32_t at = all.start();
  for (size_t i = 0; i < 200 && at != Configurations::kDead && all.work() < 100'000; ++i) {
    const auto& heads = all.at(at).heads;
    if (heads.empty() && !all.at(at).is_final) std::abort();
    if (heads.empty()) break;
    int32_t next = all.next(at, static_cast<uint8_t>(text[i % text.size()]));
    for (int byte = 0; byte < 256 && next == Configurations::kDead; ++byte)
      next = all.next(at, static_cast<uint8_t>(byte));
    if (next == Configurations::kDead) std::abort();
    at = next;
  }
  return 0;
}
