// Numbers of JSON as automata: ranges and multiples.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <map>

#include "text/grammar/json_schema.h"

namespace altlas::text::grammar {

namespace {
double finite(double value) {
  constexpr double kMost = std::numeric_limits<double>::max();
  return std::clamp(value, -kMost, kMost);
}
}  // namespace

Decimal decimal_of(const json::value& number) {
  std::string text = number.is_int64()    ? fmt::format("{}", number.get_int64())
                     : number.is_uint64() ? fmt::format("{}", number.get_uint64())
                                          : fmt::format("{}", finite(number.get_double()));
  Decimal out;
  if (text[0] == '-') {
    out.negative = true;
    text.erase(0, 1);
  }
  int exponent = 0;
  if (const size_t e = text.find('e'); e != std::string::npos) {
    exponent = std::stoi(text.substr(e + 1));
    text.resize(e);
  }
  const size_t dot = text.find('.');
  out.whole = text.substr(0, dot);
  if (dot != std::string::npos) out.fraction = text.substr(dot + 1);
  for (; exponent > 0; --exponent) {
    out.whole += out.fraction.empty() ? '0' : out.fraction[0];
    if (!out.fraction.empty()) out.fraction.erase(0, 1);
  }
  for (; exponent < 0; ++exponent) {
    out.fraction.insert(0, 1, out.whole.empty() ? '0' : out.whole.back());
    if (!out.whole.empty()) out.whole.pop_back();
  }
  out.whole.erase(0, std::min(out.whole.find_first_not_of('0'), out.whole.size()));
  if (out.whole.empty()) out.whole = "0";
  out.fraction.erase(out.fraction.find_last_not_of('0') + 1);
  if (out.is_zero()) out.negative = false;
  return out;
}

std::strong_ordering compare(const Decimal& a, const Decimal& b) {
  if (a.negative != b.negative)
    return a.negative ? std::strong_ordering::less : std::strong_ordering::greater;
  std::strong_ordering order = a.whole.size() <=> b.whole.size();
  if (order == 0) order = a.whole <=> b.whole;
  if (order == 0) order = a.fraction <=> b.fraction;
  return a.negative ? 0 <=> order : order;
}

namespace {

enum Verdict : int { kLess = 0, kEqual = 1, kGreater = 2 };

// JSON numbers y >= 0 without sign and exponent whose comparison with `bound` is wanted.
class Comparison {
 public:
  Comparison(const Decimal& bound, std::array<bool, 3> wanted, bool integer)
      : bound_(bound), wanted_(wanted), integer_(integer) {}

  Automaton build() {
    state({kStart, 0, kEqual});
    for (size_t i = 0; i < order_.size(); ++i) expand(static_cast<uint32_t>(i));
    return trim(std::move(out_));
  }

 private:
  enum Phase : int { kStart, kZero, kWhole, kPoint, kFraction };
  using Key = std::array<int, 3>;  // Phase, digits read (as far as they matter), verdict so far.

  uint32_t state(Key key) {
    const auto [at, fresh] = ids_.try_emplace(key, static_cast<uint32_t>(order_.size()));
    if (fresh) {
      order_.push_back(key);
      out_.states.emplace_back().accepts = accepts(key);
    }
    return at->second;
  }
  // What the whole part alone decides.
  int whole_verdict(const Key& key) const {
    const auto length = static_cast<int>(bound_.whole.size());
    return key[1] < length ? kLess : key[1] > length ? kGreater : key[2];
  }
  bool accepts(const Key& key) const {
    if (key[0] == kStart || key[0] == kPoint) return false;
    int verdict = key[0] == kFraction ? key[2] : whole_verdict(key);
    const auto read = key[0] == kFraction ? static_cast<size_t>(key[1]) : size_t{0};
    if (verdict == kEqual && read < bound_.fraction.size()) verdict = kLess;
    return wanted_[static_cast<size_t>(verdict)];
  }
  void edge(uint32_t from, char digit, Key to) {
    const uint32_t target = state(to);
    auto& edges = out_.states[from].edges;
    const auto symbol = static_cast<uint32_t>(digit);
    if (!edges.empty() && edges.back().to == target && edges.back().hi + 1 == symbol)
      edges.back().hi = symbol;
    else
      edges.push_back({symbol, symbol, target});
  }
  void expand(uint32_t from) {
    const Key key = order_[from];
    const auto whole = static_cast<int>(bound_.whole.size());
    const bool may_point = !integer_ && (key[0] == kZero || key[0] == kWhole);
    if (may_point) edge(from, '.', {kPoint, 0, whole_verdict(key)});
    if (key[0] == kZero) return;
    for (char d = '0'; d <= '9'; ++d) {
      if (key[0] == kStart || key[0] == kWhole) {
        const int read = std::min(key[1] + 1, whole + 1);
        int verdict = key[2];
        if (verdict == kEqual && key[1] < whole) {
          const char other = bound_.whole[static_cast<size_t>(key[1])];
          verdict = d < other ? kLess : d > other ? kGreater : kEqual;
        }
        if (read > whole) verdict = kGreater;
        edge(from, d, {key[0] == kStart && d == '0' ? kZero : kWhole, read, verdict});
      } else {
        const auto at = static_cast<size_t>(key[1]);
        const char other = at < bound_.fraction.size() ? bound_.fraction[at] : '0';
        int verdict = key[2];
        if (verdict == kEqual) verdict = d < other ? kLess : d > other ? kGreater : kEqual;
        const int read =
            verdict == kEqual ? static_cast<int>(std::min(at + 1, bound_.fraction.size())) : 0;
        edge(from, d, {kFraction, read, verdict});
      }
    }
  }

