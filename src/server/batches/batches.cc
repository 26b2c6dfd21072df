#include "server/batches/batches.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <filesystem>
#include <map>

#include "base/drop.h"
#include "base/log.h"
#include "base/random.h"
#include "base/share.h"
#include "server/batches/batch_json.h"
#include "server/batches/durable_file.h"
#include "server/json_reader.h"

namespace altlas::server {

namespace fs = std::filesystem;

namespace {

constexpr uint64_t kStateBytesMax = 4 << 20;
constexpr uint64_t kPieceBytes = 1 << 20;
constexpr size_t kHeadBytes = 256;       // A result's id is in its first bytes.
constexpr uint32_t kLinesMax = 1 << 24;  // The lines of an input file, empty ones included.
constexpr int64_t kWindowMax = 7 * 86400 * kSecond;

std::string_view results_of(bool ok) { return ok ? ".output" : ".errors"; }

// Returns the input line of a result, which begins with {"id":"batch_req_…_7".
std::optional<uint32_t> line_of(std::string_view head, std::string_view batch) {
  const std::string start = "{\"id\":\"" + result_id(batch, 0);
  const std::string_view prefix = std::string_view(start).substr(0, start.size() - 1);
  if (!head.starts_with(prefix)) return std::nullopt;
  uint32_t line = 0;
  const char* first = head.data() + prefix.size();
  const auto [end, error] = std::from_chars(first, head.data() + head.size(), line);
  if (error != std::errc() || end == head.data() + head.size() || *end != '"' || line >= kLinesMax)
    return std::nullopt;
  return line;
}

// Cuts off half a line that a crash may have left at the end. Returns the size then, or 0 if there
// is no file.
Result<uint64_t> cut_half_line(const std::string& path) {
  std::error_code error;
  uint64_t size = fs::file_size(path, error);
  if (error) return uint64_t{0};
  uint64_t whole = size;
  while (whole > 0) {
    const uint64_t from = whole > kPieceBytes ? whole - kPieceBytes : 0;
    ALTLAS_TRY(const std::string piece, read_part(path, from, whole - from));
    const size_t last = piece.rfind('\n');
    whole = last == std::string::npos ? from : from + last + 1;
    if (last != std::string::npos) break;
  }
  if (whole == size) return size;
  fs::resize_file(path, whole, error);
  if (error) return io_error(fmt::format("can't shorten '{}': {}", path, error.message()));
  return whole;
}

}  // namespace

std::string result_id(std::string_view batch, uint32_t line) {
  return fmt::format("batch_req_{}_{}", batch.substr(batch.find('_') + 1), line);
}

bool is_over(BatchStatus status) {
  return status == BatchStatus::kFailed || status == BatchStatus::kCompleted ||
         status == BatchStatus::kExpired || status == BatchStatus::kCancelled;
}

Result<TimeUs> parse_window(std::string_view text) {
  const auto wrong = [&] {
    return invalid(fmt::format("completion_window: is '{}', should be such as 24h, 90m or 30s, at "
                               "most 7d",
                               text.substr(0, 32)),
                   "completion_window");
  };
  int64_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc() || count < 1 || end + 1 != text.data() + text.size()) return wrong();
  constexpr std::pair<char, int64_t> kUnits[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
  for (const auto& [unit, seconds] : kUnits)
    if (*end == unit && count <= kWindowMax / (seconds * kSecond)) return count * seconds * kSecond;
  return wrong();
}

std::string Batches::path_of(std::string_view id, std::string_view ending) const {
  return fmt::format("{}/{}{}", folder_, id, ending);
}

Result<std::unique_ptr<Batches>> Batches::open(std::string folder, Files& files,
                                               size_t batches_max) {
  ALTLAS_TRY_VOID(make_folder(folder));
  std::unique_ptr<Batches> batches(new Batches(std::move(folder), files, batches_max));
  std::error_code error;
  std::vector<std::string> states;
  for (const auto& entry : fs::directory_iterator(batches->folder_, error))
    if (entry.path().extension() == ".json") states.push_back(entry.path().string());
  if (error)
    return io_error(fmt::format("can't read folder '{}': {}", batches->folder_, error.message()));
  for (const std::string& path : states)
    if (const auto ok = batches->restore(path); !ok.ok())
      log::warn("{}: not a batch's state, left alone: {}", path, ok.error().message());
  return batches;
}

Result<void> Batches::restore(const std::string& path) {
  ALTLAS_TRY(const std::string text, read_part(path, 0, kStateBytesMax));
  ALTLAS_TRY(Batch batch, batch_from_state(text));
  if (fs::path(path).stem() != batch.id) return invalid("the name is not the batch's id");
  Entry& entry = entries_[batch.id];
  entry.batch = std::move(batch);
  if (is_over(entry.batch.status)) return {};
  // Once the batch is finalizing its results may be files already, so the state has the counts.
  if (entry.batch.finalizing != 0) return {};
  entry.batch.done = entry.batch.faulty = 0;
  ALTLAS_TRY_VOID(count_results(entry, true));
  return count_results(entry, false);
}

// Counts the results that an earlier process wrote.
Result<void> Batches::count_results(Entry& entry, bool ok) {
  const std::string path = path_of(entry.batch.id, results_of(ok));
  ALTLAS_TRY(const uint64_t size, cut_half_line(path));
  bool at_start = true;
  for (uint64_t offset = 0; offset < size; offset += kPieceBytes) {
    // The first bytes of a line may lie across two pieces.
    ALTLAS_TRY(const std::string piece, read_part(path, offset, kPieceBytes + kHeadBytes));
    const size_t own = std::min<size_t>(piece.size(), kPieceBytes);
    for (size_t i = 0; i < own; ++i) {
      const auto line = at_start
                            ? line_of(std::string_view(piece).substr(i, kHeadBytes), entry.batch.id)
                            : std::nullopt;
      if (line) {
        if (entry.done.size() <= *line) entry.done.resize(*line + 1);
        entry.done[*line] = true;
        ++(ok ? entry.batch.done : entry.batch.faulty);
      }
      at_start = piece[i] == '\n';
    }
  }
  entry.bytes += size;
  bytes_ += size;
  return {};
}

Result<Batch> Batches::create(Batch batch) {
  ALTLAS_TRY_VOID(make_room(batch.owner));
  batch.id = "batch_" + random_hex();
  ALTLAS_TRY_VOID(write_durable(path_of(batch.id, ".json"), batch_to_state(batch)));
  entries_[batch.id].batch = batch;
  return batch;
}

// Removes ended batches until there is room: the oldest of the owner who has the most. One owner
// has at most three quarters of the places, so that there is room for others.
Result<void> Batches::make_room(const std::string& owner) {
  while (true) {
    std::map<std::string_view, size_t> of_owner;
    for (const auto& [id, entry] : entries_) ++of_owner[entry.batch.owner];
    const bool full = entries_.size() >= batches_max_;
    const bool has_most = of_owner[owner] >= std::max<size_t>(1, batches_max_ - batches_max_ / 4);
    if (!full && (!has_most || of_owner.size() == 1)) return {};
    const Entry* oldest = nullptr;
    const auto goes_before = [&](const Entry& one, const Entry& other) {
      const size_t mine = of_owner[one.batch.owner], others = of_owner[other.batch.owner];
      return mine != others ? mine > others : one.batch.created < other.batch.created;
    };
    for (const auto& [id, entry] : entries_)
      if (is_over(entry.batch.status) && (full || entry.batch.owner == owner) &&
          (oldest == nullptr || goes_before(entry, *oldest)))
        oldest = &entry;
    if (oldest == nullptr)
      return Error(ErrorCode::kBusy,
                   fmt::format("{} batches wait or run already, {} of them this key's "
                               "(server.batches_max): try later",
                               entries_.size(), of_owner[owner]));
    const std::string id = oldest->batch.id;
    ALTLAS_TRY_VOID(remove_durable(path_of(id, ".json")));
    entries_.erase(id);
  }
}

Result<Batch> Batches::find(std::string_view id) const {
  const auto found = entries_.find(id);
  if (found != entries_.end()) return found->second.batch;
  return not_found(fmt::format("no batch '{}': it was never made, or is older than those kept",
                               id.substr(0, 64)));
}

std::vector<Batch> Batches::list() const {
  std::vector<Batch> all;
  for (const auto& [id, entry] : entries_) all.push_back(entry.batch);
  std::ranges::sort(all, [](const Batch& a, const Batch& b) {
    return std::tie(b.created, b.id) < std::tie(a.created, a.id);
  });
  return all;
}

Result<void> Batches::update(const Batch& batch) {
  const auto found = entries_.find(batch.id);
  if (found == entries_.end()) return not_found("the batch is gone");
  ALTLAS_TRY_VOID(write_durable(path_of(batch.id, ".json"), batch_to_state(batch)));
  found->second.batch = batch;
  return {};
}

Result<void> Batches::add_result(std::string_view id, uint32_t line, bool ok,
                                 std::string_view text) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return not_found("the batch is gone");
  Entry& entry = found->second;
  if (line < entry.done.size() && entry.done[line]) return {};
  const uint64_t most = files_.limits().total_bytes_max;
  const std::string& owner = entry.batch.owner;
  uint64_t own = files_.bytes_of(owner);
  for (const auto& [other, one] : entries_)
    if (one.batch.owner == owner) own += one.bytes;
  if (!has_room(owner, own, files_.bytes() + bytes_, text.size() + 1, most))
    return Error(ErrorCode::kBusy,
                 fmt::format("results and files have {} bytes, {} of them this key's; with {} more "
                             "they would be over server.files_bytes_max {} ({}): delete some files",
                             files_.bytes() + bytes_, own, text.size() + 1, most, kShareRule));
  ALTLAS_TRY_VOID(append_durable(path_of(id, results_of(ok)), std::string(text) + "\n"));
  if (entry.done.size() <= line) entry.done.resize(line + 1);
  entry.done[line] = true;
  ++(ok ? entry.batch.done : entry.batch.faulty);
  entry.bytes += text.size() + 1;
  bytes_ += text.size() + 1;
  return {};
}

