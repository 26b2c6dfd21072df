#include "text/grammar/schema/decimal.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <map>

#include "text/grammar/expression.h"

namespace altlas::text::grammar::schema {

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

// Builds an automaton of JSON numbers y >= 0, without sign and exponent, whose comparison with
// `bound` has a wanted outcome.
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
  // Phase, digits read (as far as they matter), verdict so far.
  using Key = std::array<int, 3>;

  uint32_t state(Key key) {
    const auto [at, fresh] = ids_.try_emplace(key, static_cast<uint32_t>(order_.size()));
    if (fresh) {
      order_.push_back(key);
      out_.states.emplace_back().accepts = accepts(key);
    }
    return at->second;
  }
  // Returns the verdict of the whole part alone.
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

// Returns an automaton of the JSON numbers on one side of a bound.
Result<Automaton> half_line(const NumberBound& bound, bool above, bool integer,
                            CompileBudget& budget) {
  const bool on = !bound.exclusive;
  const Decimal zero;
  Decimal size = bound.at;
  size.negative = false;
  // Among numbers with the bound's sign those of larger (or smaller) size are taken; of the
  // others all or none.
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
                               CompileBudget& budget) {
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

// The most digits of n, and the most states of its automaton.
namespace {
constexpr size_t kDivisorDigitsMax = 9;
constexpr size_t kDivisorStatesMax = 60'000;
}  // namespace

bool is_multiple(const Decimal& number, const Decimal& n) {
  // Both numbers are scaled to whole ones; then comes a long division, digit by digit.
  const size_t places = std::max(number.fraction.size(), n.fraction.size());
  const auto whole = [&](const Decimal& d) {
    return d.whole + d.fraction + std::string(places - d.fraction.size(), '0');
  };
  const std::string divisor = whole(n);
  const Decimal m{false, divisor.substr(std::min(divisor.find_first_not_of('0'), divisor.size())),
                  ""};
  // With more digits it is not decided, and counts as valid.
  if (m.whole.size() > 17) return true;
  const uint64_t by = std::stoull(m.whole);
  uint64_t rest = 0;
  for (const char digit : whole(number))
    rest = (rest * 10 + static_cast<uint64_t>(digit - '0')) % by;
  return rest == 0;
}

std::optional<Automaton> multiples(const Decimal& n, bool integer) {
  const size_t places = n.fraction.size();
  std::string digits = n.whole + n.fraction;
  digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size() - 1));
  if (digits.size() > kDivisorDigitsMax) return std::nullopt;
  const uint64_t by = std::stoull(digits);
  if (by * (places + 2) > kDivisorStatesMax) return std::nullopt;
  const auto m = static_cast<uint32_t>(by);
  // State 0 is the start, 1 comes after '-', 2 is a lone zero. Then there is one state per
  // remainder, for the whole part and for each number of places `p` of the fraction; the places of
  // n that are not written count as zeros.
  const auto zero = uint32_t{2};
  const auto whole = [&](uint32_t r) { return 3 + r; };
  const auto point = [&](uint32_t r) { return 3 + m + r; };
  const auto fraction = [&](size_t p, uint32_t r) {
    return 3 + m * static_cast<uint32_t>(p + 1) + r;  // `p` counts from 1.
  };
  Automaton out;
  const auto last = static_cast<uint32_t>(std::max<size_t>(places, 1));
  out.states.resize(3 + size_t{m} * (last + 2));
  const auto fits = [&](uint64_t r, size_t p) {
    for (; p < places; ++p) r = r * 10 % m;
    return r % m == 0;
  };
  const auto edges = [&](uint32_t from, uint32_t first, auto&& to) {
    for (uint32_t d = first; d <= 9; ++d)
      out.states[from].edges.push_back({'0' + d, '0' + d, to(d)});
  };
  const auto step = [&](uint32_t r, uint32_t d) {
    return static_cast<uint32_t>((uint64_t{r} * 10 + d) % m);
  };
  out.states[0].edges = {{'-', '-', 1}};
  for (const uint32_t from : {0u, 1u}) {
    out.states[from].edges.push_back({'0', '0', zero});
    edges(from, 1, [&](uint32_t d) { return whole(d % m); });
  }
  if (!integer) out.states[zero].edges.push_back({'.', '.', point(0)});
  out.states[zero].accepts = true;
  for (uint32_t r = 0; r < m; ++r) {
    if (!integer) out.states[whole(r)].edges.push_back({'.', '.', point(r)});
    edges(whole(r), 0, [&](uint32_t d) { return whole(step(r, d)); });
    out.states[whole(r)].accepts = fits(r, 0);
    for (size_t p = 0; p <= last; ++p) {
      const uint32_t from = p == 0 ? point(r) : fraction(p, r);
      if (p > 0) out.states[from].accepts = fits(r, std::min(p, places));
      // After n's places only zeros may follow.
      if (p >= places)
        out.states[from].edges.push_back({'0', '0', fraction(std::max<size_t>(p, 1), r)});
      else
        edges(from, 0, [&](uint32_t d) { return fraction(p + 1, step(r, d)); });
    }
  }
  return trim(std::move(out));
}

}  // namespace altlas::text::grammar::schema
