#include "control/event_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/private_file.h"
#include "control/codec.h"
#include "control/message_members.h"
#include "control/core.h"

namespace altlas::control {

namespace {

constexpr std::string_view kMagic = "altlas-events-2\n";
constexpr uint64_t kFrameBytesMax = uint64_t{1} << 30;

struct FrameHead {
  uint64_t bytes = 0;
  uint64_t hash = 0;  // The hash of the frame's bytes.
};

uint64_t hash_of(std::string_view bytes) { return Hasher().add(bytes).value(); }

std::string head_of(std::string_view bytes, uint64_t hash) {
  std::string out;
  codec::write(out, FrameHead{bytes.size(), hash});
  return out;
}

std::string framed(std::string_view bytes) {
  std::string out = head_of(bytes, hash_of(bytes));
  out += bytes;
  return out;
}

bool write_all(std::string_view bytes, std::FILE* file) {
  return std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
}

// Returns the next frame, or nothing at the end of the file or where a frame was cut off.
Result<std::optional<std::string>> read_frame(std::FILE* file) {
  char head_bytes[sizeof(FrameHead)];
  if (std::fread(head_bytes, 1, sizeof head_bytes, file) != sizeof head_bytes)
    return std::optional<std::string>();
  FrameHead head;
  std::string_view in(head_bytes, sizeof head_bytes);
  codec::read(in, head);
  if (head.bytes > kFrameBytesMax) return invalid("a frame of the event log is too long to be one");
  std::string bytes;
  // The length is not to be trusted, so memory grows with what is read.
  for (uint64_t left = head.bytes; left > 0;) {
    char piece[65536];
    const size_t got = std::fread(piece, 1, std::min<uint64_t>(left, sizeof piece), file);
    if (got == 0) return std::optional<std::string>();
    bytes.append(piece, got);
    left -= got;
  }
  if (hash_of(bytes) != head.hash) return invalid("a frame of the event log is corrupt");
  return std::optional(std::move(bytes));
}

std::string with_time(TimeUs time, const Event& event) {
  std::string out;
  codec::write(out, time);
  codec::write(out, event);
  return out;
}

Result<LoggedEvent> parse(std::string_view bytes) {
  LoggedEvent out;
  if (!codec::read(bytes, out.time)) return invalid("an event of the log has no time");
  ALTLAS_TRY(out.event, decode_event(bytes));
  return out;
}

std::string older(const std::string& path) { return path + ".1"; }

Result<EventLogHead> read_head(std::FILE* file, const std::string& path) {
  char start[kMagic.size() + sizeof(uint64_t)];
  if (std::fread(start, 1, sizeof start, file) != sizeof start ||
      std::string_view(start, kMagic.size()) != kMagic)
    return invalid(fmt::format("'{}' is not an event log", path));
  uint64_t fingerprint = 0;
  std::memcpy(&fingerprint, start + kMagic.size(), sizeof fingerprint);
  if (fingerprint != event_fingerprint())
    return invalid(
        fmt::format("'{}' was written by another version; replay it with that one", path));
  EventLogHead out;
  ALTLAS_TRY(const std::optional<std::string> setup, read_frame(file));
  if (!setup) return invalid(fmt::format("'{}' ends before its setup", path));
  ALTLAS_TRY(out.setup, decode_setup(*setup));
  ALTLAS_TRY(std::optional<std::string> snapshot, read_frame(file));
  if (!snapshot) return invalid(fmt::format("'{}' ends before its snapshot", path));
  out.snapshot = *std::move(snapshot);
  return out;
}

Error unreadable(const std::string& path) {
  return io_error(fmt::format("the event log '{}' can't be read: {}", path, std::strerror(errno)));
}

// Steps one file's events through a core until `goes_on` returns false.
Result<Replayed> replay_file(std::FILE* file, const std::string& path,
                             const std::function<bool(const Core&)>& goes_on) {
  if (file == nullptr) return unreadable(path);
  ALTLAS_TRY(EventLogHead head, read_head(file, path));
  Core core(std::move(head.setup));
  if (!head.snapshot.empty()) ALTLAS_TRY_VOID(core.load(head.snapshot));
  Replayed out;
  out.path = path;
  std::vector<Action> actions;
  for (bool more = true; more;) {
    ALTLAS_TRY(const std::optional<std::string> bytes, read_frame(file));
    if (!bytes) break;
    ALTLAS_TRY(LoggedEvent logged, parse(*bytes));
    actions.clear();
    core.step(std::move(logged.event), logged.time, actions);
    ++out.events;
    more = goes_on(core);
  }
  out.hash = core.hash();
  return out;
}

EventLogFiles::File open_file(const std::string& path) {
  return {std::fopen(path.c_str(), "rbe"), std::fclose};
}

// Whether the bytes occur in the file. Afterwards the file stands at its start again.
bool mentions(std::FILE* file, std::string_view bytes) {
  std::string piece(1 << 20, '\0');
  size_t kept = 0;  // The end of the piece before, which may begin a match.
  bool found = false;
  while (!found) {
    const size_t got = std::fread(piece.data() + kept, 1, piece.size() - kept, file);
    if (got == 0) break;
    const std::string_view seen(piece.data(), kept + got);
    found = seen.find(bytes) != std::string_view::npos;
    kept = std::min(seen.size(), bytes.size() - 1);
    std::memmove(piece.data(), seen.data() + seen.size() - kept, kept);
  }
  std::rewind(file);
  return found;
}

// Keeps the task's story if it has changed. Returns true, so that the replay goes on.
bool learn(const Core& core, const TaskId& task, Core::StorySize& size,
           std::optional<TaskStory>& story) {
  const Core::StorySize now = core.story_size(task);
  if (!now.known || now == size) return true;
  size = now;
  story = core.story(task);
  return true;
}

// Returns what one file tells of a task, or nothing if the file does not know it.
Result<std::optional<TaskStory>> story_in(std::FILE* file, const std::string& path,
                                          const TaskId& task, const std::atomic<bool>& stop) {
  std::string id;
  codec::write(id, task);
  std::optional<TaskStory> story;
  if (file == nullptr) return unreadable(path);
  if (!mentions(file, id)) {
    ALTLAS_TRY_VOID(read_head(file, path));
    return story;
  }
  Core::StorySize size;
  ALTLAS_TRY_VOID(replay_file(
      file, path, [&](const Core& core) { return learn(core, task, size, story) && !stop; }));
  return story;
}

}  // namespace

std::string encode(const Event& event) {
  std::string out;
  codec::write(out, event);
  return out;
}

Result<Event> decode_event(std::string_view bytes) {
  Event out;
  if (!codec::read(bytes, out) || !bytes.empty()) return invalid("not an event");
  return out;
}

std::string encode(const CoreSetup& setup) {
  std::string out;
  codec::write(out, setup);
  return out;
}

Result<CoreSetup> decode_setup(std::string_view bytes) {
  CoreSetup out;
  if (!codec::read(bytes, out) || !bytes.empty()) return invalid("not a setup");
  return out;
}

uint64_t event_fingerprint() {
  Hasher hasher;
  codec::fingerprint<Event>(hasher);
  codec::fingerprint<CoreSetup>(hasher);
  return hasher.value();
}

Result<std::unique_ptr<EventLog>> EventLog::open(Options options, const CoreSetup& setup) {
  std::unique_ptr<EventLog> log(new EventLog(std::move(options), encode(setup)));
  if (!log->options_.path.empty()) ALTLAS_TRY_VOID(log->begin_file(""));
  return log;
}

EventLog::~EventLog() {
  if (file_ != nullptr) std::fclose(file_);
}

// Begins a new file; the file at the path becomes the older one.
Result<void> EventLog::begin_file(std::string_view snapshot) {
  const std::string& path = options_.path;
  if (file_ != nullptr) std::fclose(std::exchange(file_, nullptr));
  std::error_code ignored;  // The first start has none.
  std::filesystem::rename(path, older(path), ignored);
  const auto opened = open_private_file(path, O_WRONLY | O_CREAT | O_TRUNC);
  if (!opened.ok()) return Error(opened.error()).with_context("the event log");
  file_ = ::fdopen(*opened, "wb");
  if (file_ == nullptr)
    return io_error(
        fmt::format("the event log '{}' can't be written: {}", path, std::strerror(errno)));
  std::string head(kMagic);
  codec::write(head, event_fingerprint());
  head += framed(setup_);
  head += framed(snapshot);
  file_ended_ = !write_all(head, file_);
  file_bytes_ = head.size();
  skipped_bytes_ = refused_bytes_ = 0;
  wants_snapshot_ = false;
  return {};
}

Result<void> EventLog::rotate(const Core& core) {
  wants_snapshot_ = false;
  skipped_bytes_ = 0;
  const std::string snapshot = core.save();
  const uint64_t bytes = setup_.size() + snapshot.size();
  if (bytes > file_most() / 2) {
    refused_bytes_ = bytes;
    return Error(ErrorCode::kTooLarge,
                 fmt::format("the event log rests: a snapshot of the core takes {} bytes; "
                             "store.event_log_bytes_max, which is {}, leaves {} for it",
                             bytes, options_.file_bytes_max, file_most() / 2));
  }
  ALTLAS_TRY_VOID(begin_file(snapshot));
  ++rotations_;
  return {};
}

void EventLog::append(TimeUs time, const Event& event) {
  std::string bytes = with_time(time, event);
  const uint64_t hash = hash_of(bytes);
  hash_ = Hasher().add(hash_).add(hash).value();
  ++appended_;
  if (!options_.path.empty()) write_event(bytes, hash);
  ring_bytes_ += bytes.size();
  ring_.push_back(std::move(bytes));
  while (ring_bytes_ > options_.ring_bytes_max) {
    ring_bytes_ -= ring_.front().size();
    ring_.pop_front();
  }
}

// A file has no gaps: after the first event that did not fit it takes no more.
void EventLog::write_event(const std::string& bytes, uint64_t hash) {
  const std::string head = head_of(bytes, hash);
  const uint64_t size = head.size() + bytes.size();
  file_ended_ = file_ended_ || file_ == nullptr || file_bytes_ + size > file_most() ||
                !write_all(head, file_) || !write_all(bytes, file_);
  if (file_ended_) {
    ++dropped_;
    skipped_bytes_ += size;
    wants_snapshot_ = skipped_bytes_ > std::max(file_most(), refused_bytes_);
    return;
  }
  file_bytes_ += size;
  // A snapshot is asked for in time, before events have to be dropped; not again for the room that
  // is left after one that was too large.
  wants_snapshot_ = refused_bytes_ == 0 && file_bytes_ > file_most() - file_most() / 8;
}

Result<void> EventLog::visit_ring(const std::function<void(LoggedEvent)>& visit) const {
  for (const std::string& bytes : ring_) {
    ALTLAS_TRY(LoggedEvent event, parse(bytes));
    visit(std::move(event));
  }
  return {};
}

void EventLog::flush() {
  if (file_ != nullptr) std::fflush(file_);
}

Result<EventLogHead> read_event_log(const std::string& path,
                                    const std::function<void(LoggedEvent)>& visit) {
  const EventLogFiles::File file = open_file(path);
  if (!file) return unreadable(path);
  ALTLAS_TRY(EventLogHead head, read_head(file.get(), path));
  while (true) {
    ALTLAS_TRY(const std::optional<std::string> bytes, read_frame(file.get()));
    if (!bytes) return head;
    ALTLAS_TRY(LoggedEvent event, parse(*bytes));
    visit(std::move(event));
  }
}

EventLogFiles open_event_log(const std::string& path) {
  return {path, open_file(path), open_file(older(path))};
}

Result<Replayed> replay_event_log(const std::string& path) {
  const EventLogFiles files = open_event_log(path);
  const auto to_the_end = [](const Core&) { return true; };
  Result<Replayed> newest = replay_file(files.newest.get(), path, to_the_end);
  if (newest.ok()) return newest;
  Result<Replayed> before = replay_file(files.before.get(), older(path), to_the_end);
  if (!before.ok()) return newest;
  before->damage = newest.error().message();
  return before;
}

TaskStory joined(TaskStory before, const TaskStory& after) {
  if (!before.choice) before.choice = after.choice;
  if (!after.note.empty()) before.note = after.note;
  const TimeUs last = before.moves.empty() ? INT64_MIN : before.moves.back().at;
  for (const Move& move : after.moves)
    if (move.at > last) before.moves.push_back(move);
  return before;
}

Result<TaskStory> explain_from_event_log(EventLogFiles files, const TaskId& task,
                                         const std::atomic<bool>& stop) {
  const auto newest = story_in(files.newest.get(), files.path, task, stop);
  const auto is_whole = [](const auto& found) { return found.ok() && *found && (*found)->choice; };
  if (is_whole(newest)) return **newest;
  const auto before = story_in(files.before.get(), older(files.path), task, stop);
  if (stop) return unavailable("the server is stopping");
  if (!newest.ok() && !before.ok()) return newest.error();
  if (!is_whole(before))
    return not_found(
        fmt::format("the choice for task {} is not in the event log any more", to_string(task)));
  return newest.ok() && *newest ? joined(**before, **newest) : **before;
}

}  // namespace altlas::control
