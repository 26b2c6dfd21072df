#include "weights/gguf.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "base/integers.h"
#include "weights/messages.h"

namespace altlas::weights {
static_assert(std::endian::native == std::endian::little,
              "values are copied from the file as they are");

namespace {
constexpr std::string_view kTypeNames[] = {"uint8",  "int8",    "uint16", "int16",  "uint32",
                                           "int32",  "float32", "bool",   "string", "array",
                                           "uint64", "int64",   "float64"};
constexpr uint64_t kTypeBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};  // 0: the length varies.

struct TypeName {
  uint32_t type;
  std::string_view name;
};
// Types of the specification that none of our operations reads; messages name them.
constexpr TypeName kForeignTypes[] = {
    {9, "Q8_1"},    {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"},
    {20, "IQ4_NL"}, {21, "IQ3_S"}, {22, "IQ2_S"},   {23, "IQ4_XS"}, {24, "I8"},      {25, "I16"},
    {27, "I64"},    {28, "F64"},   {29, "IQ1_M"},   {34, "TQ1_0"},  {35, "TQ2_0"},   {39, "MXFP4"},
};
constexpr uint64_t kInt64Max = std::numeric_limits<int64_t>::max();
constexpr uint32_t kTypeNumberMax = 64;  // The ids that ggml has given out so far are below it.

std::string supported_types() {
  std::vector<std::string_view> names;
  for (uint32_t type = 0; type < kTypeNumberMax; ++type)
    if (const auto info = dtype_info(type)) names.push_back(info->name);
  return fmt::format("{}", fmt::join(names, " "));
}

template <class T>
T load(const uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

bool multiply(uint64_t a, uint64_t b, uint64_t& out) { return !__builtin_mul_overflow(a, b, &out); }
}  // namespace

std::string ggml_type_name(uint32_t ggml_type) {
  if (const auto info = dtype_info(ggml_type)) return std::string(info->name);
  const auto* found = std::ranges::find(kForeignTypes, ggml_type, &TypeName::type);
  return found != std::end(kForeignTypes) ? std::string(found->name)
                                          : fmt::format("type {}", ggml_type);
}

std::string to_string(const GgufValue& value) {
  const std::string_view element = kTypeNames[static_cast<size_t>(value.element)];
  return value.type == GgufType::kArray ? fmt::format("array of {}", element)
                                        : std::string(element);
}

// Reads the file front to back. Before anything is allocated, each read is checked against what is
// left of the file, and each count against the number of items of the smallest size that could
// follow.
class GgufParser {
 public:
  GgufParser(std::span<const uint8_t> bytes, std::string name) : bytes_(bytes) {
    file_.name_ = std::move(name);
    file_.bytes_ = bytes;
  }

  Result<GgufFile> parse() {
    ALTLAS_TRY_VOID(header());
    for (uint64_t i = 0; i < key_count_; ++i) ALTLAS_TRY_VOID(key_and_value());
    ALTLAS_TRY_VOID(alignment());
    for (uint64_t i = 0; i < tensor_count_; ++i) ALTLAS_TRY_VOID(tensor_description());
    ALTLAS_TRY_VOID(tensor_data());
    return std::move(file_);
  }

 private:
  Error bad(uint64_t at, std::string what) const {
    return invalid(fmt::format("{}: not a usable GGUF file: {} (at byte {} of {})", file_.name_,
                               what, at, bytes_.size()));
  }
  uint64_t left() const { return bytes_.size() - position_; }

  template <class T>
  Result<T> read(std::string_view what) {
    if (left() < sizeof(T)) return bad(position_, fmt::format("the file ends inside {}", what));
    const T value = load<T>(bytes_.data() + position_);
    position_ += sizeof(T);
    return value;
  }

  Result<std::string_view> text(std::string_view what, uint64_t bytes_max) {
    const uint64_t at = position_;
    ALTLAS_TRY(const uint64_t length, read<uint64_t>(what));
    if (length > left())
      return bad(at, fmt::format("{} claims {} bytes, but only {} are left", what, length, left()));
    if (length > bytes_max)
      return bad(at,
                 fmt::format("{} has {} bytes; at most {} are allowed", what, length, bytes_max));
    const auto* start = reinterpret_cast<const char*>(bytes_.data() + position_);
    position_ += length;
    return std::string_view(start, length);
  }

  Result<void> header() {
    if (bytes_.size() < 4 || std::memcmp(bytes_.data(), "GGUF", 4) != 0)
      return bad(0, "it does not start with the letters GGUF");
    position_ = 4;
    ALTLAS_TRY(file_.version_, read<uint32_t>("the version"));
    if (file_.version_ != 2 && file_.version_ != 3) {
      const bool swapped = file_.version_ == 0x02000000 || file_.version_ == 0x03000000;
      return bad(4, swapped
                        ? "it is big-endian; only little-endian files are supported"
                        : fmt::format("version {}; only 2 and 3 are supported", file_.version_));
    }
    ALTLAS_TRY(tensor_count_, read<uint64_t>("the tensor count"));
    ALTLAS_TRY(key_count_, read<uint64_t>("the metadata count"));
    // The least bytes of each. A key takes its length, one letter, its type and one byte; a tensor
    // takes its name's length, dims, one dim, its type and its offset.
    constexpr uint64_t kKeyBytesMin = 8 + 1 + 4 + 1, kTensorBytesMin = 8 + 4 + 8 + 4 + 8;
    if (key_count_ > kGgufKeysMax || key_count_ > left() / kKeyBytesMin)
      return bad(16, fmt::format(
                         "it claims {} metadata keys; at most {} are allowed and {} bytes are left",
                         key_count_, kGgufKeysMax, left()));
    if (tensor_count_ > kGgufTensorsMax || tensor_count_ > left() / kTensorBytesMin)
      return bad(8,
                 fmt::format("it claims {} tensors; at most {} are allowed and {} bytes are left",
                             tensor_count_, kGgufTensorsMax, left()));
    return {};
  }

  Result<GgufType> type(std::string_view what) {
    const uint64_t at = position_;
    ALTLAS_TRY(const uint32_t number, read<uint32_t>(what));
    if (number >= std::size(kTypeNames))
      return bad(at, fmt::format("{} is {}; 0 to 12 are known", what, number));
    return static_cast<GgufType>(number);
  }

  Result<void> key_and_value() {
    const uint64_t at = position_;
    ALTLAS_TRY(const std::string_view key, text("a metadata key", kGgufKeyBytesMax));
    if (key.empty()) return bad(at, "a metadata key is empty");
    GgufValue value = {};
    ALTLAS_TRY(value.type, type(fmt::format("the type of metadata {}", shown(key))));
    value.element = value.type;
    value.count = 1;
    if (value.type == GgufType::kArray) {
      const uint64_t array_at = position_;
      ALTLAS_TRY(value.element, type(fmt::format("the element type of metadata {}", shown(key))));
      if (value.element == GgufType::kArray)
        return bad(array_at, fmt::format("metadata {} is an array of arrays", shown(key)));
      ALTLAS_TRY(value.count, read<uint64_t>("an array's count"));
      if (value.count > kGgufArrayElementsMax)
        return bad(array_at + 4,
                   fmt::format("metadata {} claims {} elements; at most {} are allowed", shown(key),
                               value.count, kGgufArrayElementsMax));
    }
    value.offset = position_;
    ALTLAS_TRY_VOID(elements(key, value));
    if (!file_.metadata_.emplace(key, value).second)
      return bad(at, fmt::format("metadata key {} is there twice", shown(key)));
    return {};
  }

  Result<void> elements(std::string_view key, const GgufValue& value) {
    if (value.element == GgufType::kString) return skip_texts(key, value.count);
    // This can't overflow, since the count was checked above.
    const uint64_t bytes = value.count * kTypeBytes[static_cast<size_t>(value.element)];
    if (bytes > left())
      return bad(position_, fmt::format("metadata {} claims {} bytes, but only {} are left",
                                        shown(key), bytes, left()));
    if (value.element == GgufType::kBool)
      for (uint64_t i = 0; i < bytes; ++i)
        if (bytes_[position_ + i] > 1)
          return bad(position_ + i,
                     fmt::format("metadata {} has a bool that is neither 0 nor 1", shown(key)));
    position_ += bytes;
    return {};
  }

  Result<void> skip_texts(std::string_view key, uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t length = left() < 8 ? 0 : load<uint64_t>(bytes_.data() + position_);
      if (left() < 8 || length > left() - 8)
        return bad(position_,
                   fmt::format("a string of metadata {} claims {} bytes, but only {} are left",
                               shown(key), length, left()));
      position_ += 8 + length;
    }
    return {};
  }

  Result<void> alignment() {
    ALTLAS_TRY(alignment_, file_.uint64_or("general.alignment", 32));
    if (alignment_ < 8 || alignment_ > kGgufAlignmentMax || !std::has_single_bit(alignment_))
      return bad(position_,
                 fmt::format("general.alignment is {}; it must be a power of two from 8 to {}",
                             alignment_, kGgufAlignmentMax));
    return {};
  }

  Result<void> tensor_description() {
    const uint64_t at = position_;
    GgufTensor tensor = {
        .name = {}, .ggml_type = 0, .dim_count = 0, .dims = {1, 1, 1, 1}, .offset = 0};
    ALTLAS_TRY(tensor.name, text("a tensor name", kGgufTensorNameBytesMax));
    if (tensor.name.empty()) return bad(at, "a tensor name is empty");
    ALTLAS_TRY(tensor.dim_count, read<uint32_t>("a tensor's number of dimensions"));
    if (tensor.dim_count < 1 || tensor.dim_count > 4)
      return bad(at, fmt::format("tensor {} has {} dimensions; 1 to 4 are allowed",
                                 shown(tensor.name), tensor.dim_count));
    uint64_t values = 1;
    for (uint32_t i = 0; i < tensor.dim_count; ++i) {
      ALTLAS_TRY(tensor.dims[i], read<uint64_t>("a tensor's dimensions"));
      if (tensor.dims[i] == 0)
        return bad(at, fmt::format("tensor {}: dimension {} is 0", shown(tensor.name), i));
      if (!multiply(values, tensor.dims[i], values) || values > kInt64Max)
        return bad(at,
                   fmt::format("tensor {}: its dimensions {} overflow", shown(tensor.name),
                               fmt::join(tensor.dims.begin(), tensor.dims.begin() + i + 1, "x")));
    }
    ALTLAS_TRY(tensor.ggml_type, read<uint32_t>("a tensor's type"));
    ALTLAS_TRY(tensor.offset, read<uint64_t>("a tensor's offset"));
    if (tensor.offset % alignment_ != 0)
      return bad(at, fmt::format("tensor {}: its offset {} is not a multiple of the alignment {}",
                                 shown(tensor.name), tensor.offset, alignment_));
    if (!file_.tensor_index_.emplace(tensor.name, file_.tensors_.size()).second)
      return bad(at, fmt::format("tensor {} is there twice", shown(tensor.name)));
    file_.tensors_.push_back(tensor);
    return {};
  }

  // Finds every tensor's place in the file, and refuses those that leave the file or overlap.
  Result<void> tensor_data() {
    if (file_.tensors_.empty()) return {};
    // This can't overflow, since position_ is at most the file's size.
    const uint64_t start = round_up(position_, alignment_);
    const uint64_t space = start <= bytes_.size() ? bytes_.size() - start : 0;
    struct Extent {
      uint64_t first, bytes;
      std::string_view name;
    };
    std::vector<Extent> extents;
    for (GgufTensor& tensor : file_.tensors_) {
      ALTLAS_TRY(const uint64_t bytes, data_bytes(tensor));
      if (tensor.offset > space || bytes > space - tensor.offset)
        return bad(position_, fmt::format("tensor {} needs {} bytes at {} of the {} bytes of data; "
                                          "the file is truncated or corrupt",
                                          shown(tensor.name), bytes, tensor.offset, space));
      tensor.offset += start;
      extents.push_back({tensor.offset, bytes, tensor.name});
    }
    std::ranges::sort(extents, {}, &Extent::first);
    for (size_t i = 1; i < extents.size(); ++i)
      if (extents[i].first - extents[i - 1].first < extents[i - 1].bytes ||
          extents[i].first == extents[i - 1].first)
        return bad(extents[i].first,
                   fmt::format("tensors {} and {} overlap", shown(extents[i - 1].name),
                               shown(extents[i].name)));
    return {};
  }

  // Returns 0 for an unknown type: such a tensor is refused when it is asked for.
  Result<uint64_t> data_bytes(const GgufTensor& tensor) const {
    const auto info = dtype_info(tensor.ggml_type);
    if (!info) return uint64_t{0};
    if (tensor.dims[0] % info->block_values != 0)
      return bad(position_,
                 fmt::format("tensor {}: its rows of {} values are not whole blocks of {} ({})",
                             shown(tensor.name), tensor.dims[0], info->block_values, info->name));
    uint64_t bytes = 0;
    if (!multiply(row_bytes(info->type, tensor.dims[0]),
                  tensor.dims[1] * tensor.dims[2] * tensor.dims[3], bytes))
      return bad(position_, fmt::format("tensor {}: its size overflows", shown(tensor.name)));
    return bytes;
  }

  std::span<const uint8_t> bytes_;
  uint64_t position_ = 0;
  uint64_t key_count_ = 0, tensor_count_ = 0;
  uint64_t alignment_ = 32;
  GgufFile file_;
};

Result<GgufFile> GgufFile::open(const std::string& path) {
  ALTLAS_TRY(MappedFile mapped, MappedFile::open(path));
  ALTLAS_TRY(GgufFile file, GgufParser(mapped.bytes(), path).parse());
  file.file_ = std::move(mapped);
  return file;
}

Result<GgufFile> GgufFile::open_bytes(std::span<const uint8_t> bytes, std::string name) {
  return GgufParser(bytes, std::move(name)).parse();
}

Result<GgufValue> GgufFile::find(std::string_view key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end())
    return not_found(fmt::format("{}: metadata '{}' is missing", name_, key));
  return found->second;
}

