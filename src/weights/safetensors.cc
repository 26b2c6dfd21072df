#include "weights/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cstring>
#include <filesystem>
#include <set>
#include <system_error>

#include "base/byte_order_mark.h"
#include "weights/messages.h"

namespace altlas::weights {
namespace json = boost::json;
namespace fs = std::filesystem;
namespace {

struct ElementType {
  std::string_view name;
  uint64_t bytes;
  bool supported;
  DType dtype;
};
// The format's types. Those that none of our operations reads are here for their size.
constexpr ElementType kElementTypes[] = {
    {"F32", 4, true, DType::kF32}, {"F16", 2, true, DType::kF16}, {"BF16", 2, true, DType::kBF16},
    {"I32", 4, true, DType::kI32}, {"F64", 8, false, {}},         {"I64", 8, false, {}},
    {"U64", 8, false, {}},         {"U32", 4, false, {}},         {"I16", 2, false, {}},
    {"U16", 2, false, {}},         {"I8", 1, false, {}},          {"U8", 1, false, {}},
    {"BOOL", 1, false, {}},        {"F8_E4M3", 1, false, {}},     {"F8_E5M2", 1, false, {}},
};
const ElementType* element_type(std::string_view name) {
  const auto* found = std::ranges::find(kElementTypes, name, &ElementType::name);
  return found != std::end(kElementTypes) ? found : nullptr;
}

constexpr size_t kDepthMax = 8;  // The format needs a depth of three.

Result<json::value> parse_json(std::string_view text, const std::string& name) {
  json::parse_options options;
  options.max_depth = kDepthMax;
  json::error_code failed;
  json::value value = json::parse(text, failed, {}, options);
  if (failed) return invalid(fmt::format("{}: its JSON is not valid: {}", name, failed.message()));
  if (!value.is_object()) return invalid(fmt::format("{}: its JSON is not an object", name));
  return value;
}

bool to_uint64(const json::value& value, uint64_t& out) {
  if (value.is_uint64())
    out = value.get_uint64();
  else if (value.is_int64() && value.get_int64() >= 0)
    out = static_cast<uint64_t>(value.get_int64());
  else
    return false;
  return true;
}
}  // namespace

// Checks everything in the header against the file, then fills a SafetensorsFile.
class SafetensorsParser {
 public:
  SafetensorsParser(std::span<const uint8_t> bytes, std::string name) : bytes_(bytes) {
    file_.name_ = std::move(name);
  }

  Result<SafetensorsFile> parse() {
    ALTLAS_TRY(const std::string_view text, header());
    ALTLAS_TRY(const json::value root, parse_json(text, file_.name_));
    for (const auto& [key, value] : root.get_object())
      ALTLAS_TRY_VOID(key == "__metadata__" ? metadata(value) : tensor(key, value));
    ALTLAS_TRY_VOID(coverage());
    return std::move(file_);
  }

 private:
  Error bad(const std::string& what) const {
    return invalid(fmt::format("{}: not a usable safetensors file: {}", file_.name_, what));
  }

  Result<std::string_view> header() {
    uint64_t length = 0;
    if (bytes_.size() < sizeof length)
      return bad(fmt::format("it has {} bytes; the header's length alone takes 8", bytes_.size()));
    std::memcpy(&length, bytes_.data(), sizeof length);
    const uint64_t left = bytes_.size() - sizeof length;
    if (length > left)
      return bad(fmt::format("the header claims {} bytes, but only {} are left", length, left));
    if (length > kSafetensorsHeaderBytesMax)
      return bad(fmt::format("the header has {} bytes; at most {} are allowed", length,
                             kSafetensorsHeaderBytesMax));
    file_.data_ = bytes_.subspan(sizeof length + length);
    return std::string_view(reinterpret_cast<const char*>(bytes_.data()) + sizeof length, length);
  }

  Result<void> metadata(const json::value& value) {
    if (!value.is_object()) return bad("__metadata__ is not an object");
    for (const auto& [key, text] : value.get_object()) {
      if (!text.is_string()) return bad(fmt::format("__metadata__ {} is not a string", shown(key)));
      file_.metadata_.emplace(std::string(key), std::string(text.get_string()));
    }
    return {};
  }

