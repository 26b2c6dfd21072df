// Bytes that another rank may send go through every decoder. Nothing crashes, and what is read is
// written back as the same bytes.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "collective/board.h"
#include "collective/frames.h"

namespace {

using namespace altlas::collective;  // NOLINT: this fuzzer is of this room alone.

// Copies what fits into a frame of a fixed size.
template <size_t N>
std::array<std::byte, N> fixed(std::span<const std::byte> data) {
  std::array<std::byte, N> out{};
  std::copy_n(data.begin(), std::min(N, data.size()), out.begin());
  return out;
}

template <class T, class Decode>
void round_trip(const T& value, const Decode& decode) {
  const auto again = decode(encode(value));
  if (!again.ok() || !(*again == value)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::span<const std::byte> data(reinterpret_cast<const std::byte*>(bytes), size);
  // With the magic in its place more than the first check is reached.
  std::vector<std::byte> known(4 + size);
  std::memcpy(known.data(), &kFrameMagic, 4);
  std::copy(data.begin(), data.end(), known.begin() + 4);
  const auto without_length = [](const std::vector<std::byte>& message) {
    return std::span(message).subspan(4);
  };
  for (const std::span<const std::byte> input : {data, std::span<const std::byte>(known)}) {
    if (const auto frame = decode_frame(fixed<kFrameHeaderBytes>(input))) {
      round_trip(*frame, [](const auto& b) { return decode_frame(b); });
      if (describe(frame->call).empty()) std::abort();
    }
    if (const auto notice = decode_notice(fixed<kNoticeBytes>(input))) {
      round_trip(*notice, [](const auto& b) { return decode_notice(b); });
      if (printable_words(notice->words, kWordsBytesMax).size() != notice->words.size())
        std::abort();
    }
    if (const auto hello = decode_hello(input))
      round_trip(*hello, [&](const auto& b) { return decode_hello(without_length(b)); });
    if (const auto answer = decode_answer(input))
      round_trip(*answer, [&](const auto& b) { return decode_answer(without_length(b)); });
    if (const auto length = decode_length(fixed<4>(input)); length && *length > kSetupBytesMax)
      std::abort();
  }
  return 0;
}
