#include "journal/commit_group.h"

#include <iterator>
#include <utility>

namespace altlas::journal {

bool CommitGroup::add(WriteRequest& request) {
  if (count_ > 0 && events_.size() + request.events.size() > events_max_) return false;
  ++count_;
  events_.insert(events_.end(), std::make_move_iterator(request.events.begin()),
                 std::make_move_iterator(request.events.end()));
  forgotten_.insert(forgotten_.end(), request.forgotten.begin(), request.forgotten.end());
  if (!request.name.empty()) values_[request.name] = std::move(request.value);
  return true;
}

CommitGroup::Outcome CommitGroup::write(Store& store) const {
  Outcome out;
  if (!events_.empty()) out.appended = store.append(events_);
  if (!forgotten_.empty()) out.forgot = store.forget(forgotten_);
  for (const auto& [name, value] : values_)
    if (out.valued.ok()) out.valued = store.put_value(name, value);
  return out;
}

}  // namespace altlas::journal
