// altlas simulate autoscaler: the autoscaler's decisions over a recorded load, one a line.
#include <fmt/format.h>

#include <boost/json.hpp>
#include <cmath>
#include <fstream>
#include <string>

#include "cli/setup.h"
#include "cli/simulate_autoscaler.h"
#include "config/document.h"
#include "config/load.h"
#include "scheduler/autoscaler.h"

namespace altlas::cli {
namespace {

namespace json = boost::json;

constexpr size_t kLineMax = 1 << 16;       // Bytes of a line of the trace.
constexpr double kTimeMax = 1e10;          // Seconds: some three hundred years.
constexpr double kOngoingMax = 1e12;       // Requests.
constexpr int64_t kReplicasMax = 1 << 20;  // Running ones.

// The text's autoscaling_config, or the text itself where it has no such key.
Result<config::AutoscalingConfig> read_config(const std::string& path) {
  ALTLAS_TRY(const std::string text, read_text_file(path, "--config", config::kTextBytesMax));
  const config::Parsed parsed = config::parse_yaml(text);
  if (!parsed.errors.empty())
    return invalid(fmt::format("{}:{}:{}: {}", path, parsed.errors.front().line,
                               parsed.errors.front().column, parsed.errors.front().what));
  const config::Node* scaling = &parsed.root;
  for (const config::Node& child : parsed.root.children)
    if (child.key == "autoscaling_config") scaling = &child;
  if (scaling->kind != config::Node::Kind::kMap)
    return invalid(fmt::format("{}: it should be a mapping, such as min_replicas: 1", path));
  const std::string whole =
      fmt::format(R"({{"deployments": [{{"name": "a", "model": "m", "autoscaling_config": {}}}]}})",
                  config::to_json(*scaling));
  config::LoadInput input;
  input.file = {path, whole};
  const auto loaded = config::load(input);
  if (!loaded.ok()) return loaded.error();
  for (const config::Problem& warning : loaded->warnings)
    fmt::print(stderr, "{}: {}: {}\n", path, warning.path, warning.what);
  return *loaded->config.deployments.front().autoscaling_config;
}

Result<double> number_of(const json::object& line, std::string_view name, double most) {
  const json::value* value = line.if_contains(name);
  if (value == nullptr || !value->is_number())
    return invalid(fmt::format("{} should be a number", name));
  const auto number = value->to_number<double>();
  if (!(number >= 0 && number <= most))
    return invalid(fmt::format("{} is not from 0 to {:g}", name, most));
  return number;
}

}  // namespace

Result<void> simulate_autoscaler(const std::string& config_path, const std::string& trace_path) {
  ALTLAS_TRY(const config::AutoscalingConfig config, read_config(config_path));
  const scheduler::AutoscalerSettings settings = scheduler::autoscaler_settings(config);
  std::ifstream trace(trace_path);
  if (!trace) return not_found(fmt::format("'{}' can't be read", trace_path));
  scheduler::AutoscalerState state;
  uint32_t target = settings.at_start();
  TimeUs before = 0;
  std::string text;
  for (size_t number = 1; std::getline(trace, text); ++number) {
    if (text.find_first_not_of(" \t\r") == std::string::npos) continue;
    const auto step = [&]() -> Result<json::value> {
      if (text.size() > kLineMax)
        return invalid(fmt::format("it is longer than {} bytes", kLineMax));
      boost::system::error_code error;
      const json::value line = json::parse(text, error);
      if (error || !line.is_object())
        return invalid(R"(it should be like {"t": 0.1, "ongoing": 12, "running": 2})");
      ALTLAS_TRY(const double t, number_of(line.get_object(), "t", kTimeMax));
      ALTLAS_TRY(const double ongoing, number_of(line.get_object(), "ongoing", kOngoingMax));
      ALTLAS_TRY(const double running,
                 number_of(line.get_object(), "running", static_cast<double>(kReplicasMax)));
      if (running != std::floor(running)) return invalid("running should be a whole number");
      const auto now = from_seconds(t);
      if (now < before) return invalid("its time is before that of the line above");
      before = now;
      target =
          scheduler::decide(
              settings,
              {.ongoing = ongoing, .running = static_cast<uint32_t>(running), .target = target},
              now, state)
              .target;
      return line.at("t");
    };
    const Result<json::value> t = step();
    if (!t.ok()) return Error(t.error()).with_context(fmt::format("{}:{}", trace_path, number));
    fmt::print("{}\n", json::serialize(json::object{{"t", *t}, {"target", target}}));
  }
  return {};
}

}  // namespace altlas::cli
