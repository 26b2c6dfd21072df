#include "cli/memory_training.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>

#include "base/units.h"
#include "cli/command.h"
#include "cli/plan_input.h"
#include "cli/terminal.h"

namespace altlas::cli {
namespace {

Result<plan::TrainingShape> read_shape(const std::string& name) {
  if (name == "seed") return plan::seed_training_shape();
  ALTLAS_TRY(const PlanModel model, read_plan_model(name, "auto"));
  const plan::ModelShape& shape = model.shape;
  if (shape.experts > 0)
    return Error(ErrorCode::kUnsupported,
                 "--train: models with experts are not predicted; give a dense one");
  return plan::TrainingShape{.name = "the model",
                             .layers = shape.layers,
                             .hidden = shape.hidden,
                             .heads = shape.heads,
                             .kv_share = static_cast<double>(shape.kv_heads) / shape.heads,
                             .ffn = shape.ffn,
                             .ffn_matrices = 3,
                             .parameters = shape.parameters()};
}

struct Row {
  plan::TrainingRow row;
  plan::TrainingCost cost, beside;

  double saving() const { return 1 - cost.device_bytes() / beside.device_bytes(); }
  double speed() const { return beside.step_s / cost.step_s - 1; }
};

boost::json::object to_json(const std::string& name, const plan::TrainingCost& cost) {
  return {{"technique", name},
          {"weight_bytes", cost.weights},
          {"gradient_bytes", cost.gradients},
          {"optimizer_bytes", cost.optimizer},
          {"activation_bytes", cost.activations},
          {"device_bytes", cost.device_bytes()},
          {"host_bytes", cost.host},
          {"step_s", cost.step_s}};
}

std::string bytes(double value) { return format_bytes(static_cast<uint64_t>(value)); }

std::vector<std::string> cells(const std::string& name, const plan::TrainingCost& cost) {
  return {name,
          bytes(cost.weights),
          bytes(cost.gradients),
          bytes(cost.optimizer),
          bytes(cost.activations),
          bytes(cost.device_bytes()),
          bytes(cost.host),
          fmt::format("{:.2f}", cost.step_s)};
}

}  // namespace

void add_training_flags(CLI::App& app, TrainingFlags& out) {
  app.add_option("--shape", out.shape,
                 "With --train: 'seed' (32 layers of 4096, 32 heads, feed-forward of 16384), or a "
                 "model as `altlas plan` takes it");
  app.add_option("--train-device", out.device, "With --train: the kind of device")
      ->capture_default_str();
  const CLI::Range count(1, 1 << 20);
  app.add_option("--train-devices", out.load.devices, "With --train: devices of ZeRO stage 3")
      ->check(count)
      ->capture_default_str();
  app.add_option("--sequence-tokens", out.load.sequence_tokens,
                 "With --train: tokens of a sequence")
      ->check(count)
      ->capture_default_str();
  app.add_option("--micro-batch", out.load.micro_batch,
                 "With --train: sequences of a pass on a device")
      ->check(count)
      ->capture_default_str();
  app.add_option("--accumulation-steps", out.load.accumulation_steps,
                 "With --train: passes of an optimizer step")
      ->check(count)
      ->capture_default_str();
  app.add_option("--checkpoint-segments", out.load.checkpoint_segments,
                 "With --train: groups of layers that are computed again")
      ->check(count)
      ->capture_default_str();
}

int show_training(const TrainingFlags& flags, const std::string& model, bool json) {
  const std::string& name = flags.shape.empty() ? model : flags.shape;
  if (name.empty())
    return fail(invalid("--train needs a shape: --shape seed, or --model NAME", "shape"));
  const auto shape = read_shape(name);
  if (!shape.ok()) return fail(shape.error());
  const auto kind = device_kind(flags.device);
  if (!kind.ok()) return fail(kind.error());
  const auto cost = [&](const plan::TrainingTechniques& techniques) {
    return plan::training_cost(*shape, flags.load, techniques, *kind);
  };
  std::vector<Row> rows;
  for (const plan::TrainingRow& row : plan::training_rows())
    rows.push_back({row, cost(row.techniques), cost(row.beside)});
  const plan::TrainingCost plain = cost({});
  if (json) {
    boost::json::array out{to_json("FP32", plain)};
    for (const Row& row : rows) {
      boost::json::object one = to_json(row.row.name, row.cost);
      one["saving"] = row.saving();
      one["speed"] = row.speed();
      out.push_back(std::move(one));
    }
    fmt::print("{}\n", boost::json::serialize(out));
    return kExitOk;
  }
  fmt::print(
      "{:.2f} billion parameters, {} tokens x {} sequences x {} passes a step, {} (predicted, "
      "nothing is measured)\n",
      shape->parameters / 1e9, flags.load.sequence_tokens, flags.load.micro_batch,
      flags.load.accumulation_steps, kind->name);
  Table table({"TECHNIQUE", "WEIGHTS", "GRADIENTS", "OPTIMIZER", "ACTIVATIONS", "DEVICE", "HOST",
               "STEP s", "SAVES", "SEED SAYS", "SPEED", "SEED SAYS"});
  std::vector<std::string> first = cells("FP32", plain);
  first.insert(first.end(), {"", "", "", ""});
  table.add(std::move(first));
  for (const Row& row : rows) {
    std::vector<std::string> line = cells(row.row.name, row.cost);
    line.insert(line.end(), {fmt::format("{:.0f} %", 100 * row.saving()), row.row.seed_saving,
                             fmt::format("{:+.0f} %", 100 * row.speed()), row.row.seed_speed});
    table.add(std::move(line));
  }
  table.print();
  fmt::print("FP16/BF16 and all of them are beside FP32, the others beside BF16; a device has {}\n",
             format_bytes(kind->memory_bytes));
  return kExitOk;
}

}  // namespace altlas::cli
