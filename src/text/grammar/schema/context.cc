#include "text/grammar/schema/context.h"

#include <fmt/format.h>

#include <algorithm>

#include "text/grammar/limits.h"
#include "text/grammar/regex.h"

namespace altlas::text::grammar::schema {

Error Context::wrong(std::string_view path, std::string_view what) const {
  const std::string_view place = path.substr(0, 256);
  return invalid(fmt::format("schema{}{}: {}", place.empty() ? "" : ", at ", place, what),
                 dotted_pointer(place));
}

void Context::leave_out(Unheld::Why why, const std::string& path, std::string reason) {
  const std::string place = path.substr(0, 512);
  const auto same = [&](const Unheld& one) { return one.pointer == place; };
  if (unheld_.size() >= kUnheldMax || std::ranges::any_of(unheld_, same)) return;
  unheld_.push_back({why, place, std::move(reason)});
}

const json::value* Context::resolve(std::string_view keyword, const json::value& reference,
                                    const std::string& path, std::string& target) {
  const std::string_view text = reference.get_string();
  const size_t cut = path.rfind('/');  // The path up to here is the schema's own place.
  const std::string_view schema = std::string_view(path).substr(0, cut);
  auto found = keyword == "$ref" ? references_.resolve(text, schema)
                                 : references_.resolve_dynamic(text, schema);
  if (found.ok()) {
    target = std::move(found->pointer);
    return found->value;
  }
  const bool other = found.error().code() == ErrorCode::kNotFound;
  leave_out(other ? Unheld::Why::kUnsupported : Unheld::Why::kMalformed, path,
            fmt::format("'{}' names nothing in this schema{}", text.substr(0, 128),
                        other ? "; references to other documents are not supported" : ""));
  return nullptr;
}

const Automaton* Context::pattern(std::string_view text, const std::string& path) {
  const auto known = patterns_.find(text);
  if (known != patterns_.end() && known->second) return &*known->second;
  const auto read = read_regex(text, /*at_start=*/false);
  Unheld::Why why = Unheld::Why::kTooComplex;
  std::string reason;
  if (!read.ok()) {
    const bool valid = read.error().code() == ErrorCode::kUnsupported;
    why = valid ? Unheld::Why::kUnsupported : Unheld::Why::kMalformed;
    reason = read.error().message();
  } else if (known != patterns_.end()) {
    reason = "the pattern is too complex";
  } else {
    // A pattern that is too complex leaves enough of the budget for the rest.
    CompileBudget part = budget.share();
    auto made = search_match(*read, part);
    budget.settle(part, !made.ok());
    if (made.ok()) return &*patterns_.emplace(std::string(text), *std::move(made)).first->second;
    reason = made.error().message();
  }
  patterns_.try_emplace(std::string(text), std::nullopt);
  leave_out(why, path, std::move(reason));
  return nullptr;
}

}  // namespace altlas::text::grammar::schema
