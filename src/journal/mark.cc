#include "journal/mark.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "base/hash.h"
#include "base/private_file.h"

namespace altlas::journal {
namespace {

constexpr uint64_t kMagic = 0x316b72616d6a6c61;  // The characters "aljmark1".
// The two places are in different sectors: if a power cut tears one, the other is left.
constexpr off_t kPlaceBytes = 4096;
constexpr int64_t kSendPeriodUs = 1'000'000;

struct Place {
  uint64_t magic = kMagic;
  uint64_t number = 0;
  int64_t row = 0;
  uint64_t hash = 0;
  uint64_t check = 0;  // A checksum of the other members.
};

uint64_t check_of(const Place& place) {
  return Hasher().add(place.magic).add(place.number).add(place.row).add(place.hash).value();
}

}  // namespace

MarkFile::MarkFile(MarkFile&& other) noexcept { *this = std::move(other); }

MarkFile& MarkFile::operator=(MarkFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(last_, other.last_);
  std::swap(number_, other.number_);
  std::swap(sent_us_, other.sent_us_);
  return *this;
}

MarkFile::~MarkFile() {
  if (fd_ >= 0) ::close(fd_);
}

Result<MarkFile> MarkFile::open(const std::string& path) {
  ALTLAS_TRY(const int fd, open_private_file(path, O_RDWR | O_CREAT));
  MarkFile out(fd);
  for (int i = 0; i < 2; ++i) {
    Place place;
    if (::pread(fd, &place, sizeof place, i * kPlaceBytes) != sizeof place) continue;
    if (place.magic != kMagic || place.check != check_of(place) || place.number < out.number_)
      continue;
    out.number_ = place.number;
    out.last_ = Mark{place.row, place.hash};
  }
  return out;
}

Result<void> MarkFile::write(const Mark& mark) {
  Place place;
  place.number = number_ + 1;
  place.row = mark.row;
  place.hash = mark.hash;
  place.check = check_of(place);
  const auto at = static_cast<off_t>(place.number % 2) * kPlaceBytes;
  if (::pwrite(fd_, &place, sizeof place, at) != sizeof place)
    return io_error(fmt::format("the journal's mark can't be written: {}", std::strerror(errno)));
  number_ = place.number;
  last_ = mark;
  const int64_t now = std::chrono::duration_cast<std::chrono::microseconds>(
                          std::chrono::steady_clock::now().time_since_epoch())
                          .count();
  if (now - sent_us_ >= kSendPeriodUs) {
    ::sync_file_range(fd_, 0, 2 * kPlaceBytes, SYNC_FILE_RANGE_WRITE);
    sent_us_ = now;
  }
  return {};
}

}  // namespace altlas::journal
