#include "server/openai/adapter_path.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <optional>

namespace altlas::server {

namespace fs = std::filesystem;

namespace {

// Returns nothing if a part of the path can't be looked at.
std::optional<fs::path> resolved(const fs::path& path) {
  std::error_code failed;
  fs::path out = fs::weakly_canonical(path, failed);
  if (failed) return std::nullopt;
  return out;
}

bool lies_below(const fs::path& path, const fs::path& folder) {
  const auto [end, at] = std::mismatch(folder.begin(), folder.end(), path.begin(), path.end());
  return end == folder.end() && at != path.end();
}

}  // namespace

Result<std::string> adapter_path(const std::string& path, const std::vector<std::string>& folders) {
  if (folders.empty())
    return Error(ErrorCode::kForbidden,
                 "adapters can't be loaded at run time: name the folders that they may come from "
                 "in engine.lora_folders (--lora-folder DIR)");
  std::optional<fs::path> found;
  for (const std::string& folder : folders) {
    std::error_code failed;
    const fs::path root = fs::canonical(folder, failed);
    if (failed) continue;
    // With `/` an absolute path replaces the folder.
    const auto place = resolved(root / path);
    if (!place || !lies_below(*place, root)) continue;
    if (fs::exists(*place, failed)) return place->string();
    found = place;
  }
  if (found)
    return not_found(fmt::format("lora_path: '{}' is not there", path.substr(0, 300)))
        .with_field("lora_path");
  return invalid(fmt::format("lora_path: '{}' is not below a folder of engine.lora_folders ({})",
                             path.substr(0, 300), fmt::join(folders, ", ")),
                 "lora_path");
}

}  // namespace altlas::server
