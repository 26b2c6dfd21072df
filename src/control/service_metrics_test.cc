// Goal: metrics say what happened, keep to their limits, and forget what is gone. Method: events,
// ends and pictures are made up; the Prometheus text is read.
#include "control/service_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace altlas::control {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct Bench {
  telemetry::Registry registry;
  ServiceMetrics metrics{&registry};
  std::string text() { return registry.write_prometheus(); }
};

TaskView ended(const std::string& owner, TaskStatus status, uint32_t generated) {
  TaskView task;
  task.owner = owner;
  task.deployment = "llm";
  task.status = status;
  task.prompt_tokens = 10;
  task.generated_tokens = generated;
  return task;
}

TEST(ServiceMetrics, TokensOfTasksThatFailAreWasted) {
  Bench bench;
  bench.metrics.ended(ended("anna", TaskStatus::kCompleted, 5));
  bench.metrics.ended(ended("anna", TaskStatus::kCanceled, 7));
  bench.metrics.ended(ended("", TaskStatus::kFailed, 3));
  const std::string text = bench.text();
  EXPECT_THAT(text, HasSubstr("altlas_control_wasted_tokens_total{deployment=\"llm\",status="
                              "\"canceled\"} 7\n"));
  EXPECT_THAT(text, HasSubstr("altlas_control_wasted_tokens_total{deployment=\"llm\",status="
                              "\"failed\"} 3\n"));
  EXPECT_THAT(text, Not(HasSubstr("wasted_tokens_total{deployment=\"llm\",status=\"completed\"")));
  EXPECT_THAT(text, HasSubstr("altlas_control_prompt_tokens_total{deployment=\"llm\"} 30\n"));
  EXPECT_THAT(text, HasSubstr("altlas_control_key_generated_tokens_total{key=\"anna\"} 12\n"));
  EXPECT_THAT(text, HasSubstr("altlas_control_key_prompt_tokens_total{key=\"(none)\"} 10\n"));
  EXPECT_THAT(text,
              HasSubstr("altlas_control_key_tasks_total{key=\"anna\",status=\"canceled\"} 1\n"));
}

TEST(ServiceMetrics, ThousandsOfKeysShareTheLastSeries) {
  Bench bench;
  for (int i = 0; i < 5000; ++i)
    bench.metrics.ended(ended("key" + std::to_string(i), TaskStatus::kCompleted, 2));
  const std::string text = bench.text();
  size_t series = 0;
  for (size_t at = 0;
       (at = text.find("altlas_control_key_generated_tokens_total{", at)) != std::string::npos;
       ++at)
    ++series;
  EXPECT_EQ(series, telemetry::kSeriesMax + 1);
  EXPECT_THAT(text,
              HasSubstr("altlas_control_key_generated_tokens_total{key=\"_overflow\"} 8000\n"));
}

