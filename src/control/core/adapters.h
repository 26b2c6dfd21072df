// Adapters: LoRA adapters at run time. Every running replica of the deployment loads one, a replica
// that starts later loads it before it gets tasks that name it; one that leaves does so once its
// last task has ended.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "control/core/fleet.h"
#include "control/core/step.h"
#include "engine/messages.h"

namespace altlas::control {

// A LoRA adapter of a deployment.
struct DeploymentAdapter {
  enum class State : uint8_t { kLoading, kReady, kLeaving } state = State::kReady;
  engine::AdapterFile file;
  uint64_t load = 0;  // Its number: an answer to an earlier load of the name says another one.
  std::map<uint32_t, uint64_t> held;  // Slots that have it, and its bytes there.
  std::set<uint32_t> asked;           // Slots that were told to load it and have not answered.
  std::vector<uint64_t> tickets;      // Who waits for what it is doing.
  std::string error;                  // The error of the first slot that could not load it.
  ErrorCode error_code = ErrorCode::kInternal;
};

// An adapter that no replica could load again: it is gone, and nothing runs the tasks that name it.
struct LostAdapter {
  uint32_t deployment = 0;
  std::string name;
  std::string why;
};

// Threads: one. Deployments and slots are the fleet's indices.
class Adapters {
 public:
  Adapters(const CoreSetup& setup, Fleet& fleet);

  // Whether new tasks may name it; the empty name is the model itself.  Errors: kNotFound.
  Result<void> check(uint32_t deployment, const std::string& name) const;
  bool is_known(uint32_t deployment, std::string_view name) const {
    return find(deployment, name) != nullptr;
  }
  bool slot_has(uint32_t slot, std::string_view name) const;
  std::vector<std::string> ready(uint32_t deployment) const;

  // Unfinished tasks that name an adapter.
  void count_task(uint32_t deployment, const std::string& name, bool more);

  // An operator's requests; answered by AnswerChange.
  void load(uint32_t deployment, AdapterLoadRequested& event, Step& step);
  void unload(uint32_t deployment, AdapterUnloadRequested& event, Step& step);
  void answer_all(const Error& why, Step& step);

  // What a replica is started with, what it gets once it is loaded.
  std::vector<engine::AdapterFile> start(uint32_t slot);
  void replica_loaded(uint32_t slot, Step& step);
  // False: nobody asked that replica for it. Then conclude().
  bool adapter_loaded(uint32_t slot, engine::AdapterLoaded& report);
  // Names of the adapters that the lost replica was loading: conclude() each.
  std::vector<std::string> replica_lost(uint32_t slot);

  // Ends what the adapter is doing, if it can end now.
  std::optional<LostAdapter> conclude(uint32_t deployment, const std::string& name, Step& step);
  // The same for adapters whose last task has ended.
  void settle(Step& step);

  // Everything that decides, as bytes (saved_part.h), and the hash of these bytes.
  std::string save() const;
  uint64_t hash() const;
  // Into a part that was just made from the same setup.  Errors: kInvalid for bytes that are not
  // this part's, of another version, or damaged; the part is of no use then.
  Result<void> load(std::string_view bytes);
  void check_integrity() const;  // Aborts if something contradicts.

 private:
  static auto saved(auto& self);
  struct OfDeployment {
    std::vector<DeploymentAdapter> adapters;   // In the order of loading; few.
    std::map<std::string, uint32_t> tasks;     // Unfinished tasks by adapter.
    std::vector<engine::AdapterFile> started;  // What its replicas are started with.
  };
  const DeploymentAdapter* find(uint32_t deployment, std::string_view name) const;
  DeploymentAdapter* find(uint32_t deployment, std::string_view name);
  static void answer(DeploymentAdapter& adapter, const Result<void>& outcome, Step& step);
  std::optional<LostAdapter> lose(uint32_t deployment, const std::string& name, Step& step);
  void remove(uint32_t deployment, const std::string& name, Step& step);

  Fleet& fleet_;
  uint64_t loads_ = 0;  // Numbers given.
  std::vector<OfDeployment> by_deployment_;
  std::map<uint32_t, std::vector<std::string>> started_with_;  // Slot to names.
  std::set<std::pair<uint32_t, std::string>> idle_;            // Whose last task has ended.
};

}  // namespace altlas::control
