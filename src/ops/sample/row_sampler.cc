#include "ops/sample/row_sampler.h"

#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "base/check.h"
#include "base/integers.h"
#include "base/philox.h"
#include "ops/math/scalar.h"
#include "ops/sample/mask.h"
#include "ops/sample/scan.h"
#include "ops/sample/weighted.h"

namespace altlas::ops {
namespace {

constexpr float kLeast = std::numeric_limits<float>::lowest();  // A lower logit is never drawn.
constexpr size_t kSummedAtOnce = 8;  // A thread's bound changes after this many runs.
// At least this many are kept before the best of them are chosen.
constexpr size_t kKeptMin = 512;
// The room of a thread's list of likely tokens.
constexpr size_t kLikelyRoom = 512 + kSampleRun + kScanPadding;
// Slack of distances for what rounding does; before all is seen more is kept than in the end.
constexpr float kSlack = 0.1f, kSlackBefore = 0.2f;

size_t run_count(size_t vocab) { return ceil_div(vocab, kSampleRun); }
uint64_t lines(uint64_t bytes) { return (bytes + 63) / 64 * 64; }

// The likeliest comes first, of equal ones the lowest id: a total order, so every selection is
// unique.
bool before(const TokenLogit& a, const TokenLogit& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

// This thread's lists. From their first use on they have room for a whole vocabulary, so later
// steps do not allocate, whatever they keep; pages that are never written take no memory.
struct Lists {
  std::vector<float> floats;
  std::vector<TokenLogit> tokens;
};
Lists& lists(size_t vocab) {
  thread_local Lists own;
  own.floats.reserve(vocab);
  own.tokens.reserve(vocab);
  return own;
}

// Weights of runs relative to the largest logit of all; they lie in this thread's floats.
struct RunWeights {
  float largest;
  double total;
  std::span<const float> weights;
};
RunWeights weigh_runs(const float* largest, const float* sum, size_t vocab, float inverse) {
  const size_t runs = run_count(vocab);
  std::vector<float>& weights = lists(vocab).floats;
  weights.resize(std::max(weights.size(), runs));
  RunWeights out{scan_largest(largest, runs), 0, std::span(weights).first(runs)};
  scan_weights({largest, runs}, out.largest, inverse, sum, weights.data());
  for (const float weight : out.weights) out.total += weight;
  return out;
}

}  // namespace

uint64_t RowSampler::bytes(size_t vocab, uint32_t threads) {
  return 4 * lines(run_count(vocab) * 4) + 2 * lines((vocab + threads * kScanPadding) * 4) +
         threads * (sizeof(Part) + 2 * kLikelyRoom * 4);
}

RowSampler::RowSampler(std::byte* memory, size_t vocab, uint32_t threads)
    : vocab_(vocab), threads_(threads) {
  const auto take = [&](uint64_t size) {
    std::byte* at = memory;
    memory += lines(size);
    return at;
  };
  const auto floats = [&](size_t count) { return reinterpret_cast<float*>(take(count * 4)); };
  const size_t runs = run_count(vocab);
  for (Runs* of : {&own_, &changed_}) {
    of->largest = floats(runs);
    of->sum = floats(runs);
  }
  const size_t room = vocab + threads * kScanPadding;
  kept_logits_ = floats(room);
  kept_ids_ = reinterpret_cast<int32_t*>(take(room * 4));
  parts_ = reinterpret_cast<Part*>(take(threads * sizeof(Part)));
  likely_logits_ = floats(threads * kLikelyRoom);
  likely_ids_ = reinterpret_cast<int32_t*>(take(threads * kLikelyRoom * 4));
}

void RowSampler::begin(const SampleAsk& ask) {
  const SampleParams& params = ask.params;
  ask_ = ask;
  ask_.likely = std::min(ask.likely, kTopLogprobsMax);
  changes_ = params.changes_logits() || ask.masked;
  inverse_ = 1.0f / params.temperature;
  known_logit_ = 0;
  for (uint32_t t = 0; t < threads_; ++t) {
    Part& part = *new (&parts_[t]) Part{};
    part.sum_beside = kLeast;
    part.drawn = {nullptr, nullptr, 0, kLeast};
    part.likely = {likely_logits_ + t * kLikelyRoom, likely_ids_ + t * kLikelyRoom, 0, kLeast};
  }
  drawn_ = ask.likely >= 0 && !changes_ && inverse_ == 1 ? own_ : changed_;
  weighs_ = false;
  // At so low a temperature only the best token remains.
  if (params.temperature <= 0 || params.top_k == 1 || !std::isfinite(inverse_)) {
    way_ = Way::kBest;
  } else if (params.top_k > 0 && static_cast<size_t>(params.top_k) < vocab_) {
    way_ = Way::kTopK;
  } else if (params.top_p < 1 || params.min_p > 0) {
    way_ = Way::kWithin;
    weighs_ = params.top_p < 1;
    // Tokens with less than (1 - top_p) / vocab of all weight have less than 1 - top_p together.
    top_p_distance_ = min_p_distance_ = std::numeric_limits<float>::infinity();
    if (params.top_p < 1)
      top_p_distance_ = static_cast<float>(
          log_f64(static_cast<double>(vocab_) / (1.0 - std::max(0.0f, params.top_p))));
    if (params.min_p > 0)
      min_p_distance_ = static_cast<float>(-log_f64(std::clamp(params.min_p, 1e-30f, 1.0f)));
  } else {
    way_ = Way::kAll;
    weighs_ = true;
  }
}

void RowSampler::change(size_t first, float* logits, size_t count) const {
  if (!changes_) return;
  change_logits(ask_.params, first, logits, count);
  if (!ask_.masked) return;
  const size_t word = std::min(first / 64, ask_.allowed.size());
  mask_logits_cpu(logits, count, ask_.allowed.subspan(word));
}

// Keeps the `most` likeliest of `kept`. Later tokens are kept only if they are likelier, since of
// equal ones the lowest id wins.
void RowSampler::keep_best(Kept& kept, size_t most) const {
  if (kept.count <= most) return;
  std::vector<float>& order = lists(vocab_).floats;
  order.assign(kept.logits, kept.logits + kept.count);
  const auto place = order.begin() + static_cast<ptrdiff_t>(most) - 1;
  std::nth_element(order.begin(), place, order.end(), std::greater<>());
  const float least = *place;
  size_t equal = most - static_cast<size_t>(std::count_if(
                            order.begin(), place, [&](float logit) { return logit > least; }));
  size_t count = 0;
  for (size_t i = 0; i < kept.count; ++i) {
    const float logit = kept.logits[i];
    if (logit < least || (logit == least && equal == 0)) continue;
    if (logit == least) --equal;
    kept.logits[count] = logit;
    kept.ids[count++] = kept.ids[i];
  }
  kept.count = count;
  kept.bound = std::nextafter(least, std::numeric_limits<float>::infinity());
}

// `most` is the number of tokens wanted; 0 stands for all down to the bound.
void RowSampler::keep(size_t first, std::span<const float> logits, float largest, size_t most,
                      Kept& kept) const {
  if (!(largest >= kept.bound)) return;
  kept.count += scan_keep(logits, first, kept.bound, kept.end());
  if (most > 0 && kept.count >= std::max(2 * most, kKeptMin)) keep_best(kept, most);
}

// `log_sum` is the logarithm of the sum of weights relative to the largest logit.
float RowSampler::least_within(float largest, double log_sum, float slack) const {
  const float distance =
      std::min(min_p_distance_, top_p_distance_ - static_cast<float>(log_sum)) + slack;
  return std::max(kLeast, largest - distance * ask_.params.temperature);
}

// Looks at the run that the part's thread has just seen.
void RowSampler::see_run(size_t first, std::span<const float> logits, Part& part) const {
  const size_t run = first / kSampleRun;
  const float largest = drawn_.largest[run];
  if (largest > part.best.logit) {
    const size_t at = scan_above(logits.data(), 0, logits.size(), largest);
    part.best = {largest, static_cast<int32_t>(first + at)};
    if (way_ == Way::kWithin) part.drawn.bound = part_bound(part);
  }
  if (way_ != Way::kWithin || !weighs_ || run - part.summed + 1 < kSummedAtOnce) return;
  if (!(part.best.logit > kLeast)) return;
  std::array<float, kSummedAtOnce> weights;
  part.sum *= exp_f32((part.sum_beside - part.best.logit) * inverse_);
  part.sum_beside = part.best.logit;
  scan_weights({drawn_.largest + part.summed, kSummedAtOnce}, part.best.logit, inverse_,
               drawn_.sum + part.summed, weights.data());
  for (const float weight : weights) part.sum += weight;
  part.summed = run + 1;
  part.drawn.bound = part_bound(part);
}

// Returns a bound on what may be drawn, as far as the part's thread knows. Its sum is relative to
// an earlier largest logit, so the distance to the present one is subtracted from its logarithm.
float RowSampler::part_bound(const Part& part) const {
  const double beside = (part.best.logit - part.sum_beside) * inverse_;
  const double log_sum = part.sum > 1 ? std::max(0.0, log_f64(part.sum) - beside) : 0.0;
  return least_within(part.best.logit, log_sum, kSlackBefore);
}

void RowSampler::look(uint32_t thread, size_t first, float* logits, size_t count) {
  ALTLAS_DCHECK(first % kSampleRun == 0 && first + count <= vocab_, "whole runs of the vocabulary");
  Part& part = parts_[thread];
  if (part.drawn.logits == nullptr) {
    part.drawn.logits = kept_logits_ + first + thread * kScanPadding;
    part.drawn.ids = kept_ids_ + first + thread * kScanPadding;
    part.summed = first / kSampleRun;
  }
  const size_t run = first / kSampleRun;
  const auto for_each_run = [&](const Runs& runs, auto use) {
    for (size_t i = 0; i < count; i += kSampleRun)
      use(first + i, std::span<const float>(logits + i, std::min(kSampleRun, count - i)),
          runs.largest[run + i / kSampleRun]);
  };
  if (ask_.likely >= 0) {
    scan_runs(logits, count, 1.0f, own_.largest + run, own_.sum + run);
    if (ask_.likely > 0)
      for_each_run(own_, [&](size_t at, std::span<const float> x, float largest) {
        keep(at, x, largest, static_cast<size_t>(ask_.likely), part.likely);
      });
    if (ask_.known >= 0 && static_cast<size_t>(ask_.known) - first < count)
      known_logit_ = logits[static_cast<size_t>(ask_.known) - first];
  }
  if (!ask_.samples) return;
  change(first, logits, count);
  if (way_ == Way::kBest) return best_cpu(logits, count, static_cast<int32_t>(first), part.best);
  if (drawn_.largest != own_.largest)
    scan_runs(logits, count, inverse_, drawn_.largest + run, weighs_ ? drawn_.sum + run : nullptr);
  for_each_run(drawn_, [&](size_t at, std::span<const float> x, float largest) {
    see_run(at, x, part);
    if (way_ == Way::kAll) return;
    keep(at, x, largest, way_ == Way::kTopK ? static_cast<size_t>(ask_.params.top_k) : 0,
         part.drawn);
  });
}

LogSum RowSampler::log_sum() const {
  const RunWeights runs = weigh_runs(own_.largest, own_.sum, vocab_, 1.0f);
  if (!(runs.total > 0) || !std::isfinite(runs.total)) return {runs.largest, runs.largest};
  return {runs.largest, runs.largest + log_f64(runs.total)};
}

size_t RowSampler::likeliest(std::span<TokenLogit> out) const {
  std::vector<TokenLogit>& tokens = lists(vocab_).tokens;
  tokens.clear();
  for (uint32_t t = 0; t < threads_; ++t) {
    const Kept& kept = parts_[t].likely;
    for (size_t i = 0; i < kept.count; ++i) tokens.push_back({kept.logits[i], kept.ids[i]});
  }
  const size_t count =
      std::min({tokens.size(), out.size(), static_cast<size_t>(std::max(0, ask_.likely))});
  std::ranges::partial_sort(tokens, tokens.begin() + static_cast<ptrdiff_t>(count), before);
  std::copy_n(tokens.begin(), count, out.begin());
  return count;
}

RowSampler::Pick RowSampler::pick() {
  best_ = {};
  // Threads have ascending ids, so the lowest of equal ones wins.
  for (uint32_t t = 0; t < threads_; ++t)
    if (parts_[t].best.logit > best_.logit) best_ = parts_[t].best;
  if (way_ == Way::kBest || !std::isfinite(best_.logit)) return {.id = best_.id};
  const float uniform = philox_uniform(ask_.params.seed, ask_.position);
  return way_ == Way::kAll ? pick_run(uniform) : Pick{.id = pick_kept(uniform)};
}

RowSampler::Pick RowSampler::pick_run(float uniform) const {
  const RunWeights runs = weigh_runs(drawn_.largest, drawn_.sum, vocab_, inverse_);
  if (!std::isfinite(runs.total)) return {.id = best_.id};  // Some logit is NaN.
  double left = uniform * runs.total;
  Pick last{.id = best_.id};
  for (size_t run = 0; run < runs.weights.size(); ++run) {
    const double weight = runs.weights[run];
    if (weight > 0) last = {.run = static_cast<int64_t>(run), .left = weight};
    if (left < weight) return {.run = static_cast<int64_t>(run), .left = left};
    left -= weight;
  }
  return last;  // Rounding may leave a rest at the very end.
}

int32_t RowSampler::pick_in_run(const float* logits, size_t first, size_t count,
                                double left) const {
  float weights[kSampleRun];
  scan_weights({logits, count}, best_.logit, inverse_, nullptr, weights);
  int32_t last = best_.id;
  for (size_t i = 0; i < count; ++i) {
    if (!(weights[i] > 0)) continue;
    last = static_cast<int32_t>(first + i);
    left -= weights[i];
    if (left < 0) break;
  }
  return last;  // The run's tokens may sum to a little less in this order.
}

// Gathers what may be drawn from all threads, in the order of ids; at least `bound`.
RowSampler::Kept RowSampler::gather(float bound) {
  Kept all{kept_logits_, kept_ids_, 0, bound};
  // The lists move forward in place: what is written is never behind what is read.
  for (uint32_t t = 0; t < threads_; ++t) {
    const Kept& kept = parts_[t].drawn;
    all.count += scan_filter({kept.logits, kept.count}, kept.ids, bound, all.end());
  }
  return all;
}

int32_t RowSampler::pick_kept(float uniform) {
  const SampleParams& params = ask_.params;
  float bound = kLeast;
  double total = 1;
  if (way_ == Way::kWithin) {
    if (weighs_) total = weigh_runs(drawn_.largest, drawn_.sum, vocab_, inverse_).total;
    bound = least_within(best_.logit, total > 1 ? log_f64(total) : 0, kSlack);
  }
  Kept kept = gather(bound);
  if (way_ == Way::kTopK) keep_best(kept, static_cast<size_t>(params.top_k));
  scan_weights({kept.logits, kept.count}, best_.logit, inverse_, nullptr, kept.logits);
  WeightedTokens tokens{kept.logits, kept.ids, kept.count, vocab_};
  if (way_ == Way::kTopK) total = tokens.total();
  if (params.top_p < 1) tokens.keep_heaviest(params.top_p * total);
  if (params.min_p > 0) tokens.keep_from(params.min_p);
  return tokens.draw(uniform, best_.id);
}

}  // namespace altlas::ops
