#include "text/grammar/schema/spelling.h"

#include <fmt/format.h>

#include <algorithm>

#include "text/grammar/schema/decimal.h"

namespace altlas::text::grammar::schema {

namespace {

// The characters after a backslash, and their meanings. Other control characters are left out.
constexpr std::pair<char, char> kEscapes[] = {{'"', '"'},  {'\\', '\\'}, {'b', '\b'}, {'f', '\f'},
                                              {'n', '\n'}, {'r', '\r'},  {'t', '\t'}};

bool is_plain(uint32_t byte) { return byte >= 0x20 && byte != '"' && byte != '\\'; }

void append(std::vector<Edge>& edges, Edge edge) {
  if (edge.lo <= edge.hi) edges.push_back(edge);
}

}  // namespace

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

bool same_value(const json::value& a, const json::value& b) {
  if (a.is_number() && b.is_number()) return compare(decimal_of(a), decimal_of(b)) == 0;
  if (a.kind() != b.kind()) return false;
  if (a.is_array()) {
    const json::array &x = a.get_array(), &y = b.get_array();
    return std::equal(x.begin(), x.end(), y.begin(), y.end(), same_value);
  }
  if (!a.is_object()) return a == b;
  const json::object &x = a.get_object(), &y = b.get_object();
  if (x.size() != y.size()) return false;
  for (const auto& [key, one] : x) {
    const json::value* other = y.if_contains(key);
    if (other == nullptr || !same_value(one, *other)) return false;
  }
  return true;
}

}  // namespace altlas::text::grammar::schema
