// Fuzzes the tokenizer with any bytes under every option, and with any small vocabulary.
#include <string>

#include "base/check.h"
#include "base/utf8.h"
#include "text/detokenizer.h"
#include "text/tokenizer/tokenizer.h"

namespace {

using namespace altlas::text;  // NOLINT: one short file.

Vocabulary bytes_only(std::string_view pre) {
  Vocabulary vocabulary;
  vocabulary.model = "gpt2";
  vocabulary.pre = pre;
  for (int b = 0; b < 256; ++b) {
    // Bytes that are printable in Latin-1 stand for themselves; the others become U+0100 and on, in
    // order.
    static int next = 256;
    const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    if (b == 0) next = 256;
    std::string token;
    altlas::append_utf8(token, static_cast<char32_t>(printable ? b : next++));
    vocabulary.tokens.push_back(token);
  }
  for (const char* merge : {"a a", "aa aa", "Ġ a", "t h", "th e"}) {
    const std::string_view text(merge);
    const size_t space = text.find(' ');
    vocabulary.merges.push_back(text);
    vocabulary.tokens.push_back(std::string(text.substr(0, space)) +
                                std::string(text.substr(space + 1)));
  }
  vocabulary.types.assign(vocabulary.tokens.size(), kTokenNormal);
  for (const char* token : {"<|a|>", "<|a|><|b|>", "<x>"}) vocabulary.tokens.push_back(token);
  vocabulary.types.insert(vocabulary.types.end(),
                          {kTokenControl, kTokenControl, kTokenUserDefined});
  return vocabulary;
}

// Returns a SentencePiece BPE with all byte tokens, a few pieces, and a user-defined run of spaces.
Vocabulary pieces(bool prefix) {
  Vocabulary vocabulary{.model = "llama", .unk = 0, .add_space_prefix = prefix};
  const auto add = [&](std::string token, int32_t type, float score) {
    vocabulary.tokens.push_back(token);
    vocabulary.types.push_back(type);
    vocabulary.scores.push_back(score);
  };
  add("<unk>", kTokenUnknown, 0);
  for (int b = 0; b < 256; ++b) {
    constexpr std::string_view kHex = "0123456789ABCDEF";
    add(std::string("<0x") + kHex[static_cast<size_t>(b / 16)] + kHex[static_cast<size_t>(b % 16)] +
            ">",
        kTokenByte, 0);
  }
  float score = 0;
  for (const char* piece : {"▁", "a", "b", "▁a", "aa", "ab", "▁aa", "\xC4\x9F", "aaaa", "b▁a"})
    add(piece, kTokenNormal, --score);
  add("  ", kTokenUserDefined, -1000);
  add("<x>", kTokenUserDefined, -1000);
  add("</s>", kTokenControl, -1000);
  return vocabulary;
}

void check_pieces(std::string_view text) {
  static const auto tokenizers = [] {
    std::vector<std::unique_ptr<const Tokenizer>> made;
    for (const bool prefix : {false, true})
      made.push_back(std::move(Tokenizer::create(pieces(prefix))).value());
    return made;
  }();
  std::string want = altlas::repair_utf8(text);
  for (size_t at = 0; (at = want.find("▁", at)) != std::string::npos; ++at)
    want.replace(at, 3, " ");
  for (const auto& tokenizer : tokenizers) {
    const auto ids = tokenizer->encode(text, {});
    ALTLAS_CHECK(ids.ok(), "any text can be tokenized");
    // After a user-defined token a new text begins, with a space of its own.
    const bool cut = text.find("<x>") != text.npos || text.find("▁▁") != text.npos;
    if (tokenizer == tokenizers.front() || !cut)
      ALTLAS_CHECK(decode(*tokenizer, *ids) == want, "the ids spell the text");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto tokenizers = [] {
    std::vector<std::unique_ptr<const Tokenizer>> made;
    for (const char* pre : {"gpt-2", "llama-bpe", "tekken", "qwen2"})
      made.push_back(std::move(Tokenizer::create(bytes_only(pre))).value());
    return made;
  }();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const auto& tokenizer : tokenizers) {
    for (const bool parse : {false, true}) {
      const auto ids = tokenizer->encode(text, {.parse_special = parse});
      ALTLAS_CHECK(ids.ok(), "any text can be tokenized");
      const std::string back = decode(*tokenizer, *ids, true), whole = altlas::repair_utf8(text);
      ALTLAS_CHECK(back == (tokenizer == tokenizers.back() ? back : whole),
                   "the ids spell the text");
    }
  }
  check_pieces(text);
  const size_t half = size / 2;
  const std::vector<Segment> segments = {{std::string(text.substr(0, half)), false},
                                         {std::string(text.substr(half)), true}};
  ALTLAS_CHECK(tokenizers[0]->encode_segments(segments, false).ok(),
               "any segments can be tokenized");
  constexpr const char* kModels[] = {"gpt2", "llama", "t5", "bert", "gemma4"};
  Vocabulary vocabulary{.model = kModels[size > 1 ? data[1] % 5 : 0], .pre = "gpt-2"};
  vocabulary.charsmap = size > 2 && data[2] % 2 == 0 ? std::string(text) : "";
  vocabulary.unk = 0;
  for (size_t i = 0; i < size; i += 3) {
    const std::string piece(text.substr(i, 1 + data[i] % 5));
    vocabulary.tokens.push_back(piece);
    vocabulary.types.push_back(data[i] % 7);
    vocabulary.scores.push_back(static_cast<float>(data[i]) - 100);
    if (data[i] % 3 == 0) vocabulary.merges.push_back(piece);
  }
  vocabulary.eos = size > 0 ? data[0] - 2 : -1;
  if (const auto made = Tokenizer::create(std::move(vocabulary)); made.ok()) {
    const auto ids = (*made)->encode(text, {.parse_special = true});
    if (ids.ok()) ALTLAS_CHECK(altlas::is_valid_utf8(decode(**made, *ids)), "decoding gives UTF-8");
  }
  return 0;
}
