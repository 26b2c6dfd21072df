// Worker processes: started as children (base/child_process.h), watched through a pidfd, never by
// SIGCHLD.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/result.h"

namespace boost::asio {
class io_context;
}

namespace altlas::worker {

// The environment variable that carries a worker's token (argv is readable for everyone on the
// machine).
inline constexpr const char* kTokenVariable = "ALTLAS_WORKER_TOKEN";

// {"worker", "--socket", path, "--replica", "3", "--worker", "0", "--epoch", "1", "--parent", pid
// of this process}.
std::vector<std::string> worker_arguments(const std::string& socket_path, WorkerId worker,
                                          uint64_t epoch);
// The part of these that says which worker: from "--replica" on.
std::vector<std::string> worker_identity(WorkerId worker, uint64_t epoch);

struct SpawnOptions {
  std::string executable = "/proc/self/exe";  // This program.
  std::vector<std::string> arguments;         // Without argv[0].
  // Beside the few of this process that a worker needs: no keys.
  std::vector<std::pair<std::string, std::string>> environment;
  std::string kernel_counts = "/proc/vmstat";  // Where the kernel counts out-of-memory kills.
};

struct ProcessExit {
  int code = 0;  // exit()'s, where signal is 0.
  int signal = 0;
  // "exited with code 3", "killed by signal 9", "killed by signal 9 (out of memory)" where the
  // kernel counted an out-of-memory kill in its life, "killed by signal 9 (asked to)".
  std::string reason;
};

// One child process. Its standard error is this process's, its input is /dev/null; no other
// descriptor is inherited. It is in a process group of its own, so that a terminal's Ctrl-C reaches
// the server alone. Threads: members from any thread. `exited` runs once, on the io_context, also
// if the handle is gone by then. With the worker's --parent, the kernel kills the child when the
// thread that spawned it ends: spawn from one that lives as long as the server.
class Process {
 public:
  // Errors: kIo when it can't be started.
  static Result<std::unique_ptr<Process>> spawn(boost::asio::io_context& context,
                                                const SpawnOptions& options,
                                                std::function<void(ProcessExit)> exited);
  ~Process();  // Kills it if it runs.
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  int32_t pid() const;
  void terminate();  // SIGTERM.
  void kill();       // SIGKILL.

 private:
  struct State;
  explicit Process(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

}  // namespace altlas::worker