Error GgufFile::wrong_type(std::string_view key, const GgufValue& value,
                           std::string_view wanted) const {
  return invalid(
      fmt::format("{}: metadata '{}' is {}; {} is wanted", name_, key, to_string(value), wanted));
}

Result<int64_t> GgufFile::integer_at(std::string_view key, const GgufValue& value,
                                     uint64_t index) const {
  const uint8_t* from =
      bytes_.data() + value.offset + index * kTypeBytes[static_cast<size_t>(value.element)];
  switch (value.element) {
    case GgufType::kUint8:
      return int64_t{*from};
    case GgufType::kInt8:
      return int64_t{load<int8_t>(from)};
    case GgufType::kUint16:
      return int64_t{load<uint16_t>(from)};
    case GgufType::kInt16:
      return int64_t{load<int16_t>(from)};
    case GgufType::kUint32:
      return int64_t{load<uint32_t>(from)};
    case GgufType::kInt32:
      return int64_t{load<int32_t>(from)};
    case GgufType::kInt64:
      return load<int64_t>(from);
    case GgufType::kBool:
      return int64_t{*from};
    case GgufType::kUint64: {
      const auto number = load<uint64_t>(from);
      if (number > kInt64Max)
        return invalid(
            fmt::format("{}: metadata '{}' is {}, which is out of range", name_, key, number));
      return static_cast<int64_t>(number);
    }
    default:
      return wrong_type(key, value, "an integer");
  }
}

