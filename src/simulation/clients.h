// Clients: those who ask a simulated server for tasks, cancel some, ask again where they heard no
// answer.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/philox.h"
#include "control/events.h"
#include "simulation/adapter_operator.h"
#include "simulation/checkers.h"
#include "simulation/event_queue.h"
#include "simulation/scenario.h"

namespace altlas::simulation {

class Clients {
 public:
  // `adapters`: who may be named. `step`: gives an event to the server; false if there is none. All
  // outlive this.
  Clients(EventQueue& events, PhiloxStream& random, const Scenario& scenario, Checkers& checkers,
          AdapterOperator& adapters, std::function<bool(control::Event)> step)
      : events_(events),
        random_(random),
        scenario_(scenario),
        checkers_(checkers),
        adapters_(adapters),
        step_(std::move(step)) {}

  // Spreads this many requests over the time, in bursts.
  void schedule(uint32_t requests, int64_t busy_us);
  void on_admission(uint64_t ticket, const Result<void>& admitted);
  void on_submission(uint64_t ticket, const Result<std::vector<control::Placed>>& placed);
  // Open requests are cut; those with an idempotency key are made again later.
  void server_lost();
  // Nothing is asked or to be asked.
  bool idle() const { return open_.empty() && planned_ == 0; }

 private:
  struct Request {
    std::vector<TaskSpec> specs;
    bool split = true;
    uint32_t min_per_device = 1;
    bool retried = false;
  };
  Request make_request();
  TaskSpec make_spec(size_t deployment);
  void make_work(size_t deployment, TaskSpec& spec);
  void make_text(TaskSpec& spec);
  std::string make_payload();
  Prompt make_prompt(size_t tokens_max);
  void later(int64_t delay_us, std::function<void()> what);
  void send(Request request);
  void submit(uint64_t ticket);
  void repeat(const Request& request, int64_t delay_us, bool other_body);
  void cancel_later(TaskId id);
  TaskId next_id();

  EventQueue& events_;
  PhiloxStream& random_;
  const Scenario& scenario_;
  Checkers& checkers_;
  AdapterOperator& adapters_;
  std::function<bool(control::Event)> step_;
  std::map<uint64_t, Request> open_;  // By ticket.
  uint64_t planned_ = 0;
  uint64_t next_ticket_ = 1, next_task_ = 1, next_key_ = 1;
};

}  // namespace altlas::simulation
