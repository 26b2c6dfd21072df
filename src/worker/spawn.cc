#include "worker/spawn.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cstring>
#include <fstream>

#include "base/child_environment.h"

extern char** environ;  // POSIX: the variables that a child inherits.

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

// posix_spawn's attributes and file actions, freed at the end.
struct SpawnSettings {
  SpawnSettings() {
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_init(&actions);
  }
  ~SpawnSettings() {
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;
  // 0, or what could not be set.
  int prepare() {
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    int error = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (error == 0) error = posix_spawn_file_actions_adddup2(&actions, 2, 1);
    // Asio's sockets are not close-on-exec: a worker that held another's end would keep its link
    // open.
    if (error == 0) error = posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    return error;
  }
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_t actions;
};

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (std::string& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

// What a worker's computation may depend on: the kernels' switch, libraries of the loader and of
// GPUs, allocators and sanitizers, what tests hand on. No key is among them.
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
  return {"worker",
          "--socket",
          socket_path,
          "--replica",
          std::to_string(worker.replica.value),
          "--worker",
          std::to_string(worker.index),
          "--epoch",
          std::to_string(epoch),
          "--parent",
          std::to_string(::getpid())};
}

Result<std::unique_ptr<Process>> Process::spawn(asio::io_context& context,
                                                const SpawnOptions& options,
                                                std::function<void(ProcessExit)> exited) {
  SpawnSettings settings;
  std::vector<std::string> arguments{"altlas"},
      environment = child_environment(environ, kWorkerVariables, options.environment);
  arguments.insert(arguments.end(), options.arguments.begin(), options.arguments.end());
  const std::vector<char*> argv = pointers(arguments), envp = pointers(environment);
  const uint64_t oom_kills = out_of_memory_kills(options.kernel_counts);
  pid_t pid = 0;
  int error = settings.prepare();
  if (error == 0)
    error = ::posix_spawn(&pid, options.executable.c_str(), &settings.actions, &settings.attributes,
                          argv.data(), envp.data());
  if (error != 0)
    return io_error(fmt::format("can't start a worker from '{}': {}", options.executable,
                                std::strerror(error)));
  const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (pidfd < 0) {
    error = errno;
    ::kill(pid, SIGKILL);  // Not reaped yet: the number is still its own.
    ::waitpid(pid, nullptr, 0);
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
