// Goal: a child learns what is on the list and nothing else. Method: an environment of keys, code
// paths and plain names; every case by name.
#include "base/child_environment.h"

#include <gtest/gtest.h>

namespace altlas {
namespace {

constexpr const char* kParent[] = {"PATH=/bin",
                                   "HOME=/home/x",
                                   "LC_TIME=C",
                                   "LCX=1",
                                   "PATHS=/x",
                                   "ALTLAS_API_KEY=secret",
                                   "ALTLAS_AUTH__API_KEYS=secret",
                                   "HF_TOKEN=secret",
                                   "AWS_SECRET_ACCESS_KEY=secret",
                                   "OPENAI_API_KEY=secret",
                                   "PYTHONPATH=/tmp",
                                   "PYTHONSTARTUP=/tmp/x.py",
                                   "LD_PRELOAD=/tmp/x.so",
                                   "PIP_INDEX_URL=http://index",
                                   "PIP=1",
                                   "no-equals",
                                   "=empty",
                                   nullptr};

TEST(ChildEnvironment, HoldsWhatIsListedAndWhatIsAdded) {
  constexpr std::string_view kPip[] = {"PIP_*"};
  const std::vector<std::string> pip = child_environment(kParent, kPip, {});
  EXPECT_EQ(pip, (std::vector<std::string>{"PATH=/bin", "HOME=/home/x", "LC_TIME=C",
                                           "PIP_INDEX_URL=http://index"}));
  const std::pair<std::string, std::string> added[] = {{"PATH", "/usr/bin"}, {"TOKEN", "a=b"}};
  EXPECT_EQ(child_environment(kParent, {}, added),
            (std::vector<std::string>{"HOME=/home/x", "LC_TIME=C", "PATH=/usr/bin", "TOKEN=a=b"}));
  EXPECT_TRUE(child_environment(nullptr, kPip, {}).empty());
}

}  // namespace
}  // namespace altlas
