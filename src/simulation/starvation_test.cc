// Goal: no priority starves another: under a steady load that is more than the devices can do, a
// task of any level ends within the age steps between the levels, in the queue and in the replica's
// batch alike. Method: the real core and replicas under a virtual clock; others come for ever, each
// as soon as there is room.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "control/core.h"
#include "engine/replica_core.h"
#include "engine/sim_executor.h"
#include "engine/sim_model.h"

namespace altlas::simulation {
namespace {

struct Case {
  const char* name;
  Priority low, high;
  uint32_t max_ongoing;  // Sequences in the replica's hands; it computes two at once.
  uint32_t kv_blocks;
  bool runs_first;  // Whether the task has begun when the others come.
  double age_step_s;
};

class SteadyLoad {
 public:
  explicit SteadyLoad(const Case& one) : core_(setup_of(one)), model_(model_of(one)) {
    step(control::Started{});
  }

  // Returns the task's id.
  TaskId submit(Priority priority) {
    TaskSpec spec;
    spec.id = TaskId{1, ++tasks_};
    spec.priority = priority;
    spec.durable = false;
    spec.tokens_max = priority == Priority::kHigh ? 8 : 40;
    for (int32_t i = 0; i < 20; ++i)
      spec.prompt.push_back((i + static_cast<int32_t>(tasks_) * 31) % 97);
    const TaskId id = spec.id;
    const uint64_t ticket = tasks_;
    step(control::AdmissionRequested{ticket, "", "", 1});
    if (refused_) return {};
    step(control::TasksSubmitted{ticket, {spec}, true, 1});
    return id;
  }
  // Runs one step of the replica.
  void compute() {
    now += kStepUs;
    step(control::Tick{});
    for (auto& [id, replica] : replicas_) {
      StepPlan plan = replica.core->plan();
      if (!plan.empty()) {
        replica.executor->launch(std::move(plan));
        const auto result = replica.executor->collect();
        ALTLAS_CHECK(result.ok(), "a simulated device computes");
        replica.core->commit(*result);
      }
      for (engine::Report& report : replica.core->take_reports())
        step(control::WorkerReported{{id}, std::move(report)});
      step(control::WorkerReported{{id}, replica.core->stats()});
    }
  }
  bool over(const TaskId& id) const {
    const auto view = core_.task(id);
    return !view.ok() || is_over(view->status);
  }
  size_t waiting() const { return core_.waiting(); }
  uint64_t preemptions() const {
    return replicas_.empty() ? 0 : replicas_.begin()->second.core->stats().preemptions;
  }
  size_t completed = 0;
  TimeUs now = 1'000 * kSecond;

 private:
  static constexpr int64_t kStepUs = 20 * kMillisecond;
  struct Replica {
    std::unique_ptr<engine::SimExecutor> executor;
    std::unique_ptr<engine::ReplicaCore> core;
  };

