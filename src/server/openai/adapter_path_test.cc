// Goal: adapters come from the folders that the configuration names and from nowhere else, also
// with links and ".."; a refusal does not tell what is elsewhere.
#include "server/openai/adapter_path.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace altlas::server {
namespace {

namespace fs = std::filesystem;

class AdapterPath : public testing::Test {
 protected:
  AdapterPath() {
    fs::create_directories(root_ / "in" / "poet");
    fs::create_directories(root_ / "inside-out");
    std::ofstream(root_ / "in" / "a.gguf") << "x";
    std::ofstream(root_ / "inside-out" / "secret") << "x";
    fs::create_symlink(root_ / "inside-out", root_ / "in" / "link");
    fs::create_symlink(root_ / "in" / "poet", root_ / "in" / "alias");
  }
  ~AdapterPath() override { fs::remove_all(root_); }
  Result<std::string> ask(const std::string& path) const {
    return adapter_path(path, {(root_ / "none").string(), (root_ / "in").string()});
  }

  const fs::path root_ = fs::canonical(fs::temp_directory_path()) /
                         ("altlas_adapter_path_" + std::to_string(::getpid()));
};

TEST_F(AdapterPath, BelowAFolder) {
  EXPECT_EQ(*ask("poet"), root_ / "in" / "poet");
  EXPECT_EQ(*ask((root_ / "in" / "a.gguf").string()), root_ / "in" / "a.gguf");
  EXPECT_EQ(*ask("alias"), root_ / "in" / "poet");
  EXPECT_EQ(ask("painter").error().code(), ErrorCode::kNotFound);
}

TEST_F(AdapterPath, NowhereElse) {
  for (const std::string& path :
       {std::string("../inside-out/secret"), std::string("link/secret"), std::string("."),
        std::string("/etc/passwd"), (root_ / "inside-out").string(), std::string("../none"),
        (root_ / "in").string(), std::string("/nowhere/at/all")}) {
    const auto found = ask(path);
    ASSERT_FALSE(found.ok()) << path;
    EXPECT_EQ(found.error().code(), ErrorCode::kInvalid) << path;
    EXPECT_NE(found.error().message().find("is not below"), std::string::npos) << path;
  }
  EXPECT_EQ(adapter_path("poet", {}).error().code(), ErrorCode::kForbidden);
}

}  // namespace
}  // namespace altlas::server
