#include "server/http/http.h"

#include <algorithm>

namespace altlas::server {

void Disconnect::on_disconnect(std::function<void()> callback) {
  std::function<void()> first;
  {
    const std::lock_guard lock(mutex_);
    if (!fired_) {
      callbacks_.push_back(std::move(callback));
      first = std::exchange(on_first_, nullptr);
      callback = nullptr;
    }
  }
  if (callback) return callback();
  if (first) first();
}

void Disconnect::fire() {
  std::vector<std::function<void()>> callbacks;
  {
    const std::lock_guard lock(mutex_);
    if (fired_) return;
    fired_ = true;
    callbacks.swap(callbacks_);
  }
  for (const auto& callback : callbacks) callback();
}

bool Disconnect::fired() const {
  const std::lock_guard lock(mutex_);
  return fired_;
}

std::string_view Request::parameter(std::string_view name) const {
  const auto found =
      std::ranges::find(parameters, name, &std::pair<std::string, std::string>::first);
  return found == parameters.end() ? std::string_view() : std::string_view(found->second);
}

std::optional<std::string> Request::query_value(std::string_view name) const {
  const auto found = std::ranges::find(query, name, &std::pair<std::string, std::string>::first);
  if (found == query.end()) return std::nullopt;
  return found->second;
}

}  // namespace altlas::server