Result<std::string_view> GgufFile::string(std::string_view key) const {
  ALTLAS_TRY(const GgufValue value, find(key));
  if (value.type != GgufType::kString) return wrong_type(key, value, "a string");
  const auto* length = bytes_.data() + value.offset;
  return std::string_view(reinterpret_cast<const char*>(length + 8), load<uint64_t>(length));
}

Result<int64_t> GgufFile::int64(std::string_view key) const {
  ALTLAS_TRY(const GgufValue value, find(key));
  if (value.type == GgufType::kArray || value.type == GgufType::kBool)
    return wrong_type(key, value, "an integer");
  return integer_at(key, value, 0);
}

Result<uint64_t> GgufFile::uint64(std::string_view key) const {
  ALTLAS_TRY(const GgufValue value, find(key));
  if (value.type == GgufType::kUint64) return load<uint64_t>(bytes_.data() + value.offset);
  ALTLAS_TRY(const int64_t number, int64(key));
  if (number < 0)
    return invalid(
        fmt::format("{}: metadata '{}' is {}; it must not be negative", name_, key, number));
  return static_cast<uint64_t>(number);
}

Result<double> GgufFile::float64(std::string_view key) const {
  ALTLAS_TRY(const GgufValue value, find(key));
  const uint8_t* from = bytes_.data() + value.offset;
  double number = 0;
  if (value.type == GgufType::kFloat32) {
    number = load<float>(from);
  } else if (value.type == GgufType::kFloat64) {
    number = load<double>(from);
  } else {
    if (value.type == GgufType::kString) return wrong_type(key, value, "a number");
    ALTLAS_TRY(const int64_t integer, int64(key));
    number = static_cast<double>(integer);
  }
  if (!std::isfinite(number))
    return invalid(fmt::format("{}: metadata '{}' is not a finite number", name_, key));
  return number;
}

