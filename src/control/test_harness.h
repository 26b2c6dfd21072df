// CoreHarness: drives a Core in tests: a clock by hand, a journal that answers when told, workers
// that report when told.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "control/core.h"

namespace altlas::control {

inline CoreSetup test_setup(int devices, uint32_t sequences_max = 4) {
  CoreSetup setup;
  for (int i = 0; i < devices; ++i)
    setup.devices.push_back(
        {DeviceId{i}, "device " + std::to_string(i), "sim", 1 << 20, "sim:test:1", 0});
  DeploymentSetup model;
  model.name = "model";
  model.model = "model";
  model.load.model_path = "model.gguf";
  model.load.sequences_max = sequences_max;
  for (int i = 0; i < devices; ++i) model.replicas.push_back({DeviceId{i}});
  DeploymentSetup echo;
  echo.name = "echo";
  echo.load.kind = "echo";
  echo.replicas.push_back({DeviceId{0}});
  setup.deployments = {model, echo};
  setup.default_deployment = "model";
  return setup;
}

class CoreHarness {
 public:
  explicit CoreHarness(CoreSetup setup) : core(std::move(setup)) {}

  void step(Event event) {
    if (before_step) before_step(event);
    std::vector<Action> actions;
    core.step(std::move(event), now, actions);
    core.check_integrity();
    if (after_step) after_step();
    for (Action& action : actions) carry_out(std::move(action));
    while (journal_auto && !appends.empty()) write(true);
  }
  void advance(int64_t us) {
    const TimeUs end = now + us;
    while (core.next_deadline() <= end) {
      now = std::max(now, core.next_deadline());
      const uint64_t epoch = core.epoch();
      step(Tick{});
      ALTLAS_CHECK(core.epoch() - epoch < 1000, "ticks come to an end");
    }
    now = end;
    step(Tick{});
  }
  // Replicas load as soon as they start.
  void start() {
    step(Started{});
    load_all();
  }
  void load_all() {
    while (!started.empty()) load_one();
  }
  void load_one() {
    const auto [worker, load] = started.front();
    started.pop_front();
    step(WorkerConnected{worker, 1000 + static_cast<int32_t>(worker.replica.value)});
    step(WorkerReported{worker, loaded(load)});
    live.insert(worker.replica);
  }
  engine::ReplicaLoaded loaded(const engine::LoadReplica& load) const {
    engine::ReplicaLoaded out;
    if (load.kind == "echo") {
      out.sequences_max = 64;
      return out;
    }
    out.sequences_max = load.sequences_max;
    out.model_len_max = 1024;
    out.block_tokens = 16;
    out.kv_blocks = kv_blocks;
    for (const engine::RankPlace& rank : load.ranks) {
      const auto own = weight_bytes.find(rank.device_id);
      const auto block = block_bytes.find(rank.device_id);
      out.ranks.push_back({own == weight_bytes.end() ? uint64_t{1} << 18 : own->second,
                           1 << 10,
                           {block == block_bytes.end() ? uint64_t{1024} : block->second}});
    }
    return out;
  }

  // The next append is written, or not.
  void write(bool ok) {
    AppendJournal append = std::move(appends.front());
    appends.pop_front();
    if (ok) journal.insert(journal.end(), append.events.begin(), append.events.end());
    step(JournalWritten{append.ticket, ok, ok ? "" : "disk full"});
  }

  TaskSpec spec() {
    TaskSpec out;
    out.id = TaskId{7, next_id++};
    out.deployment = "model";
    out.prompt = std::vector<int32_t>(20, 1);
    out.tokens_max = 10;
    return out;
  }
  // Through admission. The answer is in admissions/submissions.
  uint64_t submit(std::vector<TaskSpec> specs, bool split = true) {
    const uint64_t ticket = next_ticket++;
    step(AdmissionRequested{ticket, "", specs.empty() ? "" : specs[0].deployment,
                            static_cast<uint32_t>(specs.size())});
    if (admissions.at(ticket).ok()) step(TasksSubmitted{ticket, std::move(specs), split, 1});
    return ticket;
  }
  Placed one(TaskSpec s) {
    const uint64_t ticket = submit({std::move(s)});
    ALTLAS_CHECK(admissions.at(ticket).ok(), admissions.at(ticket).error().message());
    ALTLAS_CHECK(submissions.at(ticket).ok(), submissions.at(ticket).error().message());
    return submissions.at(ticket)->at(0);
  }
  TaskView view(const TaskId& id) { return *core.task(id); }

