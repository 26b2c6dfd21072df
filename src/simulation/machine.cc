#include "simulation/machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace altlas::simulation {

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

void Machine::start_worker(ReplicaId replica, uint64_t epoch, const engine::LoadReplica& load) {
  const uint64_t number = next_number_++;
  Worker& worker = workers_[number];
  worker.replica = replica;
  worker.epoch = epoch;
  worker.device = load.device_ids.at(0);
  worker_of_[replica] = number;
  const auto& deployments = scenario_.setup.deployments;
  const auto found =
      std::ranges::find(deployments, load.model_path,
                        [](const control::DeploymentSetup& one) { return one.load.model_path; });
  const auto deployment = static_cast<size_t>(found - deployments.begin());
  const engine::SimOptions model = scenario_.models.at(deployment).at(worker.device);
  events_.after(static_cast<int64_t>(5 * kMillisecond + random_.below(50 * kMillisecond)),
                [this, number, model] { spawn(number, model); });
}

void Machine::spawn(uint64_t number, const engine::SimOptions& model) {
  Worker* worker = find(number);
  if (worker == nullptr) return;
  worker::SessionOptions options;
  options.role = worker::Role::kWorker;
  options.replica = worker->replica;
  options.epoch = worker->epoch;
  options.token = "token";
  options.pid = static_cast<int32_t>(1000 + number);
  const auto load_us = static_cast<int64_t>(10 * kMillisecond + random_.below(800 * kMillisecond));
  worker->process =
      std::make_shared<WorkerProcess>(events_, options, model, load_us, hooks_of(number));
  connect(number);
}

WorkerProcess::Hooks Machine::hooks_of(uint64_t number) {
  WorkerProcess::Hooks hooks;
  hooks.write = [this, number](std::string bytes) {
    deliver(number, std::move(bytes), /*up=*/true);
  };
  hooks.exited = [this, number](const std::string& why) { exited(number, why); };
  hooks.may_load = [this, number] { return may_load(number); };
  return hooks;
}

// A worker of the server before this one holds the device's memory until it has ended.
Result<void> Machine::may_load(uint64_t number) {
  const Worker* own = find(number);
  if (own == nullptr) return {};
  for (const auto& [other, worker] : workers_)
    if (worker.epoch < own->epoch && worker.device == own->device && worker.process)
      return Error(ErrorCode::kBusy, "the device's memory is held by another process");
  if (loads_to_fail_ == 0) return {};
  --loads_to_fail_;
  return Error(ErrorCode::kIo, "the model's file can't be read");
}

void Machine::connect(uint64_t number) {
  Worker* worker = find(number);
  if (worker == nullptr || !worker->process || worker->connection != 0) return;
  if (!gateway_ || worker->epoch != epoch_) {
    if (gateway_ && random_.below(3) == 0) intrude(number);
    // Its session gives up after a time of silence.
    events_.after(200 * kMillisecond, [this, number] { connect(number); });
    return;
  }
  worker->connection = next_connection_++;
  const auto process = worker->process;
  gateway_->worker_connected(worker->replica);
  process->connected();
}

// One of an earlier epoch speaks on the link of its successor.
void Machine::intrude(uint64_t number) {
  Worker& worker = workers_.at(number);
  const auto present = worker_of_.find(worker.replica);
  if (present == worker_of_.end() || workers_.at(present->second).connection != 0) return;
  worker::Frame hello;
  hello.epoch = worker.epoch;
  hello.body = worker::Hello{worker::kProtocolVersion, "token", worker.replica, 1, "", 0, 100};
  const auto bytes = worker::encode_frame(hello);
  const ReplicaId replica = worker.replica;
  gateway_->worker_connected(replica);
  gateway_->worker_bytes(replica, *bytes);
  gateway_->worker_disconnected(replica);
}

// The connection is gone; both ends hear of it, the worker then connects again.
void Machine::cut(uint64_t number) {
  Worker* worker = find(number);
  if (worker == nullptr || worker->connection == 0) return;
  worker->connection = 0;
  if (gateway_ && worker->epoch == epoch_)
    events_.after(static_cast<int64_t>(random_.below(50 * kMillisecond)),
                  [this, number, epoch = epoch_] {
                    const Worker* cut = find(number);
                    if (cut != nullptr && cut->connection == 0 && gateway_ && epoch == epoch_)
                      gateway_->worker_disconnected(cut->replica);
                  });
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

void Machine::kill_worker(ReplicaId replica) {
  const auto found = worker_of_.find(replica);
  if (found == worker_of_.end()) return;
  const auto worker = workers_.find(found->second);
  if (worker != workers_.end() && worker->second.process) worker->second.process->kill();
  workers_.erase(found->second);
  worker_of_.erase(found);
}

// It is gone; the server hears of it as its parent.
void Machine::exited(uint64_t number, const std::string& why) {
  const auto found = workers_.find(number);
  if (found == workers_.end()) return;
  const ReplicaId replica = found->second.replica;
  const uint64_t epoch = found->second.epoch;
  workers_.erase(found);
  if (const auto own = worker_of_.find(replica); own != worker_of_.end() && own->second == number)
    worker_of_.erase(own);
  events_.after(static_cast<int64_t>(kMillisecond + random_.below(20 * kMillisecond)),
                [this, replica, epoch, why] {
                  if (gateway_ && epoch == epoch_) gateway_->worker_exited(replica, why);
                });
}

void Machine::write(ReplicaId replica, std::string bytes) {
  const auto found = worker_of_.find(replica);
  if (found != worker_of_.end()) deliver(found->second, std::move(bytes), /*up=*/false);
}

// Bytes arrive in order and perhaps in two parts, so that a break may cut a frame in half.
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
    if (gateway_ && to->epoch == epoch_) gateway_->worker_bytes(to->replica, bytes);
  });
}

uint64_t Machine::any_worker() {
  std::vector<uint64_t> living;
  for (const auto& [replica, number] : worker_of_)
    if (workers_.at(number).process) living.push_back(number);
  return living.empty() ? 0 : living[random_.below(living.size())];
}

bool Machine::crash_worker() {
  const uint64_t number = any_worker();
  if (number == 0) return false;
  workers_.at(number).process->kill();
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
    DeviceUse& use = out.at(worker.device);
    use.fixed_bytes += limits.weight_bytes + limits.activation_bytes;
    use.kv_bytes += blocks * limits.block_bytes;
    use.what += fmt::format("{}replica {} of epoch {}", use.what.empty() ? "" : ", ",
                            worker.replica.value, worker.epoch);
  }
  return out;
}

}  // namespace altlas::simulation
