// altlas memory: the ledger that a load would make, rank by rank, and what would fit where it does
// not; with --train what training would take.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <memory>

#include "base/units.h"
#include "cli/command.h"
#include "cli/local_engine.h"
#include "cli/memory_training.h"
#include "cli/model_checks.h"
#include "cli/terminal.h"
#include "config/names.h"
#include "control/setup.h"
#include "engine/load.h"

namespace altlas::cli {
namespace {

struct MemoryOptions {
  SettingFlags settings;
  bool json = false;
  bool train = false;
  TrainingFlags training;
};

struct Ask {
  engine::LoadReplica load;
  std::vector<control::DeviceSetup> devices;
};

Result<Ask> read_ask(const SettingFlags& flags) {
  ALTLAS_TRY(const config::Loaded loaded, load_config(flags));
  ALTLAS_TRY_VOID(apply_simd(loaded.config));
  Ask out;
  ALTLAS_TRY(out.devices, make_devices(loaded.config));
  ALTLAS_TRY(out.load, make_load(loaded.config.engine, out.devices));
  out.load.sequences_max = control::load_of(loaded.config.engine).sequences_max;  // As serve.
  const config::ModelConfig* entry = find_model(loaded.config, flags.model);
  ALTLAS_TRY(out.load.model_path, model_file(entry == nullptr ? flags.model : entry->path));
  ALTLAS_TRY_VOID(check_dtype(loaded.config.engine.dtype, out.load.model_path));
  if (const std::string& draft = loaded.config.engine.draft_model; !draft.empty()) {
    ALTLAS_TRY(out.load.draft_model_path, model_file(draft));
  }
  return out;
}

uint64_t kv_bytes(const engine::ReplicaLimits& limits, size_t rank) {
  uint64_t bytes = 0;
  for (size_t g = 0; g < limits.groups.size(); ++g)
    bytes += limits.groups[g].blocks * limits.ranks[rank].blocks[g];
  return bytes;
}

// "cpu:0".
std::string device_name(const control::DeviceSetup& device) {
  return fmt::format("{}:{}", device.kind, device.id.value);
}

uint64_t budget_of(const Ask& ask, size_t rank) {
  return static_cast<uint64_t>(static_cast<double>(ask.devices[rank].memory_total) *
                               ask.load.memory_utilization);
}

void print_json(const Ask& ask, const engine::ReplicaLimits& limits) {
  boost::json::array ranks;
  for (size_t r = 0; r < limits.ranks.size(); ++r)
    ranks.push_back(boost::json::object{{"device", device_name(ask.devices[r])},
                                        {"weight_bytes", limits.ranks[r].weights},
                                        {"activation_bytes", limits.ranks[r].activations},
                                        {"kv_bytes", kv_bytes(limits, r)},
                                        {"budget_bytes", budget_of(ask, r)}});
  fmt::print("{}\n", boost::json::serialize(
                         boost::json::object{{"fits", true},
                                             {"ranks", ranks},
                                             {"kv_tokens", limits.kv_tokens()},
                                             {"max_model_len", limits.model_len_max},
                                             {"max_sequences", limits.sequences_max},
                                             {"step_tokens_max", limits.step_tokens_max}}));
}

void print_table(const Ask& ask, const engine::ReplicaLimits& limits) {
  Table table({"RANK", "DEVICE", "WEIGHTS", "ACTIVATIONS", "KV", "TOTAL", "BUDGET", "FREE"});
  for (size_t r = 0; r < limits.ranks.size(); ++r) {
    const uint64_t kv = kv_bytes(limits, r), total = limits.ranks[r].fixed() + kv;
    const uint64_t budget = budget_of(ask, r);
    table.add({fmt::format("{}", r), device_name(ask.devices[r]),
               format_bytes(limits.ranks[r].weights), format_bytes(limits.ranks[r].activations),
               format_bytes(kv), format_bytes(total), format_bytes(budget),
               format_bytes(budget - std::min(budget, total))});
  }
  table.print();
  fmt::print("KV of {} tokens: {} sequences of the longest length, {} tokens; {} at once\n",
             limits.kv_tokens(), limits.kv_tokens() / std::max(1u, limits.model_len_max),
             limits.model_len_max, limits.sequences_max);
}

// A change of the flags that may make the model fit.
struct Change {
  std::string flags;
  engine::LoadReplica load;
};

std::vector<Change> changes_of(const Ask& ask) {
  std::vector<Change> out;
  const auto add = [&](std::string flags, auto&& change) {
    change(out.emplace_back(Change{std::move(flags), ask.load}).load);
  };
  for (uint32_t length = ask.load.model_len_max / 2; length >= 256; length /= 2)
    add(fmt::format("--max-model-len {}", length),
        [&](engine::LoadReplica& load) { load.model_len_max = length; });
  if (ask.load.kv_dtype != KvType::kQ8_0)
    add("--kv-dtype q8_0", [](engine::LoadReplica& load) { load.kv_dtype = KvType::kQ8_0; });
  for (const uint32_t tokens : {256u, 64u})
    if (ask.load.step_tokens_max == 0 || ask.load.step_tokens_max > tokens)
      add(fmt::format("--step-tokens-max {}", tokens),
          [&](engine::LoadReplica& load) { load.step_tokens_max = tokens; });
  if (ask.load.memory_utilization < 0.98)
    add("--gpu-memory-utilization 0.98",
        [](engine::LoadReplica& load) { load.memory_utilization = 0.98; });
  if (ask.load.ranks.size() > 1) return out;
  for (const uint32_t ranks : {2u, 4u, 8u}) {
    const bool there = ranks <= ask.devices.size();
    add(fmt::format("--tensor-parallel-size {}{}", ranks,
                    there ? "" : fmt::format(", on {} such devices", ranks)),
        [&](engine::LoadReplica& load) {
          load.tensor_parallel_size = ranks;
          load.ranks.resize(ranks, load.ranks.front());
        });
  }
  return out;
}

// The least memory of each device with which the load fits; 0: not even with 1 TiB.
uint64_t least_memory(const Ask& ask) {
  constexpr uint64_t kStep = uint64_t{16} << 20, kMost = uint64_t{1} << 40;
  uint64_t low = 0, high = kMost;
  if (!engine::plan_replica(ask.load, high).ok()) return 0;
  while (high - low > kStep) {
    const uint64_t middle = low + (high - low) / 2;
    (engine::plan_replica(ask.load, middle).ok() ? high : low) = middle;
  }
  return high;
}

// The changes with which the load fits; of several that differ by a number only the mildest.
std::vector<std::string> fitting_changes(const Ask& ask) {
  std::vector<std::string> out;
  std::string said;
  for (const Change& change : changes_of(ask)) {
    const std::string name = change.flags.substr(0, change.flags.find(' '));
    if (name == said || !engine::plan_replica(change.load).ok()) continue;
    said = name;
    out.push_back(change.flags);
  }
  return out;
}

int say_what_fits(const Ask& ask, const Error& error, bool json) {
  const uint64_t needed = least_memory(ask);
  if (needed == 0) return fail(error);  // Memory is not what is missing.
  const std::vector<std::string> changes = fitting_changes(ask);
  if (json)
    fmt::print("{}\n", boost::json::serialize(boost::json::object{
                           {"fits", false},
                           {"device_bytes_needed", needed},
                           {"fits_with", boost::json::array(changes.begin(), changes.end())}}));
  const int code = fail(error);
  fmt::print(stderr, "it would fit with\n  {} on each device, which has {}\n", format_bytes(needed),
             format_bytes(ask.devices.front().memory_total));
  for (const std::string& change : changes) fmt::print(stderr, "  {}\n", change);
  return code;
}

int run(const MemoryOptions& options) {
  if (options.train) return show_training(options.training, options.settings.model, options.json);
  const auto ask = read_ask(options.settings);
  if (!ask.ok()) return fail(ask.error());
  const auto limits = engine::plan_replica(ask->load);
  if (!limits.ok()) return say_what_fits(*ask, limits.error(), options.json);
  if (options.json)
    print_json(*ask, *limits);
  else
    print_table(*ask, *limits);
  return kExitOk;
}

}  // namespace

Run make_memory(CLI::App& app) {
  auto options = std::make_shared<MemoryOptions>();
  add_setting_flags(app, options->settings, FlagSet::kEngine);
  app.add_flag("--json", options->json, "Print JSON");
  app.add_flag("--train", options->train,
               "What training would take: predicted from the shape, technique by technique");
  add_training_flags(app, options->training);
  return [options] { return run(*options); };
}

}  // namespace altlas::cli
