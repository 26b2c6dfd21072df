#include "weights/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string_view>

#include "base/child_environment.h"

namespace altlas::weights {
namespace {
constexpr int kTickMs = 200;
constexpr int kTermTicks = 15;  // Ticks from SIGTERM to SIGKILL.

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (std::string& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

// How packages are reached. PYTHON* is not among them: it names code.
constexpr std::string_view kPackageVariables[] = {
    "PIP_*",        "http_proxy",         "https_proxy",    "no_proxy",  "all_proxy",
    "HTTP_PROXY",   "HTTPS_PROXY",        "NO_PROXY",       "ALL_PROXY", "SSL_CERT_FILE",
    "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NETRC",     "XDG_CONFIG_*"};

// Spawns with standard output and error on `output`.  Returns the process id, or -errno.
pid_t spawn(const ProcessSpec& spec, int output) {
  std::vector<std::string> arguments = spec.argv, environment = child_environment(
                                                      environ, kPackageVariables, spec.environment);
  // A relative path means the same before and after the change of folder.
  std::string program = spec.argv[0];
  std::error_code ignored;
  if (program.find('/') != std::string::npos)
    program = std::filesystem::absolute(program, ignored).string();
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (!spec.folder.empty()) posix_spawn_file_actions_addchdir_np(&actions, spec.folder.c_str());
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
  // The caller may have blocked or ignored signals; the child starts with neither.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigemptyset(&all);
  for (const int number : {SIGPIPE, SIGTERM, SIGINT, SIGHUP}) sigaddset(&all, number);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t pid = 0;
  const int failed = ::posix_spawnp(&pid, program.c_str(), &actions, &attributes,
                                    pointers(arguments).data(), pointers(environment).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return failed != 0 ? -failed : pid;
}

// Reads until the child closes its end. False if tick ended it.
bool drain(const ProcessSpec& spec, int fd, pid_t pid, std::string& output) {
  bool wanted = true;
  int ticks_since_term = 0;
  for (;;) {
    pollfd waited = {fd, POLLIN, 0};
    const int ready = ::poll(&waited, 1, kTickMs);
    if (ready > 0) {
      char buffer[4096];
      const ssize_t count = ::read(fd, buffer, sizeof buffer);
      if (count == 0 || (count < 0 && errno != EINTR && errno != EAGAIN)) return wanted;
      if (count > 0) output.append(buffer, static_cast<size_t>(count));
      if (output.size() > 2 * kProcessOutputBytesMax)
        output.erase(0, output.size() - kProcessOutputBytesMax);
    }
    if (!wanted && ready == 0 && ++ticks_since_term == kTermTicks) ::kill(pid, SIGKILL);
    if (wanted && spec.tick && !spec.tick()) {
      wanted = false;
      ::kill(pid, SIGTERM);
    }
  }
}
}  // namespace

std::string ProcessEnd::last_line() const {
  std::string_view rest = output;
  while (!rest.empty()) {
    const size_t end = rest.find_last_not_of(" \r\n\t");
    if (end == std::string_view::npos) break;
    rest = rest.substr(0, end + 1);
    const size_t start = rest.find_last_of('\n');
    return std::string(start == std::string_view::npos ? rest : rest.substr(start + 1));
  }
  return "it printed nothing";
}

Result<ProcessEnd> run_process(const ProcessSpec& spec) {
  ALTLAS_CHECK(!spec.argv.empty(), "argv: a program");
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    return io_error(fmt::format("cannot make a pipe: {}", std::strerror(errno)));
  const pid_t pid = spawn(spec, ends[1]);
  ::close(ends[1]);
  if (pid < 0) {
    ::close(ends[0]);
    const ErrorCode code = pid == -ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo;
    return Error(code, fmt::format("cannot start {}: {}", spec.argv[0], std::strerror(-pid)));
  }
  ProcessEnd end;
  const bool wanted = drain(spec, ends[0], pid, end.output);
  ::close(ends[0]);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!wanted)
    return Error(ErrorCode::kCanceled, fmt::format("{} was ended as asked", spec.argv[0]));
  end.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return end;
}

}  // namespace altlas::weights
