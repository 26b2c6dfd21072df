#include "model/stage_link.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace altlas::model {
namespace {

// The bytes of a process's rectangles, one behind the other.
size_t packed_bytes(std::span<const Rectangle> parts) {
  size_t sum = 0;
  for (const Rectangle& part : parts) sum += (part.row_end - part.row_begin) * part.width();
  return sum;
}

// The workers of a stage, in the order of its ranks.
Result<std::vector<uint32_t>> workers_of(std::span<const uint32_t> ranks) {
  std::vector<uint32_t> out;
  for (const uint32_t worker : ranks) {
    if (!out.empty() && out.back() == worker) continue;
    if (std::ranges::find(out, worker) != out.end())
      return invalid(fmt::format("the ranks of one stage are in workers {}: those of one worker "
                                 "must lie together; name the devices of a machine in a row",
                                 fmt::join(ranks, ", ")),
                     "devices");
    out.push_back(worker);
  }
  return out;
}

}  // namespace

Result<std::vector<WorkerGroup>> worker_groups(std::span<const uint32_t> workers,
                                               uint32_t tp_size) {
  std::vector<WorkerGroup> out;
  std::vector<uint32_t> before;
  for (uint32_t stage = 0; stage * tp_size < workers.size(); ++stage) {
    ALTLAS_TRY(std::vector<uint32_t> own, workers_of(workers.subspan(stage * tp_size, tp_size)));
    if (stage > 0) {
      WorkerGroup enters{.stage = stage, .enters = true, .workers = {before.front()}};
      for (const uint32_t worker : own)
        if (std::ranges::find(before, worker) == before.end()) enters.workers.push_back(worker);
      if (enters.workers.size() > 1) out.push_back(std::move(enters));
    }
    if (own.size() > 1) out.push_back({.stage = stage, .enters = false, .workers = own});
    before = std::move(own);
  }
  return out;
}

Result<std::vector<StageLinkOptions>> join_stages(std::span<const uint32_t> workers,
                                                  uint32_t tp_size, uint32_t own,
                                                  const JoinGroup& join) {
  ALTLAS_TRY(const std::vector<WorkerGroup> groups, worker_groups(workers, tp_size));
  std::vector<StageLinkOptions> out(workers.size() / tp_size);
  for (const WorkerGroup& group : groups) {
    const auto found = std::ranges::find(group.workers, own);
    if (found == group.workers.end()) continue;
    const auto rank = static_cast<int>(found - group.workers.begin());
    ALTLAS_TRY(std::shared_ptr<collective::Group> joined, join(group, rank));
    if (!group.enters)
      out[group.stage].ranks = std::move(joined);
    else if (rank == 0)
      out[group.stage - 1].behind = std::move(joined);
    else
      out[group.stage].before = std::move(joined);
  }
  return out;
}

StageLink::StageLink(StageLinkOptions options) : options_(std::move(options)) {
  const std::vector<uint32_t>& workers = options_.workers;
  ALTLAS_CHECK(!workers.empty(), "a stage has ranks");
  bool found = false;
  for (uint32_t rank = 0; rank < workers.size(); ++rank) {
    if (rank > 0 && workers[rank] == workers[rank - 1]) continue;
    ALTLAS_CHECK(std::ranges::find(names_, workers[rank]) == names_.end(),
                 "the ranks of one worker lie together");
    if (workers[rank] == options_.worker) {
      own_ = static_cast<uint32_t>(names_.size());
      found = true;
    }
    names_.push_back(workers[rank]);
    first_ranks_.push_back(rank);
  }
  first_ranks_.push_back(static_cast<uint32_t>(workers.size()));
  ALTLAS_CHECK(found, "this process has ranks of the stage");
}