  Result<void> tensor(std::string_view name, const json::value& value) {
    const json::object* object = value.if_object();
    const json::value* dtype = object != nullptr ? object->if_contains("dtype") : nullptr;
    const json::value* shape = object != nullptr ? object->if_contains("shape") : nullptr;
    const json::value* offsets = object != nullptr ? object->if_contains("data_offsets") : nullptr;
    if (dtype == nullptr || shape == nullptr || offsets == nullptr || !dtype->is_string() ||
        !shape->is_array() || !offsets->is_array())
      return bad(fmt::format(
          "tensor {} lacks a dtype (string), shape (array) or data_offsets (array)", shown(name)));
    SafetensorsFile::Entry entry = {std::string(dtype->get_string()), {}, 0, 0};
    if (shape->get_array().size() > kSafetensorsRankMax)
      return bad(fmt::format("tensor {} has {} dimensions; at most {} are allowed", shown(name),
                             shape->get_array().size(), kSafetensorsRankMax));
    uint64_t values = 1;
    for (const json::value& dim : shape->get_array()) {
      uint64_t size = 0;
      if (!to_uint64(dim, size))
        return bad(fmt::format("tensor {}: its shape is not of whole numbers", shown(name)));
      if (__builtin_mul_overflow(values, size, &values))
        return bad(fmt::format("tensor {}: its shape overflows", shown(name)));
      entry.shape.push_back(size);
    }
    const json::array& range = offsets->get_array();
    if (range.size() != 2 || !to_uint64(range[0], entry.begin) || !to_uint64(range[1], entry.end) ||
        entry.begin > entry.end || entry.end > file_.data_.size())
      return bad(
          fmt::format("tensor {}: data_offsets must be two ascending numbers up to {} (the file "
                      "may be truncated)",
                      shown(name), file_.data_.size()));
    if (const ElementType* type = element_type(entry.dtype)) {
      uint64_t bytes = 0;
      if (__builtin_mul_overflow(values, type->bytes, &bytes) || bytes != entry.end - entry.begin)
        return bad(fmt::format("tensor {}: {} values of {} do not take the {} bytes that it has",
                               shown(name), values, entry.dtype, entry.end - entry.begin));
    }
    file_.tensors_.emplace(std::string(name), std::move(entry));
    return {};
  }

  // Checks that the tensors, by offset, follow one another from the first byte to the last.
  Result<void> coverage() const {
    std::vector<std::pair<uint64_t, uint64_t>> ranges;
    for (const auto& [name, entry] : file_.tensors_) ranges.emplace_back(entry.begin, entry.end);
    std::ranges::sort(ranges);
    uint64_t at = 0;
    for (const auto& [begin, end] : ranges) {
      if (begin != at)
        return bad(fmt::format("its tensors {} at byte {} of the data",
                               begin < at ? "overlap" : "leave a gap", std::min(begin, at)));
      at = end;
    }
    if (at != file_.data_.size())
      return bad(fmt::format("{} bytes after byte {} of the data belong to no tensor",
                             file_.data_.size() - at, at));
    return {};
  }

  std::span<const uint8_t> bytes_;
  SafetensorsFile file_;
};

Result<SafetensorsFile> SafetensorsFile::open(const std::string& path) {
  ALTLAS_TRY(MappedFile mapped, MappedFile::open(path));
  ALTLAS_TRY(SafetensorsFile file, SafetensorsParser(mapped.bytes(), path).parse());
  file.file_ = std::move(mapped);
  return file;
}

Result<SafetensorsFile> SafetensorsFile::open_bytes(std::span<const uint8_t> bytes,
                                                    std::string name) {
  return SafetensorsParser(bytes, std::move(name)).parse();
}

std::vector<std::string_view> SafetensorsFile::tensor_names() const {
  std::vector<std::string_view> names;
  for (const auto& [name, entry] : tensors_) names.push_back(name);
  return names;
}

Result<TensorView> SafetensorsFile::tensor(std::string_view name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end())
    return not_found(fmt::format("{}: tensor '{}' is missing", name_, name));
  const Entry& entry = found->second;
  const ElementType* type = element_type(entry.dtype);
  if (type == nullptr || !type->supported)
    return invalid(fmt::format(
        "{}: tensor {} is of {}, which is not supported; supported are F32 F16 BF16 I32", name_,
        shown(name), shown(entry.dtype)));
  if (entry.shape.size() > 4)
    return invalid(fmt::format("{}: tensor {} has {} dimensions; up to 4 are supported", name_,
                               shown(name), entry.shape.size()));
  if (entry.begin == entry.end)
    return invalid(fmt::format("{}: tensor {} is empty", name_, shown(name)));
  TensorView view = {found->first,
                     type->dtype,
                     static_cast<uint32_t>(std::max<size_t>(entry.shape.size(), 1)),
                     {1, 1, 1, 1},
                     data_.subspan(entry.begin, entry.end - entry.begin)};
  std::ranges::copy(entry.shape.rbegin(), entry.shape.rend(), view.dims.begin());
  return view;
}

