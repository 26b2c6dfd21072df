// altlas plan: which layout a model needs on devices and what it would give, and predictions for
// rows of measured points.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "base/units.h"
#include "cli/command.h"
#include "cli/plan_input.h"
#include "cli/terminal.h"
#include "plan/planner.h"
#include "plan/rows.h"

namespace altlas::cli {
namespace {

struct PlanOptions {
  std::string model;
  std::string rows;
  std::string devices = "sim:a100-80gb:8";
  std::string dtype = "auto";
  std::string engine = "vllm";
  plan::ServingLoad load{.concurrency = 16, .input_tokens = 1024, .output_tokens = 256};
  int32_t tensor = 0;
  int32_t pipeline = 0;
  int32_t expert = 0;
  double step_ms = -1;
  double request_ms = -1;
  bool json = false;
  bool explain = false;
};

constexpr std::string_view kExplanation =
    R"(strategy              what is divided   when                                difficulty
data parallelism      requests          fits one device, the load is high   low: independent copies
tensor parallelism    weight matrices   does not fit one device             medium: all-reduce
pipeline parallelism  layers            deep models, slow links             high: bubble
expert parallelism    experts           mixture-of-experts models           high: load balance

rule 1  fits one device   -> data parallelism: one replica per device
rule 2  needs 2 to 4      -> tensor parallelism of 2 or 4, replicas on the rest
rule 3  needs more        -> tensor parallelism inside a node x pipeline parallelism across
rule 4  experts           -> expert parallelism besides
)";

int predict_file(const PlanOptions& options) {
  const auto text = read_rows_file(options.rows);
  if (!text.ok()) return fail(text.error());
  plan::OverheadOverride overheads;
  if (options.step_ms >= 0) overheads.step_s = options.step_ms / 1e3;
  if (options.request_ms >= 0) overheads.request_s = options.request_ms / 1e3;
  const auto done = plan::predict_rows(*text, overheads, [](std::string_view row) {
    std::fwrite(row.data(), 1, row.size(), stdout);
  });
  if (done.ok()) return kExitOk;
  std::fflush(stdout);
  return fail(invalid(printable(options.rows) + ": " + done.error().message()));
}

Result<plan::PlanRequest> read_request(const PlanOptions& options) {
  ALTLAS_TRY(const PlanModel model, read_plan_model(options.model, options.dtype));
  ALTLAS_TRY(const PlanDevices devices, read_plan_devices(options.devices));
  ALTLAS_TRY(const plan::EngineModel engine, plan::engine_model(options.engine));
  return plan::PlanRequest{.shape = model.shape,
                           .weights = model.weights,
                           .device = devices.model,
                           .devices = devices.count,
                           .engine = engine,
                           .load = options.load,
                           .tensor = options.tensor,
                           .pipeline = options.pipeline,
                           .expert = options.expert};
}

boost::json::object to_json(const plan::Alternative& a) {
  const ParallelLayout& l = a.layout;
  boost::json::object out{
      {"tensor_parallel_size", l.tensor_parallel_size},
      {"pipeline_parallel_size", l.pipeline_parallel_size},
      {"expert_parallel_size", l.expert_parallel_size},
      {"num_replicas", a.replicas},
      {"devices", a.devices()},
      {"weight_bytes", static_cast<int64_t>(a.memory.weights)},
      {"activation_bytes", static_cast<int64_t>(a.memory.activations)},
      {"budget_bytes", static_cast<int64_t>(a.memory.budget)},
      {"kv_tokens", std::max<int64_t>(0, static_cast<int64_t>(a.memory.kv_tokens))},
      {"usd_per_hour", a.usd_per_hour},
      {"spot_usd_per_hour", a.spot_usd_per_hour}};
  if (!a.figures) {
    out["reason"] = a.reason;
    return out;
  }
  out["ttft_ms"] = a.figures->ttft_ms;
  out["tpot_ms"] = a.figures->tpot_ms;
  out["output_tokens_per_s"] = a.figures->output_tokens_per_s;
  out["usd_per_million_tokens"] = a.usd_per_million;
  out["spot_usd_per_million_tokens"] = a.spot_usd_per_million;
  return out;
}

void print_json(const plan::PlanRequest& request, const plan::Plan& plan) {
  boost::json::array alternatives;
  for (const plan::Alternative& a : plan.alternatives) alternatives.push_back(to_json(a));
  const boost::json::object out{{"rule", plan.decided},
                                {"devices_needed", plan.needed},
                                {"device_kind", std::string(request.device.kind.name)},
                                {"device_model_measured", request.device.measured()},
                                {"chosen", to_json(plan.alternatives[plan.chosen])},
                                {"alternatives", alternatives}};
  fmt::print("{}\n", boost::json::serialize(out));
}

void print_table(const plan::PlanRequest& request, const plan::Plan& plan) {
  const DeviceModel& device = request.device;
  fmt::print("{}: {:.1f} billion parameters in {} on {} x {}\nrule: {}\n",
             request.shape.name.empty() ? "the model" : request.shape.name,
             request.shape.parameters() / 1e9, request.weights.name, request.devices,
             device.kind.name, plan.decided);
  fmt::print("load: {} requests at once, {} tokens in, {} out, steps as {} plans them\n",
             request.load.concurrency, request.load.input_tokens, request.load.output_tokens,
             request.engine.name);
  if (!device.measured())
    fmt::print("{}: peaks of its data sheet, efficiencies of {}\n", device.kind.name,
               device.fitted_on);
  Table table({"", "LAYOUT", "REPLICAS", "WEIGHTS", "KV", "TTFT ms", "TPOT ms", "TOKENS/S", "USD/H",
               "SPOT/H", "USD/M TOKENS", "SPOT/M"});
  for (size_t i = 0; i < plan.alternatives.size(); ++i) {
    const plan::Alternative& a = plan.alternatives[i];
    std::vector<std::string> row = {
        i == plan.chosen ? "*" : "", plan::layout_name(a.layout), fmt::format("{}", a.replicas),
        format_bytes(static_cast<uint64_t>(a.memory.weights)),
        format_bytes(
            static_cast<uint64_t>(std::max(0.0, a.memory.kv_tokens * a.memory.kv_per_token)))};
    if (a.figures) {
      for (const double value :
           {a.figures->ttft_ms, a.figures->tpot_ms, a.figures->output_tokens_per_s})
        row.push_back(fmt::format("{:.1f}", value));
    } else {
      row.insert(row.end(), {"does not fit", "-", "-"});
    }
    row.push_back(fmt::format("{:.2f}", a.usd_per_hour));
    row.push_back(fmt::format("{:.2f}", a.spot_usd_per_hour));
    row.push_back(a.figures ? fmt::format("{:.2f}", a.usd_per_million) : "-");
    row.push_back(a.figures ? fmt::format("{:.2f}", a.spot_usd_per_million) : "-");
    table.add(std::move(row));
  }
  table.print();
}

int plan_model(const PlanOptions& options) {
  const auto request = read_request(options);
  if (!request.ok()) return fail(request.error());
  const auto plan = plan::make_plan(*request);
  if (!plan.ok()) return fail(plan.error());
  if (options.json)
    print_json(*request, *plan);
  else
    print_table(*request, *plan);
  return kExitOk;
}

void add_layout_options(CLI::App& app, PlanOptions& options) {
  const CLI::Range ranks(1, 1024);
  app.add_option("--tensor-parallel-size", options.tensor, "Ranks that share every layer")
      ->check(ranks);
  app.add_option("--pipeline-parallel-size", options.pipeline, "Stages that layers are cut into")
      ->check(ranks);
  app.add_option("--expert-parallel-size", options.expert, "Ranks that experts are spread over")
      ->check(ranks);
}
}  // namespace