void StageLink::copy_block(std::byte* data, size_t stride, std::span<const Rectangle> parts,
                           uint32_t process, size_t at, std::span<std::byte> block,
                           bool pack) const {
  size_t begin = 0;  // Where a row begins among the process's packed bytes.
  for (uint32_t rank = first_ranks_[process]; rank < first_ranks_[process + 1]; ++rank) {
    const Rectangle& part = parts[rank];
    const size_t width = part.width(), rows = part.row_end - part.row_begin;
    if (width == 0 || begin + rows * width <= at) {
      begin += rows * width;
      continue;
    }
    for (size_t row = at > begin ? (at - begin) / width : 0; row < rows; ++row) {
      const size_t first = begin + row * width;
      if (first >= at + block.size()) break;
      const size_t from = std::max(first, at), to = std::min(first + width, at + block.size());
      std::byte* own = data + (part.row_begin + row) * stride + part.byte_begin + (from - first);
      std::byte* packed = block.data() + (from - at);
      std::memcpy(pack ? packed : own, pack ? own : packed, to - from);
    }
    begin += rows * width;
  }
}

void StageLink::gather(std::byte* data, size_t stride, std::span<const Rectangle> parts) {
  if (!splits() || failed()) return;
  ALTLAS_CHECK(parts.size() == first_ranks_.back() && staging_ != nullptr, "a part of each rank");
  size_t longest = 0;
  for (uint32_t p = 0; p < processes(); ++p)
    longest = std::max(longest, packed_bytes(parts.subspan(first_ranks_[p],
                                                           first_ranks_[p + 1] - first_ranks_[p])));
  for (size_t at = 0; at < longest && !failed(); at += kBlockBytes) {
    const size_t bytes = std::min(kBlockBytes, longest - at);
    const auto block = [&](uint32_t process) {
      return std::span(staging_ + process * bytes, bytes);
    };
    copy_block(data, stride, parts, own_, at, block(own_), /*pack=*/true);
    gather_blocks({staging_, processes() * bytes});
    if (failed()) return;
    for (uint32_t p = 0; p < processes(); ++p)
      if (p != own_) copy_block(data, stride, parts, p, at, block(p), /*pack=*/false);
  }
}

void StageLink::gather_blocks(std::span<std::byte> all) {
  if (!splits() || failed()) return;
  const size_t bytes = all.size() / processes();
  check(options_.ranks->all_gather(collective::ElementType::kU8, all.subspan(own_ * bytes, bytes),
                                   all),
        "ranks of one stage");
}

// Sums of integers keep the bits of what is added to zeros.
void StageLink::merge(std::span<std::byte> values) {
  if (!splits() || failed()) return;
  check(options_.ranks->all_reduce(collective::ElementType::kU32, collective::ReduceOp::kSum,
                                   values, values, collective::Algorithm::kFixed),
        "ranks of one stage");
}

bool StageLink::all(bool ready) {
  if (!splits()) return ready;
  if (failed()) return false;
  int8_t least = ready ? 1 : 0;
  const std::span<std::byte> value(reinterpret_cast<std::byte*>(&least), 1);
  check(options_.ranks->all_reduce(collective::ElementType::kI8, collective::ReduceOp::kMin, value,
                                   value, collective::Algorithm::kFixed),
        "ranks of one stage");
  return !failed() && least == 1;
}

void StageLink::receive(std::span<std::byte> rows) {
  if (failed()) return;
  check(options_.before->receive(collective::ElementType::kU8, rows, 0), "stages");
}

void StageLink::send(std::span<const std::byte> rows) {
  for (int to = 1; to < options_.behind->size() && !failed(); ++to)
    check(options_.behind->send(collective::ElementType::kU8, rows, to), "stages");
}

void StageLink::check(const Result<void>& result, const char* between) {
  if (result.ok()) return;
  {
    const std::scoped_lock lock(mutex_);
    if (!failure_)
      failure_ =
          Error(result.error().code(),
                fmt::format("between {} (here worker {}; the stage's workers are {}): {}", between,
                            options_.worker, fmt::join(names_, ", "), result.error().message()));
  }
  failed_.store(true, std::memory_order_release);
  abort(result.error().message());
}

Result<void> StageLink::failure() const {
  const std::scoped_lock lock(mutex_);
  if (failure_) return *failure_;
  return {};
}

void StageLink::abort(const std::string& why) {
  for (const auto& group : {options_.ranks, options_.before, options_.behind})
    if (group) group->abort(why);
}

}  // namespace altlas::model