std::vector<uint32_t> Batches::lines_done(std::string_view id) const {
  std::vector<uint32_t> lines;
  const auto found = entries_.find(id);
  if (found == entries_.end()) return lines;
  for (uint32_t i = 0; i < found->second.done.size(); ++i)
    if (found->second.done[i]) lines.push_back(i);
  return lines;
}

// Makes the results of one kind a file. Returns its id, or "" if there are no results.
Result<std::string> Batches::hand_over(const Batch& batch, bool ok) {
  // The id is the same each time, so that a repetition after a crash makes no second file.
  const std::string id =
      fmt::format("file-{}-{}", batch.id.substr(batch.id.find('_') + 1), ok ? "output" : "errors");
  const std::string path = path_of(batch.id, results_of(ok));
  std::error_code error;
  if (fs::exists(path, error)) {
    FileInfo info;
    info.id = id;
    info.owner = batch.owner;
    info.filename = batch.id + (ok ? "_output.jsonl" : "_error.jsonl");
    info.purpose = "batch_output";
    info.created = batch.finalizing;
    if (batch.output_lifetime != 0) info.expires = info.created + batch.output_lifetime;
    ALTLAS_TRY_VOID(files_.adopt(info, path));
  }
  return files_.find(id).ok() ? id : std::string();
}

Result<Batch> Batches::finish(Batch batch) {
  ALTLAS_TRY(batch.output_file, hand_over(batch, true));
  ALTLAS_TRY(batch.error_file, hand_over(batch, false));
  ALTLAS_TRY_VOID(update(batch));
  Entry& entry = entries_.find(batch.id)->second;
  bytes_ -= std::exchange(entry.bytes, 0);
  drop(entry.done);
  return batch;
}

bool Batches::uses_file(std::string_view file) const {
  return std::ranges::any_of(entries_, [&](const auto& one) {
    return !is_over(one.second.batch.status) && one.second.batch.input_file == file;
  });
}

}  // namespace altlas::server
