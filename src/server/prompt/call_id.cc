#include "server/prompt/call_id.h"

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <deque>

#include "base/hash.h"

namespace altlas::server {

namespace json = boost::json;

namespace {

constexpr uint32_t kSizeMax = 40, kMistralSize = 9;
constexpr size_t kOwnSize = 24;

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// Returns `size` letters and digits that follow from the hash.
std::string letters(Hasher hash, size_t size) {
  constexpr std::string_view kLetters =
      "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  constexpr size_t kPerWord = 10;  // 62^10 is less than 2^64.
  std::string out;
  uint64_t word = 0;
  while (out.size() < size) {
    if (out.size() % kPerWord == 0) word = hash.add(out.size()).value();
    out += kLetters[word % kLetters.size()];
    word /= kLetters.size();
  }
  return out;
}

std::string fitted(std::string_view id, uint32_t size) {
  if (id.size() == size && std::ranges::all_of(id, is_letter_or_digit)) return std::string(id);
  return letters(Hasher().add(id), size);
}

}  // namespace

// Mistral's templates write the size as `tool_call.id|length != 9` or `(m.tool_call_id | length) !=
// 9`.
uint32_t call_id_size(std::string_view chat_template, text::ToolFormat format) {
  constexpr std::string_view kLength = "length";
  constexpr size_t kNear = 40;
  for (size_t at = chat_template.find(kLength); at != std::string_view::npos;
       at = chat_template.find(kLength, at + 1)) {
    const size_t near = std::min(at, kNear);
    const std::string_view before = chat_template.substr(at - near, near);
    const bool of_id = before.contains("call.id") || before.contains("call['id']") ||
                       before.contains("call[\"id\"]") || before.contains("call_id");
    const size_t digits = chat_template.find_first_not_of(" )!=<>", at + kLength.size());
    if (!of_id || digits == std::string_view::npos) continue;
    uint32_t size = 0;
    const char* end = chat_template.data() + chat_template.size();
    const auto [rest, error] = std::from_chars(chat_template.data() + digits, end, size);
    if (error == std::errc() && size > 0 && size <= kSizeMax) return size;
  }
  return format == text::ToolFormat::kMistral ? kMistralSize : 0;
}

std::string call_id(std::string_view id, size_t choice, size_t number, uint32_t size) {
  const Hasher hash = Hasher().add(id).add(choice).add(number);
  return size > 0 ? letters(hash, size) : "call_" + letters(hash, kOwnSize);
}

void fit_call_ids(json::value& messages, uint32_t size) {
  std::deque<std::string> unanswered;
  size_t made = 0;
  const auto fit = [&](json::object& object, std::string_view name) {
    const json::value* id = object.if_contains(name);
    const bool there = id != nullptr && id->is_string() && !id->get_string().empty();
    const std::string text = there ? std::string(id->get_string()) : std::string();
    std::string out;
    if (there)
      out = fitted(text, size);
    else if (name == "id" || unanswered.empty())
      out = letters(Hasher().add(++made), size);
    else
      out = unanswered.front();
    object[name] = out;
    return out;
  };
  for (json::value& message : messages.get_array()) {
    json::object& object = message.get_object();
    if (json::value* calls = object.if_contains("tool_calls");
        calls != nullptr && calls->is_array()) {
      unanswered.clear();
      for (json::value& call : calls->get_array())
        if (call.is_object()) unanswered.push_back(fit(call.get_object(), "id"));
    }
    const json::value* role = object.if_contains("role");
    if (role == nullptr || !role->is_string() || role->get_string() != "tool") continue;
    const std::string answered = fit(object, "tool_call_id");
    std::erase(unanswered, answered);
  }
}

}  // namespace altlas::server
