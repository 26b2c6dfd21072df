// Strings of JSON as automata: lengths, patterns, formats, and how values are spelled.
#include <fmt/format.h>

#include <algorithm>

#include "text/grammar/json_schema.h"
#include "text/grammar/regex.h"

namespace altlas::text::grammar {

namespace {

// What may follow a backslash, and what it means. Other control characters are left out.
constexpr std::pair<char, char> kEscapes[] = {{'"', '"'},  {'\\', '\\'}, {'b', '\b'}, {'f', '\f'},
                                              {'n', '\n'}, {'r', '\r'},  {'t', '\t'}};

bool is_plain(uint32_t byte) { return byte >= 0x20 && byte != '"' && byte != '\\'; }

void append(std::vector<Edge>& edges, Edge edge) {
  if (edge.lo <= edge.hi) edges.push_back(edge);
}

// One character of a JSON string, escapes of all kinds.
ExpressionPtr any_json_character() {
  const auto hex = character({{'0', '9'}, {'A', 'F'}, {'a', 'f'}});
  const auto digit = [](uint32_t lo, uint32_t hi) { return CodeRange{lo, hi}; };
  const auto d = character({digit('d', 'd'), digit('D', 'D')});
  const auto not_d = character(
      {digit('0', '9'), digit('A', 'C'), digit('a', 'c'), digit('E', 'F'), digit('e', 'f')});
  const auto plain_unit = choice(
      {sequence({not_d, hex, hex, hex}), sequence({d, character({digit('0', '7')}), hex, hex})});
  const auto high =
      sequence({d, character({digit('8', '9'), digit('A', 'B'), digit('a', 'b')}), hex, hex});
  const auto low = sequence({d, character({digit('C', 'F'), digit('c', 'f')}), hex, hex});
  return choice({character(complement({{0, 0x1F}, {'"', '"'}, {'\\', '\\'}})),
                 sequence({bytes("\\"), character({{'"', '"'},
                                                   {'\\', '\\'},
                                                   {'/', '/'},
                                                   {'b', 'b'},
                                                   {'f', 'f'},
                                                   {'n', 'n'},
                                                   {'r', 'r'},
                                                   {'t', 't'}})}),
                 sequence({bytes("\\u"), plain_unit}),
                 sequence({bytes("\\u"), high, bytes("\\u"), low})});
}

}  // namespace

Automaton json_spelling(const Automaton& values) {
  Automaton out;
  const auto count = static_cast<uint32_t>(values.states.size());
  out.states.resize(values.states.size());
  for (uint32_t s = 0; s < count; ++s) {
    Automaton::State state;
    state.accepts = values.states[s].accepts;
    for (const Edge& edge : values.states[s].edges) {
      uint32_t from = edge.lo;
      for (uint32_t b = edge.lo; b <= edge.hi; ++b) {
        if (is_plain(b)) continue;
        if (b > from) append(state.edges, {std::max(from, 0x20u), b - 1, edge.to});
        from = b + 1;
      }
      append(state.edges, {std::max(from, 0x20u), edge.hi, edge.to});
    }
    Automaton::State escaped;
    for (const auto& [letter, meaning] : kEscapes) {
      const int64_t to = values.next(s, static_cast<uint8_t>(meaning));
      if (to >= 0)
        escaped.edges.push_back({static_cast<uint8_t>(letter), static_cast<uint8_t>(letter),
                                 static_cast<uint32_t>(to)});
    }
    if (!escaped.edges.empty()) {
      std::ranges::sort(escaped.edges, {}, &Edge::lo);
      state.edges.push_back({'\\', '\\', static_cast<uint32_t>(out.states.size())});
      out.states.push_back(std::move(escaped));
    }
    std::ranges::sort(state.edges, {}, &Edge::lo);
    out.states[s] = std::move(state);
  }
  return trim(std::move(out));
}

std::string json_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto* escape = std::ranges::find(kEscapes, c, &std::pair<char, char>::second);
    if (escape != std::end(kEscapes)) {
      out += '\\';
      out += escape->first;
    } else if (static_cast<uint8_t>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<uint8_t>(c));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string canonical_json(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return "null";
    case json::kind::bool_:
      return value.get_bool() ? "true" : "false";
    case json::kind::string:
      return json_string(value.get_string());
    case json::kind::array: {
      std::string out = "[";
      for (const json::value& one : value.get_array())
        out += (out.size() > 1 ? "," : "") + canonical_json(one);
      return out + "]";
    }
    case json::kind::object: {
      std::string out = "{";
      for (const auto& [key, one] : value.get_object())
        out += (out.size() > 1 ? "," : "") + json_string(key) + ":" + canonical_json(one);
      return out + "}";
    }
    default: {
      const Decimal number = decimal_of(value);
      return (number.negative ? "-" : "") + number.whole +
             (number.fraction.empty() ? "" : "." + number.fraction);
    }
  }
}

