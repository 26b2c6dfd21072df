// Goal: a Hugging Face folder gives the tokenizer that transformers makes of it, and what is not
// supported is refused with its name. Method: small files that differ in one part, and the trained
// vocabularies of testdata (tokenizer_lines_test.cc compares their ids).
#include "text/tokenizer/hf_tokenizer.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <sstream>

#include "base/utf8.h"
#include "text/detokenizer.h"
#include "text/tokenizer/test_vocabulary.h"
#include "text/tokenizer/tokenizer.h"

namespace altlas::text {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::string_view kModel =
    R"({"type":"BPE","unk_token":"<unk>","vocab":{"<unk>":0,"a":1,"b":2,"ab":3,"c":4},)"
    R"("merges":[["a","b"]]})";

std::string file(std::string_view members, std::string_view model = kModel) {
  return fmt::format(R"({{{}{}"model":{}}})", members, members.empty() ? "" : ",", model);
}

Result<std::unique_ptr<const Tokenizer>> open(const std::string& json,
                                              const std::string& config = "") {
  ALTLAS_TRY(HfTokenizer made,
             read_hf_tokenizer({.tokenizer_json = json, .tokenizer_config_json = config}));
  return Tokenizer::create(std::move(made.vocabulary));
}

std::string refusal(const std::string& json) {
  const auto made = open(json);
  return made.ok() ? "accepted" : made.error().message();
}

std::unique_ptr<const Tokenizer> trained(const std::string& name) {
  auto vocabulary =
      testing_support::open_vocabulary(ALTLAS_SOURCE_DIR "/src/text/testdata/tiny_" + name);
  EXPECT_TRUE(vocabulary.ok()) << vocabulary.error().message();
  return std::move(Tokenizer::create(*std::move(vocabulary))).value();
}

TEST(HfTokenizer, RefusesUnknownPartsByName) {
  const auto part = [](std::string_view member, std::string_view value) {
    return refusal(file(fmt::format(R"("{}":{})", member, value)));
  };
  EXPECT_THAT(part("normalizer", R"({"type":"Klingon"})"),
              AllOf(HasSubstr("'Klingon'"), HasSubstr("NFC"), HasSubstr("BertNormalizer")));
  EXPECT_THAT(part("pre_tokenizer", R"({"type":"UnicodeScripts"})"),
              AllOf(HasSubstr("'UnicodeScripts'"), HasSubstr("ByteLevel"), HasSubstr("Split")));
  EXPECT_THAT(part("post_processor", R"({"type":"X"})"),
              AllOf(HasSubstr("'X'"), HasSubstr("TemplateProcessing")));
  EXPECT_THAT(part("decoder", R"({"type":"CTC"})"),
              AllOf(HasSubstr("'CTC'"), HasSubstr("WordPiece")));
  EXPECT_THAT(refusal(file("", R"({"type":"WordLevel","vocab":{}})")),
              AllOf(HasSubstr("'WordLevel'"), HasSubstr("Unigram")));
  EXPECT_THAT(refusal(file(
                  "", R"({"type":"BPE","end_of_word_suffix":"</w>","vocab":{"a":0},"merges":[]})")),
              HasSubstr("end_of_word_suffix '</w>'"));
  EXPECT_THAT(refusal(file("", R"({"type":"BPE","dropout":0.1,"vocab":{"a":0},"merges":[]})")),
              HasSubstr("dropout"));
  const auto split = [&](std::string_view expression) {
    return part(
        "pre_tokenizer",
        fmt::format(R"({{"type":"Split","behavior":"Isolated","pattern":{{"Regex":"{}"}}}})",
                    expression));
  };
  EXPECT_EQ(split(R"(\\s?[^\\S\\r]+|(?i:'s)|\\p{^L}{,3}|\\h)"), "accepted");
  EXPECT_THAT(split(R"(a\\Kb)"), HasSubstr("'\\K'"));
  EXPECT_THAT(split(R"([a-z&&[^b]])"), HasSubstr("not supported"));
  EXPECT_THAT(split(R"((a)\\1)"), HasSubstr("'\\1'"));
  EXPECT_THAT(split(R"((?<n>a))"), HasSubstr("'(?<n'"));
  EXPECT_THAT(split("(a"), HasSubstr("can't be compiled"));
}

TEST(HfTokenizer, RefusesFilesThatContradictThemselves) {
  EXPECT_THAT(refusal("[1]"), HasSubstr("must hold an object"));
  EXPECT_THAT(refusal("{"), HasSubstr("not JSON"));
  EXPECT_THAT(refusal(std::string(200, '[')), HasSubstr("not JSON"));
  EXPECT_THAT(refusal("{}"), HasSubstr("model must be an object"));
  EXPECT_THAT(refusal(file("", R"({"type":"BPE","vocab":{"a":"x"},"merges":[]})")),
              HasSubstr("must be an id"));
  EXPECT_THAT(refusal(file("", R"({"type":"BPE","vocab":{"a":-1},"merges":[]})")),
              HasSubstr("has id -1"));
  EXPECT_THAT(refusal(file("", R"({"type":"BPE","vocab":{"a":9999999},"merges":[]})")),
              HasSubstr("id 9999999 in a vocabulary of 1"));
  EXPECT_THAT(refusal(file("", R"({"type":"BPE","vocab":{"a":0},"merges":[["a"]]})")),
              HasSubstr("merge 0"));
  EXPECT_THAT(refusal(file("", R"({"type":"BPE","vocab":{"a":0},"merges":["a q"]})")),
              HasSubstr("not in the vocabulary"));
  EXPECT_THAT(refusal(file("", R"({"type":"Unigram","vocab":[["a"]],"unk_id":0})")),
              HasSubstr("[token, score]"));
  EXPECT_THAT(refusal(file("", R"({"type":"Unigram","vocab":[["a",-1]],"unk_id":7})")),
              HasSubstr("unk_id 7"));
  EXPECT_THAT(refusal(file(R"("added_tokens":[{"id":99999999,"content":"x","special":true}])")),
              HasSubstr("id 99999999"));
  EXPECT_THAT(refusal(file(R"("post_processor":{"type":"TemplateProcessing","single":[)"
                           R"({"SpecialToken":{"id":"<s>","type_id":0}}],"special_tokens":{}})")),
              HasSubstr("no ids of '<s>'"));
  EXPECT_THAT(refusal(file(R"("post_processor":{"type":"BertProcessing","sep":["x",77],)"
                           R"("cls":["y",1]})")),
              HasSubstr("token 77"));
  EXPECT_THAT(refusal(file(R"("decoder":{"type":"Metaspace","replacement":""})")),
              HasSubstr("decoder.replacement"));
  EXPECT_THAT(refusal(file(R"("decoder":{"type":"Replace","pattern":{"String":""},)"
                           R"("content":" "})")),
              HasSubstr("decoder.pattern"));
  EXPECT_THAT(refusal(file(R"("pre_tokenizer":{"type":"Metaspace","replacement":""})")),
              HasSubstr("pattern of 0 bytes"));
  EXPECT_EQ(read_hf_tokenizer({}).error().code(), ErrorCode::kNotFound);
}

// Goal: a BPE without merges is refused if only merges could make some of its tokens. Method:
// members of the file and of the model beside an empty list, and the outcome.
TEST(HfTokenizer, ABpeWithoutMergesIsRefusedUnlessItNeedsNone) {
  std::string bytes;
  for (int b = 0; b < 256; ++b)
    bytes += fmt::format("{}\"\\u{:04x}\":{}", b == 0 ? "" : ",", 0x100 + b, b);
  const std::string_view end = R"("added_tokens":[{"id":9,"content":"<end>","special":true}])";
  const struct {
    std::string members, model, config;
    bool taken;
  } rows[] = {
      {"", R"("vocab":{"a":0,"b":1,"ab":2})", "", false},
      {"", R"("vocab":{"\u0120":0,"t":1,"\u0120t":2})", "", false},
      {"", R"("vocab":{"<unk>":0,"th":1},"unk_token":"<unk>")", "", false},
      {std::string(end), R"("vocab":{"a":0,"other":1})", "", false},
      {"", R"("vocab":{"a":0,"<s>":1})", R"({"pad_token":"a"})", false},
      {"", "\"vocab\":{" + bytes + "}", "", true},
      {"", R"("vocab":{"a":0,"\u00e9":1,"\u65e5":2})", "", true},
      {std::string(end), R"("vocab":{"a":0,"<end>":9})", "", true},
      {"", R"("vocab":{"<unk>":0,"a":1},"unk_token":"<unk>")", "", true},
      {"", R"("vocab":{"a":0,"<s>":1})", R"({"bos_token":"<s>"})", true},
      {"", R"("vocab":{"a":0,"<0x41>":1},"byte_fallback":true)", "", true},
      {"", R"("vocab":{"a":0,"whole":1},"ignore_merges":true)", "", true},
  };
  for (const auto& row : rows) {
    const auto made =
        open(file(row.members, R"({"type":"BPE","merges":[],)" + row.model + "}"), row.config);
    EXPECT_EQ(made.ok(), row.taken) << row.model << (made.ok() ? "" : made.error().message());
    if (!made.ok()) EXPECT_THAT(made.error().message(), HasSubstr("model.merges is empty"));
  }
}

TEST(HfTokenizer, AddedTokensFollowTheirRules) {
  const auto t = *open(file(
      R"("added_tokens":[{"id":10,"content":"<e>","special":true,"lstrip":true,"rstrip":true},)"
      R"({"id":11,"content":"cab","single_word":true,"normalized":false},)"
      R"({"id":12,"content":"É","normalized":true}],"normalizer":{"type":"NFD"})"));
  EXPECT_THAT(*t->encode("a  <e> \n b", {.parse_special = true}), ElementsAre(1, 10, 2));
  EXPECT_THAT(*t->encode("ab cab", {}), ElementsAre(3, 0, 11));
  EXPECT_THAT(*t->encode("acab", {}), ElementsAre(1, 4, 3));
  EXPECT_THAT(*t->encode("aE\u0301", {}), ElementsAre(1, 12));
  EXPECT_TRUE(t->is_control(10));
  EXPECT_EQ(t->vocab_size(), 13);
  EXPECT_EQ(t->token_text(7), "");  // No token has this id.
}

TEST(HfTokenizer, ConfigNamesTokensAndTemplate) {
  const std::string json =
      file(R"("post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"c",)"
           R"("type_id":0}},{"Sequence":{"id":"A","type_id":0}}],"special_tokens":{"c":{"id":"c",)"
           R"("ids":[4],"tokens":["c"]}}})");
  const auto made = read_hf_tokenizer(
      {.tokenizer_json = json,
       .tokenizer_config_json = R"({"bos_token":{"content":"c"},"eos_token":"b","chat_template":[)"
                                R"({"name":"tool","template":"T"},{"name":"default",)"
                                R"("template":"D"}]})",
       .generation_config_json = R"({"eos_token_id":[2,3]})"});
  ASSERT_TRUE(made.ok()) << made.error().message();
  EXPECT_EQ(made->chat_template, "D");
  const auto t = *Tokenizer::create(made->vocabulary);
  EXPECT_EQ(t->bos(), 4);
  EXPECT_TRUE(t->adds_bos());
  EXPECT_THAT(*t->encode("aa", {.add_special = true}), ElementsAre(4, 1, 1));
  EXPECT_THAT(*t->encode("ab", {}), ElementsAre(1, 0));  // "b" is a control token here.
  EXPECT_THAT(t->end_of_generation(), ElementsAre(2, 3));
  EXPECT_TRUE(t->is_control(2));
}

