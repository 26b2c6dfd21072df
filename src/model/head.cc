#include "model/head.h"

#include "base/check.h"
#include "ops/elementwise/elementwise.h"
#include "ops/quantize/quantize.h"
#include "ops/rms_norm/rms_norm.h"

namespace altlas::model {

Head::Head(const ModelConfig& config, const DecoderWeights& weights, const HeadInput& input,
           uint32_t threads, device::Team* team, Arena& arena)
    : config_(config), weights_(weights), input_(input), team_(team) {
  const size_t rows = std::min<size_t>(input.x.count, kSampledRowsMax);
  samplers_ = arena.take_rows<std::byte>(rows, ops::RowSampler::bytes(config.vocab_size, threads));
  chunks_ = arena.take_rows<float>(uint64_t{threads} * kHeadRowsMax, kWidth);
  best_ = arena.take_rows<ops::Best>(threads, kHeadRowsMax);
}

// The head's input: the rows' last norm, quantised.
void Head::norm_rows(uint32_t thread, std::span<const uint32_t> rows) {
  const size_t hidden = config_.hidden, threads = team_->size();
  ALTLAS_CHECK(rows.size() <= kHeadRowsMax && rows.size() <= input_.x.count,
               "rows that the workspace holds");
  for (size_t i = thread; i < rows.size(); i += threads) {
    final_hidden(rows[i], {input_.normed[i], hidden});
    if (weights_.head.takes_quantized)
      ops::quantize_rows(input_.normed.data, input_.normed.stride, hidden, i, i + 1,
                         input_.quantized);
  }
  team_->barrier();
}

void Head::final_hidden(size_t row, std::span<float> out) const {
  const size_t hidden = config_.hidden;
  ops::rms_norm_cpu({input_.x[row], hidden}, {weights_.output_norm, hidden}, config_.norm_eps, out);
}

// The ids whose logits this thread computes: whole runs.
device::Range Head::share(uint32_t thread) const {
  const size_t vocab = config_.vocab_size, runs = (vocab + ops::kSampleRun - 1) / ops::kSampleRun;
  const auto own = device::split(runs, thread, team_->size());
  return {std::min(vocab, own.begin * ops::kSampleRun), std::min(vocab, own.end * ops::kSampleRun)};
}

// The weights of ids [first, first + count). first: of a panel.
ops::PackedMatrix Head::part(size_t first, size_t count) const {
  const ops::PackedMatrix& head = weights_.head.parts[0].matrix;
  return {head.type, static_cast<uint32_t>(count), head.cols,
          head.data + first / ops::kPanelRows * ops::packed_panel_bytes(head.type, head.cols)};
}

// Rows of logits of ids [first, first + count), at most kWidth; valid until this thread's next
// call. first: of a panel.
Rows<float> Head::chunk(uint32_t thread, size_t rows, size_t first, size_t count) {
  const Rows<float> out =
      chunks_.rows(size_t{thread} * kHeadRowsMax, size_t{thread} * kHeadRowsMax + rows);
  const ops::Activations x{.tokens = rows,
                           .quantized = input_.quantized,
                           .values = input_.normed.data,
                           .stride = input_.normed.stride};
  ops::matmul(part(first, count), x, 0, ops::panel_count(count), out.data, out.stride,
              input_.scratch[thread]);
  if (config_.logit_softcap > 0)
    for (size_t i = 0; i < rows; ++i) ops::softcap_cpu(config_.logit_softcap, count, out[i]);
  return out;
}

void Head::logits_again(uint32_t thread, size_t i, size_t first, size_t count, float* out) const {
  const ops::Activations x{.tokens = 1,
                           .quantized = input_.quantized + ops::quantized_bytes(i, config_.hidden),
                           .values = input_.normed[i],
                           .stride = input_.normed.stride};
  ops::matmul(part(first, count), x, 0, ops::panel_count(count), out, ops::kSampleRun,
              input_.scratch[thread]);
  if (config_.logit_softcap > 0) ops::softcap_cpu(config_.logit_softcap, count, out);
}

void Head::best_tokens(std::span<const uint32_t> rows, std::span<int32_t> out) {
  team_->run([&](uint32_t thread) {
    OpClock clock(thread == 0 ? times_ : nullptr);
    norm_rows(thread, rows);
    clock.lap(Op::kNorm);
    find_best(thread, rows.size());
    team_->barrier();
    clock.lap(Op::kHead, weights_.head.bytes, products(rows.size()));
  });
  for (size_t i = 0; i < rows.size(); ++i) {
    ops::Best best;
    for (uint32_t t = 0; t < team_->size(); ++t) {  // Ascending ids: of equal ones the lowest.
      const ops::Best& one = best_[t][i];
      if (one.logit > best.logit) best = one;
    }
    out[i] = best.id;
  }
}

// The best of this thread's share of the vocabulary, chunk by chunk while their logits are in its
// cache.
void Head::find_best(uint32_t thread, size_t rows) {
  const size_t vocab = config_.vocab_size;
  ops::Best* best = best_[thread];
  std::fill_n(best, rows, ops::Best{});
  const auto own = device::split(ops::panel_count(vocab), thread, team_->size());
  const size_t end = std::min(vocab, own.end * ops::kPanelRows);
  for (size_t first = own.begin * ops::kPanelRows; first < end; first += kWidth) {
    const size_t count = std::min(kWidth, end - first);
    const Rows<float> logits = chunk(thread, rows, first, count);
    for (size_t i = 0; i < rows; ++i)
      ops::best_cpu(logits[i], count, static_cast<int32_t>(first), best[i]);
  }
}

}  // namespace altlas::model
