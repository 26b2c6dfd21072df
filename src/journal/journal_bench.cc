// Events a second through the codec, the SQLite store (durable), the writer, and replay.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "journal/codec.h"
#include "journal/replay.h"
#include "journal/store.h"
#include "journal/test_events.h"
#include "journal/writer.h"

namespace altlas::journal {
namespace {

// Events of one run; a smoke run has few, so that it takes no time.
size_t event_count() { return std::getenv("ALTLAS_BENCH_TINY") != nullptr ? 1000 : 100'000; }

// Half of the events are acceptances with 64 prompt tokens, half completions with 200 bytes of
// text.
std::vector<TaskEvent> make_events(size_t count) {
  std::vector<TaskEvent> events;
  for (size_t i = 0; i < count / 2; ++i) {
    TaskSpec spec;
    spec.id = task_id(i);
    spec.deployment = "qwen";
    spec.prompt = std::vector<int32_t>(64, static_cast<int32_t>(1000 + i % 1000));
    events.push_back(
        event_of(i, static_cast<TimeUs>(i), TaskAccepted{std::move(spec), DeviceId{0}}));
    TaskResult result;
    result.text.assign(200, 'x');
    events.push_back(event_of(i, static_cast<TimeUs>(i), TaskCompleted{std::move(result)}));
  }
  return events;
}

std::string fresh_folder() {
  std::string pattern =
      (std::filesystem::temp_directory_path() / "altlas_journal_bench_XXXXXX").string();
  ALTLAS_CHECK(::mkdtemp(pattern.data()) != nullptr, "a temporary folder");
  return pattern;
}

void encode(benchmark::State& state) {
  const std::vector<TaskEvent> events = make_events(1000);
  for (auto _ : state)
    for (const TaskEvent& event : events) benchmark::DoNotOptimize(encode_event(event));
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * events.size()));
}
BENCHMARK(encode);

// Appends durable events in commits of `range(0)`.
void append(benchmark::State& state) {
  const std::vector<TaskEvent> events = make_events(event_count());
  const auto group = static_cast<size_t>(state.range(0));
  const size_t total = group == 1 ? events.size() / 20 : events.size();
  for (auto _ : state) {
    const std::string folder = fresh_folder();
    {
      const auto store = open_sqlite_store(folder + "/journal.sqlite").value();
      for (size_t i = 0; i < total; i += group)
        store->append(std::span(events).subspan(i, std::min(group, total - i))).value();
    }
    std::filesystem::remove_all(folder);
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * total));
}
BENCHMARK(append)
    ->Arg(1)
    ->Arg(64)
    ->Arg(1024)
    ->Unit(benchmark::kMillisecond)
    ->Iterations(1)
    ->UseRealTime();

// Sends single events through the writer, whose group commit collects them.
void writer(benchmark::State& state) {
  const std::vector<TaskEvent> events = make_events(event_count());
  uint64_t commits = 0;
  for (auto _ : state) {
    const std::string folder = fresh_folder();
    {
      JournalWriter writer(open_sqlite_store(folder + "/journal.sqlite").value(), {});
      writer.start();
      for (const TaskEvent& event : events)
        while (!writer.append({event}, {}).ok()) std::this_thread::yield();
      writer.stop();
      commits += writer.stats().commits;
    }
    std::filesystem::remove_all(folder);
  }
  state.counters["commits"] = static_cast<double>(commits);
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * events.size()));
}
BENCHMARK(writer)->Unit(benchmark::kMillisecond)->Iterations(1)->UseRealTime();

void replay(benchmark::State& state) {
  const std::vector<TaskEvent> events = make_events(event_count());
  const std::string folder = fresh_folder();
  {
    const auto store = open_sqlite_store(folder + "/journal.sqlite").value();
    store->append(events).value();
    for (auto _ : state) {
      Replay fold;
      store->replay([&](TaskEvent event) { return fold.add(std::move(event)); }).value();
      state.counters["hash32"] = static_cast<double>(fold.hash() >> 32);
    }
  }
  std::filesystem::remove_all(folder);
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * events.size()));
}
BENCHMARK(replay)->Unit(benchmark::kMillisecond)->Iterations(1)->UseRealTime();

}  // namespace
}  // namespace altlas::journal
