#include "testing/generated_file.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

namespace altlas::testing {

void expect_generated_file(const std::string& root, const std::string& path,
                           const std::string& want) {
  const std::string full = root + "/" + path;
  if (std::getenv("ALTLAS_UPDATE_DOCS") != nullptr) {
    std::ofstream out(full);
    out << want;
    EXPECT_TRUE(out.flush().good()) << full << " can't be written";
    return;
  }
  std::ifstream in(full);
  ASSERT_TRUE(in.good()) << path << " is missing: run this test with ALTLAS_UPDATE_DOCS=1";
  std::stringstream got;
  got << in.rdbuf();
  EXPECT_TRUE(got.str() == want) << path
                                 << " is out of date: run this test with ALTLAS_UPDATE_DOCS=1";
}

}  // namespace altlas::testing
