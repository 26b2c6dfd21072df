#include "worker/spawn.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cstring>
#include <fstream>

#include "base/child_process.h"

namespace altlas::worker {
namespace {
namespace asio = boost::asio;

// Returns the machine's out-of-memory kills that the kernel has counted (since 4.13), or 0 if it
// does not say.
uint64_t out_of_memory_kills(const std::string& kernel_counts) {
  std::ifstream file(kernel_counts);
  std::string name;
  for (uint64_t value = 0; file >> name >> value;)
    if (name == "oom_kill") return value;
  return 0;
}

// Variables that a worker's computation may depend on: the kernels' switch, libraries of the loader
// and of GPUs, allocators and sanitizers, and those that tests hand on. No key is among them.
constexpr std::string_view kWorkerVariables[] = {
    "ALTLAS_SIMD", "ALTLAS_TEST_*", "LD_LIBRARY_PATH", "CUDA_*",  "NVIDIA_*", "GLIBC_TUNABLES",
    "MALLOC_*",    "ASAN_*",        "TSAN_*",          "UBSAN_*", "LSAN_*",   "LLVM_PROFILE_FILE"};

}  // namespace

struct Process::State {
  State(asio::io_context& context, int pidfd) : descriptor(context, pidfd) {}
  int32_t pid = 0;
  // The pidfd: signals through it never reach another process.
  asio::posix::stream_descriptor descriptor;
  std::function<void(ProcessExit)> exited;
  std::string kernel_counts;
  uint64_t oom_kills = 0;  // The count at the process' start.
  std::atomic<bool> ended = false, killed = false;

  void signal(int number) {
    if (ended) return;
    if (number == SIGKILL) killed = true;
    ::syscall(SYS_pidfd_send_signal, descriptor.native_handle(), number, nullptr, 0);
  }
  void watch(std::shared_ptr<State> self);
  void reap();
};

void Process::State::watch(std::shared_ptr<State> self) {
  descriptor.async_wait(asio::posix::descriptor_base::wait_read,
                        [self](const boost::system::error_code& error) {
                          if (!error) self->reap();
                        });
}

void Process::State::reap() {
  siginfo_t info = {};
  if (::waitid(P_PIDFD, static_cast<id_t>(descriptor.native_handle()), &info, WEXITED | WNOHANG) !=
      0)
    return;
  ended = true;
  ProcessExit exit;
  if (info.si_code == CLD_EXITED) {
    exit.code = info.si_status;
    exit.reason = fmt::format("exited with code {}", exit.code);
  } else {
    exit.signal = info.si_status;
    exit.reason = fmt::format("killed by signal {}", exit.signal);
    if (exit.signal == SIGKILL && killed)
      exit.reason += " (asked to)";
    else if (exit.signal == SIGKILL && out_of_memory_kills(kernel_counts) > oom_kills)
      exit.reason += " (out of memory)";
  }
  if (const auto callback = std::exchange(exited, nullptr)) callback(std::move(exit));
}

std::vector<std::string> worker_arguments(const std::string& socket_path, WorkerId worker,
                                          uint64_t epoch) {
  std::vector<std::string> out = {"worker", "--socket", socket_path};
  for (std::string& one : worker_identity(worker, epoch)) out.push_back(std::move(one));
  return out;
}

std::vector<std::string> worker_identity(WorkerId worker, uint64_t epoch) {
  return {"--replica", std::to_string(worker.replica.value),
          "--worker",  std::to_string(worker.index),
          "--epoch",   std::to_string(epoch),
          "--parent",  std::to_string(::getpid())};
}

Result<std::unique_ptr<Process>> Process::spawn(asio::io_context& context,
                                                const SpawnOptions& options,
                                                std::function<void(ProcessExit)> exited) {
  ChildOptions child;
  child.program = options.executable;
  child.argv = {"altlas"};
  child.argv.insert(child.argv.end(), options.arguments.begin(), options.arguments.end());
  child.inherited = kWorkerVariables;
  child.environment = options.environment;
  child.own_group = true;
  const uint64_t oom_kills = out_of_memory_kills(options.kernel_counts);
  const Result<pid_t> started = start_child(child, STDERR_FILENO);
  if (!started.ok())
    return io_error(fmt::format("can't start a worker: {}", started.error().message()));
  const pid_t pid = *started;
  const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (pidfd < 0) {
    const int error = errno;
    // The process is not reaped yet, so the number is still its own.
    ::kill(pid, SIGKILL);
    wait_child(pid);
    return io_error(
        fmt::format("can't watch a worker (pidfd_open, Linux 5.3): {}", std::strerror(error)));
  }
  auto state = std::make_shared<State>(context, pidfd);
  state->pid = pid;
  state->exited = std::move(exited);
  state->kernel_counts = options.kernel_counts;
  state->oom_kills = oom_kills;
  state->watch(state);
  return std::unique_ptr<Process>(new Process(std::move(state)));
}

Process::~Process() { kill(); }
int32_t Process::pid() const { return state_->pid; }
void Process::terminate() { state_->signal(SIGTERM); }
void Process::kill() { state_->signal(SIGKILL); }

}  // namespace altlas::worker
