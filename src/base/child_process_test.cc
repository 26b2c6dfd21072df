// Goal: a child is given what its options say and nothing else, and its end is told whatever it
// does. Method: real children, shells that print what they see or will not end.
#include "base/child_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace altlas {
namespace {
namespace fs = std::filesystem;

ChildOptions shell(const std::string& script) { return {.argv = {"sh", "-c", script}}; }

// A folder of its own for each test.
class ChildProcess : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "altlas_child_XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = fs::canonical(pattern);
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path folder_;
};

TEST_F(ChildProcess, EndsAreTold) {
  const struct {
    const char* script;
    int exit_code;
    const char* last_line;
  } kCases[] = {{"true", 0, "it printed nothing"},
                {"echo; echo ' '", 0, "it printed nothing"},
                {"exit 3", 3, "it printed nothing"},
                {"echo x; kill -9 $$", 137, "x"},
                {"cat; echo out; echo err >&2; echo", 0, "err"}};
  for (const auto& one : kCases) {
    const Result<ChildEnd> end = run_child(shell(one.script));
    ASSERT_TRUE(end.ok()) << one.script << ": " << end.error().message();
    EXPECT_EQ(end->exit_code, one.exit_code) << one.script;
    EXPECT_EQ(end->ok(), one.exit_code == 0) << one.script;
    EXPECT_EQ(end->last_line(), one.last_line) << one.script;
  }
}

TEST_F(ChildProcess, ProgramsThatAreNotThere) {
  const std::string text = folder_ / "text";
  std::ofstream(text) << "no program";
  fs::permissions(text, fs::perms::owner_read);
  EXPECT_EQ(run_child({.argv = {"/nonexistent"}}).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(run_child({.argv = {"altlas-no-such-program"}}).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(run_child({.argv = {"true"}, .folder = folder_ / "none"}).error().code(),
            ErrorCode::kNotFound);
  EXPECT_EQ(run_child({.argv = {text}}).error().code(), ErrorCode::kIo);
  EXPECT_NE(run_child({.argv = {text}}).error().message().find(text), std::string::npos);
}

TEST_F(ChildProcess, InheritsWhatIsListed) {
  const std::pair<const char*, bool> kVariables[] = {
      {"ALTLAS_API_KEY", false}, {"PYTHONPATH", false}, {"ALTLAS_TEST_X", true}, {"LC_TIME", true}};
  for (const auto& [name, passed] : kVariables) ::setenv(name, "told", 1);
  constexpr std::string_view kInherited[] = {"ALTLAS_TEST_*"};
  ChildOptions options = shell("env");
  options.inherited = kInherited;
  options.environment = {{"ADDED", "a b"}, {"LANG", "C"}};
  const Result<ChildEnd> end = run_child(options);
  for (const auto& [name, passed] : kVariables) ::unsetenv(name);
  ASSERT_TRUE(end.ok());
  const std::string seen = "\n" + end->output;
  for (const auto& [name, passed] : kVariables)
    EXPECT_EQ(seen.find("\n" + std::string(name) + "=told\n") != std::string::npos, passed) << name;
  EXPECT_NE(seen.find("\nADDED=a b\n"), std::string::npos) << seen;
  EXPECT_NE(seen.find("\nLANG=C\n"), std::string::npos) << seen;
}

TEST_F(ChildProcess, RunsInItsFolder) {
  ChildOptions options = shell("pwd");
  options.folder = folder_;
  EXPECT_EQ(run_child(options)->last_line(), folder_.string());
  // The folder of the child is not where its program is looked for.
  const std::string script = "child_process_test_script";
  std::ofstream(folder_ / script) << "#!/bin/sh\necho $0\n";
  fs::permissions(folder_ / script, fs::perms::owner_all);
  options.argv = {"./" + script};
  EXPECT_EQ(run_child(options).error().code(), ErrorCode::kNotFound);
  options.program = folder_ / script;
  EXPECT_EQ(run_child(options)->last_line(), folder_ / script);
}

// Method: a descriptor that is not close-on-exec, as Asio's sockets are not; a blocked and an
// ignored signal.
TEST_F(ChildProcess, InheritsNoDescriptorAndNoSignals) {
  const int open = ::fcntl(STDERR_FILENO, F_DUPFD, 100);
  ASSERT_GE(open, 100);
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  ASSERT_EQ(::pthread_sigmask(SIG_BLOCK, &blocked, &before), 0);
  const auto handler = ::signal(SIGUSR2, SIG_IGN);
  const auto mask_of = [](const char* name) {
    const auto end = run_child({.argv = {"grep", name, "/proc/self/status"}});
    return std::stoull(end->output.substr(std::string_view(name).size()), nullptr, 16);
  };
  const uint64_t is_blocked = mask_of("SigBlk:"), is_ignored = mask_of("SigIgn:");
  // The one that lists them has its own, 3.
  const auto list = run_child({.argv = {"ls", "-1", "/proc/self/fd"}});
  ::signal(SIGUSR2, handler);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::close(open);
  EXPECT_EQ(is_blocked, 0u);
  EXPECT_EQ(is_ignored & 0x7fffffff, 0u);  // Those above 31 are the C library's own.
  EXPECT_EQ(list->output, "0\n1\n2\n3\n");
}

TEST_F(ChildProcess, HasAGroupOfItsOwnIfAsked) {
  for (const bool own : {false, true}) {
    const Result<pid_t> pid =
        start_child({.argv = {"sleep", "100"}, .own_group = own}, STDERR_FILENO);
    ASSERT_TRUE(pid.ok()) << pid.error().message();
    EXPECT_EQ(::getpgid(*pid), own ? *pid : ::getpgrp());
    ASSERT_EQ(::kill(*pid, SIGTERM), 0);
    EXPECT_EQ(wait_child(*pid), 128 + SIGTERM);
  }
}

TEST_F(ChildProcess, KeepsTheEndOfItsOutput) {
  const auto loud = run_child(shell("yes | head -c 1000000; echo end"));
  EXPECT_LE(loud->output.size(), kChildOutputBytesMax);
  EXPECT_GE(loud->output.size(), kChildOutputBytesMax / 2);
  EXPECT_EQ(loud->last_line(), "end");
}

// Method: children that ignore SIGTERM: silent, with a child that holds the output open, and one
// that never stops writing.
TEST_F(ChildProcess, IsEndedWhateverItDoes) {
  const struct {
    const char* script;
    int64_t term_ms;
  } kCases[] = {{"exec sleep 100", 60'000},
                {"trap '' TERM; exec sleep 100", 20},
                {"trap '' TERM; sleep 3; sleep 100", 20},
                {"trap '' TERM; exec yes", 20}};
  for (const auto& one : kCases) {
    int ticks = 0;
    const ChildWatch watch = {
        .tick = [&ticks] { return ++ticks < 3; }, .tick_ms = 5, .term_ms = one.term_ms};
    const Result<ChildEnd> end = run_child(shell(one.script), watch);
    ASSERT_FALSE(end.ok()) << one.script;
    EXPECT_EQ(end.error().code(), ErrorCode::kCanceled) << one.script;
    EXPECT_EQ(ticks, 3) << one.script;
  }
}

}  // namespace
}  // namespace altlas