// Goal: no text makes a control token, though Unigram pieces, merges and byte tokens can spell
// some.
TEST(HfTokenizer, NoTextMakesAControlToken) {
  for (const char* name : {"spm", "unigram", "wordpiece", "letters", "folded"}) {
    const auto t = trained(name);
    for (const std::string text : {"<s>", "</s>x", "a <unk>", "[CLS] [SEP]", "<mask>", "<|user|>"})
      for (const int32_t id : *t->encode(text, {}))
        EXPECT_TRUE(!t->is_control(id) || t->token_text(id) == "[UNK]" ||
                    t->token_text(id) == "<unk>")
            << name << " " << text << " gives " << t->token_text(id);
  }
}

TEST(HfTokenizer, SentencePieceDetokenizesInWholeCharacters) {
  const auto t = trained("spm");
  for (const std::string text :
       {"Merhaba dünya", " iki  boşluk", "çok 👩‍👩‍👧 güzel\n\tπ ∑", "𓀀 ancient",
        "<0x41> A"}) {
    const auto ids = *t->encode(text, {});
    Detokenizer detokenizer(*t);
    std::string joined;
    for (const int32_t id : ids) {
      const std::string piece = detokenizer.push(id);
      EXPECT_TRUE(is_valid_utf8(piece));
      EXPECT_EQ(piece.find(kReplacement), std::string::npos);
      joined += piece;
    }
    EXPECT_EQ(joined + detokenizer.flush(), text);
  }
}