std::optional<std::string> format_pattern(std::string_view format) {
  const std::string year = "(?:000[1-9]|00[1-9]\\d|0[1-9]\\d{2}|[1-9]\\d{3})";
  // The 29th of February is left out: it needs a leap year.
  const std::string day =
      "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|"
      "02-(?:0[1-9]|1\\d|2[0-8]))";
  const std::string date = year + "-" + day;
  const std::string time =
      "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,6})?(?:Z|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)";
  const std::string byte = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
  const std::string group = "[0-9a-fA-F]{1,4}";
  const std::string label = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,30}[A-Za-z0-9])?";
  const std::string host = label + "(?:\\." + label + "){0,6}";
  if (format == "date") return date;
  if (format == "time") return time;
  if (format == "date-time") return date + "T" + time;
  if (format == "uuid")
    return "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}";
  if (format == "ipv4") return "(?:" + byte + "\\.){3}" + byte;
  if (format == "hostname") return host;
  if (format == "email")
    return "[A-Za-z0-9_%+-]{1,32}(?:\\.[A-Za-z0-9_%+-]{1,16}){0,1}@" + label + "(?:\\." + label +
           "){1,3}";
  if (format == "uri")
    return "https?://" + host +
           "(?::[1-9]\\d{0,3})?(?:/[A-Za-z0-9._~-]*)*(?:\\?[A-Za-z0-9._~=&-]*)?";
  if (format == "ipv6") {
    std::string all = "(?:" + group + ":){7}" + group;
    for (int left = 0; left <= 6; ++left) {
      all += "|";
      if (left > 0) all += fmt::format("(?:{}:){{{}}}{}", group, left - 1, group);
      all += "::";
      const int right = 6 - left;
      if (right > 0) all += fmt::format("(?:{}(?::{}){{0,{}}})?", group, group, right - 1);
    }
    return "(?:" + all + ")";
  }
  if (format == "duration")
    return "P(?:\\d{1,4}W|(?:\\d{1,4}Y(?:\\d{1,4}M(?:\\d{1,4}D)?)?|\\d{1,4}M(?:\\d{1,4}D)?|"
           "\\d{1,4}D)(?:T\\d{1,4}[HMS])?|T(?:\\d{1,4}H(?:\\d{1,4}M(?:\\d{1,4}S)?)?|"
           "\\d{1,4}M(?:\\d{1,4}S)?|\\d{1,4}S))";
  return std::nullopt;
}

const Automaton* SchemaCompiler::pattern(std::string_view text, const std::string& path) {
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
    // A pattern that is too much leaves enough for the rest.
    Budget part = budget_.share();
    auto made = search_match(*read, part);
    budget_.settle(part, !made.ok());
    if (made.ok()) return &*patterns_.emplace(std::string(text), *std::move(made)).first->second;
    reason = made.error().message();
  }
  patterns_.try_emplace(std::string(text), std::nullopt);
  leave_out(why, path, std::move(reason));
  return nullptr;
}

