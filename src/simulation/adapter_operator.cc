#include "simulation/adapter_operator.h"

#include <fmt/format.h>

#include <iterator>

namespace altlas::simulation {
namespace {

constexpr const char* kNames[] = {"tone", "style", "terse"};

bool one_in(PhiloxStream& random, uint64_t n) { return random.below(n) == 0; }

}  // namespace

AdapterOperator::AdapterOperator(EventQueue& events, PhiloxStream& random, const Scenario& scenario,
                                 Checkers& checkers, ShapeCounts& counts,
                                 std::function<bool(control::Event)> step)
    : events_(events),
      random_(random),
      scenario_(scenario),
      checkers_(checkers),
      counts_(counts),
      step_(std::move(step)) {
  configured();
}

void AdapterOperator::configured() {
  files_.clear();
  for (const control::DeploymentSetup& one : scenario_.setup.deployments)
    for (const engine::AdapterFile& file : one.load.adapters)
      files_[{one.name, file.name}] = file.path;
}

void AdapterOperator::later(int64_t delay_us, std::function<void()> what) {
  ++planned_;
  events_.after(delay_us, [this, what = std::move(what)] {
    --planned_;
    what();
  });
}

void AdapterOperator::schedule(int64_t busy_us) {
  if (!scenario_.shapes.adapters) return;
  const uint64_t changes = 4 + random_.below(16);
  for (uint64_t i = 0; i < changes; ++i)
    later(static_cast<int64_t>(random_.below(static_cast<uint64_t>(busy_us))),
          [this] { change(); });
}

void AdapterOperator::change() {
  const auto& deployments = scenario_.setup.deployments;
  const std::string& deployment = deployments[random_.below(deployments.size())].name;
  const std::string name = kNames[random_.below(std::size(kNames))];
  if (!file_of(deployment, name).empty() || one_in(random_, 8)) return unload(deployment, name);
  load(deployment, name);
}

// A name in the configuration always gets the configured file, since a restarted server takes that
// one.
void AdapterOperator::load(const std::string& deployment, const std::string& name) {
  std::string path = fmt::format("{}-{}", one_in(random_, 6) ? kBrokenAdapter : name, next_file_++);
  for (const control::DeploymentSetup& one : scenario_.setup.deployments)
    for (const engine::AdapterFile& file : one.load.adapters)
      if (one.name == deployment && file.name == name) path = file.path;
  send({deployment, name, std::move(path)});
}

void AdapterOperator::unload(const std::string& deployment, const std::string& name) {
  send({deployment, name, ""});
}

void AdapterOperator::send(Request request) {
  const uint64_t ticket = next_ticket_++;
  open_[ticket] = request;
  const bool loads = !request.path.empty();
  const bool heard =
      loads ? step_(control::AdapterLoadRequested{
                  ticket, request.deployment, {request.name, request.path}})
            : step_(control::AdapterUnloadRequested{ticket, request.deployment, request.name});
  if (!heard) open_.erase(ticket);
}

void AdapterOperator::on_answer(const control::AnswerChange& answer) {
  const auto found = open_.find(answer.ticket);
  if (found == open_.end())
    return checkers_.fail(
        fmt::format("adapter request {} was answered, it is not open", answer.ticket));
  const Request request = std::move(found->second);
  open_.erase(found);
  const bool loads = !request.path.empty();
  if (!answer.outcome.ok()) {
    if (loads) ++counts_.adapter_loads_failed;
    // kNotFound means that no replica could load it again.
    if (answer.outcome.error().code() == ErrorCode::kNotFound)
      files_.erase({request.deployment, request.name});
    if (answer.outcome.error().message().empty())
      checkers_.fail("an adapter request failed without a reason");
    return;
  }
  if (loads) {
    if (request.path.starts_with(kBrokenAdapter))
      checkers_.fail(fmt::format("adapter '{}' was loaded from a broken file", request.name));
    ++counts_.adapter_loads;
    files_[{request.deployment, request.name}] = request.path;
    return;
  }
  ++counts_.adapter_unloads;
  files_.erase({request.deployment, request.name});
  // Half of the time another file is soon loaded under the same name.
  if (one_in(random_, 2))
    later(static_cast<int64_t>(random_.below(300 * kMillisecond)),
          [this, request] { load(request.deployment, request.name); });
}

void AdapterOperator::server_lost() {
  open_.clear();
  configured();
}

std::string AdapterOperator::draw_name(const std::string& deployment) {
  if (!scenario_.shapes.adapters || one_in(random_, 3)) return "";
  const std::string name = kNames[random_.below(std::size(kNames))];
  const bool there = !file_of(deployment, name).empty();
  return there || one_in(random_, 4) ? name : "";
}

std::string AdapterOperator::file_of(const std::string& deployment, const std::string& name) const {
  const auto found = files_.find({deployment, name});
  return found == files_.end() ? "" : found->second;
}

}  // namespace altlas::simulation
