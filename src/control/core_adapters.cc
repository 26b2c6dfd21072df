// Core, LoRA adapters at run time: every running replica of the deployment loads one, a replica
// that starts later loads it before it gets tasks that name it; one that leaves does so once its
// last task has ended.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "control/core.h"

namespace altlas::control {

Core::Adapter* Core::find_adapter(uint32_t deployment, std::string_view name) {
  for (Adapter& one : deployments_[deployment].adapters)
    if (one.file.name == name) return &one;
  return nullptr;
}

// Whether new tasks may name it.
Result<void> Core::check_adapter(uint32_t deployment, const std::string& name) {
  if (name.empty()) return {};
  const Adapter* adapter = find_adapter(deployment, name);
  if (adapter != nullptr && adapter->state == Adapter::State::kReady) return {};
  return not_found(fmt::format("model: adapter '{}' is not loaded", name)).with_field("model");
}

bool Core::holds_adapter(uint32_t slot, const std::string& name) const {
  for (const Adapter& one : deployments_[slots_[slot].deployment].adapters)
    if (one.file.name == name) return one.held.contains(slot);
  return false;
}

Result<uint32_t> Core::adapter_deployment(const std::string& name) const {
  if (stopping_ || draining_) return unavailable("the server is stopping");
  const auto deployment = find_deployment(name, "");
  if (!deployment) return not_found(fmt::format("there is no deployment '{}'", name));
  if (deployments_[*deployment].setup.model.empty())
    return invalid(fmt::format("deployment '{}' is not a model: it takes no adapters", name));
  return *deployment;
}

void Core::on(AdapterLoadRequested& event, Out& out) {
  const auto refuse = [&](Error error) {
    out.push_back(AnswerAdapter{event.ticket, std::move(error)});
  };
  const Result<uint32_t> found = adapter_deployment(event.deployment);
  if (!found.ok()) return refuse(found.error());
  Deployment& one = deployments_[*found];
  if (const Adapter* known = find_adapter(*found, event.adapter.name))
    return refuse(
        Error(known->state == Adapter::State::kReady ? ErrorCode::kInvalid : ErrorCode::kConflict,
              fmt::format("lora_name: adapter '{}' {}: unload it first, or take another "
                          "name",
                          event.adapter.name,
                          known->state == Adapter::State::kReady     ? "is loaded already"
                          : known->state == Adapter::State::kLoading ? "is being loaded"
                                                                     : "is leaving"))
            .with_field("lora_name"));
  if (one.adapters.size() >= one.setup.adapters_max)
    return refuse(invalid(
        fmt::format("{} adapters are loaded, engine.max_loras is {}: unload one, or raise it",
                    one.adapters.size(), one.setup.adapters_max)));
  Adapter adapter;
  adapter.state = Adapter::State::kLoading;
  adapter.file = event.adapter;
  adapter.tickets.push_back(event.ticket);
  for (const uint32_t slot : one.slots) {
    if (slots_[slot].state != ReplicaState::kRunning) continue;
    adapter.asked.insert(slot);
    out.push_back(SendCommand{slots_[slot].id, engine::LoadAdapter{event.adapter}});
  }
  if (adapter.asked.empty())
    return refuse(unavailable(fmt::format("no replica of '{}' is running", one.setup.name)));
  one.adapters.push_back(std::move(adapter));
}

void Core::on(AdapterUnloadRequested& event, Out& out) {
  const Result<uint32_t> found = adapter_deployment(event.deployment);
  Adapter* adapter = found.ok() ? find_adapter(*found, event.name) : nullptr;
  Result<void> refused;
  if (!found.ok())
    refused = found.error();
  else if (adapter == nullptr)
    refused = not_found(fmt::format("lora_name: adapter '{}' is not loaded", event.name))
                  .with_field("lora_name");
  else if (adapter->state == Adapter::State::kLoading)
    refused = Error(ErrorCode::kConflict,
                    fmt::format("lora_name: adapter '{}' is being loaded", event.name))
                  .with_field("lora_name");
  if (!refused.ok()) {
    out.push_back(AnswerAdapter{event.ticket, std::move(refused)});
    return;
  }
  adapter->state = Adapter::State::kLeaving;
  adapter->tickets.push_back(event.ticket);
  conclude_adapter(*found, event.name, out);
}

void Core::adapter_loaded(uint32_t index, engine::AdapterLoaded& report, Out& out) {
  Slot& slot = slots_[index];
  Adapter* adapter = find_adapter(slot.deployment, report.name);
  if (adapter == nullptr || adapter->asked.erase(index) == 0) return;
  if (report.message.empty()) {
    adapter->held[index] = report.bytes;
    slot.loaded.weight_bytes += report.bytes;
    if (slot.needs) slot.needs->weight_bytes += report.bytes;
    for (const uint32_t site : deployments_[slot.deployment].sites) dirty_sites_.insert(site);
    for (const DeviceId id : slot.devices) release_reservations(id);
  } else if (adapter->error.empty()) {
    adapter->error = std::move(report.message);
    adapter->error_code = report.code;
  }
  conclude_adapter(slot.deployment, report.name, out);
}

// A replica that has just been loaded: it has those that it was started with, and gets the others.
void Core::adapters_of_loaded(uint32_t index, Out& out) {
  Slot& slot = slots_[index];
  for (const std::string& name : slot.own_adapters) {
    Adapter* adapter = find_adapter(slot.deployment, name);
    const auto& started = deployments_[slot.deployment].setup.load.adapters;
    const bool own = adapter != nullptr &&
                     std::ranges::find(started, name, &engine::AdapterFile::name) != started.end();
    if (own)
      adapter->held[index] = 0;  // Counted in its weights.
    else
      out.push_back(SendCommand{slot.id, engine::UnloadAdapter{name}});
  }
  for (Adapter& adapter : deployments_[slot.deployment].adapters) {
    if (adapter.held.contains(index)) continue;
    adapter.asked.insert(index);
    out.push_back(SendCommand{slot.id, engine::LoadAdapter{adapter.file}});
  }
}

void Core::adapters_of_gone(uint32_t index, Out& out) {
  Slot& slot = slots_[index];
  std::vector<std::string> changed;
  for (Adapter& adapter : deployments_[slot.deployment].adapters) {
    const auto held = adapter.held.find(index);
    if (held != adapter.held.end()) {
      if (slot.needs) slot.needs->weight_bytes -= held->second;
      adapter.held.erase(held);
    }
    if (adapter.asked.erase(index) > 0) changed.push_back(adapter.file.name);
  }
  for (const std::string& name : changed) conclude_adapter(slot.deployment, name, out);
}

void Core::answer_adapter(Adapter& adapter, const Result<void>& outcome, Out& out) {
  for (const uint64_t ticket : std::exchange(adapter.tickets, {}))
    out.push_back(AnswerAdapter{ticket, outcome});
}

// Ends what the adapter is doing, if it can end now.
void Core::conclude_adapter(uint32_t deployment, const std::string& name, Out& out) {
  Adapter& adapter = *find_adapter(deployment, name);
  if (adapter.state == Adapter::State::kLeaving) {
    if (deployments_[deployment].adapter_tasks.contains(name)) return;
    answer_adapter(adapter, {}, out);
    return remove_adapter(deployment, name, out);
  }
  if (!adapter.asked.empty()) return;
  const bool failed = !adapter.error.empty();
  if (adapter.state == Adapter::State::kLoading) {
    if (!failed && !adapter.held.empty()) {
      adapter.state = Adapter::State::kReady;
      return answer_adapter(adapter, {}, out);
    }
    const Error why = failed ? Error(adapter.error_code, adapter.error)
                             : unavailable("its replicas were lost while they loaded it");
    answer_adapter(adapter, why, out);
    return remove_adapter(deployment, name, out);
  }
  if (failed) lose_adapter(deployment, name, out);
}

// A replica that restarted could not load it again.
void Core::lose_adapter(uint32_t deployment, const std::string& name, Out& out) {
  Adapter& adapter = *find_adapter(deployment, name);
  const std::string why = std::exchange(adapter.error, {});
  out.push_back(LogWarning{fmt::format("adapter '{}' of '{}' could not be loaded again: {}", name,
                                       deployments_[deployment].setup.name, why)});
  if (!adapter.held.empty()) return;
  for (const uint32_t slot : deployments_[deployment].slots)
    if (!slots_[slot].given_up && slots_[slot].state != ReplicaState::kRunning) return;
  std::vector<uint64_t> tasks;
  for (const uint32_t site : deployments_[deployment].sites)
    queue_.for_each(site, [&](uint64_t number) {
      if (tasks_.at(number).spec.adapter == name) tasks.push_back(number);
      return true;
    });
  remove_adapter(deployment, name, out);
  for (const uint64_t number : tasks)
    fail_task(at(number), ErrorCode::kUnavailable,
              fmt::format("adapter '{}' could not be loaded again: {}", name, why), out);
}

void Core::remove_adapter(uint32_t deployment, const std::string& name, Out& out) {
  Deployment& one = deployments_[deployment];
  const auto adapter = std::ranges::find(
      one.adapters, name, [](const Adapter& each) -> const std::string& { return each.file.name; });
  ALTLAS_CHECK(adapter != one.adapters.end(), "what is removed is there");
  for (const uint32_t index : one.slots) {
    Slot& slot = slots_[index];
    const auto held = adapter->held.find(index);
    if (held == adapter->held.end() && !adapter->asked.contains(index)) continue;
    out.push_back(SendCommand{slot.id, engine::UnloadAdapter{name}});
    if (held == adapter->held.end()) continue;
    slot.loaded.weight_bytes -= std::min(slot.loaded.weight_bytes, held->second);
    if (slot.needs) slot.needs->weight_bytes -= std::min(slot.needs->weight_bytes, held->second);
  }
  one.adapters.erase(adapter);
  std::erase_if(one.setup.load.adapters,
                [&](const engine::AdapterFile& file) { return file.name == name; });
}

void Core::count_adapter_task(const Task& task, bool more) {
  if (task.spec.adapter.empty()) return;
  const uint32_t deployment = sites_[task.site].deployment;
  auto& counts = deployments_[deployment].adapter_tasks;
  if (more) {
    ++counts[task.spec.adapter];
  } else if (--counts.at(task.spec.adapter) == 0) {
    counts.erase(task.spec.adapter);
    idle_adapters_.emplace(deployment, task.spec.adapter);
  }
}

// Adapters that wait for their last task to end.
void Core::settle_adapters(Out& out) {
  for (const auto& [deployment, name] : std::exchange(idle_adapters_, {})) {
    const Adapter* adapter = find_adapter(deployment, name);
    if (adapter != nullptr && adapter->state == Adapter::State::kLeaving)
      conclude_adapter(deployment, name, out);
  }
}

}  // namespace altlas::control
