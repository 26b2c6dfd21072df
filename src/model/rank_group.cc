#include "model/rank_group.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/units.h"

namespace altlas::model {

RankGroup::RankGroup(std::span<const uint32_t> team_sizes, std::shared_ptr<RankGroup> next,
                     uint32_t depth, std::shared_ptr<StageLink> link)
    : first_thread_(team_sizes.size() + 1),
      shards_(team_sizes.size()),
      taken_(team_sizes.size()),
      next_(std::move(next)),
      depth_(depth),
      link_(std::move(link)),
      barrier_(std::accumulate(team_sizes.begin(), team_sizes.end(), 0u)),
      leaders_(static_cast<uint32_t>(team_sizes.size())) {
  for (size_t r = 0; r < team_sizes.size(); ++r)
    first_thread_[r + 1] = first_thread_[r] + team_sizes[r];
}

bool RankGroup::all(uint32_t rank, bool ready) {
  if (size() == 1 && !splits()) return ready;
  if (!ready) refused_.fetch_add(1, std::memory_order_relaxed);
  leaders_.meet();
  const bool here = refused_.load(std::memory_order_relaxed) == 0;
  if (!splits()) return here;
  if (rank == 0 && !link_->all(here)) all_processes_ = false;
  leaders_.meet();
  return all_processes_;
}

RankGroup::~RankGroup() {
  for (uint32_t r = 0; workspace_ != nullptr && r < size(); ++r)
    if (!taken_[r]) ::munmap(workspace_ + r * part_bytes_, part_bytes_);
}

Result<device::Buffer> RankGroup::share_workspace(uint32_t rank, uint64_t bytes,
                                                  device::Device& device) {
  const std::scoped_lock lock(mutex_);
  if (workspace_ == nullptr) {
    const uint64_t all = bytes * size();
    void* mapped = ::mmap(nullptr, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED)
      return Error(ErrorCode::kDevice,
                   fmt::format("the host has no {} for activations", format_bytes(all)));
    ::madvise(mapped, all, MADV_HUGEPAGE);
    workspace_ = static_cast<std::byte*>(mapped);
    part_bytes_ = bytes;
  }
  ALTLAS_CHECK(bytes == part_bytes_, "all ranks share equal parts");
  ALTLAS_TRY(device::Buffer part,
             device.adopt("activations", workspace_ + rank * bytes, bytes, bytes));
  taken_[rank] = true;
  return part;
}

}  // namespace altlas::model
