// Fuzzes the reader of tokenizer.json with any text, and with a good file in which a part is
// replaced. What it accepts must tokenize and give valid UTF-8 back.
#include <string>

#include "base/check.h"
#include "base/utf8.h"
#include "text/detokenizer.h"
#include "text/tokenizer/hf_tokenizer.h"
#include "text/tokenizer/tokenizer.h"

namespace {

using namespace altlas::text;  // NOLINT: one short file.

constexpr std::string_view kModel =
    R"({"type":"BPE","unk_token":"<unk>","fuse_unk":true,"byte_fallback":true,)"
    R"("vocab":{"<unk>":0,"▁":1,"a":2,"b":3,"▁a":4,"<0x0A>":5,"ab":6},)"
    R"("merges":["▁ a",["a","b"]]})";

void try_file(const std::string& json, std::string_view text) {
  const auto made = read_hf_tokenizer({.tokenizer_json = json});
  if (!made.ok()) return;
  const auto tokenizer = Tokenizer::create(made->vocabulary);
  if (!tokenizer.ok()) return;
  for (const bool parse : {false, true}) {
    const auto ids = (*tokenizer)->encode(text, {.add_special = parse, .parse_special = parse});
    if (!ids.ok()) continue;
    for (const int32_t id : *ids)
      ALTLAS_CHECK(id >= 0 && id < (*tokenizer)->vocab_size(), "ids are of the vocabulary");
    ALTLAS_CHECK(altlas::is_valid_utf8(decode(**tokenizer, *ids, parse)), "decoding gives UTF-8");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::string sample = "a b ab\n <s> Ab12 ığ\xF0\x9F\x98\x80\xFF";
  if (size == 0) return 0;
  const std::string_view rest = input.substr(1);
  const std::string part(rest);
  switch (data[0] % 6) {
    case 0:
      try_file(part, sample);
      break;
    case 1:
      try_file(R"({"model":)" + part + "}", sample);
      break;
    case 2:
      try_file(R"({"normalizer":)" + part + R"(,"model":)" + std::string(kModel) + "}", sample);
      break;
    case 3:
      try_file(R"({"pre_tokenizer":)" + part + R"(,"model":)" + std::string(kModel) + "}", sample);
      break;
    case 4:
      try_file(R"({"added_tokens":)" + part + R"(,"post_processor":null,"model":)" +
                   std::string(kModel) + "}",
               sample);
      break;
    default:
      try_file(R"({"decoder":)" + part + R"(,"model":)" + std::string(kModel) + "}", input);
      break;
  }
  return 0;
}
