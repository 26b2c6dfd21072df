#include "weights/gguf_writer.h"

#include <fmt/format.h>

#include <bit>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "base/check.h"
#include "base/integers.h"
#include "weights/gguf.h"

namespace altlas::weights {
namespace {
template <class T>
void put(std::vector<uint8_t>& out, T value) {
  const size_t at = out.size();
  out.resize(at + sizeof value);
  std::memcpy(out.data() + at, &value, sizeof value);
}
void put_text(std::vector<uint8_t>& out, std::string_view text) {
  put<uint64_t>(out, text.size());
  out.insert(out.end(), text.begin(), text.end());
}
template <class T>
void put_array(std::vector<uint8_t>& out, GgufType element, std::span<const T> values) {
  put(out, static_cast<uint32_t>(element));
  put<uint64_t>(out, values.size());
  for (const T value : values) put(out, value);
}
}  // namespace

GgufWriter::GgufWriter(uint32_t alignment) : alignment_(alignment) {
  ALTLAS_CHECK(std::has_single_bit(alignment) && alignment >= 8,
               "alignment: a power of two, at least 8");
  if (alignment != 32) uint32("general.alignment", alignment);
}

void GgufWriter::key(std::string_view key, uint32_t type) {
  put_text(metadata_, key);
  put(metadata_, type);
  ++key_count_;
}

GgufWriter& GgufWriter::uint32(std::string_view name, uint32_t value) {
  key(name, static_cast<uint32_t>(GgufType::kUint32));
  put(metadata_, value);
  return *this;
}
GgufWriter& GgufWriter::int32(std::string_view name, int32_t value) {
  key(name, static_cast<uint32_t>(GgufType::kInt32));
  put(metadata_, value);
  return *this;
}
GgufWriter& GgufWriter::uint64(std::string_view name, uint64_t value) {
  key(name, static_cast<uint32_t>(GgufType::kUint64));
  put(metadata_, value);
  return *this;
}
GgufWriter& GgufWriter::float32(std::string_view name, float value) {
  key(name, static_cast<uint32_t>(GgufType::kFloat32));
  put(metadata_, value);
  return *this;
}
GgufWriter& GgufWriter::boolean(std::string_view name, bool value) {
  key(name, static_cast<uint32_t>(GgufType::kBool));
  put(metadata_, static_cast<uint8_t>(value));
  return *this;
}
GgufWriter& GgufWriter::string(std::string_view name, std::string_view value) {
  key(name, static_cast<uint32_t>(GgufType::kString));
  put_text(metadata_, value);
  return *this;
}
GgufWriter& GgufWriter::strings(std::string_view name, std::span<const std::string> values) {
  key(name, static_cast<uint32_t>(GgufType::kArray));
  put(metadata_, static_cast<uint32_t>(GgufType::kString));
  put<uint64_t>(metadata_, values.size());
  for (const std::string& value : values) put_text(metadata_, value);
  return *this;
}
GgufWriter& GgufWriter::int32s(std::string_view name, std::span<const int32_t> values) {
  key(name, static_cast<uint32_t>(GgufType::kArray));
  put_array(metadata_, GgufType::kInt32, values);
  return *this;
}
GgufWriter& GgufWriter::float32s(std::string_view name, std::span<const float> values) {
  key(name, static_cast<uint32_t>(GgufType::kArray));
  put_array(metadata_, GgufType::kFloat32, values);
  return *this;
}

// Describes a tensor. Returns its bytes.
uint64_t GgufWriter::describe(std::string_view name, DType dtype, std::span<const uint64_t> dims,
                              uint64_t offset) {
  ALTLAS_CHECK(dims.size() >= 1 && dims.size() <= 4, "dims: 1 to 4");
  uint64_t rows = 1;
  for (const uint64_t dim : dims.subspan(1)) rows *= dim;
  put_text(descriptions_, name);
  put(descriptions_, static_cast<uint32_t>(dims.size()));
  for (const uint64_t dim : dims) put(descriptions_, dim);
  put(descriptions_, static_cast<uint32_t>(dtype));
  put<uint64_t>(descriptions_, offset);
  ++tensor_count_;
  return rows * row_bytes(dtype, dims[0]);
}

GgufWriter& GgufWriter::tensor(std::string_view name, DType dtype, std::span<const uint64_t> dims,
                               std::span<const uint8_t> data) {
  ALTLAS_CHECK(space_bytes_ == 0, "tensor() or tensor_space(), not both");
  ALTLAS_CHECK(data.size() == describe(name, dtype, dims, data_.size()),
               "data: as many bytes as the dimensions say");
  data_.insert(data_.end(), data.begin(), data.end());
  data_.resize(round_up(data_.size(), alignment_));
  return *this;
}

uint64_t GgufWriter::tensor_space(std::string_view name, DType dtype,
                                  std::span<const uint64_t> dims) {
  ALTLAS_CHECK(data_.empty(), "tensor() or tensor_space(), not both");
  const uint64_t offset = space_bytes_, bytes = describe(name, dtype, dims, offset);
  space_bytes_ += round_up(bytes, alignment_);
  return offset;
}

GgufWriter& GgufWriter::tensor(std::string_view name, std::initializer_list<uint64_t> dims,
                               std::span<const float> data) {
  return tensor(name, DType::kF32, std::span(dims.begin(), dims.size()),
                {reinterpret_cast<const uint8_t*>(data.data()), data.size_bytes()});
}

std::vector<uint8_t> GgufWriter::header() const {
  std::vector<uint8_t> out = {'G', 'G', 'U', 'F'};
  put<uint32_t>(out, 3);
  put(out, tensor_count_);
  put(out, key_count_);
  out.insert(out.end(), metadata_.begin(), metadata_.end());
  out.insert(out.end(), descriptions_.begin(), descriptions_.end());
  if (tensor_count_ > 0) out.resize(round_up(out.size(), alignment_));
  return out;
}

std::vector<uint8_t> GgufWriter::bytes() const {
  std::vector<uint8_t> out = header();
  out.insert(out.end(), data_.begin(), data_.end());
  return out;
}

Result<void> GgufWriter::write(const std::string& path) const {
  const std::vector<uint8_t> content = bytes();
  const std::string temporary = path + ".tmp";
  std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(content.data()),
             static_cast<std::streamsize>(content.size()));
  file.close();
  if (!file)
    return io_error(fmt::format("{}: cannot write {} bytes: {}", temporary, content.size(),
                                std::strerror(errno)));
  if (std::rename(temporary.c_str(), path.c_str()) != 0)
    return io_error(fmt::format("{}: cannot rename to it: {}", path, std::strerror(errno)));
  return {};
}

}  // namespace altlas::weights
