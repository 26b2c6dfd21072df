#include "model/head.h"

#include "base/check.h"
#include "base/integers.h"
#include "ops/elementwise/elementwise.h"
#include "ops/quantize/quantize.h"
#include "ops/rms_norm/rms_norm.h"

namespace altlas::model {

namespace {

// Returns the weights of ids [first, first + count), counted from the head's own first one. `first`
// is the first id of a panel.
ops::PackedMatrix part(const Linear& linear, size_t first, size_t count) {
  const ops::PackedMatrix& head = linear.parts[0].matrix;
  return {head.type, static_cast<uint32_t>(count), head.cols,
          head.data + first / ops::kPanelRows * ops::packed_panel_bytes(head.type, head.cols)};
}

}  // namespace

Head::Head(const DecoderPart& part, const HeadInput& input, const StepThreads& threads,
           const RankTeam& team, Workspace<Arena>& arena)
    : config_(part.config), shard_(part.shard), weights_(part.weights), input_(input), team_(team) {
  if (!part.shard.last) return;
  const size_t rows = std::min<size_t>(input.x.count, kSampledRowsMax);
  samplers_ = arena.shared.take_rows<std::byte>(
      rows, ops::RowSampler::bytes(config_.vocab_size, threads.group));
  chunks_ = arena.own.take_rows<float>(uint64_t{threads.own} * kHeadRowsMax, kWidth);
  best_ = arena.shared.take_rows<ops::Best>(threads.group, kHeadRowsMax);
  broken_ = arena.shared.take_rows<uint8_t>(threads.group, kHeadRowsMax);
}

// Computes the head's input: the last norm of the rows, quantised where the head takes it so.
void Head::norm_rows(uint32_t group_thread, std::span<const uint32_t> rows) {
  const size_t hidden = config_.hidden, threads = team_.group->threads();
  ALTLAS_CHECK(rows.size() <= kHeadRowsMax && rows.size() <= input_.x.count,
               "rows that the workspace holds");
  uint8_t* broken = broken_[group_thread];
  std::fill_n(broken, rows.size(), uint8_t{0});
  for (size_t i = group_thread; i < rows.size(); i += threads) {
    final_hidden(rows[i], {input_.normed[i], hidden});
    if (!ops::all_finite_cpu(input_.normed[i], hidden)) broken[i] = 1;
    if (weights_.head.takes_quantized)
      ops::quantize_rows(input_.normed, hidden, {i, i + 1}, input_.quantized);
  }
  team_.group->barrier();
}

void Head::final_hidden(size_t row, std::span<float> out) const {
  const size_t hidden = config_.hidden;
  ops::rms_norm_cpu({input_.x[row], hidden}, {weights_.output_norm, hidden}, config_.norm_eps, out);
}

// Returns the ids whose logits this thread computes, counted from the rank's first one: whole runs.
Range Head::share(uint32_t thread) const {
  const size_t vocab = shard_.vocab.size(), runs = ceil_div(vocab, ops::kSampleRun);
  const auto own = device::split(runs, thread, team_.team->size());
  return {std::min(vocab, own.begin * ops::kSampleRun), std::min(vocab, own.end * ops::kSampleRun)};
}

// Computes rows of the logits of the rank's ids [first, first + count), at most kWidth. They are
// valid until this thread's next call. `first` is the first id of a panel.
Rows<float> Head::chunk(uint32_t thread, size_t rows, size_t first, size_t count) {
  const Rows<float> out =
      chunks_.rows(size_t{thread} * kHeadRowsMax, size_t{thread} * kHeadRowsMax + rows);
  const ops::Activations x{.tokens = rows,
                           .quantized = input_.quantized,
                           .values = input_.normed.data,
                           .stride = input_.normed.stride};
  ops::matmul(part(weights_.head, first, count), x, {0, ops::panel_count(count)}, out,
              input_.scratch[thread]);
  uint8_t* broken = broken_[team_.group->first_thread(team_.rank) + thread];
  for (size_t i = 0; i < rows; ++i)
    if (!ops::all_finite_cpu(out[i], count)) broken[i] = 1;
  if (config_.logit_softcap > 0)
    for (size_t i = 0; i < rows; ++i) ops::softcap_cpu(config_.logit_softcap, count, out[i]);
  return out;
}

bool Head::finite(size_t i) const {
  for (uint32_t thread = 0; thread < team_.group->threads(); ++thread)
    if (broken_[thread][i] != 0) return false;
  return true;
}

void Head::logits_again(uint32_t thread, size_t i, size_t first, size_t count, float* out) const {
  const ops::Activations x{.tokens = 1,
                           .quantized = input_.quantized + ops::quantized_bytes(i, config_.hidden),
                           .values = input_.normed[i],
                           .stride = input_.normed.stride};
  // A run, whose beginning is a rank's, may be another rank's.
  const RankGroup::Shard& shard = team_.group->shard_of(static_cast<uint32_t>(first));
  ops::matmul(part(shard.weights->head, first - shard.vocab.begin, count), x,
              {0, ops::panel_count(count)}, {out, 1, ops::kSampleRun}, input_.scratch[thread]);
  if (config_.logit_softcap > 0) ops::softcap_cpu(config_.logit_softcap, count, out);
}

void Head::best_tokens(std::span<const uint32_t> rows, std::span<int32_t> out) {
  team_.run([&](uint32_t thread, uint32_t group_thread) {
    OpClock clock(thread == 0 ? times_ : nullptr);
    norm_rows(group_thread, rows);
    clock.lap(Op::kNorm);
    find_best(thread, group_thread, rows.size());
    team_.team->barrier();
    clock.lap(Op::kHead, weights_.head.bytes, products(rows.size()));
  });
  for (size_t i = 0; i < rows.size(); ++i) {
    ops::Best best;
    // Threads have ascending ids, so the lowest of equal ones wins.
    for (uint32_t t = 0; t < team_.group->threads(); ++t) {
      const ops::Best& one = best_[t][i];
      if (one.logit > best.logit) best = one;
    }
    out[i] = best.id;
  }
}

// Finds the best ids of this thread's share of the vocabulary, chunk by chunk while the logits are
// in its cache.
void Head::find_best(uint32_t thread, uint32_t group_thread, size_t rows) {
  const size_t vocab = shard_.vocab.size();
  ops::Best* best = best_[group_thread];
  std::fill_n(best, rows, ops::Best{});
  const auto own = device::split(ops::panel_count(vocab), thread, team_.team->size());
  const size_t end = std::min(vocab, own.end * ops::kPanelRows);
  for (size_t first = own.begin * ops::kPanelRows; first < end; first += kWidth) {
    const size_t count = std::min(kWidth, end - first);
    const Rows<float> logits = chunk(thread, rows, first, count);
    for (size_t i = 0; i < rows; ++i)
      ops::best_cpu(logits[i], count, static_cast<int32_t>(shard_.vocab.begin + first), best[i]);
  }
}

}  // namespace altlas::model
