#include "server/dashboard/board_json.h"

#include <boost/json.hpp>
#include <cmath>
#include <string>

#include "server/deployment_json.h"
#include "server/http/problem.h"
#include "server/tasks/task_json.h"

namespace altlas::server {

namespace json = boost::json;

namespace {

// Returns the number with four digits that count, which is what a chart can show; null for NaN.
json::value rounded(double value) {
  if (!std::isfinite(value)) return nullptr;
  if (value == 0) return 0;
  if (std::abs(value) >= 1000) return static_cast<int64_t>(std::llround(value));
  const double scale = std::pow(10, 3 - std::floor(std::log10(std::abs(value))));
  return std::round(value * scale) / scale;
}

json::object quantiles_json(const control::Quantiles& one) {
  return {{"p50", rounded(one.p50)},
          {"p95", rounded(one.p95)},
          {"p99", rounded(one.p99)},
          {"count", one.count}};
}

// A column of a history: its name, and its value in a sample.
struct Column {
  std::string_view name;
  float control::Sample::* value;
};
constexpr Column kColumns[] = {{"waiting", &control::Sample::waiting},
                               {"running", &control::Sample::running},
                               {"tokens", &control::Sample::tokens},
                               {"completed", &control::Sample::completed},
                               {"failed", &control::Sample::failed},
                               {"canceled", &control::Sample::canceled}};
struct LatencyColumn {
  std::string_view name;
  control::Quantiles control::Sample::* value;
};
constexpr LatencyColumn kLatencies[] = {{"queue", &control::Sample::queue},
                                        {"first_token", &control::Sample::first_token},
                                        {"inter_token", &control::Sample::inter_token},
                                        {"total", &control::Sample::total}};
struct QuantileColumn {
  std::string_view name;
  float control::Quantiles::* value;
};
constexpr QuantileColumn kQuantiles[] = {{"p50", &control::Quantiles::p50},
                                         {"p95", &control::Quantiles::p95},
                                         {"p99", &control::Quantiles::p99}};
struct DeviceColumn {
  std::string_view name;
  float control::DeviceSample::* value;
};
constexpr DeviceColumn kDeviceColumns[] = {{"utilization", &control::DeviceSample::utilization},
                                           {"memory_used", &control::DeviceSample::memory_used},
                                           {"temperature", &control::DeviceSample::temperature},
                                           {"power", &control::DeviceSample::power}};

json::object request_json(const control::RunningView& one, bool with_key) {
  json::object out{{"task_id", to_string(one.task)},
                   {"deployment", one.deployment},
                   {"gpu_id", one.device.value},
                   {"created_at", to_rfc3339(one.created)},
                   {"prompt_tokens", one.prompt_tokens},
                   {"generated_tokens", one.generated_tokens},
                   {"tokens_per_second", rounded(one.tokens_per_second)},
                   {"durable", one.listed}};
  if (with_key) out["key"] = one.owner;
  return out;
}

json::object one_usage(const control::Usage& usage) {
  return {{"completed", usage.completed},
          {"failed", usage.failed},
          {"canceled", usage.canceled},
          {"prompt_tokens", usage.prompt_tokens},
          {"generated_tokens", usage.generated_tokens},
          {"device_seconds", rounded(usage.device_seconds)},
          {"cost_usd", usage.cost_usd > 0 ? rounded(usage.cost_usd) : json::value(nullptr)},
          {"unpriced_seconds", rounded(usage.unpriced_seconds)}};
}

}  // namespace

json::object board_json(const control::BoardView& view, const Identity& who) {
  const bool all = who.role == Role::kAdmin;
  json::array devices, requests;
  for (const control::DeviceView& device : view.devices) devices.push_back(device_to_json(device));
  for (const control::RunningView& one : view.requests)
    if (all || one.owner == who.name) requests.push_back(request_json(one, all));
  json::object deployments;
  for (const control::DeploymentView& one : view.deployments)
    deployments[one.name] = deployment_to_json(one);
  json::object rates, second, latency{{"window_s", control::kWindowMinutes * 60}};
  for (const auto& [name, value] : kColumns)
    if (name != "waiting" && name != "running") rates[name] = rounded(view.rates.*value);
  for (const auto& [name, value] : kLatencies)
    second[name] = quantiles_json(view.rates.*value);
  latency["queue"] = quantiles_json(view.queue);
  latency["first_token"] = quantiles_json(view.first_token);
  latency["inter_token"] = quantiles_json(view.inter_token);
  latency["total"] = quantiles_json(view.total);
  return {{"number", view.number},
          {"at", to_rfc3339(view.at)},
          {"health", {{"status", control::to_string(view.health.status)},
                      {"model", without_folders(view.health.model)},
                      {"message", without_folders(view.health.message)}}},
          {"strategy", to_string(view.strategy)},
          {"waiting", view.waiting},
          {"running", view.running},
          {"rates", std::move(rates)},
          {"second", std::move(second)},
          {"latency", std::move(latency)},
          {"devices", std::move(devices)},
          {"deployments", std::move(deployments)},
          {"requests", std::move(requests)}};
}

json::array changes_json(std::span<const control::Change> changes, const Identity& who) {
  json::array out;
  for (const control::Change& one : changes) {
    if (one.what == "warning" && who.role != Role::kAdmin) continue;
    json::object row{{"number", one.number},
                     {"at", to_rfc3339(one.at)},
                     {"what", one.what},
                     {"value", one.value},
                     {"reason", without_folders(one.reason)}};
    if (!one.deployment.empty()) {
      row["deployment"] = one.deployment;
      row["replica"] = one.place;
      row["restarts"] = one.restarts;
    }
    out.push_back(std::move(row));
  }
  return out;
}

json::object history_json(const control::HistoryView& history, const Identity& who) {
  json::object columns;
  const auto column = [&](std::string name, auto value) {
    json::array values;
    values.reserve(history.samples.size());
    for (const control::Sample& sample : history.samples) values.push_back(value(sample));
    columns[name] = std::move(values);
  };
  column("time", [](const control::Sample& sample) {
    return json::value((sample.at + kSecond / 2) / kSecond);
  });
  for (const auto& [name, member] : kColumns)
    column(std::string(name), [&](const control::Sample& one) { return rounded(one.*member); });
  for (const auto& [name, latency] : kLatencies)
    for (const auto& [quantile, member] : kQuantiles)
      column(std::string(name) + "_" + std::string(quantile),
             [&](const control::Sample& one) { return rounded(one.*latency.*member); });
  json::array devices;
  const size_t count = history.samples.empty() ? 0 : history.samples.back().devices.size();
  for (size_t i = 0; i < count; ++i) {
    json::object device{{"id", i}};
    for (const auto& [name, member] : kDeviceColumns) {
      json::array values;
      for (const control::Sample& sample : history.samples)
        values.push_back(i < sample.devices.size() ? rounded(sample.devices[i].*member)
                                                   : json::value(nullptr));
      device[name] = std::move(values);
    }
    devices.push_back(std::move(device));
  }
  return {{"step_s", history.step_us / kSecond},
          {"columns", std::move(columns)},
          {"devices", std::move(devices)},
          {"changes", changes_json(history.changes, who)}};
}

json::object key_usage_json(const control::UsageView& usage, int64_t hours,
                            const Identity& who) {
  json::array keys;
  for (const control::KeyUsage& one : usage.keys) {
    if (who.role != Role::kAdmin && one.owner != who.name) continue;
    json::array booked;
    for (const control::HourOfUsage& hour : one.hours) {
      json::object row = one_usage(hour.usage);
      row["from"] = to_rfc3339(hour.from);
      booked.push_back(std::move(row));
    }
    keys.push_back(
        {{"key", one.owner}, {"total", one_usage(one.total)}, {"hours", std::move(booked)}});
  }
  return {{"hours", hours},
          {"since", usage.since == 0 ? json::value(nullptr) : json::value(to_rfc3339(usage.since))},
          {"keys", std::move(keys)}};
}

}  // namespace altlas::server