Result<std::optional<Automaton>> SchemaCompiler::string_values(const Set& set) {
  std::optional<Automaton> all;
  const auto narrow = [&](const Automaton& one) -> Result<void> {
    if (!all) {
      all = one;
      return {};
    }
    ALTLAS_TRY(all, intersect(*all, one, budget_));
    return {};
  };
  for (const uint32_t s : set) {
    for (const std::string_view keyword : {std::string_view("pattern"), kNotPattern}) {
      const json::value* text = find(s, keyword);
      if (text == nullptr) continue;
      const Automaton* one = pattern(text->get_string(), path_of(s, keyword));
      if (one == nullptr) continue;
      if (keyword == "pattern") {
        ALTLAS_TRY_VOID(narrow(*one));
        continue;
      }
      ALTLAS_TRY(const Automaton others, grammar::complement(*one, budget_));
      ALTLAS_TRY_VOID(narrow(others));
    }
    if (const json::value* format = find(s, "format")) {
      if (const auto written = format_pattern(format->get_string())) {
        ALTLAS_TRY(const Automaton one, whole_match(*written, budget_));
        ALTLAS_TRY_VOID(narrow(one));
      }
    }
    const json::value* out = find(s, kNotEnum);
    if (out == nullptr) continue;
    std::vector<ExpressionPtr> texts;
    for (const json::value& value : out->get_array())
      if (value.is_string()) texts.push_back(bytes(std::string(value.get_string())));
    if (texts.empty()) continue;
    ALTLAS_TRY(const Automaton listed, automaton_of(*choice(std::move(texts)), budget_));
    ALTLAS_TRY(const Automaton others, grammar::complement(listed, budget_));
    ALTLAS_TRY_VOID(narrow(others));
  }
  // A complement is of bytes; texts are UTF-8.
  if (!all) return all;
  ALTLAS_TRY(const Automaton any, automaton_of(*repeat(any_character(), 0, kUnlimited), budget_));
  ALTLAS_TRY(all, intersect(*all, any, budget_));
  return all;
}

// With lengths. Where they and the rest together are too much, the lengths stay.
Result<std::optional<Automaton>> SchemaCompiler::string_language(const Set& set) {
  const Counts length = counts_of(set, "minLength", "maxLength");
  ALTLAS_TRY(std::optional<Automaton> values, string_values(set));
  if (length.min > length.max) return std::optional(Automaton());
  if (length.min == 0 && length.max == kUnlimited) return values;
  const auto any = repeat(any_character(), length.min, length.max);
  Budget part = budget_.share();
  auto both = [&]() -> Result<Automaton> {
    ALTLAS_TRY(Automaton lengths, automaton_of(*any, part));
    if (!values) return lengths;
    return intersect(*values, lengths, part);
  }();
  budget_.settle(part, !both.ok());
  if (both.ok()) return std::optional(*std::move(both));
  // Named where it stands; without any of them it could not have been too much.
  for (const uint32_t s : set)
    for (const std::string_view keyword : {"pattern", "format", "maxLength", "minLength"})
      if (find(s, keyword) != nullptr) {
        leave_out(Unheld::Why::kTooComplex, path_of(s, keyword), both.error().message());
        return values;
      }
  return both.error();
}

Result<std::optional<Automaton>> SchemaCompiler::text_values(const Goal& goal, size_t depth) {
  if (goal.impossible) return std::optional(Automaton());
  if (depth > kGrammarNestingMax) return wrong("", "choices lie too deep");
  ALTLAS_TRY_VOID(budget_.spend(16));
  ALTLAS_TRY(const auto listed, listed_values(goal.schemas));
  std::vector<ExpressionPtr> parts;
  if (listed) {
    for (const json::value* one : *listed)
      if (one->is_string()) parts.push_back(bytes(std::string(one->get_string())));
  } else {
    ALTLAS_TRY(const auto goals, alternatives(goal));
    if (!goals) {
      if (!types_of(goal.schemas)[kString]) return std::optional(Automaton());
      return string_language(goal.schemas);
    }
    for (const Goal& one : *goals) {
      ALTLAS_TRY(std::optional<Automaton> part, text_values(one, depth + 1));
      if (!part) return part;
      parts.push_back(embed(*std::move(part)));
    }
  }
  ALTLAS_TRY(Automaton all, automaton_of(*choice(std::move(parts)), budget_));
  return std::optional(std::move(all));
}

Result<ExpressionPtr> SchemaCompiler::string(const Set& set) {
  const Counts length = counts_of(set, "minLength", "maxLength");
  if (length.min > length.max) return nothing();
  const auto restricts = [&](uint32_t s) {
    const json::value* format = find(s, "format");
    return find(s, "pattern") != nullptr || find(s, kNotPattern) != nullptr ||
           find(s, kNotEnum) != nullptr ||
           (format != nullptr && format_pattern(format->get_string()));
  };
  if (std::ranges::none_of(set, restricts))
    return sequence(
        {bytes("\""), repeat(any_json_character(), length.min, length.max), bytes("\"")});
  ALTLAS_TRY(const std::optional<Automaton> values, string_language(set));
  if (!values)
    return sequence({bytes("\""), repeat(any_json_character(), 0, kUnlimited), bytes("\"")});
  return sequence({bytes("\""), embed(json_spelling(*values)), bytes("\"")});
}

}  // namespace altlas::text::grammar
