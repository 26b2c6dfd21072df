// Goal: ids equal those of transformers on 10,000 lines of Turkish, Arabic, CJK, emoji, code, odd
// blanks and damaged UTF-8. Method: the lines of testdata/tokenizer_lines.py, made here from the
// same seed, and one hash per 100 lines of ids, which testdata/compare_tokenizers.py wrote. Small
// trained vocabularies are always tested, real ones if ALTLAS_TEST_MODEL or ALTLAS_TEST_TOKENIZERS
// (a folder of GGUF files and Hugging Face folders) names them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "base/utf8.h"
#include "text/detokenizer.h"
#include "text/tokenizer/test_vocabulary.h"
#include "text/tokenizer/tokenizer.h"

namespace altlas::text {
namespace {

namespace fs = std::filesystem;
using testing_support::read_lines;

constexpr uint64_t kFnv = 0xCBF29CE484222325ULL;
constexpr size_t kBlock = 100;

uint64_t fnv(std::string_view bytes, uint64_t value = kFnv) {
  for (const char byte : bytes) value = (value ^ static_cast<uint8_t>(byte)) * 0x100000001B3ULL;
  return value;
}

class Random {  // splitmix64.
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  size_t below(size_t bound) {
    state_ += 0x9E3779B97F4A7C15ULL;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return static_cast<size_t>(((z ^ (z >> 31)) >> 33) % bound);
  }

