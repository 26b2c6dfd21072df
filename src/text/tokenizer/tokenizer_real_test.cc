// Goal: ids equal those of transformers for real vocabularies, which are too large to commit.
// Method: ALTLAS_TEST_TOKENIZERS names a folder that testdata/compare_tokenizers.py filled: one
// NAME.cases per vocabulary, whose first line is the path of a GGUF file or of a Hugging Face
// folder.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "base/utf8.h"
#include "text/detokenizer.h"
#include "text/tokenizer/test_vocabulary.h"
#include "text/tokenizer/tokenizer.h"

namespace altlas::text {
namespace {

using testing_support::read_lines;

struct Tally {
  size_t lines = 0, wrong = 0;
  double encode_s = 0;
  size_t bytes = 0;
};

std::string from_hex(const std::string& hex) {
  std::string text;
  for (size_t i = 0; hex != "-" && i + 1 < hex.size(); i += 2)
    text += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return text;
}

// A line is "parse", "plain" or "special" (add_special), the text in hex, and the ids.
void check_line(const Tokenizer& tokenizer, const std::string& line, Tally& tally) {
  std::istringstream in(line);
  std::string mode, hex;
  in >> mode >> hex;
  const std::string text = from_hex(hex);
  std::vector<int32_t> want;
  for (int32_t id; in >> id;) want.push_back(id);
  const auto begin = std::chrono::steady_clock::now();
  const auto got =
      tokenizer.encode(text, {.add_special = mode == "special", .parse_special = mode != "plain"});
  tally.encode_s += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  tally.bytes += text.size();
  ++tally.lines;
  ASSERT_TRUE(got.ok()) << got.error().message();
  if (*got == want) return;
  if (++tally.wrong > 10) return;
  ADD_FAILURE() << mode << " " << ::testing::PrintToString(text) << "\n got "
                << ::testing::PrintToString(*got) << "\nwant " << ::testing::PrintToString(want);
}

TEST(RealTokenizers, GiveTransformersIds) {
  const char* folder = std::getenv("ALTLAS_TEST_TOKENIZERS");
  if (folder == nullptr)
    GTEST_SKIP() << "ALTLAS_TEST_TOKENIZERS names no folder made by compare_tokenizers.py";
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().extension() == ".cases") files.push_back(entry.path());
  std::ranges::sort(files);
  ASSERT_FALSE(files.empty()) << folder << " has no .cases file";
  for (const auto& file : files) {
    SCOPED_TRACE(file.string());
    const std::vector<std::string> lines = read_lines(file.string());
    ASSERT_FALSE(lines.empty());
    const auto vocabulary = testing_support::open_vocabulary(lines[0]);
    ASSERT_TRUE(vocabulary.ok()) << vocabulary.error().message();
    const auto begin = std::chrono::steady_clock::now();
    const auto tokenizer = Tokenizer::create(*vocabulary);
    const std::chrono::duration<double> made = std::chrono::steady_clock::now() - begin;
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.error().message();
    if (!tokenizer.ok()) continue;
    Tally tally;
    for (size_t i = 1; i < lines.size(); ++i) check_line(**tokenizer, lines[i], tally);
    std::printf("%-40s %zu of %zu lines equal, made in %.0f ms, %.1f MB/s\n", file.stem().c_str(),
                tally.lines - tally.wrong, tally.lines, made.count() * 1e3,
                static_cast<double>(tally.bytes) / 1e6 / tally.encode_s);
  }
}

}  // namespace
}  // namespace altlas::text
