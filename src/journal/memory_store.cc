#include <map>
#include <vector>

#include "journal/store.h"

namespace altlas::journal {
namespace {

class MemoryStore final : public Store {
 public:
  Result<void> append(std::span<const TaskEvent> events) override {
    for (const TaskEvent& event : events) {
      rows_of_[event.task].push_back(row_next_);
      events_.emplace_hint(events_.end(), row_next_++, event);
    }
    return {};
  }
  Result<void> replay(const std::function<Result<void>(TaskEvent)>& visit) override {
    for (const auto& [row, event] : events_) ALTLAS_TRY_VOID(visit(event));
    return {};
  }
  Result<void> forget(std::span<const TaskId> tasks) override {
    for (const TaskId& task : tasks) {
      const auto found = rows_of_.find(task);
      if (found == rows_of_.end()) continue;
      for (const uint64_t row : found->second) events_.erase(row);
      rows_of_.erase(found);
    }
    return {};
  }
  Result<void> put_value(std::string_view name, std::string_view value) override {
    values_[std::string(name)] = value;
    return {};
  }
  Result<std::string> get_value(std::string_view name) override {
    const auto found = values_.find(name);
    if (found == values_.end())
      return not_found("no value named '" + std::string(name) + "' in the journal");
    return found->second;
  }

 private:
  std::map<uint64_t, TaskEvent> events_;  // By row, which is the order of writing.
  std::map<TaskId, std::vector<uint64_t>> rows_of_;
  uint64_t row_next_ = 1;
  std::map<std::string, std::string, std::less<>> values_;
};

}  // namespace

std::unique_ptr<Store> open_memory_store() { return std::make_unique<MemoryStore>(); }

}  // namespace altlas::journal
