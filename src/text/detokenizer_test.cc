// Goal: no half of a character is ever shown, and nothing is lost. Method: every prefix of token
// streams, with byte tokens that cut characters anywhere, compared with decoding all at once.
#include "text/detokenizer.h"

#include <gtest/gtest.h>

#include "base/philox.h"
#include "base/utf8.h"
#include "text/normal_form.h"
#include "text/tokenizer/test_vocabulary.h"

namespace altlas::text {
namespace {

std::unique_ptr<const Tokenizer> tiny() {
  return std::move(Tokenizer::create(testing_support::tiny_vocabulary())).value();
}

TEST(Detokenizer, PiecesAreWholeCharactersAndJoinToTheText) {
  const auto t = tiny();
  const std::string text = "Iğdır 👩‍👩‍👧‍👦 你好 é\u0301 مرحبا";
  Detokenizer detokenizer(*t);
  std::string joined;
  bool held = false;
  for (const int32_t id : *t->encode(text, {})) {
    const std::string piece = detokenizer.push(id);
    EXPECT_TRUE(is_valid_utf8(piece));
    EXPECT_EQ(piece.find(kReplacement), std::string::npos);
    held |= detokenizer.has_pending();
    joined += piece;
  }
  EXPECT_TRUE(held) << "the text should have characters of several tokens";
  EXPECT_EQ(joined + detokenizer.flush(), to_nfc(text));
}

TEST(Detokenizer, RandomTokensGiveWhatRepairGives) {
  const auto t = tiny();
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Detokenizer detokenizer(*t);
    std::string bytes, joined;
    for (uint64_t i = 0; i < 50; ++i) {
      const auto id =
          static_cast<int32_t>(philox(seed, i, 0)[0] % static_cast<uint32_t>(t->vocab_size()));
      bytes += t->token_bytes(id);
      joined += detokenizer.push(id);
      EXPECT_TRUE(is_valid_utf8(joined));
    }
    EXPECT_EQ(joined + detokenizer.flush(), repair_utf8(bytes));
  }
}

TEST(Detokenizer, ControlTokensShowOnlyWhenAsked) {
  const auto t = tiny();
  const int32_t end = t->id_of("<|im_end|>");
  EXPECT_EQ(Detokenizer(*t).push(end), "");
  EXPECT_EQ(Detokenizer(*t, true).push(end), "<|im_end|>");
  EXPECT_EQ(Detokenizer(*t).push(t->id_of("<tool_call>")), "<tool_call>");
}

// Goal: a SentencePiece vocabulary drops the space before a text, but not before the continuation
// of a prompt.
TEST(Detokenizer, AContinuationKeepsItsFirstSpace) {
  Vocabulary vocabulary;
  vocabulary.model = "llama";
  vocabulary.tokens = {"<unk>", "<s>", "</s>", "\u2581two", "three"};
  vocabulary.types = {kTokenUnknown, kTokenControl, kTokenControl, kTokenNormal, kTokenNormal};
  vocabulary.scores = {0, 0, 0, -1, -2};
  vocabulary.unk = 0;
  vocabulary.add_space_prefix = true;
  auto t = Tokenizer::create(std::move(vocabulary));
  ASSERT_TRUE(t.ok()) << t.error().message();
  EXPECT_EQ(Detokenizer(**t).push(3), "two");
  EXPECT_EQ(Detokenizer(**t, false, true).push(3), " two");
}

// Goal: each maximal subpart of a damaged character becomes one U+FFFD. The expected strings are
// CPython's bytes.decode("utf-8", "replace").
TEST(Utf8, RepairReplacesMaximalSubparts) {
  EXPECT_EQ(repair_utf8("a\xFFz"), "a\uFFFDz");
  EXPECT_EQ(repair_utf8("\xE2\x82"), "\uFFFD");
  EXPECT_EQ(repair_utf8("\xE2\x82z"), "\uFFFDz");
  EXPECT_EQ(repair_utf8("\xC0\x80"), "\uFFFD\uFFFD");
  EXPECT_EQ(repair_utf8("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(repair_utf8("\xF0\x9F\x98"), "\uFFFD");
  EXPECT_EQ(repair_utf8("\xF4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(repair_utf8("\xF1\x80\xC3\xA9"), "\uFFFDé");
}

// Goal: NFC composes characters and orders marks. The expected strings are Python's
// unicodedata.normalize("NFC", ...).
TEST(Utf8, NfcComposesAndOrdersMarks) {
  EXPECT_EQ(to_nfc("e\u0301"), "\u00E9");
  EXPECT_EQ(to_nfc("q\u0307\u0323"), "q\u0323\u0307");
  EXPECT_EQ(to_nfc("\u212B"), "\u00C5");
  EXPECT_EQ(to_nfc("\u1E9B\u0323"), "\u1E9B\u0323");
  EXPECT_EQ(to_nfc("\u0958"), "\u0915\u093C");  // It is excluded from composition.
  EXPECT_EQ(to_nfc("\u1112\u1161\u11AB"), "\uD55C");
  EXPECT_TRUE(is_surely_nfc("Iğdır é"));
  EXPECT_FALSE(is_surely_nfc("e\u0301"));
}

}  // namespace
}  // namespace altlas::text