  const Decimal& bound_;
  const std::array<bool, 3> wanted_;
  const bool integer_;
  std::map<Key, uint32_t> ids_;
  std::vector<Key> order_;
  Automaton out_;
};

// JSON numbers on one side of a bound.
Result<Automaton> half_line(const NumberBound& bound, bool above, bool integer, Budget& budget) {
  const bool on = !bound.exclusive;
  const Decimal zero;
  Decimal size = bound.at;
  size.negative = false;
  // Of the numbers with the bound's sign the larger or the smaller sizes, of the others all or
  // none.
  const bool larger = above != bound.at.negative;
  const std::array<bool, 3> wanted{!larger, on, larger};
  ExpressionPtr same = embed(Comparison(size, wanted, integer).build());
  const ExpressionPtr any = embed(Comparison(zero, {true, true, true}, integer).build());
  std::vector<ExpressionPtr> parts;
  if (bound.at.negative) same = sequence({bytes("-"), same});
  parts.push_back(same);
  if (above && bound.at.negative) parts.push_back(any);
  if (!above && !bound.at.negative) {
    const ExpressionPtr below = embed(Comparison(zero, {false, false, true}, integer).build());
    parts.push_back(sequence({bytes("-"), below}));
  }
  return automaton_of(*choice(std::move(parts)), budget);
}

}  // namespace

Result<Automaton> number_range(const std::optional<NumberBound>& low,
                               const std::optional<NumberBound>& high, bool integer,
                               Budget& budget) {
  std::optional<Automaton> all;
  if (low) {
    ALTLAS_TRY(all, half_line(*low, /*above=*/true, integer, budget));
  }
  if (high) {
    ALTLAS_TRY(Automaton one, half_line(*high, /*above=*/false, integer, budget));
    if (!all) return one;
    return intersect(*all, one, budget);
  }
  return *std::move(all);
}

Automaton integer_multiples(uint32_t n) {
  // States: 0 start, 1 after '-', 2 after a leading zero, 3 + r with remainder r.
  Automaton out;
  out.states.resize(n + 3);
  const auto digits = [&](uint32_t from, uint32_t first, uint32_t remainder) {
    for (uint32_t d = first; d <= 9; ++d)
      out.states[from].edges.push_back({'0' + d, '0' + d, 3 + (remainder * 10 + d) % n});
  };
  out.states[0].edges.push_back({'-', '-', 1});
  out.states[0].edges.push_back({'0', '0', 2});
  digits(0, 1, 0);
  digits(1, 1, 0);
  for (uint32_t r = 0; r < n; ++r) digits(3 + r, 0, r);
  out.states[2].accepts = out.states[3].accepts = true;
  return trim(std::move(out));
}

namespace {

void tighten(std::optional<NumberBound>& bound, NumberBound next, bool low) {
  if (!bound) {
    bound = std::move(next);
    return;
  }
  const auto order = compare(next.at, bound->at);
  if (low ? order > 0 : order < 0)
    bound = std::move(next);
  else if (order == 0)
    bound->exclusive |= next.exclusive;
}

}  // namespace

Result<ExpressionPtr> SchemaCompiler::number(const Set& set, bool fractions) {
  std::optional<NumberBound> low, high;
  std::vector<uint32_t> divisors;
  for (const uint32_t s : set) {
    for (const bool is_low : {true, false}) {
      const std::string_view inclusive = is_low ? "minimum" : "maximum";
      const std::string_view exclusive = is_low ? "exclusiveMinimum" : "exclusiveMaximum";
      const json::value* bound = find(s, inclusive);
      const json::value* strict = find(s, exclusive);
      const bool flag = strict != nullptr && strict->is_bool();  // Draft 4.
      for (const json::value* one : {bound, flag ? nullptr : strict}) {
        if (one == nullptr) continue;
        if (!one->is_number())
          return wrong(path_of(s, one == bound ? inclusive : exclusive), "should be a number");
        const bool open = one == strict || (flag && strict->get_bool());
        tighten(is_low ? low : high, {decimal_of(*one), open}, is_low);
      }
    }
    if (const json::value* divisor = find(s, "multipleOf")) {
      const Decimal n = divisor->is_number() ? decimal_of(*divisor) : Decimal();
      if (n.negative || n.is_zero() || !n.fraction.empty() || n.whole.size() > 4)
        return wrong(path_of(s, "multipleOf"), "only whole numbers from 1 to 9999 are supported");
      divisors.push_back(static_cast<uint32_t>(std::stoul(n.whole)));
    }
  }
  if (!low && !high && divisors.empty()) {
    const auto digit = character({{'0', '9'}});
    const auto digits = repeat(digit, 1, kUnlimited);
    const auto whole = sequence(
        {optional(bytes("-")),
         choice({bytes("0"), sequence({character({{'1', '9'}}), repeat(digit, 0, kUnlimited)})})});
    if (!fractions) return whole;
    // Exponents that a 64-bit float holds with any such digits.
    const auto exponent =
        sequence({character({{'E', 'E'}, {'e', 'e'}}),
                  optional(character({{'+', '+'}, {'-', '-'}})), repeat(digit, 1, 2)});
    return sequence({whole, optional(sequence({bytes("."), digits})), optional(exponent)});
  }
  const bool integer = !fractions || !divisors.empty();
  std::optional<Automaton> all;
  if (low || high) {
    ALTLAS_TRY(all, number_range(low, high, integer, budget_));
  }
  for (const uint32_t n : divisors) {
    Automaton one = integer_multiples(n);
    if (all) {
      ALTLAS_TRY(one, intersect(*all, one, budget_));
    }
    all = std::move(one);
  }
  return embed(*std::move(all));
}

}  // namespace altlas::text::grammar
