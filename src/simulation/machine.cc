#include "simulation/machine.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "simulation/adapter_operator.h"
#include "simulation/toy_text.h"

namespace altlas::simulation {

namespace {

// All ranks take what the rank with the least memory can hold.
engine::SimOptions least_of(const std::vector<engine::SimOptions>& models,
                            const engine::LoadReplica& load) {
  engine::SimOptions out = models.at(load.ranks.at(0).device_id);
  for (const engine::RankPlace& rank : load.ranks)
    if (const auto& other = models.at(rank.device_id);
        other.kind.memory_bytes < out.kind.memory_bytes)
      out = other;
  out.device_count = static_cast<uint32_t>(load.ranks.size());
  out.layout.tensor_parallel_size = static_cast<int32_t>(load.tensor_parallel_size);
  return out;
}

}  // namespace

Machine::Worker* Machine::find(uint64_t number) {
  const auto found = workers_.find(number);
  return found == workers_.end() ? nullptr : &found->second;
}

void Machine::set_gateway(std::shared_ptr<Gateway> gateway, uint64_t epoch) {
  gateway_ = std::move(gateway);
  epoch_ = epoch;
  if (gateway_) return;
  worker_of_.clear();
  std::vector<uint64_t> all;
  for (const auto& [number, worker] : workers_) all.push_back(number);
  for (const uint64_t number : all) cut(number);
}

void Machine::start_worker(WorkerId id, uint64_t epoch) {
  const uint64_t number = next_number_++;
  Worker& worker = workers_[number];
  worker.worker = id;
  worker.epoch = epoch;
  worker_of_[id] = number;
  events_.after(static_cast<int64_t>(5 * kMillisecond + random_.below(50 * kMillisecond)),
                [this, number] { spawn(number); });
}

void Machine::spawn(uint64_t number) {
  Worker* worker = find(number);
  if (worker == nullptr) return;
  worker::SessionOptions options;
  options.role = worker::SessionRole::kWorker;
  options.worker = worker->worker;
  options.epoch = worker->epoch;
  options.token = "token";
  options.pid = static_cast<int32_t>(1000 + number);
  const auto load_us = static_cast<int64_t>(10 * kMillisecond + random_.below(800 * kMillisecond));
  const text::Tokenizer* tokenizer = scenario_.shapes.grammars ? &toy_tokenizer() : nullptr;
  worker->process = std::make_shared<WorkerProcess>(events_, options, load_us, tokenizer, counts_,
                                                    hooks_of(number));
  connect(number);
}

WorkerProcess::Hooks Machine::hooks_of(uint64_t number) {
  WorkerProcess::Hooks hooks;
  hooks.write = [this, number](std::string bytes) {
    deliver(number, std::move(bytes), /*up=*/true);
  };
  hooks.exited = [this, number](int code, const std::string&) {
    exited(number, fmt::format("exited with code {}", code));
  };
  hooks.load = [this, number](const engine::LoadReplica& what) { return load(number, what); };
  hooks.read_adapter = [](const std::string& path) -> Result<void> {
    if (!path.starts_with(kBrokenAdapter)) return {};
    return Error(ErrorCode::kIo, fmt::format("the adapter's file '{}' can't be read", path));
  };
  return hooks;
}

// Returns what the load finds on its devices. A worker of the earlier server holds their memory
// until it has ended.
Result<engine::SimOptions> Machine::load(uint64_t number, const engine::LoadReplica& load) {
  Worker& own = workers_.at(number);
  std::vector<size_t> devices;
  if (load.kind != "echo")
    for (const uint32_t rank : load.own_ranks()) devices.push_back(load.ranks[rank].device_id);
  for (const auto& [other, worker] : workers_)
    for (const size_t device : devices)
      if (worker.epoch < own.epoch && std::ranges::count(worker.devices, device) > 0)
        return Error(ErrorCode::kBusy, "the device's memory is held by another process");
  if (loads_to_fail_ > 0) {
    --loads_to_fail_;
    return Error(ErrorCode::kIo, "the model's file can't be read");
  }
  own.devices = std::move(devices);
  if (load.kind == "echo") return engine::SimOptions();
  const auto& deployments = scenario_.setup.deployments;
  const auto found =
      std::ranges::find(deployments, load.model_path,
                        [](const control::DeploymentSetup& one) { return one.load.model_path; });
  const auto deployment = static_cast<size_t>(found - deployments.begin());
  own.deployment = deployment;
  engine::SimOptions model = least_of(scenario_.models.at(deployment), load);
  own.all_devices.clear();
  for (const engine::RankPlace& rank : load.ranks) own.all_devices.push_back(rank.device_id);
  model.swap_bytes = load.swap_bytes;
  model.draft_model = !load.draft_model_path.empty();
  model.depth = load.executor_depth;
  return model;
}

void Machine::connect(uint64_t number) {
  Worker* worker = find(number);
  if (worker == nullptr || !worker->process || worker->connection != 0) return;
  if (!gateway_) {
    // Its session gives up after a time of silence.
    events_.after(200 * kMillisecond, [this, number] { connect(number); });
    return;
  }
  worker->connection = next_connection_++;
  of_connection_[worker->connection] = number;
  const auto process = worker->process;
  gateway_->connected(worker::ConnectionId{worker->connection});
  process->connected();
}

// Cuts the connection. Both ends notice, and the worker then connects again.
void Machine::cut(uint64_t number) {
  Worker* worker = find(number);
  if (worker == nullptr || worker->connection == 0) return;
  const uint64_t connection = std::exchange(worker->connection, 0);
  of_connection_.erase(connection);
  events_.after(static_cast<int64_t>(random_.below(50 * kMillisecond)),
                [this, connection, epoch = epoch_] {
                  if (gateway_ && epoch == epoch_)
                    gateway_->disconnected(worker::ConnectionId{connection});
                });
  hang_up(number);
}

// Tells the worker that its connection is gone.
void Machine::hang_up(uint64_t number) {
  events_.after(static_cast<int64_t>(random_.below(50 * kMillisecond)), [this, number] {
    Worker* cut = find(number);
    if (cut == nullptr || !cut->process) return;
    cut->process->disconnected();
    const int64_t delay =
        10 * kMillisecond +
        static_cast<int64_t>(random_.below(random_.below(5) == 0 ? 4 * kSecond : kSecond / 2));
    events_.after(delay, [this, number] { connect(number); });
  });
}

void Machine::kill_worker(WorkerId id) {
  const auto found = worker_of_.find(id);
  if (found == worker_of_.end()) return;
  const uint64_t number = found->second;
  if (const auto& process = workers_.at(number).process) process->kill();
  exited(number, "killed by signal 9 (asked to)");
}

// Ends the worker. The server learns of it as its parent.
void Machine::exited(uint64_t number, const std::string& why) {
  const auto found = workers_.find(number);
  if (found == workers_.end()) return;
  const WorkerId id = found->second.worker;
  const uint64_t epoch = found->second.epoch;
  const uint64_t connection = found->second.connection;
  workers_.erase(found);
  of_connection_.erase(connection);
  if (const auto own = worker_of_.find(id); own != worker_of_.end() && own->second == number)
    worker_of_.erase(own);
  events_.after(static_cast<int64_t>(kMillisecond + random_.below(20 * kMillisecond)),
                [this, id, epoch, connection, why] {
                  if (!gateway_) return;
                  if (connection != 0) gateway_->disconnected(worker::ConnectionId{connection});
                  if (epoch == epoch_) gateway_->worker_exited(id, why);
                });
}

void Machine::write(worker::ConnectionId connection, std::string bytes) {
  const auto found = of_connection_.find(connection.value);
  if (found != of_connection_.end()) deliver(found->second, std::move(bytes), /*up=*/false);
}

void Machine::close(worker::ConnectionId connection) {
  const auto found = of_connection_.find(connection.value);
  if (found == of_connection_.end()) return;
  const uint64_t number = found->second;
  // It comes after everything that is on its way to the worker.
  const TimeUs last = std::max(events_.now(), workers_.at(number).last_down);
  events_.at(last, [this, number, connection] {
    Worker* worker = find(number);
    if (worker == nullptr || worker->connection != connection.value) return;
    worker->connection = 0;
    of_connection_.erase(connection.value);
    hang_up(number);
  });
}

// Bytes arrive in order, and perhaps in two parts, so that a break may cut a frame in half.
void Machine::deliver(uint64_t number, std::string bytes, bool up) {
  if (bytes.size() > 1 && random_.below(8) == 0) {
    const size_t first = 1 + random_.below(bytes.size() - 1);
    deliver_part(number, bytes.substr(0, first), up);
    bytes.erase(0, first);
  }
  deliver_part(number, std::move(bytes), up);
}

void Machine::deliver_part(uint64_t number, std::string bytes, bool up) {
  Worker* worker = find(number);
  if (worker == nullptr || worker->connection == 0) return;
  TimeUs& last = up ? worker->last_up : worker->last_down;
  last = std::max({last, worker->stalled_until,
                   events_.now() + 30 + static_cast<int64_t>(random_.below(2000))});
  events_.at(last, [this, number, connection = worker->connection, up, bytes = std::move(bytes)] {
    const Worker* to = find(number);
    if (to == nullptr || to->connection != connection) return;
    const auto process = to->process;
    if (!up) return process->receive(bytes);
    if (gateway_) gateway_->received(worker::ConnectionId{connection}, bytes);
  });
}

uint64_t Machine::any_worker() {
  std::vector<uint64_t> living;
  for (const auto& [id, number] : worker_of_)
    if (workers_.at(number).process) living.push_back(number);
  return living.empty() ? 0 : living[random_.below(living.size())];
}

bool Machine::crash_worker() {
  const uint64_t number = any_worker();
  if (number == 0) return false;
  workers_.at(number).process->kill();
  if (workers_.at(number).worker.index > 0) ++counts_.followers_lost;
  exited(number, "killed by signal 9");
  return true;
}

bool Machine::stall_worker(int64_t for_us) {
  const uint64_t number = any_worker();
  if (number != 0) workers_.at(number).process->stall_until(events_.now() + for_us);
  return number != 0;
}

bool Machine::break_link() {
  const uint64_t number = any_worker();
  if (number == 0 || workers_.at(number).connection == 0) return false;
  cut(number);
  return true;
}

bool Machine::stall_link(int64_t for_us) {
  const uint64_t number = any_worker();
  if (number != 0) workers_.at(number).stalled_until = events_.now() + for_us;
  return number != 0;
}

void Machine::heal() { loads_to_fail_ = 0; }

std::vector<DeviceUse> Machine::device_use(const std::vector<uint64_t>& reserved) const {
  std::vector<DeviceUse> out;
  for (const control::DeviceSetup& device : scenario_.setup.devices) {
    DeviceUse& use = out.emplace_back();
    use.device = device.id;
    use.total_bytes = device.memory_total;
    use.reserved_bytes = reserved.at(static_cast<size_t>(device.id.value));
  }
  for (const auto& [number, worker] : workers_) {
    if (!worker.process || worker.process->core() == nullptr) continue;
    const engine::ReplicaCore& core = *worker.process->core();
    const engine::ReplicaLimits& limits = core.limits();
    const uint64_t blocks = limits.groups.at(0).blocks - core.stats().kv_blocks_free;
    for (size_t rank = 0; rank < worker.all_devices.size(); ++rank) {
      DeviceUse& use = out.at(worker.all_devices[rank]);
      use.fixed_bytes += limits.rank(rank).fixed();
      use.kv_bytes += blocks * limits.rank(rank).block_bytes();
      use.what += fmt::format("{}rank {} of replica {} of epoch {}", use.what.empty() ? "" : ", ",
                              rank, worker.worker.replica.value, worker.epoch);
    }
  }
  return out;
}

std::string Machine::adapters_unlike(const std::vector<control::DeploymentView>& known) const {
  for (const auto& [id, number] : worker_of_) {
    const Worker& worker = workers_.at(number);
    if (!worker.process || worker.process->core() == nullptr) continue;
    const engine::ReplicaCore& core = *worker.process->core();
    if (core.reads_adapter()) continue;
    std::vector<std::string> held = core.adapters(), wanted = known.at(worker.deployment).adapters;
    std::ranges::sort(held);
    std::ranges::sort(wanted);
    if (held != wanted)
      return fmt::format("replica {} has the adapters [{}], the server knows [{}]",
                         worker.worker.replica.value, fmt::join(held, ", "),
                         fmt::join(wanted, ", "));
  }
  return "";
}

}  // namespace altlas::simulation