  // The run that the core started last for the prompt owner: (replica, sequence).
  struct Run {
    ReplicaId replica;
    engine::SubmitSequence command;
  };
  void tokens(const Run& run, uint32_t first, std::vector<int32_t> ids) {
    TokenDelta delta;
    delta.first_index = first;
    delta.text_offset = first;
    delta.text = std::string(ids.size(), 'a');
    delta.ids = std::move(ids);
    step(WorkerReported{{run.replica},
                        engine::SequenceTokens{run.command.sequence, std::move(delta)}});
  }
  void finish(const Run& run, uint32_t tokens = 10) {
    TaskResult result;
    result.text = std::string(tokens, 'a');
    result.tokens = tokens;
    result.finish_reason = FinishReason::kLength;
    step(WorkerReported{{run.replica}, engine::SequenceFinished{run.command.sequence, result}});
  }
  void alive() {  // Every live replica says that it goes on.
    ++steps;
    for (const ReplicaId replica : live) {
      engine::ReplicaStats stats;
      stats.steps = steps;
      stats.running = 1;
      step(WorkerReported{{replica}, stats});
    }
  }

  std::function<void(const Event&)> before_step;
  std::function<void()> after_step;  // Before its actions are carried out.
  Core core;
  TimeUs now = 1'000'000'000;
  bool journal_auto = true;
  uint32_t kv_blocks = 256;
  std::map<uint32_t, uint64_t> weight_bytes;  // By device; 1 << 18 where there is none.
  std::map<uint32_t, uint64_t> block_bytes;   // By device; 1024 where there is none.
  uint64_t next_id = 1, next_ticket = 1, steps = 0;
  std::deque<AppendJournal> appends;
  std::vector<journal::TaskEvent> journal;
  std::map<uint64_t, Result<void>> admissions;
  std::map<uint64_t, Result<std::vector<Placed>>> submissions;
  std::deque<std::pair<WorkerId, engine::LoadReplica>> started;
  std::set<ReplicaId> live;
  std::vector<StopWorker> stopped;
  std::vector<Run> runs;
  std::vector<std::pair<ReplicaId, SequenceId>> cancels;
  std::map<uint64_t, Result<void>> changes;  // Answers, by ticket.
  std::vector<Scaled> scaled;
  std::deque<std::pair<ReplicaId, engine::LoadAdapter>> adapter_loads;
  std::vector<std::pair<ReplicaId, std::string>> adapter_unloads;
  std::map<TaskId, std::string> text;
  std::map<TaskId, int> ends;
  std::vector<TaskId> forgotten;  // By the journal too.
  std::vector<TaskId> with_key;   // Not by it.
  std::vector<std::string> warnings;

 private:
  void carry_out(Action action) {
    if (auto* a = std::get_if<AnswerAdmission>(&action)) {
      admissions.emplace(a->ticket, a->admitted);
    } else if (auto* s = std::get_if<AnswerSubmission>(&action)) {
      ALTLAS_CHECK(submissions.emplace(s->ticket, s->placed).second,
                   "a submission is answered once");
    } else if (auto* append = std::get_if<AppendJournal>(&action)) {
      appends.push_back(std::move(*append));
    } else if (auto* start = std::get_if<StartWorker>(&action)) {
      started.emplace_back(start->worker, start->load);
    } else if (auto* stop = std::get_if<StopWorker>(&action)) {
      stopped.push_back(*stop);
      live.erase(stop->worker.replica);
    } else if (auto* send = std::get_if<SendCommand>(&action)) {
      if (auto* run = std::get_if<engine::SubmitSequence>(&send->command))
        runs.push_back({send->worker.replica, *run});
      if (auto* cancel = std::get_if<engine::CancelSequence>(&send->command))
        cancels.emplace_back(send->worker.replica, cancel->sequence);
      if (auto* adapter = std::get_if<engine::LoadAdapter>(&send->command))
        adapter_loads.emplace_back(send->worker.replica, *adapter);
      if (auto* adapter = std::get_if<engine::UnloadAdapter>(&send->command))
        adapter_unloads.emplace_back(send->worker.replica, adapter->name);
    } else if (auto* change = std::get_if<AnswerChange>(&action)) {
      ALTLAS_CHECK(changes.emplace(change->ticket, change->outcome).second,
                   "a request for a change is answered once");
    } else if (auto* one = std::get_if<Scaled>(&action)) {
      scaled.push_back(*one);
    } else if (auto* delta = std::get_if<PublishDelta>(&action)) {
      ALTLAS_CHECK(delta->delta.text_offset == text[delta->task].size(), "no gap, no repetition");
      text[delta->task] += delta->delta.text;
    } else if (auto* status = std::get_if<PublishStatus>(&action)) {
      if (is_over(status->status)) ++ends[status->task];
    } else if (auto* forget = std::get_if<ForgetTasks>(&action)) {
      std::vector<TaskId>& to = forget->key_kept ? with_key : forgotten;
      to.insert(to.end(), forget->tasks.begin(), forget->tasks.end());
    } else if (auto* warning = std::get_if<LogWarning>(&action)) {
      warnings.push_back(warning->text);
    }
  }
};

}  // namespace altlas::control
