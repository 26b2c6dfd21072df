// GrammarThread: compiles grammars on a thread of its own, so that steps go on meanwhile.
#pragma once

#include <functional>
#include <optional>
#include <thread>

#include "base/channel.h"
#include "engine/grammar_compiler.h"

namespace altlas::engine {

// One grammar at a time. Threads: every call from the replica's leading thread.
class GrammarThread {
 public:
  // wake: called from the compiling thread when take() has something.
  GrammarThread(GrammarCompiler compiler, std::function<void()> wake);
  ~GrammarThread();  // Waits for the grammar that is being compiled.
  GrammarThread(const GrammarThread&) = delete;
  GrammarThread& operator=(const GrammarThread&) = delete;

  // Once what was asked for before has been taken.
  void compile(Grammar grammar);
  // What the last compile() came to, once it is done.
  std::optional<CompiledGrammar> take();

 private:
  void run();

  GrammarCompiler compiler_;
  const std::function<void()> wake_;
  Channel<Grammar> jobs_;
  Channel<CompiledGrammar> done_;
  std::thread thread_;  // Started by the first grammar.
};

}  // namespace altlas::engine