// Goal: ids decode as in transformers. Method: parts of encoded lines and the text that
// transformers gives (tokenizer_decodings.txt), all at once and token by token.
TEST(HfTokenizer, DecodesAsTransformers) {
  std::map<std::string, std::unique_ptr<const Tokenizer>> tokenizers;
  size_t seen = 0;
  for (const std::string& line : testing_support::read_lines("tokenizer_decodings.txt")) {
    std::istringstream in(line);
    std::string name, hex, want;
    in >> name >> hex;
    for (size_t i = 0; hex != "-" && i + 1 < hex.size(); i += 2)
      want += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
    std::vector<int32_t> ids;
    for (int32_t id; in >> id;) ids.push_back(id);
    auto& tokenizer = tokenizers[name];
    if (!tokenizer) tokenizer = trained(name.substr(5));
    EXPECT_EQ(decode(*tokenizer, ids), want) << line;
    Detokenizer detokenizer(*tokenizer);
    std::string joined;
    for (const int32_t id : ids) joined += detokenizer.push(id);
    EXPECT_EQ(joined + detokenizer.flush(), want) << line;
    ++seen;
  }
  EXPECT_GE(seen, 300u);
}

TEST(HfTokenizer, WordPieceDecodesWithSpacesBetweenWords) {
  const auto t = trained("wordpiece");
  EXPECT_EQ(decode(*t, *t->encode("the quick brown fox, it's!", {})),
            "the quick brown fox, it ' s!");
}

// Goal: in no family does a text take much more than linear time.
TEST(HfTokenizer, HostileTextsTakeLinearTime) {
  for (const char* name : {"spm", "unigram", "wordpiece", "letters", "folded"}) {
    const auto t = trained(name);
    for (const std::string_view part :
         {"a", " ", "\n", "▁", "<s", "\u0301\u0316", "\xFF", "ab", "1", "好", "</s> "}) {
      std::string text = "a";
      while (text.size() < 1 << 20) text += part;
      const auto begin = std::chrono::steady_clock::now();
      EXPECT_TRUE(t->encode(text, {.parse_special = true}).ok());
      EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20))
          << name << " " << part;
    }
  }
}

TEST(HfTokenizer, AnExpressionThatBacktracksWithoutEndIsStopped) {
  const auto t = *open(file(
      R"("pre_tokenizer":{"type":"Split","behavior":"Isolated","pattern":{"Regex":"(a+a+)+[cd]"}})"));
  EXPECT_EQ(t->encode(std::string(4000, 'a'), {}).error().code(), ErrorCode::kTooLarge);
}

}  // namespace
}  // namespace altlas::text