  static control::CoreSetup setup_of(const Case& one) {
    control::CoreSetup setup;
    setup.devices.push_back({DeviceId{0}, "small", "sim", uint64_t{1} << 34, "sim:small:1", 0});
    control::DeploymentSetup deployment;
    deployment.name = deployment.model = "model";
    deployment.load.model_path = "model.gguf";
    deployment.max_ongoing = one.max_ongoing;
    deployment.replicas = {{DeviceId{0}}};
    setup.deployments = {deployment};
    setup.default_deployment = "model";
    setup.memory_threshold = setup.utilization_threshold = 1;
    setup.age_step_us = static_cast<int64_t>(one.age_step_s * kSecond);
    return setup;
  }
  static engine::SimOptions model_of(const Case& one) {
    engine::SimOptions model;
    model.shape = {.layers = 2,
                   .hidden = 64,
                   .heads = 4,
                   .kv_heads = 2,
                   .head_dim = 16,
                   .ffn = 128,
                   .vocab = 97,
                   .model_len_max = 160,
                   .weight_bytes = 1 << 20};
    model.sequences_max = 2;
    model.step_tokens_max = 32;
    model.block_tokens = 16;
    model.memory_utilization = 1;
    model.kind.name = "small";
    model.kind.memory_bytes = uint64_t{1} << 32;
    model.kind.memory_bytes_per_s = 1e12;
    model.kind.bf16_flops = model.kind.int8_ops = 1e13;
    model.kind.link_bytes_per_s = 1e11;
    model.kv_tokens_max = uint64_t{one.kv_blocks} * model.block_tokens;
    return model;
  }
  void step(control::Event event) {
    std::vector<control::Action> actions;
    core_.step(std::move(event), now, actions);
    core_.check_integrity();
    for (control::Action& action : actions) carry_out(action);
  }
  void carry_out(control::Action& action) {
    if (auto* answer = std::get_if<control::AnswerAdmission>(&action))
      refused_ = !answer->admitted.ok();
    if (auto* start = std::get_if<control::StartWorker>(&action)) {
      Replica& replica = replicas_[start->worker.replica];
      auto executor =
          engine::SimExecutor::create(model_, nullptr, engine::SimTime::kVirtual, system_clock());
      ALTLAS_CHECK(executor.ok(), executor.error().message());
      replica.executor = std::move(*executor);
      replica.core = std::make_unique<engine::ReplicaCore>(replica.executor->limits(),
                                                           engine::CoreOptions(), nullptr);
      step(control::WorkerConnected{start->worker, 1});
      step(control::WorkerReported{start->worker, replica.core->loaded("sim")});
    }
    if (auto* send = std::get_if<control::SendCommand>(&action))
      replicas_.at(send->worker.replica).core->handle(std::move(send->command));
    if (auto* status = std::get_if<control::PublishStatus>(&action))
      completed += status->status == TaskStatus::kCompleted;
  }

  control::Core core_;
  engine::SimOptions model_;
  std::map<ReplicaId, Replica> replicas_;
  uint64_t tasks_ = 0;
  bool refused_ = false;
};

TEST(Starvation, EveryLevelIsServedWithinItsAge) {
  const Case cases[] = {
      {"in the queue", Priority::kLow, Priority::kHigh, 0, 64, false, 2},
      {"in the batch", Priority::kLow, Priority::kHigh, 12, 64, false, 2},
      {"gives way in the batch", Priority::kLow, Priority::kHigh, 12, 64, true, 2},
      {"one level apart", Priority::kNormal, Priority::kHigh, 6, 64, true, 3},
      {"low under normal", Priority::kLow, Priority::kNormal, 9, 64, false, 1},
      {"blocks are short", Priority::kLow, Priority::kHigh, 12, 8, true, 2},
      {"no difference", Priority::kLow, Priority::kHigh, 12, 64, false, 0},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    SteadyLoad load(one);
    TaskId low;
    const auto others = [&] {
      while (load.waiting() < 30) load.submit(one.high);
    };
    if (!one.runs_first) {
      others();
      for (int i = 0; i < 50; ++i) {
        load.compute();
        others();
      }
    }
    const TimeUs came = load.now;
    low = load.submit(one.low);
    if (one.runs_first)
      for (int i = 0; i < 4; ++i) load.compute();
    const size_t before = load.completed;
    const int levels = static_cast<int>(one.low) - static_cast<int>(one.high);
    // Tasks that came within its age go first, and so do those that waited already; then come its
    // own tokens.
    const auto bound = static_cast<TimeUs>(levels * one.age_step_s * kSecond) + 20 * kSecond;
    while (!load.over(low) && load.now - came < bound + 100 * kSecond) {
      others();
      load.compute();
    }
    EXPECT_TRUE(load.over(low)) << load.completed - before << " others were served meanwhile";
    EXPECT_LE(load.now - came, bound);
    if (one.age_step_s >= 1 && !one.runs_first) {
      EXPECT_GT(load.now - came, static_cast<TimeUs>(one.age_step_s * kSecond))
          << "its level counts for something";
    }
    EXPECT_GT(load.completed, before) << "others are served beside it";
  }
}

}  // namespace
}  // namespace altlas::simulation
