// ReplicaCore's LoRA adapters: which may be named, and which leave once no sequence has them.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "engine/replica_core.h"

namespace altlas::engine {

ReplicaCore::HeldAdapter* ReplicaCore::find_adapter(const std::string& name) {
  for (HeldAdapter& one : adapters_)
    if (one.name == name && one.state != HeldAdapter::State::kLeaving) return &one;
  return nullptr;
}

// Returns the adapter's id for SequenceRequest::adapter; 0 stands for none.
Result<uint32_t> ReplicaCore::adapter_id(const std::string& name) const {
  if (name.empty()) return 0u;
  std::string known;
  for (const HeldAdapter& one : adapters_) {
    if (one.state != HeldAdapter::State::kReady) continue;
    if (one.name == name) return one.id;
    known += (known.empty() ? "" : ", ") + one.name;
  }
  return invalid(fmt::format("there is no adapter '{}' here; there are: {}", name.substr(0, 100),
                             known.empty() ? "none" : known),
                 "model");
}

void ReplicaCore::say_adapter(std::string name, uint64_t load, const Result<uint64_t>& bytes) {
  AdapterLoaded said{std::move(name), 0, "", ErrorCode::kInternal, load};
  if (bytes.ok()) {
    said.bytes = *bytes;
  } else {
    said.message = bytes.error().message();
    said.code = bytes.error().code();
  }
  reports_.push_back(std::move(said));
}

void ReplicaCore::load_adapter(LoadAdapter command) {
  AdapterFile& file = command.adapter;
  Result<void> outcome;
  if (find_adapter(file.name) != nullptr)
    outcome = Error(ErrorCode::kConflict, fmt::format("adapter '{}' is loaded already", file.name));
  else if (adapters_.size() >= kAdaptersMax)
    outcome = Error(ErrorCode::kBusy,
                    fmt::format("{} adapters are loaded, no more are possible", adapters_.size()));
  if (!outcome.ok()) return say_adapter(std::move(file.name), command.load, outcome.error());
  adapter_jobs_.push_back({next_adapter_, std::move(file.path)});
  adapters_.push_back({HeldAdapter::State::kReading, next_adapter_++, std::move(file.name), 0,
                       false, command.load});
}

void ReplicaCore::adapter_read(uint32_t id, const Result<uint64_t>& bytes) {
  const auto held = std::ranges::find(adapters_, id, &HeldAdapter::id);
  ALTLAS_CHECK(held != adapters_.end(), "what is being read is known");
  const bool wanted = held->state == HeldAdapter::State::kReading;
  if (bytes.ok() && wanted) {
    held->state = HeldAdapter::State::kReady;
    held->bytes = *bytes;
    return say_adapter(held->name, held->load, *bytes);
  }
  const Error canceled(ErrorCode::kCanceled, "it was unloaded while it was read");
  say_adapter(held->name, held->load, bytes.ok() ? canceled : bytes.error());
  dropped_adapters_.push_back(id);
  adapters_.erase(held);
}

void ReplicaCore::unload_adapter(const std::string& name) {
  HeldAdapter* held = find_adapter(name);
  if (held == nullptr) return;
  held->reading = held->state == HeldAdapter::State::kReading;
  held->state = HeldAdapter::State::kLeaving;
}

std::vector<std::string> ReplicaCore::adapters() const {
  std::vector<std::string> out;
  for (const HeldAdapter& one : adapters_)
    if (one.state != HeldAdapter::State::kReading) out.push_back(one.name);
  return out;
}

bool ReplicaCore::reads_adapter() const {
  return std::ranges::any_of(adapters_, [](const HeldAdapter& one) {
    return one.reading || one.state == HeldAdapter::State::kReading;
  });
}

std::vector<AdapterJob> ReplicaCore::take_adapter_jobs() {
  return std::exchange(adapter_jobs_, {});
}

std::vector<uint32_t> ReplicaCore::take_dropped_adapters() {
  std::erase_if(adapters_, [&](const HeldAdapter& one) {
    if (one.state != HeldAdapter::State::kLeaving || one.reading) return false;
    for (const auto& [id, live] : live_)
      if (live.adapter == one.id) return false;
    for (const auto& [order, held] : held_)
      if (held.adapter == one.id) return false;
    dropped_adapters_.push_back(one.id);
    return true;
  });
  return std::exchange(dropped_adapters_, {});
}

}  // namespace altlas::engine
