#include "server/batches/files.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <filesystem>

#include "base/log.h"
#include "base/random.h"
#include "base/share.h"
#include "server/json_reader.h"
#include "text/json_text.h"

namespace altlas::server {

namespace json = boost::json;
namespace fs = std::filesystem;

namespace {

constexpr uint64_t kInfoBytesMax = 64 << 10;
constexpr size_t kDepthMax = 8;

std::string info_json(const FileInfo& info) {
  return text::json_text(json::object{{"id", info.id},
                                      {"owner", info.owner},
                                      {"filename", info.filename},
                                      {"purpose", info.purpose},
                                      {"bytes", info.bytes},
                                      {"created_us", info.created},
                                      {"expires_us", info.expires}});
}

Result<FileInfo> read_info(const std::string& path) {
  ALTLAS_TRY(const std::string text, read_part(path, 0, kInfoBytesMax));
  ALTLAS_TRY(const json::object object, parse_object(text, kDepthMax));
  JsonReader reader(object);
  FileInfo info;
  info.id = reader.required_text("id");
  info.owner = reader.text("owner", "");
  info.filename = reader.text("filename", "");
  info.purpose = reader.text("purpose", "");
  info.bytes = reader.unsigned_integer("bytes", 0);
  info.created = reader.integer("created_us", 0, 0, INT64_MAX);
  info.expires = reader.integer("expires_us", 0, 0, INT64_MAX);
  ALTLAS_TRY_VOID(reader.status());
  return info;
}

}  // namespace

std::string Files::path_of(std::string_view id, std::string_view ending) const {
  return fmt::format("{}/{}{}", folder_, id, ending);
}

void Files::keep(const FileInfo& info) {
  if (const auto old = files_.find(info.id); old != files_.end()) count_out(old->second);
  bytes_ += info.bytes;
  Held& own = of_owner_[info.owner];
  ++own.files;
  own.bytes += info.bytes;
  files_[info.id] = info;
}

void Files::count_out(const FileInfo& info) {
  bytes_ -= info.bytes;
  const auto own = of_owner_.find(info.owner);
  own->second.bytes -= info.bytes;
  if (--own->second.files == 0) of_owner_.erase(own);
}

uint64_t Files::bytes_of(const std::string& owner) const {
  const auto own = of_owner_.find(owner);
  return own == of_owner_.end() ? 0 : own->second.bytes;
}

Result<void> Files::check_room(const std::string& owner, uint64_t bytes) const {
  const auto found = of_owner_.find(owner);
  const Held own = found == of_owner_.end() ? Held{} : found->second;
  if (!has_room(owner, own.files, files_.size(), 1, limits_.files_max))
    return Error(ErrorCode::kBusy,
                 fmt::format("{} files are kept already, {} of them this key's, of at most {} "
                             "(server.files_max; {}): delete some first",
                             files_.size(), own.files, limits_.files_max, kShareRule));
  if (!has_room(owner, own.bytes, bytes_, bytes, limits_.total_bytes_max))
    return Error(ErrorCode::kBusy,
                 fmt::format("the files have {} bytes, {} of them this key's; with {} more they "
                             "would be over server.files_bytes_max {} ({}): delete some first",
                             bytes_, own.bytes, bytes, limits_.total_bytes_max, kShareRule));
  return {};
}

Result<std::unique_ptr<Files>> Files::open(std::string folder, FileLimits limits) {
  ALTLAS_TRY_VOID(make_folder(folder));
  std::unique_ptr<Files> files(new Files(std::move(folder), limits));
  std::error_code error;
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(files->folder_, error))
    paths.push_back(entry.path());
  if (error)
    return io_error(fmt::format("can't read folder '{}': {}", files->folder_, error.message()));
  for (const fs::path& path : paths) {
    if (path.extension() != ".json") continue;
    auto info = read_info(path.string());
    const bool whole = info.ok() && path.stem() == info->id &&
                       fs::file_size(files->path_of(info->id, ".data"), error) == info->bytes;
    if (whole) {
      files->keep(*info);
    } else {
      log::warn("{}: not whole, dropped", path.string());
      fs::remove(path, error);
    }
  }
  // Content whose description was never written goes, too.
  for (const fs::path& path : paths)
    if (path.extension() != ".json" && !files->files_.contains(path.stem().string()))
      fs::remove(path, error);
  return files;
}

