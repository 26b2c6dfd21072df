#include "text/tokenizer/test_vocabulary.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>

#include "base/check.h"
#include "text/tokenizer/hf_tokenizer.h"

namespace altlas::text::testing_support {
namespace {

// Reads just enough of GGUF for a trusted file: strings, numbers and arrays of both, in the header.
class Header {
 public:
  explicit Header(const std::string& path) : in_(path, std::ios::binary) {
    if (!in_ || number<uint32_t>() != 0x46554747) return;
    number<uint32_t>();
    number<uint64_t>();
    for (auto left = number<uint64_t>(); left > 0 && in_; --left) {
      const std::string key = string();
      read_value(key, number<uint32_t>());
    }
    ok = static_cast<bool>(in_);
  }
  bool ok = false;
  std::map<std::string, std::vector<std::string>> strings;
  std::map<std::string, std::vector<int64_t>> integers;
  std::map<std::string, std::vector<float>> floats;
  int64_t integer_or(const std::string& key, int64_t fallback) {
    const auto it = integers.find(key);
    return it == integers.end() || it->second.empty() ? fallback : it->second[0];
  }
  std::string string_or(const std::string& key, const std::string& fallback) {
    const auto it = strings.find(key);
    return it == strings.end() || it->second.empty() ? fallback : it->second[0];
  }

 private:
  template <class T>
  T number() {
    T value{};
    in_.read(reinterpret_cast<char*>(&value), sizeof value);
    return value;
  }
  std::string string() {
    std::string text(number<uint64_t>(), '\0');
    in_.read(text.data(), static_cast<std::streamsize>(text.size()));
    return text;
  }
  void read_value(const std::string& key, uint32_t type) {
    switch (type) {
      case 0:
      case 7:
        integers[key].push_back(number<uint8_t>());
        break;
      case 1:
        integers[key].push_back(number<int8_t>());
        break;
      case 2:
      case 3:
        integers[key].push_back(number<int16_t>());
        break;
      case 4:
      case 5:
        integers[key].push_back(number<int32_t>());
        break;
      case 6:
        floats[key].push_back(number<float>());
        break;
      case 8:
        strings[key].push_back(string());
        break;
      case 10:
      case 11:
        integers[key].push_back(number<int64_t>());
        break;
      case 12:
        number<double>();
        break;
      case 9: {
        const auto inner = number<uint32_t>();
        for (auto left = number<uint64_t>(); left > 0 && in_; --left) read_value(key, inner);
        break;
      }
      default:
        in_.setstate(std::ios::failbit);
    }
  }
  std::ifstream in_;
};

}  // namespace

std::vector<std::string> read_lines(const std::string& file) {
  std::ifstream in(file.starts_with('/') ? file : ALTLAS_SOURCE_DIR "/src/text/testdata/" + file,
                   std::ios::binary);
  ALTLAS_CHECK(in.good(), file);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

Vocabulary tiny_vocabulary() {
  Vocabulary made;
  made.model = "gpt2";
  made.pre = "qwen2";
  for (const std::string& line : read_lines("tiny_vocabulary.txt")) {
    if (line.starts_with("merge ")) {
      made.merges.push_back(line.substr(6));
    } else {
      made.types.push_back(line[6] - '0');
      made.tokens.push_back(line.substr(8));
    }
  }
  return made;
}

std::optional<Vocabulary> gguf_vocabulary(const std::string& path) {
  Header header(path);
  if (!header.ok) return std::nullopt;
  const auto key = [](const char* name) { return std::string("tokenizer.ggml.") + name; };
  const auto id = [&](const char* name) {
    return static_cast<int32_t>(header.integer_or(key(name), -1));
  };
  Vocabulary made;
  made.model = header.string_or(key("model"), "");
  made.pre = header.string_or(key("pre"), "");
  made.tokens = header.strings[key("tokens")];
  made.merges = header.strings[key("merges")];
  made.scores = header.floats[key("scores")];
  for (const int64_t type : header.integers[key("token_type")])
    made.types.push_back(static_cast<int32_t>(type));
  for (const int64_t byte : header.integers[key("precompiled_charsmap")])
    made.charsmap += static_cast<char>(byte);
  made.bos = id("bos_token_id"), made.eos = id("eos_token_id");
  made.unk = id("unknown_token_id"), made.pad = id("padding_token_id");
  made.cls = id("cls_token_id"), made.sep = id("seperator_token_id");
  const bool llama = made.model == "llama", unigram = made.model == "t5";
  made.add_bos = header.integer_or(key("add_bos_token"), llama) != 0;
  made.add_eos = header.integer_or(key("add_eos_token"), unigram) != 0;
  made.add_space_prefix = header.integer_or(key("add_space_prefix"), llama || unigram) != 0;
  made.remove_extra_whitespaces = header.integer_or(key("remove_extra_whitespaces"), unigram) != 0;
  made.name = header.string_or("general.name", "");
  return made;
}

Result<Vocabulary> open_vocabulary(const std::string& path) {
  if (std::filesystem::is_directory(path)) {
    const auto read = [&](const char* name) {
      std::ifstream in(path + "/" + name, std::ios::binary);
      return std::string(std::istreambuf_iterator<char>(in), {});
    };
    ALTLAS_TRY(HfTokenizer made,
               read_hf_tokenizer({read("tokenizer.json"), read("tokenizer_config.json"),
                                  read("special_tokens_map.json"), read("generation_config.json"),
                                  read("chat_template.jinja")}));
    return std::move(made.vocabulary);
  }
  auto vocabulary = gguf_vocabulary(path);
  if (!vocabulary) return not_found(path);
  return *std::move(vocabulary);
}

std::optional<Vocabulary> model_vocabulary() {
  const char* path = std::getenv("ALTLAS_TEST_MODEL");
  return path == nullptr ? std::nullopt : gguf_vocabulary(path);
}

}  // namespace altlas::text::testing_support
