#include "base/child_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/child_environment.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/strings.h"

extern char** environ;  // POSIX: the variables that a child inherits.

namespace altlas {
namespace {

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
  // 0, or the errno of what could not be set.
  int prepare(const ChildOptions& options, int output) {
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    int flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
    if (options.own_group) {
      posix_spawnattr_setpgroup(&attributes, 0);
      flags |= POSIX_SPAWN_SETPGROUP;
    }
    posix_spawnattr_setflags(&attributes, static_cast<short>(flags));
    int error = 0;
    if (!options.folder.empty())
      error = posix_spawn_file_actions_addchdir_np(&actions, options.folder.c_str());
    if (error == 0)
      error = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    for (const int to : {STDOUT_FILENO, STDERR_FILENO})
      if (error == 0) error = posix_spawn_file_actions_adddup2(&actions, output, to);
    // Asio's sockets are not close-on-exec: a child that held another's end would keep it open.
    if (error == 0) error = posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
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

// Reads until the child's end of `fd` is closed, or until the child is killed: what it started may
// hold that end for longer. False if tick ended it.
bool read_output(const ChildWatch& watch, int fd, pid_t pid, std::string& output) {
  const auto later = [](int64_t ms) { return system_clock().now() + ms * kMillisecond; };
  bool wanted = true;
  TimeUs next = later(watch.tick_ms);  // When to tick, or to kill what is not wanted.
  for (;;) {
    const int64_t left_ms = elapsed_us(system_clock().now(), next) / kMillisecond + 1;
    pollfd waited = {fd, POLLIN, 0};
    if (::poll(&waited, 1, static_cast<int>(std::min<int64_t>(left_ms, 60'000))) > 0) {
      char buffer[4096];
      const ssize_t count = ::read(fd, buffer, sizeof buffer);
      if (count == 0 || (count < 0 && errno != EINTR && errno != EAGAIN)) return wanted;
      if (count > 0) output.append(buffer, static_cast<size_t>(count));
      if (output.size() > kChildOutputBytesMax)
        output.erase(0, output.size() - kChildOutputBytesMax / 2);
    }
    if (system_clock().now() < next) continue;
    if (!wanted) {
      ::kill(pid, SIGKILL);
      return false;
    }
    wanted = !watch.tick || watch.tick();
    if (!wanted) ::kill(pid, SIGTERM);
    next = later(wanted ? watch.tick_ms : watch.term_ms);
  }
}

}  // namespace

Result<pid_t> start_child(const ChildOptions& options, int output) {
  ALTLAS_CHECK(!options.argv.empty(), "argv: a program");
  std::vector<std::string> arguments = options.argv;
  std::vector<std::string> environment =
      child_environment(environ, options.inherited, options.environment);
  std::string program = options.program.empty() ? options.argv[0] : options.program;
  // A relative path means the same before and after the change of folder.
  std::error_code ignored;
  if (program.find('/') != std::string::npos)
    program = std::filesystem::absolute(program, ignored).string();
  SpawnSettings settings;
  pid_t pid = 0;
  int error = settings.prepare(options, output);
  if (error == 0)
    error = ::posix_spawnp(&pid, program.c_str(), &settings.actions, &settings.attributes,
                           pointers(arguments).data(), pointers(environment).data());
  if (error == 0) return pid;
  return Error(error == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo,
               fmt::format("cannot start {}: {}", program, std::strerror(error)));
}

int wait_child(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0)
    ALTLAS_CHECK(errno == EINTR, "a child that nobody else waits for");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::string ChildEnd::last_line() const {
  const std::string_view text = trim_end(output);
  if (text.empty()) return "it printed nothing";
  return std::string(text.substr(text.find_last_of('\n') + 1));
}

Result<ChildEnd> run_child(const ChildOptions& options, const ChildWatch& watch) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    return io_error(fmt::format("cannot make a pipe: {}", std::strerror(errno)));
  Fd ours(ends[0]), childs(ends[1]);
  ALTLAS_TRY(const pid_t pid, start_child(options, childs.get()));
  childs.close();
  ChildEnd end;
  const bool wanted = read_output(watch, ours.get(), pid, end.output);
  ours.close();  // What the child started and still writes is told so.
  end.exit_code = wait_child(pid);
  if (wanted) return end;
  return Error(ErrorCode::kCanceled, fmt::format("{} was ended as asked", options.argv[0]));
}

}  // namespace altlas