 private:
  uint64_t state_;
};

constexpr std::pair<char32_t, char32_t> kBlocks[] = {
    {0x20, 0x7E},       {0xA0, 0xFF},       {0x100, 0x17F},     {0x180, 0x24F},
    {0x300, 0x36F},     {0x391, 0x3A1},     {0x3B1, 0x3C9},     {0x400, 0x45F},
    {0x561, 0x586},     {0x5D0, 0x5EA},     {0x621, 0x652},     {0x660, 0x669},
    {0x6F0, 0x6F9},     {0x905, 0x939},     {0x93E, 0x94D},     {0x995, 0x9A8},
    {0xE01, 0xE30},     {0x10D0, 0x10F0},   {0x1100, 0x1112},   {0x1161, 0x1175},
    {0x1E00, 0x1EFF},   {0x2000, 0x200F},   {0x2010, 0x2027},   {0x2028, 0x2029},
    {0x2030, 0x205E},   {0x20A0, 0x20BF},   {0x2100, 0x214F},   {0x2160, 0x217F},
    {0x2190, 0x21FF},   {0x2200, 0x22FF},   {0x2460, 0x249B},   {0x2581, 0x2581},
    {0x2600, 0x26FF},   {0x3000, 0x3011},   {0x3041, 0x3096},   {0x30A1, 0x30FA},
    {0x4E00, 0x9FA5},   {0x9FA6, 0x9FD5},   {0xAC00, 0xD7A3},   {0xF900, 0xFA2D},
    {0xFB00, 0xFB06},   {0xFE00, 0xFE0F},   {0xFF01, 0xFF5E},   {0xFF66, 0xFF9D},
    {0x1D400, 0x1D454}, {0x1F1E6, 0x1F1FF}, {0x1F300, 0x1F5FF}, {0x1F600, 0x1F64F},
    {0x1F3FB, 0x1F3FF}, {0x20000, 0x2A6D6}};
constexpr std::u32string_view kAlphabet = U" \n\r\t'saA1é\u0301\u0323ı.-\u00a0▁0 2,İ";
constexpr std::string_view kGlue[] = {"", " ", "\n", "  ", "\t"};

std::vector<std::string> fragments() {
  std::vector<std::string> out;
  constexpr std::pair<std::string_view, char> kEscapes[] = {
      {"\\n", '\n'}, {"\\t", '\t'}, {"\\r", '\r'}, {"\\s", ' '}};
  for (std::string line : read_lines("tokenizer_fragments.txt")) {
    for (const auto& [escaped, byte] : kEscapes)
      for (size_t at = 0; (at = line.find(escaped, at)) != std::string::npos; ++at)
        line.replace(at, 2, 1, byte);
    if (!line.empty()) out.push_back(line);
  }
  return out;
}

struct Line {
  bool parse;
  std::string text;
};

std::vector<Line> make_lines(size_t count) {
  Random random(4);
  const std::vector<std::string> parts = fragments();
  const auto part = [&]() -> const std::string& { return parts[random.below(parts.size())]; };
  std::vector<Line> lines;
  for (size_t i = 0; i < count; ++i) {
    const size_t kind = random.below(100);
    std::string text;
    if (i < parts.size()) {
      text = parts[i];
    } else if (kind < 55) {
      const std::string_view glue = kGlue[random.below(std::size(kGlue))];
      const size_t joined = 1 + random.below(3);
      for (size_t k = 0; k < joined; ++k) text.append(k == 0 ? "" : glue).append(part());
    } else if (kind < 70) {
      for (size_t left = 1 + random.below(12); left > 0; --left) {
        const auto& [low, high] = kBlocks[random.below(std::size(kBlocks))];
        append_utf8(text, low + static_cast<char32_t>(random.below(high - low + 1)));
      }
    } else if (kind < 85) {
      for (size_t left = 1 + random.below(40); left > 0; --left)
        append_utf8(text, kAlphabet[random.below(kAlphabet.size())]);
    } else {
      text = part();
      for (size_t left = 1 + random.below(3); left > 0; --left) {
        if (random.below(2) == 0 && !text.empty()) {
          text.erase(random.below(text.size()), 1);
        } else {
          const size_t at = random.below(text.size() + 1);
          text.insert(at, 1, static_cast<char>(random.below(256)));
        }
      }
    }
    lines.push_back({random.below(2) == 0, std::move(text)});
  }
  return lines;
}

// Returns the name that compare_tokenizers.py gives to a vocabulary.
std::string key_of(const fs::path& path, const Vocabulary& vocabulary) {
  if (fs::is_directory(path)) {
    std::ifstream in(path / "tokenizer.json", std::ios::binary);
    const std::string text(std::istreambuf_iterator<char>(in), {});
    return fmt::format(
        "json:{}:{:016x}", text.size(),
        fnv(std::string_view(text).substr(text.size() - std::min<size_t>(text.size(), 20000))));
  }
  uint64_t value = kFnv;
  const auto& tokens = vocabulary.tokens;
  for (size_t i = tokens.size() - std::min<size_t>(tokens.size(), 3000); i < tokens.size(); ++i)
    value = fnv("\n", fnv(tokens[i], value));
  return fmt::format("gguf:{}:{}:{}:{:016x}", vocabulary.model, vocabulary.pre, tokens.size(),
                     value);
}

// Returns name and hashes by key.
std::map<std::string, std::vector<std::string>> known_hashes() {
  std::map<std::string, std::vector<std::string>> known;
  for (const std::string& line : read_lines("tokenizer_hashes.txt")) {
    std::istringstream in(line);
    std::string key;
    in >> key;
    for (std::string word; in >> word;) known[key].push_back(word);
  }
  return known;
}

// Returns false if nothing is known of this vocabulary.
bool check_vocabulary(const fs::path& path) {
  static const auto known = known_hashes();
  SCOPED_TRACE(path.string());
  const auto vocabulary = testing_support::open_vocabulary(path.string());
  if (!vocabulary.ok()) {
    ADD_FAILURE() << vocabulary.error().message();
    return true;
  }
  const auto it = known.find(key_of(path, *vocabulary));
  if (it == known.end()) return false;
  const auto tokenizer = Tokenizer::create(*vocabulary);
  if (!tokenizer.ok()) {
    ADD_FAILURE() << tokenizer.error().message();
    return true;
  }
  const size_t blocks = it->second.size() - 1;
  const std::vector<Line> lines = make_lines(blocks * kBlock);
  uint64_t value = kFnv;
  for (size_t i = 0; i < lines.size(); ++i) {
    auto ids = (*tokenizer)->encode(lines[i].text, {.parse_special = lines[i].parse});
    EXPECT_TRUE(ids.ok()) << ids.error().message();
    if (!ids.ok()) return true;
    ids->push_back(-1);
    for (const int32_t id : *ids)
      for (int shift = 0; shift < 32; shift += 8)
        value = (value ^ ((static_cast<uint32_t>(id) >> shift) & 0xFF)) * 0x100000001B3ULL;
    if ((i + 1) % kBlock != 0) continue;
    EXPECT_EQ(fmt::format("{:08x}", value & 0xFFFFFFFF), it->second[1 + i / kBlock])
        << it->second[0] << ": lines " << i + 1 - kBlock << " to " << i;
    value = kFnv;
  }
  return true;
}

TEST(TokenizerLines, TrainedVocabulariesGiveTransformersIds) {
  size_t seen = 0;
  for (const auto& entry : fs::directory_iterator(ALTLAS_SOURCE_DIR "/src/text/testdata")) {
    if (!entry.is_directory() || !entry.path().filename().string().starts_with("tiny_")) continue;
    EXPECT_TRUE(check_vocabulary(entry.path())) << "tokenizer_hashes.txt does not know it";
    ++seen;
  }
  EXPECT_GE(seen, 5u);
}

TEST(TokenizerLines, RealVocabulariesGiveTransformersIds) {
  std::vector<fs::path> paths;
  if (const char* model = std::getenv("ALTLAS_TEST_MODEL")) paths.emplace_back(model);
  if (const char* folder = std::getenv("ALTLAS_TEST_TOKENIZERS"))
    for (const auto& entry : fs::directory_iterator(folder))
      if (entry.path().extension() == ".gguf" || fs::exists(entry.path() / "tokenizer.json"))
        paths.push_back(entry.path());
  size_t checked = 0;
  for (const fs::path& path : paths) checked += check_vocabulary(path);
  if (checked == 0)
    GTEST_SKIP() << "neither ALTLAS_TEST_MODEL nor ALTLAS_TEST_TOKENIZERS names a known vocabulary";
}

}  // namespace
}  // namespace altlas::text
