#include "server/http/content_encoding.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/beast/zlib/inflate_stream.hpp>
#include <boost/crc.hpp>

#include "base/strings.h"
#include "base/utf8.h"

namespace altlas::server {

namespace zlib = boost::beast::zlib;

namespace {

constexpr size_t kPieceBytes = 64 << 10;

Error not_coded(std::string_view coding, std::string_view what) {
  return invalid(fmt::format("the body is not valid {}: {}", coding, what), "Content-Encoding");
}

uint32_t little_endian(std::string_view bytes) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i)
    value |= static_cast<uint32_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  return value;
}

// Decodes one deflate stream at the front of `rest` and appends the result to `out`. Afterwards
// `rest` begins behind the stream.
Result<void> inflate(std::string_view coding, std::string_view& rest, size_t bytes_max,
                     std::string& out) {
  zlib::inflate_stream stream;
  zlib::z_params params;
  params.next_in = rest.data();
  params.avail_in = rest.size();
  while (true) {
    const size_t before = out.size();
    // One byte more than allowed shows that there is more.
    const size_t room = std::min(kPieceBytes, bytes_max + 1 - before);
    out.resize(before + room);
    params.next_out = out.data() + before;
    params.avail_out = room;
    boost::system::error_code error;
    stream.write(params, zlib::Flush::sync, error);
    out.resize(before + room - params.avail_out);
    if (error == zlib::error::end_of_stream) break;
    if (error == zlib::error::need_buffers || (!error && params.avail_out > 0))
      return not_coded(coding, "it ends too early");
    if (error) return not_coded(coding, error.message());
    if (out.size() > bytes_max) break;
  }
  if (out.size() > bytes_max)
    return Error(
        ErrorCode::kTooLarge,
        fmt::format("the body unfolds to more than {} bytes: send less at a time", bytes_max));
  rest.remove_prefix(rest.size() - params.avail_in);
  return {};
}

// Takes the header of one gzip member (RFC 1952, section 2.3) off `rest`.
bool skip_gzip_header(std::string_view& rest) {
  constexpr unsigned kHeaderCrc = 2, kExtra = 4, kName = 8, kComment = 16;
  if (rest.size() < 10 || !rest.starts_with("\x1f\x8b\x08")) return false;
  const auto flags = static_cast<unsigned char>(rest[3]);
  if (flags > 31) return false;
  const auto skip = [&rest](size_t bytes) {
    if (bytes > rest.size()) return false;
    rest.remove_prefix(bytes);
    return true;
  };
  skip(10);
  if (flags & kExtra) {
    if (rest.size() < 2) return false;
    const size_t size =
        static_cast<unsigned char>(rest[0]) + 256 * size_t{static_cast<unsigned char>(rest[1])};
    if (!skip(size + 2)) return false;
  }
  for (const unsigned text : {kName, kComment}) {
    if (!(flags & text)) continue;
    const size_t end = rest.find('\0');
    if (end == std::string_view::npos) return false;
    skip(end + 1);
  }
  return !(flags & kHeaderCrc) || skip(2);
}

Result<std::string> from_gzip(std::string_view rest, size_t bytes_max) {
  std::string out;
  // Several members may follow one another.
  while (true) {
    if (!skip_gzip_header(rest)) return not_coded("gzip", "it has no gzip header");
    const size_t before = out.size();
    ALTLAS_TRY_VOID(inflate("gzip", rest, bytes_max, out));
    if (rest.size() < 8) return not_coded("gzip", "it ends too early");
    boost::crc_32_type sum;
    sum.process_bytes(out.data() + before, out.size() - before);
    if (little_endian(rest) != sum.checksum() ||
        little_endian(rest.substr(4)) != static_cast<uint32_t>(out.size() - before))
      return not_coded("gzip", "its checksum is wrong");
    rest.remove_prefix(8);
    if (rest.find_first_not_of('\0') == std::string_view::npos) return out;
  }
}

uint32_t adler32(std::string_view text) {
  uint32_t low = 1, high = 0;
  for (const char c : text) {
    low = (low + static_cast<unsigned char>(c)) % 65521;
    high = (high + low) % 65521;
  }
  return high << 16 | low;
}

// Decodes "deflate": a zlib stream (RFC 1950), or a bare deflate stream, which some clients send.
Result<std::string> from_deflate(std::string_view body, size_t bytes_max) {
  std::string out;
  const auto byte = [&](size_t i) { return unsigned{static_cast<unsigned char>(body[i])}; };
  const bool wrapped = body.size() >= 2 && (byte(0) & 15) == 8 && (byte(0) >> 4) <= 7 &&
                       (byte(0) * 256 + byte(1)) % 31 == 0 && !(byte(1) & 32);
  std::string_view rest = body.substr(wrapped ? 2 : 0);
  ALTLAS_TRY_VOID(inflate("deflate", rest, bytes_max, out));
  if (!wrapped && rest.empty()) return out;
  if (!wrapped || rest.size() != 4) return not_coded("deflate", "it does not end where it should");
  const uint32_t sum = __builtin_bswap32(little_endian(rest));
  if (sum != adler32(out)) return not_coded("deflate", "its checksum is wrong");
  return out;
}

std::string coding_of(std::string_view encoding) {
  std::string name = lower(encoding);
  std::erase_if(name, [](char c) { return c == ' ' || c == '\t'; });
  if (name.starts_with("x-")) name.erase(0, 2);  // RFC 9110 takes x-gzip for gzip.
  return name;
}

}  // namespace

Result<std::string> decode_content(std::string_view encoding, std::string body, size_t bytes_max) {
  const std::string coding = coding_of(encoding);
  if (coding.empty() || coding == "identity") return body;
  if (coding == "gzip") return from_gzip(body, bytes_max);
  if (coding == "deflate") return from_deflate(body, bytes_max);
  return Error(ErrorCode::kUnsupported,
               fmt::format("Content-Encoding is '{}', should be one of {}",
                           repair_utf8(std::string(encoding.substr(0, 64))), kAcceptedEncodings))
      .with_field("Content-Encoding");
}

}  // namespace altlas::server
