// Goal: whatever a tokenizer.json asks for, one text costs a limited amount of work; below the
// limit nothing changes.
#include "text/work_budget.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <gtest/gtest.h>
#include <pcre2.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "text/regex.h"
#include "text/tokenizer/normalizer.h"
#include "text/tokenizer/pretokenizer.h"

namespace altlas::text {
namespace {

using Ranges = std::vector<std::pair<size_t, size_t>>;

std::string repeated(std::string_view part, size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) out += part;
  return out;
}

// Returns all matches of PCRE2 itself, which sees the whole text each time.
Ranges plain_matches(const std::string& pattern, const std::string& text) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                   PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NO_AUTO_CAPTURE,
                                   &error, &offset, nullptr);
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  Ranges out;
  for (size_t at = 0; at < text.size();) {
    const int count = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
                                  PCRE2_NOTEMPTY, data, nullptr);
    if (count < 0) break;
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(data);
    out.emplace_back(range[0], range[1]);
    at = range[1];
  }
  pcre2_match_data_free(data);
  pcre2_code_free(code);
  return out;
}

// Goal: matches are those of the whole text. Method: they are compared with PCRE2's own, on texts
// with runs shorter and longer than the first window.
TEST(WorkBudget, WindowsDoNotChangeMatches) {
  const std::string patterns[] = {"a(?=.*b)",
                                  "(?<=b)a+$",
                                  "\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
                                  "a.*b|a",
                                  "(?:é|a)+?b",
                                  "^a|b$",
                                  "\\ba+\\b",
                                  "[^b]{300}",
                                  "(?!a{40})\\S\\S",
                                  "(?m:.+?)\\n\\n",
                                  "a(?!.*\\d)|b",
                                  "(?<!a)\\s+(?=é)"};
  std::mt19937 random(7);
  for (int round = 0; round < 40; ++round) {
    std::string text;
    while (text.size() < 3'000) {
      const char* const parts[] = {"a", "b", " ", "\n", "é", "7", "语", "."};
      const size_t run = random() % 20 == 0 ? random() % 700 : 1 + random() % 4;
      text += repeated(parts[random() % 8], run);
    }
    for (const std::string& pattern : patterns) {
      const auto regex = Regex::create(pattern);
      ASSERT_TRUE(regex.ok()) << pattern;
      WorkBudget budget(text.size());
      Ranges got;
      for (size_t at = 0; at < text.size();) {
        const auto found = (*regex)->find(text, at, budget);
        ASSERT_TRUE(found.ok()) << pattern << found.error().message();
        if (!*found) break;
        got.push_back(**found);
        at = (*found)->second;
      }
      EXPECT_EQ(got, plain_matches(*translate_expression(pattern), text)) << pattern;
    }
  }
}

// Goal: an expression that looks at the whole text for every match is stopped.
TEST(WorkBudget, ExpressionsThatSearchAgainAndAgainAreStopped) {
  struct Row {
    std::string pattern, part, tail;
  };
  const Row rows[] = {
      {"a(?=.*b)", "a", "b"},
      {"\\w(?=[^!]*!)", "é", "!"},
      {"a.*b|a", "a", ""},
      {"x*y", "x", ""},
      {"\\p{Lu}*\\p{Ll}+|\\p{L}", "A", ""},
      {"a.*?b|a", "a", ""},
      {"(?:a|aa)+b|a", "a", ""},
      {"(?:a+)+b", "a", ""},
      {"(?m:.(?!.*z))", "q", ""},
  };
  for (const Row& row : rows) {
    const auto made = Pretokenizer::create({{.pattern = row.pattern}});
    ASSERT_TRUE(made.ok()) << row.pattern;
    SplitText text{.text = repeated(row.part, 200'000) + row.tail};
    WorkBudget budget(text.text.size());
    const auto split = (*made)->split(true, text, budget);
    ASSERT_FALSE(split.ok()) << row.pattern;
    EXPECT_EQ(split.error().code(), ErrorCode::kTooLarge) << row.pattern;
  }
}

// Goal: what real tokenizers do is not stopped, however long the runs are.
TEST(WorkBudget, OrdinaryExpressionsAreNot) {
  const std::string gpt =
      "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|"
      " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
  const auto made = Pretokenizer::create({{.pattern = gpt}});
  ASSERT_TRUE(made.ok());
  for (const std::string_view part : {"a", " ", "\n", "7", "!", "語", "word, ", " \n", "'s"}) {
    SplitText text{.text = repeated(part, 300'000)};
    WorkBudget budget(text.text.size());
    EXPECT_TRUE((*made)->split(true, text, budget).ok()) << part;
  }
}

NormalizerStep replaces(std::string pattern, std::string content, bool is_regex = false) {
  return {.kind = NormalizerStep::kReplace,
          .pattern = std::move(pattern),
          .content = std::move(content),
          .is_regex = is_regex};
}

// Goal: normalizers that double a text are stopped while it is small.
TEST(WorkBudget, NormalizersThatGrowATextAreStopped) {
  const std::vector<std::vector<NormalizerStep>> rows = {
      std::vector<NormalizerStep>(32, replaces("a", "aa")),
      std::vector<NormalizerStep>(32, replaces("[ab]", "ab", true)),
      std::vector<NormalizerStep>(3, replaces("a", std::string(10'000, 'a'))),
      {replaces("a", std::string(1'000, ' ')), replaces(" ", std::string(1'000, 'b')),
       replaces("b", "cc"), replaces("c", "dd"), replaces("d", "eeee")},
  };
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto made = Normalizer::create(rows[i]);
    ASSERT_TRUE(made.ok());
    WorkBudget budget(3);
    const auto text = (*made)->apply("aaa", budget);
    ASSERT_FALSE(text.ok()) << i;
    EXPECT_EQ(text.error().code(), ErrorCode::kTooLarge);
  }
  const auto marks =
      Pretokenizer::create({{.kind = SplitStep::kMetaspace, .pattern = std::string(10'000, '_')}});
  ASSERT_TRUE(marks.ok());
  SplitText text{.text = std::string(100'000, ' ')};
  WorkBudget budget(text.text.size());
  EXPECT_FALSE((*marks)->split(true, text, budget).ok());
}

// Goal: a long needle that is almost everywhere does not take the product of both lengths. Method:
// lengths for which the product would take minutes.
TEST(WorkBudget, LongNeedlesAreFoundInOnePass) {
  const std::string text = repeated("a", 4'000'000);
  const auto needle = Regex::literal(std::string(8'000, 'a') + "b");
  ASSERT_TRUE(needle.ok());
  WorkBudget budget(text.size());
  EXPECT_FALSE(*(*needle)->find(text, 0, budget));
}

}  // namespace
}  // namespace altlas::text
