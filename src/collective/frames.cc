#include "collective/frames.h"

#include <fmt/format.h>

#include <algorithm>
#include <concepts>

namespace altlas::collective {
namespace {

constexpr size_t kTokenBytesMax = 256;

class Writer {
 public:
  template <std::integral T>
  void number(T value) {
    for (size_t i = 0; i < sizeof(T); ++i)
      bytes.push_back(static_cast<std::byte>(static_cast<uint64_t>(value) >> 8 * i & 0xff));
  }
  void raw(std::span<const uint8_t> from) {
    for (const uint8_t byte : from) bytes.push_back(static_cast<std::byte>(byte));
  }
  void text(std::string_view words, size_t bytes_max) {
    words = words.substr(0, bytes_max);
    number(static_cast<uint16_t>(words.size()));
    for (const char c : words) bytes.push_back(static_cast<std::byte>(c));
  }
  std::vector<std::byte> bytes;
};

// Reads past the end give zeros and set `ok` to false.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}
  template <std::integral T>
  T number() {
    uint64_t value = 0;
    if (!has(sizeof(T))) return 0;
    for (size_t i = 0; i < sizeof(T); ++i) value |= static_cast<uint64_t>(bytes_[at_ + i]) << 8 * i;
    at_ += sizeof(T);
    return static_cast<T>(value);
  }
  void raw(std::span<uint8_t> to) {
    if (!has(to.size())) return;
    for (uint8_t& byte : to) byte = static_cast<uint8_t>(bytes_[at_++]);
  }
  std::string text(size_t bytes_max) {
    const auto size = number<uint16_t>();
    if (size > bytes_max) ok = false;
    if (!has(size)) return "";
    std::string out(reinterpret_cast<const char*>(bytes_.data() + at_), size);
    at_ += size;
    return out;
  }
  bool at_end() const { return at_ == bytes_.size(); }
  bool ok = true;

 private:
  bool has(size_t count) { return ok = ok && bytes_.size() - at_ >= count; }
  std::span<const std::byte> bytes_;
  size_t at_ = 0;
};

template <size_t N>
std::array<std::byte, N> fixed(const Writer& writer) {
  ALTLAS_CHECK(writer.bytes.size() <= N, "a frame of a fixed size");
  std::array<std::byte, N> out{};
  std::ranges::copy(writer.bytes, out.begin());
  return out;
}

std::vector<std::byte> with_length(const Writer& body) {
  Writer out;
  out.number(static_cast<uint32_t>(body.bytes.size()));
  out.bytes.insert(out.bytes.end(), body.bytes.begin(), body.bytes.end());
  return std::move(out.bytes);
}

Error strange(std::string_view what) {
  return invalid(fmt::format("the other side sent no {} of this version", what));
}

}  // namespace

std::array<std::byte, kFrameHeaderBytes> encode(const FrameHeader& header) {
  Writer out;
  out.number(kFrameMagic);
  out.number(header.lane);
  out.number(header.call.what);
  out.number(header.call.bytes);
  out.number(header.step);
  out.number(header.message_bytes);
  return fixed<kFrameHeaderBytes>(out);
}

Result<FrameHeader> decode_frame(std::span<const std::byte, kFrameHeaderBytes> bytes) {
  Reader in(bytes);
  if (in.number<uint32_t>() != kFrameMagic) return strange("frame");
  FrameHeader header;
  header.lane = in.number<uint32_t>();
  header.call.what = in.number<uint64_t>();
  header.call.bytes = in.number<uint64_t>();
  header.step = in.number<uint64_t>();
  header.message_bytes = in.number<uint64_t>();
  return header;
}

std::array<std::byte, kNoticeBytes> encode(const Notice& notice) {
  Writer out;
  out.number(kFrameMagic);
  out.number(static_cast<uint8_t>(notice.kind));
  out.number(notice.code);
  out.number(notice.rank);
  out.number(notice.step);
  out.text(notice.words, kWordsBytesMax);
  return fixed<kNoticeBytes>(out);
}

Result<Notice> decode_notice(std::span<const std::byte, kNoticeBytes> bytes) {
  Reader in(bytes);
  Notice notice;
  const bool known = in.number<uint32_t>() == kFrameMagic;
  const auto kind = in.number<uint8_t>();
  notice.kind = static_cast<NoticeKind>(kind);
  notice.code = in.number<uint8_t>();
  notice.rank = in.number<int16_t>();
  notice.step = in.number<uint64_t>();
  notice.words = in.text(kWordsBytesMax);
  if (!known || !in.ok || kind > static_cast<uint8_t>(NoticeKind::kWaiting) ||
      notice.rank < kNobody || notice.rank >= kRanksMax)
    return strange("notice");
  return notice;
}

std::vector<std::byte> encode(const JoinHello& hello) {
  Writer out;
  out.number(kFrameMagic);
  out.number(static_cast<uint8_t>(hello.purpose));
  out.number(hello.rank);
  out.number(hello.size);
  out.number(hello.lane);
  out.number(hello.lanes);
  out.number(hello.port);
  out.raw(hello.address);
  out.raw(hello.group);
  out.text(hello.token, kTokenBytesMax);
  return with_length(out);
}

Result<JoinHello> decode_hello(std::span<const std::byte> bytes) {
  Reader in(bytes);
  JoinHello hello;
  if (in.number<uint32_t>() != kFrameMagic) return strange("greeting");
  const auto purpose = in.number<uint8_t>();
  hello.purpose = static_cast<JoinHello::Purpose>(purpose);
  hello.rank = in.number<int16_t>();
  hello.size = in.number<int16_t>();
  hello.lane = in.number<uint16_t>();
  hello.lanes = in.number<uint16_t>();
  hello.port = in.number<uint16_t>();
  in.raw(hello.address);
  in.raw(hello.group);
  hello.token = in.text(kTokenBytesMax);
  if (!in.ok || !in.at_end() || purpose > static_cast<uint8_t>(JoinHello::Purpose::kControl))
    return strange("greeting");
  return hello;
}

std::vector<std::byte> encode(const JoinAnswer& answer) {
  Writer out;
  out.number(kFrameMagic);
  out.number(answer.code);
  out.text(answer.words, kWordsBytesMax);
  out.raw(answer.group);
  out.number(static_cast<uint16_t>(answer.places.size()));
  for (const JoinAnswer::Place& place : answer.places) {
    out.raw(place.address);
    out.number(place.port);
  }
  return with_length(out);
}

Result<JoinAnswer> decode_answer(std::span<const std::byte> bytes) {
  Reader in(bytes);
  JoinAnswer answer;
  if (in.number<uint32_t>() != kFrameMagic) return strange("answer");
  answer.code = in.number<uint8_t>();
  answer.words = in.text(kWordsBytesMax);
  in.raw(answer.group);
  const auto places = in.number<uint16_t>();
  if (!in.ok || places > kRanksMax) return strange("answer");
  for (int i = 0; i < places; ++i) {
    JoinAnswer::Place& place = answer.places.emplace_back();
    in.raw(place.address);
    place.port = in.number<uint16_t>();
  }
  if (!in.ok || !in.at_end()) return strange("answer");
  return answer;
}

Result<uint32_t> decode_length(std::span<const std::byte, 4> bytes) {
  const auto length = Reader(bytes).number<uint32_t>();
  if (length <= kSetupBytesMax) return length;
  return Error(ErrorCode::kTooLarge,
               fmt::format("the other side announced {} bytes, {} can be: it is no rank of a group",
                           length, kSetupBytesMax));
}

}  // namespace altlas::collective
