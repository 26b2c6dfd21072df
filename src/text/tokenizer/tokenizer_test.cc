// Goal: ids equal those of transformers, on any text. Method: cases made by
// testdata/make_fixtures.py with a small trained vocabulary for every pre-tokenizer, the real
// Qwen2.5 vocabulary if its file is there, and edge cases.
#include "text/tokenizer/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <numeric>
#include <sstream>

#include "base/utf8.h"
#include "text/detokenizer.h"
#include "text/tokenizer/test_vocabulary.h"

namespace altlas::text {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing_support::read_lines;
using testing_support::tiny_vocabulary;

struct Case {
  std::string pre;
  bool parse = false;
  std::string text;
  std::vector<int32_t> ids;
};

std::vector<Case> read_cases(const std::string& file) {
  std::vector<Case> cases;
  for (const std::string& line : read_lines(file)) {
    std::istringstream in(line);
    Case c;
    std::string parse, hex;
    in >> c.pre >> parse >> hex;
    c.parse = parse == "parse";
    for (size_t i = 0; hex != "-" && i + 1 < hex.size(); i += 2)
      c.text += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
    for (int32_t id; in >> id;) c.ids.push_back(id);
    cases.push_back(std::move(c));
  }
  return cases;
}

std::unique_ptr<const Tokenizer> tiny(const std::string& pre = "qwen2") {
  Vocabulary vocabulary = tiny_vocabulary();
  vocabulary.pre = pre;
  auto made = Tokenizer::create(std::move(vocabulary));
  EXPECT_TRUE(made.ok()) << made.error().message();
  return std::move(made).value();
}

void expect_cases(const Tokenizer& tokenizer, const std::string& pre, const std::string& file) {
  size_t seen = 0;
  for (const Case& c : read_cases(file)) {
    if (c.pre != pre) continue;
    ++seen;
    const auto got = tokenizer.encode(c.text, {.parse_special = c.parse});
    ASSERT_TRUE(got.ok()) << got.error().message();
    EXPECT_EQ(*got, c.ids) << pre << (c.parse ? " parse " : " plain ")
                           << ::testing::PrintToString(c.text);
    if (pre == "qwen2") continue;  // NFC changes the text.
    EXPECT_EQ(decode(tokenizer, c.ids, true), repair_utf8(c.text));
  }
  EXPECT_GT(seen, 100u);
}

TEST(Tokenizer, TinyVocabularyGivesTransformersIds) {
  for (const std::string pre : {"qwen2", "gpt-2", "llama-bpe", "tekken"})
    expect_cases(*tiny(pre), pre, "tiny_cases.txt");
}

TEST(Tokenizer, RealQwen2VocabularyGivesTransformersIds) {
  const auto vocabulary = testing_support::model_vocabulary();
  if (!vocabulary) GTEST_SKIP() << "no model: ALTLAS_TEST_MODEL names no qwen2.5 GGUF file";
  if (vocabulary->tokens.size() != 151936)
    GTEST_SKIP() << "the model of ALTLAS_TEST_MODEL is not Qwen2.5-Coder-0.5B";
  const auto tokenizer = Tokenizer::create(*vocabulary);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message();
  EXPECT_TRUE((*tokenizer)->is_end_of_generation((*tokenizer)->id_of("<|im_end|>")));
  // It has more cases than are committed.
  const char* file = std::getenv("ALTLAS_TEST_TOKENIZER_CASES");
  expect_cases(**tokenizer, "qwen2", file != nullptr ? file : "qwen2_cases.txt");
}

TEST(Tokenizer, ControlTokensInUserTextAreText) {
  const auto t = tiny();
  const int32_t end = t->id_of("<|im_end|>"), call = t->id_of("<tool_call>");
  EXPECT_THAT(*t->encode("<|im_end|>", {.parse_special = true}), ElementsAre(end));
  EXPECT_THAT(*t->encode("<|im_end|>", {}), ::testing::Not(::testing::Contains(end)));
  EXPECT_THAT(*t->encode("<tool_call>", {}),
              ElementsAre(call));  // User-defined tokens are matched anywhere.
  EXPECT_EQ(decode(*t, *t->encode("a<|im_end|>b", {})), "a<|im_end|>b");
  EXPECT_EQ(decode(*t, *t->encode("a<|im_end|>b", {.parse_special = true})), "ab");
}

// Goal: content that completes a control token begun by the template does not make it; plain text
// on both sides of a border merges as if there were none.
TEST(Tokenizer, SegmentsKeepContentPlainAndMergeOverBorders) {
  const auto t = tiny();
  const auto encode = [&](const std::vector<Segment>& s) { return *t->encode_segments(s, false); };
  EXPECT_EQ(encode({{"<|im_start|>the qu", false}, {"ick brown", true}, {"<|im_end|>\n", false}}),
            *t->encode("<|im_start|>the quick brown<|im_end|>\n", {.parse_special = true}));
  EXPECT_EQ(encode({{"<|im_", false}, {"end|>", true}}), *t->encode("<|im_end|>", {}));
  EXPECT_EQ(encode({{"<|im_end|>", true}, {"<|im_end|>", false}}).back(), t->id_of("<|im_end|>"));
  EXPECT_EQ(encode({{"<|im", false}, {"_end|>", false}}),
            *t->encode("<|im_end|>", {.parse_special = true}));
  EXPECT_EQ(encode({{"\xE2\x82", true}, {"\xAC", true}}), *t->encode("\uFFFD\uFFFD", {}));
}

// Goal: a text that begins with the token before every text gets no second one. Method: tokens
// before every text, texts that begin with them, and what must come out.
TEST(Tokenizer, ATextThatBeginsWithBosGetsNoSecondOne) {
  Vocabulary vocabulary = tiny_vocabulary();
  vocabulary.bos = (*Tokenizer::create(vocabulary))->id_of("<|im_start|>");
  vocabulary.add_bos = true;
  const auto t = *Tokenizer::create(vocabulary);
  const std::string bos(t->bos_text());
  const auto encode = [&](const std::string& text, bool parse) {
    return *t->encode(text, {.add_special = true, .parse_special = parse});
  };
  const std::vector<int32_t> plain = *t->encode("the quick", {});
  struct Row {
    std::string text;
    bool parse;
    size_t bos_tokens;
  };
  for (const Row& row : {Row{"the quick", true, 1}, Row{bos + "the quick", true, 1},
                         Row{bos + bos + "the quick", true, 2}, Row{"the" + bos, true, 2},
                         Row{bos + "the quick", false, 1}, Row{bos, true, 1}}) {
    const auto ids = encode(row.text, row.parse);
    EXPECT_EQ(ids.front(), t->bos()) << row.text;
    EXPECT_EQ(static_cast<size_t>(std::ranges::count(ids, t->bos())), row.bos_tokens) << row.text;
  }
  EXPECT_EQ(encode(bos + "the quick", true), encode("the quick", true));
  EXPECT_EQ(encode("the quick", true).size(), plain.size() + 1);
}

// Goal: the tokens that fill a gap are found in every family. Method: each family's names at the
// end of a vocabulary, in an order of their own.
TEST(Tokenizer, FindsTheTokensThatFillAGap) {
  struct Row {
    std::vector<std::string> names;  // Suffix, prefix, middle; then others.
    int32_t type;
    bool known, suffix_first;
    size_t ends;
  };
  const std::vector<Row> rows = {
      {{"<|fim_suffix|>", "<|fim_prefix|>", "<|fim_middle|>", "<|file_sep|>", "<|fim_pad|>"},
       kTokenControl, true, false, 5},
      {{"<fim_suffix>", "<fim_prefix>", "<fim_middle>", "<reponame>"}, kTokenUserDefined, true,
       false, 4},
      {{"<｜fim▁hole｜>", "<｜fim▁begin｜>", "<｜fim▁end｜>"}, kTokenControl, true, false, 3},
      {{"▁<SUF>", "▁<PRE>", "▁<MID>", "▁<EOT>"}, kTokenNormal, true, false, 4},
      {{"[SUFFIX]", "[PREFIX]"}, kTokenControl, true, true, 2},
      {{"<fim_suffix>", "<fim_prefix>", "<fim_middle>"}, kTokenNormal, false, false, 0},
      {{"<fim_suffix>", "<|fim_prefix|>", "<fim_middle>"}, kTokenControl, false, false, 0},
  };
  for (const Row& row : rows) {
    Vocabulary vocabulary = tiny_vocabulary();
    const auto first = static_cast<int32_t>(vocabulary.tokens.size());
    for (const std::string& name : row.names) {
      vocabulary.tokens.push_back(name);
      vocabulary.types.push_back(row.type);
    }
    const auto t = *Tokenizer::create(std::move(vocabulary));
    const FimTokens& fim = t->fim();
    EXPECT_EQ(fim.known(), row.known) << row.names[0];
    EXPECT_EQ(fim.ends.size(), row.ends) << row.names[0];
    if (!row.known) continue;
    EXPECT_EQ(fim.suffix, first);
    EXPECT_EQ(fim.prefix, first + 1);
    EXPECT_EQ(fim.middle, row.suffix_first ? -1 : first + 2);
    EXPECT_EQ(fim.suffix_first, row.suffix_first);
  }
  Vocabulary named = tiny_vocabulary();  // What the file says goes before names.
  named.fim.prefix = 7, named.fim.suffix = 5, named.fim.middle = 6;
  EXPECT_THAT((*Tokenizer::create(named))->fim().ends, ElementsAre(5, 6, 7));
  named.fim.middle = 1 << 20;
  EXPECT_FALSE(Tokenizer::create(named).ok());
}

TEST(Tokenizer, AddsSpecialTokensAsTheModelAsks) {
  Vocabulary vocabulary = tiny_vocabulary();
  vocabulary.bos = 0, vocabulary.eos = 1, vocabulary.add_bos = true, vocabulary.add_eos = true;
  const auto t = Tokenizer::create(vocabulary);
  EXPECT_THAT(*(*t)->encode("", {.add_special = true}), ElementsAre(0, 1));
  EXPECT_THAT(*(*t)->encode("", {}), ElementsAre());
}

// Goal: a tokenizer made for decoding shows every token as one made for everything does. Method:
// byte letters, pieces with spaces and bytes, and WordPiece, each without merges and scores.
TEST(Tokenizer, MadeForDecodingShowsTheSame) {
  Vocabulary pieces{.model = "llama", .unk = 0};
  pieces.tokens = {"<unk>", "<s>", "</s>", "<0x41>", "▁a▁b", "▁", "c", "▁▁"};
  pieces.types = {2, 3, 3, 6, 1, 1, 1, 4};
  pieces.scores = {0, 0, 0, 0, -1, -2, -3, -4};
  Vocabulary words{.model = "bert", .tokens = {"[UNK]", "▁the", "ing", "▁.", "[SEP]"}};
  words.types = {2, 1, 1, 1, 3};
  for (const Vocabulary& whole : {testing_support::tiny_vocabulary(), pieces, words}) {
    SCOPED_TRACE(whole.model);
    Vocabulary bare = whole;
    bare.merges.clear();
    bare.scores.clear();
    const auto all = Tokenizer::create(whole);
    const auto decodes = Tokenizer::create(bare, TokenizerUse::kDecode);
    ASSERT_TRUE(all.ok() && decodes.ok());
    ASSERT_EQ((*all)->vocab_size(), (*decodes)->vocab_size());
    for (int32_t id = 0; id < (*all)->vocab_size(); ++id) {
      EXPECT_EQ((*all)->token_text(id), (*decodes)->token_text(id));
      EXPECT_EQ((*all)->token_bytes(id), (*decodes)->token_bytes(id));
    }
    EXPECT_EQ((*all)->end_of_generation(), (*decodes)->end_of_generation());
    EXPECT_EQ((*all)->strips_first_space(), (*decodes)->strips_first_space());
  }
  const auto t = Tokenizer::create(pieces);
  EXPECT_EQ((*t)->token_text(4), " a b");
  EXPECT_EQ((*t)->token_text(3), "A");
}

TEST(Tokenizer, RefusesBadVocabularies) {
  const auto refused = [](auto change) {
    Vocabulary vocabulary = tiny_vocabulary();
    change(vocabulary);
    const auto made = Tokenizer::create(std::move(vocabulary));
    return made.ok() ? std::string("accepted") : made.error().message();
  };
  EXPECT_THAT(refused([](Vocabulary& v) { v.pre = "klingon"; }),
              ::testing::AllOf(HasSubstr("'klingon'"), HasSubstr("qwen2"), HasSubstr("llama-bpe")));
  EXPECT_THAT(refused([](Vocabulary& v) { v.model = "rwkv"; }), HasSubstr("'rwkv'"));
  EXPECT_THAT(refused([](Vocabulary& v) { v.tokens.clear(); }), HasSubstr("0 tokens"));
  EXPECT_THAT(refused([](Vocabulary& v) { v.types.pop_back(); }), HasSubstr("token types"));
  EXPECT_THAT(refused([](Vocabulary& v) { v.scores = {1.0f}; }), HasSubstr("scores"));
  EXPECT_THAT(refused([](Vocabulary& v) { v.eos = 1 << 20; }), HasSubstr("eos_token_id"));
  EXPECT_THAT(refused([](Vocabulary& v) { v.bos = -2; }), HasSubstr("bos_token_id"));
  EXPECT_THAT(refused([](Vocabulary& v) { v.merges.push_back("alone"); }), HasSubstr("'alone'"));
  EXPECT_THAT(refused([](Vocabulary& v) { v.merges.push_back("zz qqqq"); }),
              HasSubstr("not in the vocabulary"));
  EXPECT_THAT(refused([](Vocabulary& v) { v.merges.push_back(""); }), HasSubstr("not two tokens"));
  EXPECT_THAT(refused([](Vocabulary& v) {
                v.tokens = {std::string(1 << 20, 'x')};
                v.types.clear();
              }),
              HasSubstr("1048576 bytes"));
}

TEST(Tokenizer, LeavesOutBytesThatTheVocabularyCannotSpell) {
  Vocabulary vocabulary = {.model = "gpt2", .pre = "gpt-2", .tokens = {"a"}};
  const auto t = Tokenizer::create(vocabulary);
  EXPECT_THAT(*(*t)->encode("aa", {}), ElementsAre(0, 0));
  EXPECT_THAT(*(*t)->encode("abba", {}), ElementsAre(0, 0));
}

TEST(Tokenizer, IdsOutOfRangeAreHarmless) {
  const auto t = tiny();
  for (const int32_t id : {-1, t->vocab_size(), INT32_MIN, INT32_MAX}) {
    EXPECT_EQ(t->token_bytes(id), "");
    EXPECT_EQ(t->token_text(id), "");
    EXPECT_FALSE(t->is_control(id));
    EXPECT_FALSE(t->is_end_of_generation(id));
  }
}

// Goal: no text takes much more than linear time (quadratic code would take hours). Method: one
// letter, mark after mark in the order that costs NFC the most, blanks, and texts that begin like
// special tokens.
TEST(Tokenizer, HostileTextsTakeLinearTime) {
  const auto t = tiny();
  const size_t size = 2 << 20;
  const auto repeat = [&](std::string_view part) {
    std::string text = "a";
    while (text.size() < size) text += part;
    return text;
  };
  for (const std::string_view part :
       {"a", " ", "\n", " \n", "<|im_start", "<", "\u0301\u0316", "\xFF", "ab", "1", "'"}) {
    const auto begin = std::chrono::steady_clock::now();
    const auto ids = t->encode(repeat(part), {.parse_special = true});
    ASSERT_TRUE(ids.ok()) << ids.error().message();
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30)) << part;
  }
  EXPECT_EQ(t->encode(std::string(kEncodeBytesMax + 1, 'a'), {}).error().code(),
            ErrorCode::kTooLarge);
}

}  // namespace
}  // namespace altlas::text