Result<bool> GgufFile::boolean(std::string_view key) const {
  ALTLAS_TRY(const GgufValue value, find(key));
  if (value.type != GgufType::kBool) return wrong_type(key, value, "a bool");
  return bytes_[value.offset] != 0;
}

Result<std::string_view> GgufFile::string_or(std::string_view key,
                                             std::string_view fallback) const {
  return has(key) ? string(key) : fallback;
}
Result<uint64_t> GgufFile::uint64_or(std::string_view key, uint64_t fallback) const {
  return has(key) ? uint64(key) : fallback;
}
Result<int64_t> GgufFile::int64_or(std::string_view key, int64_t fallback) const {
  return has(key) ? int64(key) : fallback;
}
Result<double> GgufFile::float64_or(std::string_view key, double fallback) const {
  return has(key) ? float64(key) : fallback;
}
Result<bool> GgufFile::boolean_or(std::string_view key, bool fallback) const {
  return has(key) ? boolean(key) : fallback;
}

Result<std::vector<std::string_view>> GgufFile::strings(std::string_view key) const {
  ALTLAS_TRY(const GgufValue value, find(key));
  if (value.type != GgufType::kArray || value.element != GgufType::kString)
    return wrong_type(key, value, "an array of strings");
  std::vector<std::string_view> out;
  out.reserve(value.count);
  const uint8_t* from = bytes_.data() + value.offset;
  for (uint64_t i = 0; i < value.count; ++i) {
    const auto length = load<uint64_t>(from);
    out.emplace_back(reinterpret_cast<const char*>(from + 8), length);
    from += 8 + length;
  }
  return out;
}