Run make_plan(CLI::App& app) {
  auto options = std::make_shared<PlanOptions>();
  app.add_option("model", options->model,
                 "A name like llama-3-70b, a GGUF file, a model's folder or its config.json");
  app.add_option("--rows", options->rows,
                 "Predict the points of a CSV file with the columns model, gpu, engine, dtype, tp, "
                 "pp, dp, concurrency, isl, osl");
  app.add_option("--devices", options->devices, "Devices of one kind: sim:KIND:COUNT")
      ->capture_default_str();
  app.add_option("--dtype", options->dtype,
                 "Type of the weights: bf16, fp16, fp8, fp4, int8, int4; auto is the file's, else "
                 "bf16")
      ->capture_default_str();
  app.add_option("--engine", options->engine, "Whose steps to predict: vllm, sglang, trtllm")
      ->capture_default_str();
  app.add_option("--concurrency", options->load.concurrency, "Requests at once")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  app.add_option("--input-tokens", options->load.input_tokens, "Tokens of a prompt")
      ->check(CLI::Range(1, 10'000'000))
      ->capture_default_str();
  app.add_option("--output-tokens", options->load.output_tokens, "Tokens of an answer")
      ->check(CLI::Range(1, 10'000'000))
      ->capture_default_str();
  add_layout_options(app, *options);
  app.add_option("--step-ms", options->step_ms, "With --rows: the engine's own time per step")
      ->check(CLI::Range(0.0, 1e6));
  app.add_option("--request-ms", options->request_ms, "With --rows: its time per request")
      ->check(CLI::Range(0.0, 1e6));
  app.add_flag("--json", options->json, "Print JSON");
  app.add_flag("--explain", options->explain, "Print the strategies and the rules");
  return [options] {
    if (!options->rows.empty() && !options->model.empty())
      return fail(invalid("give a model or --rows, not both"));
    if (!options->rows.empty()) return predict_file(*options);
    if (options->explain) fmt::print("{}\n", kExplanation);
    if (options->model.empty())
      return options->explain ? kExitOk
                              : fail(invalid("give a model (as in `altlas plan llama-3-70b`), "
                                             "--rows FILE.csv or --explain"));
    return plan_model(*options);
  };
}

}  // namespace altlas::cli
