#include "control/event_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/private_file.h"
#include "control/codec.h"
#include "control/core.h"

namespace altlas::control {

template <>
inline constexpr auto codec::kOwnMembers<engine::LoadReplica> =
    std::tuple(&engine::LoadReplica::device_spec, &engine::LoadReplica::device_ids,
               &engine::LoadReplica::cpu_first, &engine::LoadReplica::ranks);
static_assert(sizeof(engine::LoadReplica) == sizeof(replica::ReplicaSettings) +
                                                 sizeof(std::string) +
                                                 3 * sizeof(std::vector<uint32_t>),
              "name every member of LoadReplica above");
static_assert(sizeof(engine::ReplicaLoaded) == sizeof(replica::ReplicaLimits),
              "ReplicaLoaded adds no member to its rows");

namespace {

constexpr std::string_view kMagic = "altlas-events-1\n";
constexpr uint64_t kFrameBytesMax = uint64_t{1} << 30;

struct FrameHead {
  uint64_t bytes = 0;
  uint64_t hash = 0;  // Of the frame's bytes.
};

uint64_t hash_of(std::string_view bytes) { return Hasher().add(bytes).value(); }

std::string framed(std::string_view bytes) {
  std::string out;
  codec::write(out, FrameHead{bytes.size(), hash_of(bytes)});
  out += bytes;
  return out;
}

// Nothing at the end of the file, or where a frame was cut off.
Result<std::optional<std::string>> read_frame(std::FILE* file) {
  char head_bytes[sizeof(FrameHead)];
  if (std::fread(head_bytes, 1, sizeof head_bytes, file) != sizeof head_bytes)
    return std::optional<std::string>();
  FrameHead head;
  std::string_view in(head_bytes, sizeof head_bytes);
  codec::read(in, head);
  if (head.bytes > kFrameBytesMax) return invalid("a frame of the event log is too long to be one");
  std::string bytes;
  for (uint64_t left = head.bytes; left > 0;) {  // By pieces: the length is not to be trusted.
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
  std::FILE* file = nullptr;
  if (!options.path.empty()) {
    std::error_code ignored;  // The first start has none.
    std::filesystem::rename(options.path, options.path + ".1", ignored);
    const auto opened = open_private_file(options.path, O_WRONLY | O_CREAT | O_TRUNC);
    if (!opened.ok()) return Error(opened.error()).with_context("the event log");
    file = ::fdopen(*opened, "wb");
    if (file == nullptr)
      return io_error(fmt::format("the event log '{}' can't be written: {}", options.path,
                                  std::strerror(errno)));
  }
  std::unique_ptr<EventLog> log(new EventLog(std::move(options), file));
  if (file != nullptr) {
    std::string head(kMagic);
    codec::write(head, event_fingerprint());
    head += framed(encode(setup));
    log->file_ended_ = std::fwrite(head.data(), 1, head.size(), file) != head.size();
    log->file_bytes_ = head.size();
  }
  return log;
}

EventLog::~EventLog() {
  if (file_ != nullptr) std::fclose(file_);
}

void EventLog::append(TimeUs time, const Event& event) {
  std::string bytes = with_time(time, event);
  hash_ = Hasher().add(hash_).add(std::string_view(bytes)).value();
  ++appended_;
  if (file_ != nullptr) {
    const std::string frame = framed(bytes);
    file_ended_ = file_ended_ || file_bytes_ + frame.size() > options_.file_bytes_max ||
                  std::fwrite(frame.data(), 1, frame.size(), file_) != frame.size();
    if (file_ended_) {
      ++dropped_;
    } else {
      file_bytes_ += frame.size();
    }
  }
  ring_bytes_ += bytes.size();
  ring_.push_back(std::move(bytes));
  while (ring_bytes_ > options_.ring_bytes_max) {
    ring_bytes_ -= ring_.front().size();
    ring_.pop_front();
  }
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

Result<CoreSetup> read_event_log(const std::string& path,
                                 const std::function<void(LoggedEvent)>& visit) {
  const auto close = [](std::FILE* file) { std::fclose(file); };
  const std::unique_ptr<std::FILE, decltype(close)> file(std::fopen(path.c_str(), "rbe"), close);
  if (!file)
    return io_error(
        fmt::format("the event log '{}' can't be read: {}", path, std::strerror(errno)));
  char head[kMagic.size() + sizeof(uint64_t)];
  if (std::fread(head, 1, sizeof head, file.get()) != sizeof head ||
      std::string_view(head, kMagic.size()) != kMagic)
    return invalid(fmt::format("'{}' is not an event log", path));
  uint64_t fingerprint = 0;
  std::memcpy(&fingerprint, head + kMagic.size(), sizeof fingerprint);
  if (fingerprint != event_fingerprint())
    return invalid(
        fmt::format("'{}' was written by another version; replay it with that one", path));
  ALTLAS_TRY(const std::optional<std::string> first, read_frame(file.get()));
  if (!first) return invalid(fmt::format("'{}' ends before its setup", path));
  ALTLAS_TRY(CoreSetup setup, decode_setup(*first));
  while (true) {
    ALTLAS_TRY(const std::optional<std::string> bytes, read_frame(file.get()));
    if (!bytes) return setup;
    ALTLAS_TRY(LoggedEvent event, parse(*bytes));
    visit(std::move(event));
  }
}

Result<uint64_t> replay_event_log(const std::string& path) {
  ALTLAS_TRY(CoreSetup setup, read_event_log(path, [](LoggedEvent) {}));
  Core core(std::move(setup));
  std::vector<Action> actions;
  ALTLAS_TRY(const CoreSetup again, read_event_log(path, [&](LoggedEvent logged) {
               actions.clear();
               core.step(std::move(logged.event), logged.time, actions);
             }));
  return core.hash();
}

}  // namespace altlas::control