Result<FileInfo> Files::create(FileInfo info, std::string_view content) {
  if (content.size() > limits_.file_bytes_max)
    return Error(ErrorCode::kTooLarge,
                 fmt::format("file: has {} bytes, at most {} are taken (server.file_bytes_max)",
                             content.size(), limits_.file_bytes_max))
        .with_field("file");
  if (!has_room(info.owner, 0, 0, content.size(), limits_.total_bytes_max))
    return Error(ErrorCode::kTooLarge,
                 fmt::format("file: has {} bytes, all files together may have {} "
                             "(server.files_bytes_max; {})",
                             content.size(), limits_.total_bytes_max, kShareRule))
        .with_field("file");
  ALTLAS_TRY_VOID(check_room(info.owner, content.size()));
  info.id = "file-" + random_hex();
  info.bytes = content.size();
  ALTLAS_TRY_VOID(write_durable(path_of(info.id, ".data"), content));
  ALTLAS_TRY_VOID(write_durable(path_of(info.id, ".json"), info_json(info)));
  keep(info);
  return info;
}

Result<FileInfo> Files::adopt(FileInfo info, const std::string& path) {
  std::error_code error;
  info.bytes = fs::file_size(path, error);
  if (error) return io_error(fmt::format("can't read '{}': {}", path, error.message()));
  ALTLAS_TRY_VOID(write_durable(path_of(info.id, ".json"), info_json(info)));
  ALTLAS_TRY_VOID(move_durable(path, path_of(info.id, ".data")));
  keep(info);
  return info;
}

Result<FileInfo> Files::find(std::string_view id) const {
  const auto found = files_.find(id);
  if (found != files_.end()) return found->second;
  return not_found(fmt::format("no file '{}': it was never sent, was deleted, or has expired",
                               id.substr(0, 64)));
}

std::vector<FileInfo> Files::list() const {
  std::vector<FileInfo> all;
  for (const auto& [id, info] : files_) all.push_back(info);
  std::ranges::sort(all, [](const FileInfo& a, const FileInfo& b) {
    return std::tie(b.created, b.id) < std::tie(a.created, a.id);
  });
  return all;
}

Result<std::string> Files::read(std::string_view id, uint64_t offset, uint64_t count) const {
  ALTLAS_TRY(const FileInfo info, find(id));
  return read_part(path_of(info.id, ".data"), offset, count);
}

Result<std::shared_ptr<const OpenFile>> Files::open_content(std::string_view id) const {
  ALTLAS_TRY(const FileInfo info, find(id));
  return OpenFile::open(path_of(info.id, ".data"));
}

void Files::expire(TimeUs now, const std::function<bool(std::string_view id)>& in_use) {
  std::vector<std::string> over;
  for (const auto& [id, info] : files_)
    if (info.expires != 0 && info.expires <= now && !in_use(id)) over.push_back(id);
  for (const std::string& id : over)
    if (const auto removed = remove(id); !removed.ok())
      log::warn("{}: has expired and can't be removed: {}", id, removed.error().message());
}

TimeUs Files::next_expiry() const {
  TimeUs next = INT64_MAX;
  for (const auto& [id, info] : files_)
    if (info.expires != 0) next = std::min(next, info.expires);
  return next;
}

Result<void> Files::remove(std::string_view id) {
  ALTLAS_TRY(const FileInfo info, find(id));
  ALTLAS_TRY_VOID(remove_durable(path_of(info.id, ".json")));
  ALTLAS_TRY_VOID(remove_durable(path_of(info.id, ".data")));
  count_out(info);
  files_.erase(info.id);
  return {};
}

}  // namespace altlas::server
