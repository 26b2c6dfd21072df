#include "engine/grammar_thread.h"

#include <chrono>
#include <utility>
#include <vector>

#include "base/check.h"

namespace altlas::engine {

GrammarThread::GrammarThread(GrammarCompiler compiler, std::function<void()> wake)
    : compiler_(std::move(compiler)), wake_(std::move(wake)), jobs_(1), done_(1) {}

GrammarThread::~GrammarThread() {
  jobs_.close();
  if (thread_.joinable()) thread_.join();
}

void GrammarThread::compile(Grammar grammar) {
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  ALTLAS_CHECK(jobs_.try_send(std::move(grammar)), "one grammar at a time");
}

std::optional<CompiledGrammar> GrammarThread::take() {
  std::vector<CompiledGrammar> done = done_.drain();
  if (done.empty()) return std::nullopt;
  return std::move(done.front());
}

void GrammarThread::run() {
  while (true) {
    std::vector<Grammar> jobs = jobs_.wait_drain(std::chrono::hours(1));
    if (jobs_.closed()) return;
    for (const Grammar& job : jobs) {
      ALTLAS_CHECK(done_.try_send(compiler_.compile(job)),
                   "results are taken before more is asked for");
      wake_();
    }
  }
}

}  // namespace altlas::engine
