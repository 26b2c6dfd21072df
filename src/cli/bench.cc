// altlas bench engine: speeds of the CPU engine beside what the machine can do.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json.hpp>
#include <memory>
#include <span>

#include "base/log.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/engine_speed.h"
#include "cli/setup.h"
#include "cli/terminal.h"
#include "device/probe.h"
#include "device/spec.h"
#include "engine/cpu_executor.h"
#include "model/model_file.h"
#include "model/random_model.h"
#include "ops/simd.h"
#include "text/json_text.h"

namespace altlas::cli {
namespace {

namespace json = boost::json;

constexpr uint64_t kRoofBytes = uint64_t{256} << 20;  // More than caches hold.
constexpr uint32_t kContextDefault = 4096;

struct Options {
  SettingFlags settings;
  EngineBenchOptions bench;
  std::string random_weights;
  std::string quant = "q4_k";
  std::vector<std::string> samplings;
  bool context_given = false;
  bool random_given = false;
  bool quant_given = false;
  bool roofs = true;
  bool ops = false;
  bool json = false;
};

// A model to measure: a file, or random weights that live as long as this object.
struct Model {
  std::string name, path;
  std::unique_ptr<model::RandomModel> random;
};

Result<Model> find_model(const Options& options, uint32_t threads, ProgressBar& bar) {
  Model out;
  if (!options.random_given) {
    if (options.quant_given)
      return invalid("--quant: it is the type of --random-weights; files have their own");
    ALTLAS_TRY(out.path, model_file(options.settings.model));
    out.name = options.settings.model.empty() ? std::string(weights::kDefaultModel)
                                              : options.settings.model;
    return out;
  }
  if (!options.settings.model.empty())
    return invalid("--random-weights: it takes the place of --model; give one of them");
  ALTLAS_TRY(const DType type, model::parse_weight_type(options.quant));
  auto made = model::RandomModel::make(
      options.random_weights, type, device::probe_machine().memory_available, threads,
      [&](double part) { bar.update_fraction("random weights", part); });
  if (!made.ok()) return made.error();
  out.random = std::make_unique<model::RandomModel>(std::move(*made));
  out.path = out.random->path();
  out.name = options.random_weights + " " + options.quant + " random";
  return out;
}

// Fits the lengths to the model's context where the user did not ask for them.
Result<void> fit_context(const std::string& path, bool given, EngineBenchOptions& bench) {
  ALTLAS_TRY(const model::ModelFile file, model::ModelFile::open(path));
  const uint32_t most = file.config().context_length;
  if (!given && bench.context + bench.tokens > most)
    bench.context = most > bench.tokens ? most - bench.tokens : 0;
  if (bench.length_max() > most)
    return invalid(
        fmt::format("--context, --prefill or --tokens: {} tokens are needed, this model's context "
                    "is {}",
                    bench.length_max(), most));
  return {};
}

engine::CpuRankOptions rank_options(const config::EngineConfig& config,
                                    const device::DeviceSpec& device, const std::string& path,
                                    const EngineBenchOptions& bench, model::OpTimes& times) {
  engine::CpuRankOptions rank;
  rank.device = device;
  rank.load.model_path = path;
  rank.load.model_len_max = bench.length_max();
  rank.load.sequences_max = bench.sequences_max();
  rank.load.step_tokens_max = static_cast<uint32_t>(config.step_tokens_max);
  rank.load.kv_tokens_max = bench.kv_tokens();
  rank.load.memory_utilization = config.gpu_memory_utilization;
  rank.load.kv_dtype = config.kv_dtype;
  rank.load.panels.folder = repack_folder(config);
  rank.load.times = &times;
  return rank;
}

// Refuses settings that the bench does not read: the figures would be the same without them.
Result<void> check_settings(const SettingFlags& settings) {
  constexpr std::string_view kRead[] = {"engine.devices", "engine.step_tokens_max",
                                        "engine.kv_dtype", "engine.gpu_memory_utilization",
                                        "engine.simd"};
  for (const config::Flag& flag : settings.flags)
    if (std::ranges::find(kRead, flag.path) == std::end(kRead))
      return invalid(
          fmt::format("{}: bench engine computes without it; leave it out", flag.spelling));
  return {};
}

Result<void> check_kv(const engine::ReplicaLimits& limits, const EngineBenchOptions& bench) {
  for (const kv::GroupSpec& group : limits.groups)
    if (const uint64_t there = uint64_t{group.blocks} * limits.block_tokens;
        there < bench.kv_tokens())
      return Error(ErrorCode::kTooLarge,
                   fmt::format("--batches, --context or --tokens: the KV cache needs room for {} "
                               "tokens, the device's memory holds {}",
                               bench.kv_tokens(), there));
  return {};
}

// Returns "12.3 GB/s" or "456.7 GMAC/s", or "" if nothing was measured.
std::string rate(double amount, double seconds, std::string_view unit) {
  if (amount <= 0 || seconds <= 0) return "";
  return fmt::format("{:.1f} G{}/s", amount / seconds / 1e9, unit);
}

void print_ops(const EngineWork& work) {
  double total = 0;
  for (const auto& op : work.times.ops) total += static_cast<double>(op.ns) * 1e-9;
  Table table({fmt::format("{}: {} tokens", work.name, work.tokens), "MS", "SHARE", "WEIGHTS/S",
               "PRODUCTS/S"});
  for (size_t i = 0; i < model::kOpCount; ++i) {
    const auto& op = work.times.ops[i];
    const double seconds = static_cast<double>(op.ns) * 1e-9;
    table.add({std::string(model::kOpNames[i]),
               fmt::format("{:.3f}", seconds * 1e3 / static_cast<double>(work.seconds.size())),
               fmt::format("{:.1f} %", total > 0 ? 100 * seconds / total : 0),
               rate(static_cast<double>(op.weight_bytes), seconds, "B"),
               op.float_products > 0
                   ? rate(static_cast<double>(op.float_products), seconds, "MAC") + " float"
                   : rate(static_cast<double>(op.products), seconds, "MAC")});
  }
  fmt::print("\n");
  table.print();
}

void print_text(const std::string& name, const device::DeviceSpec& device, bool ops,
                const EngineFigures& figures) {
  const Roofs& roofs = figures.roofs;
  fmt::print("model {}\nsimd {}, {} thread{}\n", name, ops::to_string(ops::simd_target()),
             device.threads, device.threads == 1 ? "" : "s");
  if (roofs.read_bytes_per_s > 0)
    fmt::print("roofs: read {:.1f} GB/s, int8 {:.0f} GMAC/s, float {:.0f} GMAC/s\n\n",
               roofs.read_bytes_per_s / 1e9, roofs.int8_macs_per_s / 1e9,
               roofs.float_macs_per_s / 1e9);
  Table table({"WORK", "TOKENS/S", "BEST", "READ/S", "PRODUCTS/S", "OF ROOF"});
  for (const EngineWork& work : figures.works) {
    const double best = work.tokens / work.best_tokens_per_s();
    const RoofShare share = share_of_roof(work, figures.round_roofs);
    table.add({work.name, fmt::format("{:.1f}", work.median_tokens_per_s()),
               fmt::format("{:.1f}", work.best_tokens_per_s()), rate(work.bytes(), best, "B"),
               rate(work.products(), best, "MAC"),
               share.share > 0 ? fmt::format("{:.0f} % of {}", 100 * share.share, share.bound)
                               : std::string()});
  }
  table.print();
  if (!ops) return;
  for (const EngineWork& work : figures.works) print_ops(work);
}

json::object ops_json(const EngineWork& work) {
  json::object out;
  const auto rounds = static_cast<double>(work.seconds.size());
  for (size_t i = 0; i < model::kOpCount; ++i) {
    const auto& op = work.times.ops[i];
    out[model::kOpNames[i]] =
        json::object{{"seconds", static_cast<double>(op.ns) * 1e-9 / rounds},
                     {"weight_bytes", static_cast<double>(op.weight_bytes) / rounds},
                     {"products", static_cast<double>(op.products) / rounds},
                     {"float_products", static_cast<double>(op.float_products) / rounds}};
  }
  return out;
}

void print_json(const std::string& name, const device::DeviceSpec& device, bool ops,
                const EngineFigures& figures) {
  json::object out{{"model", name},
                   {"simd", ops::to_string(ops::simd_target())},
                   {"threads", device.threads},
                   {"roofs", json::object{{"read_bytes_per_s", figures.roofs.read_bytes_per_s},
                                          {"int8_macs_per_s", figures.roofs.int8_macs_per_s},
                                          {"float_macs_per_s", figures.roofs.float_macs_per_s}}}};
  json::array works;
  for (const EngineWork& work : figures.works) {
    const RoofShare share = share_of_roof(work, figures.round_roofs);
    json::object one{{"name", work.name},
                     {"tokens", work.tokens},
                     {"tokens_per_s", work.median_tokens_per_s()},
                     {"tokens_per_s_best", work.best_tokens_per_s()},
                     {"bytes", work.bytes()},
                     {"products", work.products()},
                     {"roof_share", share.share},
                     {"bound", share.bound}};
    if (ops) one["ops"] = ops_json(work);
    works.push_back(std::move(one));
  }
  out["works"] = std::move(works);
  fmt::print("{}\n", text::json_text(out));
}

Result<void> measure(const Options& options) {
  ALTLAS_TRY_VOID(check_settings(options.settings));
  ALTLAS_TRY(const config::Loaded loaded, load_config(options.settings));
  log::set_level(log::Level::kWarn);
  ALTLAS_TRY_VOID(apply_simd(loaded.config));
  warn_of_simd();
  ALTLAS_TRY(const auto setups, make_devices(loaded.config));
  ALTLAS_TRY(const auto devices,
             device::parse_device_spec(setups.front().spec, device::probe_machine()));
  const device::DeviceSpec& device = devices.front();
  if (device.kind != device::DeviceKind::kCpu)
    return Error(ErrorCode::kUnsupported,
                 "--devices: only cpu devices are measured: give cpu:1:THREADS");
  if (setups.size() > 1)
    return Error(ErrorCode::kUnsupported,
                 fmt::format("--devices: one device is measured, not {}: give cpu:1:THREADS",
                             setups.size()));
  ProgressBar bar("bench");
  EngineBenchOptions bench = options.bench;
  if (!options.samplings.empty()) bench.samplings.clear();
  for (const std::string& text : options.samplings) {
    ALTLAS_TRY(bench.samplings.emplace_back(), parse_bench_sampling(text));
  }
  ALTLAS_TRY(Model model, find_model(options, device.threads, bar));
  ALTLAS_TRY_VOID(fit_context(model.path, options.context_given, bench));
  model::OpTimes times;
  ALTLAS_TRY(const auto executor,
             engine::CpuExecutor::open(
                 {rank_options(loaded.config.engine, device, model.path, bench, times)}, 1,
                 [&](std::string_view phase, double part) { bar.update_fraction(phase, part); }));
  ALTLAS_TRY_VOID(check_kv(executor->limits(), bench));
  model.random.reset();  // The engine holds packed copies of the random weights.
  RoofMeter meter(device.threads, device.cpu_first, options.roofs ? kRoofBytes : 0);
  ALTLAS_TRY(const EngineFigures figures,
             bench_engine(*executor, times, meter, bench, [&](std::string_view what, double part) {
               bar.update_fraction(what, part);
             }));
  bar.finish();
  if (options.json)
    print_json(model.name, device, options.ops, figures);
  else
    print_text(model.name, device, options.ops, figures);
  return {};
}

int run(const Options& options) {
  const Result<void> measured = measure(options);
  return measured.ok() ? kExitOk : fail(measured.error());
}

// The settings that the help lists; check_settings() refuses others with a reason.
constexpr std::string_view kShown[] = {"--config",   "--model",
                                       "--devices",  "--max-num-batched-tokens",
                                       "--kv-dtype", "--gpu-memory-utilization",
                                       "--simd"};

void add_options(CLI::App& app, Options& out) {
  EngineBenchOptions& bench = out.bench;
  app.add_option("--prefill", bench.prefill, "Prompt tokens (default 512)")
      ->check(CLI::Range(1u, 1u << 20));
  app.add_option("--batches", bench.batches, "Sequences that decode together (default 1,4,16)")
      ->delimiter(',')
      ->expected(1, 16)
      ->check(CLI::Range(1u, 1024u));
  app.add_option("--context", bench.context,
                 fmt::format("Tokens before the long decode; 0: none (default {}, at most what the "
                             "model takes)",
                             kContextDefault))
      ->check(CLI::Range(0u, 1u << 24));
  app.add_option("--tokens", bench.tokens, "Tokens that each sequence decodes (default 64)")
      ->check(CLI::Range(1u, 65536u));
  app.add_option("--rounds", bench.rounds, "Every work is measured so often (default 3)")
      ->check(CLI::Range(1u, 1000u));
  app.add_option("--sampling", out.samplings,
                 "How decoding sequences choose tokens: greedy (default), or fields of a request, "
                 "as temperature=0.8,top_p=0.95; several, in words of their own, are measured in "
                 "turn")
      ->expected(1, 16);
  std::string names;
  for (const std::string_view name : model::random_model_names())
    names += (names.empty() ? "" : ", ") + std::string(name);
  app.add_option("--random-weights", out.random_weights,
                 "Instead of a model, random weights of this shape: " + names);
  app.add_option("--quant", out.quant, "Type of random weights (default q4_k)");
  app.add_option("--roofs", out.roofs, "off leaves the machine's roofs out (default on)");
  app.add_flag("--ops", out.ops, "Show what each operation takes");
  app.add_flag("--json", out.json, "Print JSON");
  const size_t own = app.get_options().size();
  add_setting_flags(app, out.settings, FlagSet::kEngine);
  const auto all = app.get_options();
  for (CLI::Option* option : std::span(all).subspan(own))
    if (std::ranges::find(kShown, option->get_name()) == std::end(kShown)) option->group("");
}

}  // namespace

Run make_bench(CLI::App& app) {
  app.require_subcommand(1);
  auto options = std::make_shared<Options>();
  CLI::App* engine = app.add_subcommand(
      "engine", "Tokens per second of the CPU engine, beside the machine's roofs");
  add_options(*engine, *options);
  return [options, engine] {
    options->context_given = engine->count("--context") > 0;
    options->random_given = engine->count("--random-weights") > 0;
    options->quant_given = engine->count("--quant") > 0;
    return run(*options);
  };
}

}  // namespace altlas::cli
