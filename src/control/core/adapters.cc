#include "control/core/adapters.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "control/core/saved_part.h"

namespace altlas::control {

Adapters::Adapters(const CoreSetup& setup, Fleet& fleet) : fleet_(fleet) {
  for (const DeploymentSetup& one : setup.deployments) {
    OfDeployment& added = by_deployment_.emplace_back();
    added.started = one.load.adapters;
    for (const engine::AdapterFile& file : one.load.adapters) {
      added.adapters.emplace_back().file = file;
      added.adapters.back().load = ++loads_;
    }
  }
}

const DeploymentAdapter* Adapters::find(uint32_t deployment, std::string_view name) const {
  for (const DeploymentAdapter& one : by_deployment_[deployment].adapters)
    if (one.file.name == name) return &one;
  return nullptr;
}

DeploymentAdapter* Adapters::find(uint32_t deployment, std::string_view name) {
  for (DeploymentAdapter& one : by_deployment_[deployment].adapters)
    if (one.file.name == name) return &one;
  return nullptr;
}

Result<void> Adapters::check(uint32_t deployment, const std::string& name) const {
  if (name.empty()) return {};
  const DeploymentAdapter* adapter = find(deployment, name);
  if (adapter != nullptr && adapter->state == DeploymentAdapter::State::kReady) return {};
  return not_found(fmt::format("model: adapter '{}' is not loaded", name)).with_field("model");
}

bool Adapters::slot_has(uint32_t slot, std::string_view name) const {
  const DeploymentAdapter* adapter = find(fleet_.slot(slot).deployment, name);
  return adapter != nullptr && adapter->held.contains(slot);
}

std::vector<std::string> Adapters::ready(uint32_t deployment) const {
  std::vector<std::string> out;
  for (const DeploymentAdapter& adapter : by_deployment_[deployment].adapters)
    if (adapter.state == DeploymentAdapter::State::kReady) out.push_back(adapter.file.name);
  return out;
}

void Adapters::count_task(uint32_t deployment, const std::string& name, bool more) {
  if (name.empty()) return;
  auto& counts = by_deployment_[deployment].tasks;
  if (more) {
    ++counts[name];
  } else if (--counts.at(name) == 0) {
    counts.erase(name);
    idle_.emplace(deployment, name);
  }
}

void Adapters::load(uint32_t deployment, AdapterLoadRequested& event, Step& step) {
  const auto refuse = [&](Error error) {
    step.out.push_back(AnswerChange{event.ticket, std::move(error)});
  };
  const DeploymentSetup& setup = fleet_.deployment(deployment).setup;
  std::vector<DeploymentAdapter>& adapters = by_deployment_[deployment].adapters;
  if (const DeploymentAdapter* known = find(deployment, event.adapter.name))
    return refuse(
        Error(known->state == DeploymentAdapter::State::kReady ? ErrorCode::kInvalid
                                                               : ErrorCode::kConflict,
              fmt::format("lora_name: adapter '{}' {}: unload it first, or take another "
                          "name",
                          event.adapter.name,
                          known->state == DeploymentAdapter::State::kReady     ? "is loaded already"
                          : known->state == DeploymentAdapter::State::kLoading ? "is being loaded"
                                                                               : "is leaving"))
            .with_field("lora_name"));
  if (adapters.size() >= setup.adapters_max)
    return refuse(invalid(
        fmt::format("{} adapters are loaded, engine.max_loras is {}: unload one, or raise it",
                    adapters.size(), setup.adapters_max)));
  DeploymentAdapter adapter;
  adapter.state = DeploymentAdapter::State::kLoading;
  adapter.file = event.adapter;
  adapter.load = ++loads_;
  adapter.tickets.push_back(event.ticket);
  for (const uint32_t slot : fleet_.deployment(deployment).slots) {
    if (fleet_.slot(slot).state != ReplicaState::kRunning) continue;
    adapter.asked.insert(slot);
    step.out.push_back(
        SendCommand{fleet_.slot(slot).leader(), engine::LoadAdapter{event.adapter, adapter.load}});
  }
  if (adapter.asked.empty())
    return refuse(unavailable(fmt::format("no replica of '{}' is running", setup.name)));
  adapters.push_back(std::move(adapter));
}

void Adapters::unload(uint32_t deployment, AdapterUnloadRequested& event, Step& step) {
  DeploymentAdapter* adapter = find(deployment, event.name);
  Result<void> refused;
  if (adapter == nullptr)
    refused = not_found(fmt::format("lora_name: adapter '{}' is not loaded", event.name))
                  .with_field("lora_name");
  else if (adapter->state == DeploymentAdapter::State::kLoading)
    refused = Error(ErrorCode::kConflict,
                    fmt::format("lora_name: adapter '{}' is being loaded", event.name))
                  .with_field("lora_name");
  if (!refused.ok()) {
    step.out.push_back(AnswerChange{event.ticket, std::move(refused)});
    return;
  }
  adapter->state = DeploymentAdapter::State::kLeaving;
  adapter->tickets.push_back(event.ticket);
  conclude(deployment, event.name, step);
}

void Adapters::answer_all(const Error& why, Step& step) {
  for (OfDeployment& one : by_deployment_)
    for (DeploymentAdapter& adapter : one.adapters) answer(adapter, why, step);
}

void Adapters::answer(DeploymentAdapter& adapter, const Result<void>& outcome, Step& step) {
  for (const uint64_t ticket : std::exchange(adapter.tickets, {}))
    step.out.push_back(AnswerChange{ticket, outcome});
}

std::vector<engine::AdapterFile> Adapters::start(uint32_t slot) {
  std::vector<std::string>& names = started_with_[slot];
  names.clear();
  const auto& files = by_deployment_[fleet_.slot(slot).deployment].started;
  for (const engine::AdapterFile& file : files) names.push_back(file.name);
  return files;
}

// A replica that has loaded holds the adapters it was started with, and is sent the others.
void Adapters::replica_loaded(uint32_t index, Step& step) {
  const ReplicaSlot& slot = fleet_.slot(index);
  OfDeployment& one = by_deployment_[slot.deployment];
  for (const std::string& name : started_with_[index]) {
    DeploymentAdapter* adapter = find(slot.deployment, name);
    const bool own =
        adapter != nullptr &&
        std::ranges::find(one.started, name, &engine::AdapterFile::name) != one.started.end();
    if (own)
      adapter->held[index] = 0;  // Its bytes count as part of the replica's weights.
    else
      step.out.push_back(SendCommand{slot.leader(), engine::UnloadAdapter{name}});
  }
  for (DeploymentAdapter& adapter : one.adapters) {
    if (adapter.held.contains(index)) continue;
    adapter.asked.insert(index);
    step.out.push_back(SendCommand{slot.leader(), engine::LoadAdapter{adapter.file, adapter.load}});
  }
}

bool Adapters::adapter_loaded(uint32_t index, engine::AdapterLoaded& report) {
  DeploymentAdapter* adapter = find(fleet_.slot(index).deployment, report.name);
  if (adapter == nullptr || adapter->load != report.load || adapter->asked.erase(index) == 0)
    return false;
  if (report.message.empty()) {
    adapter->held[index] = report.bytes;
    fleet_.add_weights(index, report.bytes);
  } else if (adapter->error.empty()) {
    adapter->error = std::move(report.message);
    adapter->error_code = report.code;
  }
  return true;
}

std::vector<std::string> Adapters::replica_lost(uint32_t index) {
  std::vector<std::string> out;
  for (DeploymentAdapter& adapter : by_deployment_[fleet_.slot(index).deployment].adapters) {
    const auto held = adapter.held.find(index);
    if (held != adapter.held.end()) {
      fleet_.drop_needed_weights(index, held->second);
      adapter.held.erase(held);
    }
    if (adapter.asked.erase(index) > 0) out.push_back(adapter.file.name);
  }
  return out;
}

std::optional<LostAdapter> Adapters::conclude(uint32_t deployment, const std::string& name,
                                              Step& step) {
  DeploymentAdapter& adapter = *find(deployment, name);
  if (adapter.state == DeploymentAdapter::State::kLeaving) {
    if (by_deployment_[deployment].tasks.contains(name)) return std::nullopt;
    answer(adapter, {}, step);
    remove(deployment, name, step);
    return std::nullopt;
  }
  if (!adapter.asked.empty()) return std::nullopt;
  const bool failed = !adapter.error.empty();
  if (adapter.state == DeploymentAdapter::State::kLoading) {
    if (!failed && !adapter.held.empty()) {
      adapter.state = DeploymentAdapter::State::kReady;
      answer(adapter, {}, step);
      return std::nullopt;
    }
    const Error why = failed ? Error(adapter.error_code, adapter.error)
                             : unavailable("its replicas were lost while they loaded it");
    answer(adapter, why, step);
    remove(deployment, name, step);
    return std::nullopt;
  }
  if (failed) return lose(deployment, name, step);
  return std::nullopt;
}

// Called when a restarted replica could not load the adapter again. An adapter that no replica
// holds or may still load is removed, and returned.
std::optional<LostAdapter> Adapters::lose(uint32_t deployment, const std::string& name,
                                          Step& step) {
  DeploymentAdapter& adapter = *find(deployment, name);
  LostAdapter lost{deployment, name, std::exchange(adapter.error, {})};
  step.out.push_back(
      LogWarning{fmt::format("adapter '{}' of '{}' could not be loaded again: {}", name,
                             fleet_.deployment(deployment).setup.name, lost.why)});
  if (!adapter.held.empty()) return std::nullopt;
  for (const uint32_t index : fleet_.deployment(deployment).slots) {
    const ReplicaSlot& slot = fleet_.slot(index);
    if (slot.wanted && !slot.given_up && slot.state != ReplicaState::kRunning) return std::nullopt;
  }
  remove(deployment, name, step);
  return lost;
}

void Adapters::remove(uint32_t deployment, const std::string& name, Step& step) {
  OfDeployment& one = by_deployment_[deployment];
  const auto adapter = std::ranges::find(
      one.adapters, name,
      [](const DeploymentAdapter& each) -> const std::string& { return each.file.name; });
  ALTLAS_CHECK(adapter != one.adapters.end(), "what is removed is there");
  for (const uint32_t slot : fleet_.deployment(deployment).slots) {
    const auto held = adapter->held.find(slot);
    if (held == adapter->held.end() && !adapter->asked.contains(slot)) continue;
    step.out.push_back(SendCommand{fleet_.slot(slot).leader(), engine::UnloadAdapter{name}});
    if (held != adapter->held.end()) fleet_.drop_weights(slot, held->second);
  }
  one.adapters.erase(adapter);
  std::erase_if(one.started, [&](const engine::AdapterFile& file) { return file.name == name; });
}

void Adapters::settle(Step& step) {
  for (const auto& [deployment, name] : std::exchange(idle_, {})) {
    const DeploymentAdapter* adapter = find(deployment, name);
    if (adapter != nullptr && adapter->state == DeploymentAdapter::State::kLeaving)
      conclude(deployment, name, step);
  }
}

void Adapters::check_integrity() const {
  for (uint32_t deployment = 0; deployment < by_deployment_.size(); ++deployment)
    for (const DeploymentAdapter& adapter : by_deployment_[deployment].adapters)
      for (const auto& [slot, bytes] : adapter.held)
        ALTLAS_CHECK(fleet_.slot(slot).deployment == deployment && !adapter.asked.contains(slot),
                     "a slot has the adapter or is asked for it, not both");
}

auto Adapters::saved(auto& self) {
  return std::tie(self.loads_, self.by_deployment_, self.started_with_, self.idle_);
}

std::string Adapters::save() const { return save_part("adapters", 2, saved(*this)); }

uint64_t Adapters::hash() const { return hash_of_saved(save()); }

Result<void> Adapters::load(std::string_view bytes) {
  return load_part("adapters", 2, bytes, saved(*this));
}

}  // namespace altlas::control