Result<SafetensorsModel> SafetensorsModel::open(const std::string& folder) {
  SafetensorsModel model;
  model.folder_ = folder;
  std::error_code failed;
  const fs::path root(folder), index = root / "model.safetensors.index.json",
                               single = root / "model.safetensors";
  if (fs::exists(index, failed)) {
    ALTLAS_TRY_VOID(model.add_indexed(folder, index.string()));
    return model;
  }
  std::string path = single.string();
  if (!fs::exists(single, failed)) {
    std::vector<std::string> found;
    for (fs::directory_iterator at(root, failed), end; !failed && at != end && found.size() < 2;
         at.increment(failed))
      if (at->path().extension() == ".safetensors") found.push_back(at->path().string());
    if (found.size() != 1)
      return invalid(
          fmt::format("{}: wanted is a model.safetensors, a model.safetensors.index.json, or one "
                      ".safetensors file; it has {}",
                      folder, found.empty() ? "none" : "several and no index"));
    path = found[0];
  }
  ALTLAS_TRY_VOID(model.add(path));
  return model;
}

Result<void> SafetensorsModel::add(const std::string& path) {
  ALTLAS_TRY(SafetensorsFile file, SafetensorsFile::open(path));
  files_.push_back(std::move(file));
  const auto index = static_cast<uint32_t>(files_.size() - 1);
  for (const std::string_view name : files_.back().tensor_names())
    if (!file_of_.emplace(name, index).second)
      return invalid(
          fmt::format("{}: tensor {} is in another file of the model too", path, shown(name)));
  return {};
}

Result<void> SafetensorsModel::add_indexed(const std::string& folder,
                                           const std::string& index_path) {
  ALTLAS_TRY(const MappedFile mapped, MappedFile::open(index_path));
  const auto bytes = mapped.bytes();
  if (bytes.size() > kSafetensorsIndexBytesMax)
    return invalid(fmt::format("{}: it has {} bytes; at most {} are allowed", index_path,
                               bytes.size(), kSafetensorsIndexBytesMax));
  ALTLAS_TRY(const std::string_view text,
             skip_byte_order_mark({reinterpret_cast<const char*>(bytes.data()), bytes.size()},
                                  index_path));
  ALTLAS_TRY(const json::value root, parse_json(text, index_path));
  const json::value* map = root.get_object().if_contains("weight_map");
  if (map == nullptr || !map->is_object())
    return invalid(fmt::format("{}: it lacks an object weight_map", index_path));
  std::set<std::string> names;
  for (const auto& [tensor, file] : map->get_object()) {
    const std::string name = file.is_string() ? std::string(file.get_string()) : "";
    if (!name.ends_with(".safetensors") ||
        name.find_first_of(std::string_view("/\0", 2)) != std::string::npos)
      return invalid(
          fmt::format("{}: tensor {} must name a .safetensors file of the same folder, not {}",
                      index_path, shown(tensor), shown(name)));
    names.insert(name);
    if (names.size() > kShardsMax)
      return invalid(fmt::format("{}: it names more than {} files", index_path, kShardsMax));
  }
  if (names.empty()) return invalid(fmt::format("{}: its weight_map is empty", index_path));
  files_.reserve(names.size());
  for (const std::string& name : names) ALTLAS_TRY_VOID(add((fs::path(folder) / name).string()));
  for (const auto& [tensor, file] : map->get_object())
    if (!file_of_.contains(tensor))
      return invalid(
          fmt::format("{}: tensor {} is not in any of the files", index_path, shown(tensor)));
  return {};
}

std::vector<std::string_view> SafetensorsModel::tensor_names() const {
  std::vector<std::string_view> names;
  for (const auto& [name, file] : file_of_) names.push_back(name);
  return names;
}

Result<TensorView> SafetensorsModel::tensor(std::string_view name) const {
  const auto found = file_of_.find(name);
  if (found == file_of_.end())
    return not_found(fmt::format("{}: tensor '{}' is missing", folder_, name));
  return files_[found->second].tensor(name);
}

}  // namespace altlas::weights