// The process takes 2 s, the weights 3 s, the KV 1 s; a worker that is lost leaves nothing behind.
TEST(ServiceMetrics, PhasesOfAStart) {
  Bench bench;
  const WorkerId worker{ReplicaId{1}, 0}, other{ReplicaId{2}, 0};
  bench.metrics.starts(worker, 10 * kSecond);
  bench.metrics.starts(other, 10 * kSecond);
  bench.metrics.event(WorkerConnected{worker, 1}, 12 * kSecond);
  const auto report = [&](engine::Report what, TimeUs now) {
    bench.metrics.event(WorkerReported{worker, std::move(what)}, now);
  };
  report(engine::LoadProgress{"weights", 0}, 12 * kSecond);
  report(engine::LoadProgress{"weights", 0.5}, 13 * kSecond);
  report(engine::LoadProgress{"kv", 0}, 15 * kSecond);
  report(engine::ReplicaLoaded{}, 16 * kSecond);
  report(engine::LoadProgress{"weights", 0}, 99 * kSecond);
  bench.metrics.event(WorkerLost{other, "killed"}, 20 * kSecond);
  const std::string text = bench.text();
  const std::string sum = "altlas_control_start_phase_seconds_sum{phase=";
  EXPECT_THAT(text, HasSubstr(sum + "\"process\"} 2\n"));
  EXPECT_THAT(text, HasSubstr(sum + "\"weights\"} 3\n"));
  EXPECT_THAT(text, HasSubstr(sum + "\"kv\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("altlas_control_workers_lost_total 1\n"));
}

TEST(ServiceMetrics, Scalings) {
  Bench bench;
  bench.metrics.scaled({"llm", 1, 3, "load"});
  bench.metrics.scaled({"llm", 3, 2, "load"});
  bench.metrics.scaled({"llm", 2, 1, "load"});
  const std::string text = bench.text();
  const std::string name = "altlas_control_scalings_total{deployment=\"llm\",direction=";
  EXPECT_THAT(text, HasSubstr(name + "\"up\"} 1\n"));
  EXPECT_THAT(text, HasSubstr(name + "\"down\"} 2\n"));
}

// What a replica's gauges say follows its place; a place that is left has no series.
TEST(ServiceMetrics, APictureBecomesGauges) {
  Bench bench;
  DeviceView device;
  device.kind = "sim";
  device.name = "h100";
  device.memory_total = 1 << 20;
  device.memory = {{"llm", "weights", 700}, {"", "reservations", 20}};
  DeploymentView deployment;
  deployment.name = "llm";
  deployment.model = "model";
  deployment.waiting = 4;
  ReplicaView& replica = deployment.replicas.emplace_back();
  replica.deployment = "llm";
  replica.state = ReplicaState::kRunning;
  replica.running = 3;
  replica.waiting = 1;
  replica.restarts = 2;
  replica.block_tokens = 16;
  replica.kv_blocks = 100;
  replica.kv_tokens_free = 1200;
  replica.steps = 5;
  replica.step_sequences = 9;
  bench.metrics.picture({&device, 1}, {&deployment, 1}, 4);
  std::string text = bench.text();
  for (const char* line :
       {"altlas_device_memory_bytes{gpu_id=\"0\",deployment=\"llm\",use=\"weights\"} 700\n",
        "altlas_device_memory_bytes{gpu_id=\"0\",deployment=\"\",use=\"reservations\"} 20\n",
        "altlas_device_healthy{gpu_id=\"0\"} 1\n",
        "altlas_control_waiting_tasks{deployment=\"llm\"} 4\n",
        "altlas_control_replica_restarts_total{deployment=\"llm\",replica=\"0\"} 2\n",
        "altlas_engine_running_sequences{deployment=\"llm\",replica=\"0\"} 3\n",
        "altlas_engine_waiting_sequences{deployment=\"llm\",replica=\"0\"} 1\n",
        "altlas_engine_steps_total{deployment=\"llm\",replica=\"0\"} 5\n",
        "altlas_engine_step_sequences_total{deployment=\"llm\",replica=\"0\"} 9\n",
        "altlas_kv_tokens{deployment=\"llm\",replica=\"0\"} 1600\n",
        "altlas_kv_used_tokens{deployment=\"llm\",replica=\"0\"} 400\n",
        "vllm:num_requests_waiting{model_name=\"model\"} 5\n",
        "vllm:num_requests_running{model_name=\"model\"} 2\n",
        "vllm:kv_cache_usage_perc{model_name=\"model\"} 0.25\n",
        "vllm:cache_config_info{model_name=\"model\",block_size=\"16\",num_gpu_blocks=\"100\"} "
        "1\n"})
    EXPECT_THAT(text, HasSubstr(line));

  replica.place = 3;
  deployment.target_replicas = 2;
  bench.metrics.picture({&device, 1}, {&deployment, 1}, 4);
  text = bench.text();
  EXPECT_THAT(text, HasSubstr("altlas_kv_tokens{deployment=\"llm\",replica=\"3\"} 1600\n"));
  EXPECT_THAT(text, Not(HasSubstr("altlas_kv_tokens{deployment=\"llm\",replica=\"0\"}")));
  EXPECT_THAT(text, HasSubstr("altlas_control_target_replicas{deployment=\"llm\"} 2\n"));

  device.healthy = false;
  device.memory.pop_back();
  deployment.replicas[0].state = ReplicaState::kBackoff;
  bench.metrics.picture({&device, 1}, {&deployment, 1}, 4);
  text = bench.text();
  EXPECT_THAT(text, HasSubstr("altlas_device_healthy{gpu_id=\"0\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("use=\"weights\"} 700\n"));
  EXPECT_THAT(text, Not(HasSubstr("use=\"reservations\"")));
  EXPECT_THAT(text, Not(HasSubstr("vllm:cache_config_info{")));
}

}  // namespace
}  // namespace altlas::control
