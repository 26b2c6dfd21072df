// Any bytes as a schema, a pattern or rules (the first byte chooses), and as a text under that
// grammar. Nothing crashes, everything ends, and a compiled grammar allows nothing that leads
// nowhere.
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
  // The text is the grammar's own bytes, then any allowed byte: it never gets stuck before an end.
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
