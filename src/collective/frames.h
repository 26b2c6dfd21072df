// What ranks say to each other over TCP, byte by byte. Numbers are little-endian. Every decoder
// takes any bytes and allocates no more than they hold.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "collective/types.h"

namespace altlas::collective {

inline constexpr uint32_t kFrameMagic = 0x01434c41;  // "ALC", version 1.
inline constexpr size_t kSetupBytesMax = 16 * 1024;  // The limit of a message while a group forms.
inline constexpr size_t kWordsBytesMax = 480;

// Stands before every stripe of a message.
struct FrameHeader {
  Signature call;              // Its bytes: of the call, or of the message of send/recv.
  uint64_t step = 0;           // The step of the group, or of the messages between the two ranks.
  uint64_t message_bytes = 0;  // Bytes of all stripes.
  uint32_t lane = 0;           // Which stripe this is.
  friend bool operator==(const FrameHeader&, const FrameHeader&) = default;
};
inline constexpr size_t kFrameHeaderBytes = 40;
std::array<std::byte, kFrameHeaderBytes> encode(const FrameHeader& header);
// Errors: kInvalid for what is no frame of this version.
Result<FrameHeader> decode_frame(std::span<const std::byte, kFrameHeaderBytes> bytes);

// On the control connection of a pair of ranks: fixed size, so that no word can hold up the next.
enum class NoticeKind : uint8_t {
  kFailed,   // The group ended: code and words.
  kLeft,     // The sender destroyed its Group.
  kWaiting,  // The sender has waited long, in this step, for `rank`; kNobody: no more.
};
struct Notice {
  NoticeKind kind = NoticeKind::kLeft;
  uint8_t code = 0;  // ErrorCode.
  int16_t rank = kNobody;
  uint64_t step = 0;
  std::string words;
  friend bool operator==(const Notice&, const Notice&) = default;
};
inline constexpr size_t kNoticeBytes = 512;
std::array<std::byte, kNoticeBytes> encode(const Notice& notice);
Result<Notice> decode_notice(std::span<const std::byte, kNoticeBytes> bytes);

// The first thing said on a connection, to rank 0 as it gathers the group, or to a peer.
struct JoinHello {
  enum class Purpose : uint8_t { kJoin, kLane, kControl } purpose = Purpose::kJoin;
  int16_t rank = 0;
  int16_t size = 0;
  uint16_t lane = 0;
  uint16_t lanes = 0;
  uint16_t port = 0;                  // kJoin: where this rank listens.
  std::array<uint8_t, 16> address{};  // kJoin: IPv6, or IPv4 mapped into it.
  std::array<uint8_t, 16> group{};    // Else: the group that rank 0 named.
  std::string token;
  friend bool operator==(const JoinHello&, const JoinHello&) = default;
};
// What rank 0, or a peer, answers: words of refusal, or where everybody is.
struct JoinAnswer {
  struct Place {
    std::array<uint8_t, 16> address{};
    uint16_t port = 0;
    friend bool operator==(const Place&, const Place&) = default;
  };
  uint8_t code = 0;  // ErrorCode + 1; 0: welcome.
  std::string words;
  std::array<uint8_t, 16> group{};
  std::vector<Place> places;  // By rank, to who joins.
  friend bool operator==(const JoinAnswer&, const JoinAnswer&) = default;
};
// With its length before it.
std::vector<std::byte> encode(const JoinHello& hello);
std::vector<std::byte> encode(const JoinAnswer& answer);
// The length that the four bytes before a message say. Errors: kTooLarge over kSetupBytesMax.
Result<uint32_t> decode_length(std::span<const std::byte, 4> bytes);
// Without the length.  Errors: kInvalid.
Result<JoinHello> decode_hello(std::span<const std::byte> bytes);
Result<JoinAnswer> decode_answer(std::span<const std::byte> bytes);

}  // namespace altlas::collective
