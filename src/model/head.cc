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
  if (threads.processes == 1) return;
  kept_ = arena.shared.take_rows<float>(rows, config_.vocab_size);
  found_ = arena.shared.take_rows<Found>(threads.processes, kHeadRowsMax);
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

// Returns whole runs of `vocab` ids.
Range Head::share(size_t vocab, uint32_t thread, uint32_t threads) {
  const auto own = device::split(ceil_div(vocab, ops::kSampleRun), thread, threads);
  return {std::min(vocab, own.begin * ops::kSampleRun), std::min(vocab, own.end * ops::kSampleRun)};
}

// Returns the ids whose logits this thread computes, counted from the rank's first one.
Range Head::share(uint32_t thread) const {
  return share(shard_.vocab.size(), thread, team_.team->size());
}

// Computes rows of the logits of the rank's ids [first, first + count), at most kWidth. They are
// valid until this thread's next call. `first` is the first id of a panel.
Rows<float> Head::chunk(uint32_t thread, size_t rows, size_t first, size_t count) {
  const Rows<float> out = multiply(thread, rows, first, count);
  finish_chunk(thread, out, rows, count);
  return out;
}

// The same of any ids, from the logits that were gathered.
Rows<float> Head::kept_chunk(uint32_t thread, size_t rows, size_t first, size_t count) {
  const Rows<float> out =
      chunks_.rows(size_t{thread} * kHeadRowsMax, size_t{thread} * kHeadRowsMax + rows);
  for (size_t i = 0; i < rows; ++i) std::copy_n(kept_[i] + first, count, out[i]);
  finish_chunk(thread, out, rows, count);
  return out;
}

// Writes the logits of this thread's share of the rank's ids, as they come.
void Head::keep_logits(uint32_t thread, size_t rows) {
  ALTLAS_CHECK(rows <= kept_.count, "rows that the workspace holds");
  const auto own = share(thread);
  for (size_t first = own.begin; first < own.end; first += kWidth) {
    const size_t count = std::min(kWidth, own.end - first);
    const Rows<float> logits = multiply(thread, rows, first, count);
    for (size_t i = 0; i < rows; ++i)
      std::copy_n(logits[i], count, kept_[i] + shard_.vocab.begin + first);
  }
}

void Head::gather_logits(uint32_t group_thread, size_t rows) {
  team_.group->meet_all(group_thread, [&](StageLink& link) {
    std::vector<Rectangle> parts;
    for (const ShardPlan& plan : link.plans())
      parts.push_back({0, rows, plan.vocab.begin * sizeof(float), plan.vocab.end * sizeof(float)});
    link.gather(reinterpret_cast<std::byte*>(kept_.data), kept_.stride * sizeof(float), parts);
  });
}

// What the threads of this process found, and those of the others: into the first thread's place.
void Head::gather_best(StageLink& link, size_t rows) {
  Found* const own = found_[link.index()];
  for (size_t i = 0; i < rows; ++i) {
    own[i] = {};
    for (uint32_t t = 0; t < team_.group->threads(); ++t) {
      if (best_[t][i].logit > own[i].best.logit) own[i].best = best_[t][i];
      own[i].broken |= broken_[t][i];
    }
  }
  link.gather_blocks(
      std::as_writable_bytes(std::span(found_.data, size_t{link.processes()} * kHeadRowsMax)));
  // Processes have ascending ids, as threads have.
  for (size_t i = 0; i < rows; ++i) {
    ops::Best best;
    for (uint32_t p = 0; p < link.processes(); ++p) {
      if (found_[p][i].best.logit > best.logit) best = found_[p][i].best;
      if (found_[p][i].broken != 0) broken_[0][i] = 1;
    }
    for (uint32_t t = 0; t < team_.group->threads(); ++t) best_[t][i] = best;
  }
}

Rows<float> Head::multiply(uint32_t thread, size_t rows, size_t first, size_t count) {
  const Rows<float> out =
      chunks_.rows(size_t{thread} * kHeadRowsMax, size_t{thread} * kHeadRowsMax + rows);
  const ops::Activations x{.tokens = rows,
                           .quantized = input_.quantized,
                           .values = input_.normed.data,
                           .stride = input_.normed.stride};
  ops::matmul(part(weights_.head, first, count), x, {0, ops::panel_count(count)}, out,
              input_.scratch[thread]);
  return out;
}

void Head::finish_chunk(uint32_t thread, const Rows<float>& logits, size_t rows, size_t count) {
  uint8_t* broken = broken_[team_.group->first_thread(team_.rank) + thread];
  for (size_t i = 0; i < rows; ++i)
    if (!ops::all_finite_cpu(logits[i], count)) broken[i] = 1;
  if (config_.logit_softcap > 0)
    for (size_t i = 0; i < rows; ++i) ops::softcap_cpu(config_.logit_softcap, count, logits[i]);
}

bool Head::finite(size_t i) const {
  for (uint32_t thread = 0; thread < team_.group->threads(); ++thread)
    if (broken_[thread][i] != 0) return false;
  return true;
}

void Head::logits_again(uint32_t thread, size_t i, size_t first, size_t count, float* out) const {
  if (team_.group->splits()) {
    std::copy_n(kept_[i] + first, count, out);
    if (config_.logit_softcap > 0) ops::softcap_cpu(config_.logit_softcap, count, out);
    return;
  }
  const ops::Activations x{.tokens = 1,
                           .quantized = input_.quantized + ops::quantized_bytes(i, config_.hidden),
                           .values = input_.normed[i],
                           .stride = input_.normed.stride};
  // A run, whose beginning is a rank's, may be another rank's.
  const RankGroup::Shard& shard = *team_.group->shard_of(static_cast<uint32_t>(first));
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
    if (team_.group->splits())
      team_.group->meet_all(group_thread, [&](StageLink& link) { gather_best(link, rows.size()); });
    else
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
