// AdapterOperator: who loads and unloads LoRA adapters of a simulated server, and what must hold of
// the answers.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "base/philox.h"
#include "control/events.h"
#include "simulation/checkers.h"
#include "simulation/event_queue.h"
#include "simulation/scenario.h"

namespace altlas::simulation {

// A file of this name can't be read.
inline constexpr std::string_view kBrokenAdapter = "broken";

class AdapterOperator {
 public:
  // `step`: gives an event to the server; false if there is none. All outlive this.
  AdapterOperator(EventQueue& events, PhiloxStream& random, const Scenario& scenario,
                  Checkers& checkers, ShapeCounts& counts,
                  std::function<bool(control::Event)> step);

  // Spreads changes over the time; none where the scenario has no adapters.
  void schedule(int64_t busy_us);
  void on_answer(const control::AnswerChange& answer);
  // The server died or stopped: it knows only the adapters of its configuration from now on.
  void server_lost();
  bool idle() const { return open_.empty() && planned_ == 0; }

  // For a task: a name, mostly of an adapter that is loaded; empty: the model itself.
  std::string draw_name(const std::string& deployment);
  // What a task that names it now is computed with; empty where it is not loaded.
  std::string file_of(const std::string& deployment, const std::string& name) const;

 private:
  struct Request {
    std::string deployment, name;
    std::string path;  // Empty: an unload.
  };
  void later(int64_t delay_us, std::function<void()> what);
  void change();
  void load(const std::string& deployment, const std::string& name);
  void unload(const std::string& deployment, const std::string& name);
  void send(Request request);
  void configured();

  EventQueue& events_;
  PhiloxStream& random_;
  const Scenario& scenario_;
  Checkers& checkers_;
  ShapeCounts& counts_;
  std::function<bool(control::Event)> step_;
  std::map<std::pair<std::string, std::string>, std::string> files_;  // (deployment, name) to path.
  std::map<uint64_t, Request> open_;                                  // By ticket.
  uint64_t planned_ = 0, next_ticket_ = 1, next_file_ = 1;
};

}  // namespace altlas::simulation