Result<std::vector<int64_t>> GgufFile::integers(std::string_view key) const {
  ALTLAS_TRY(const GgufValue value, find(key));
  const bool wrong = value.element == GgufType::kString || value.element == GgufType::kFloat32 ||
                     value.element == GgufType::kFloat64;
  if (value.type != GgufType::kArray || wrong)
    return wrong_type(key, value, "an array of integers");
  std::vector<int64_t> out(value.count);
  // The types of tokens take this faster way: there are as many as tokens.
  if (value.element == GgufType::kInt32) {
    for (uint64_t i = 0; i < value.count; ++i)
      out[i] = load<int32_t>(bytes_.data() + value.offset + 4 * i);
    return out;
  }
  for (uint64_t i = 0; i < value.count; ++i) {
    ALTLAS_TRY(out[i], integer_at(key, value, i));
  }
  return out;
}

Result<std::vector<float>> GgufFile::floats(std::string_view key) const {
  ALTLAS_TRY(const GgufValue value, find(key));
  const bool narrow = value.element == GgufType::kFloat32;
  if (value.type != GgufType::kArray || (!narrow && value.element != GgufType::kFloat64))
    return wrong_type(key, value, "an array of floats");
  std::vector<float> out(value.count);
  const uint8_t* from = bytes_.data() + value.offset;
  for (uint64_t i = 0; i < value.count; ++i)
    out[i] = narrow ? load<float>(from + 4 * i) : static_cast<float>(load<double>(from + 8 * i));
  return out;
}

std::vector<std::string_view> GgufFile::tensor_names() const {
  std::vector<std::string_view> names;
  for (const auto& [name, index] : tensor_index_) names.push_back(name);
  return names;
}

Result<TensorView> GgufFile::tensor(std::string_view name) const {
  const auto found = tensor_index_.find(name);
  if (found == tensor_index_.end())
    return not_found(fmt::format("{}: tensor '{}' is missing", name_, name));
  const GgufTensor& tensor = tensors_[found->second];
  const auto info = dtype_info(tensor.ggml_type);
  if (!info)
    return invalid(fmt::format(
        "{}: tensor '{}' is of {} ({}), which is not supported; supported are {}", name_, name,
        ggml_type_name(tensor.ggml_type), tensor.ggml_type, supported_types()));
  TensorView view = {tensor.name, info->type, tensor.dim_count, tensor.dims, {}};
  view.data = bytes_.subspan(tensor.offset, view.rows() * row_bytes(info->type, view.cols()));
  return view;
}

}  // namespace altlas::weights
