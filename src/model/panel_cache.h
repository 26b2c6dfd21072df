// Packed weights kept on disk: the next start maps the file instead of packing, and all replicas of
// a machine share its pages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "device/cpu/team.h"

namespace altlas::model {

// Raise it when the bytes that packing writes change: panel_format.h, pack.cc, the order in
// decoder_weights.cc. A test fails when they do.
inline constexpr uint32_t kPanelVersion = 1;
// The limit of all files together; never more than half of what the disk would have free without
// them.
inline constexpr uint64_t kPanelCacheBytesMax = uint64_t{64} << 30;
inline constexpr uint64_t kPanelBytesMin = uint64_t{16} << 20;  // Less is packed at once.

// Where they are kept; an empty folder: nowhere.
struct PanelCacheOptions {
  std::string folder;
  uint64_t bytes_min = kPanelBytesMin;
  uint64_t bytes_max = kPanelCacheBytesMax;
};

// A piece of a file in memory; unmaps itself unless released.
class PanelMapping {
 public:
  PanelMapping(void* data, uint64_t bytes) : data_(data), bytes_(bytes) {}
  PanelMapping(PanelMapping&& other) noexcept;
  PanelMapping& operator=(PanelMapping&&) = delete;
  ~PanelMapping();
  std::byte* data() const { return static_cast<std::byte*>(data_); }
  uint64_t bytes() const { return bytes_; }
  // From now on somebody else unmaps it.
  void release() { data_ = nullptr; }

 private:
  void* data_;
  uint64_t bytes_;
};

// The cached panels of one model's share of one rank. While it lives no other process or thread
// fills the same file. Use: find(); where that has nothing, create(), fill it, publish().
class PanelFile {
 public:
  // model: a file or folder. share: what of it, as "tp0of2". bytes: of its panels.
  // Waits while another fills the file.  Errors: kIo, kBusy, kNotFound.
  static Result<PanelFile> open(const PanelCacheOptions& options, const std::string& model,
                                std::string_view share, uint64_t bytes);
  PanelFile(PanelFile&& other) noexcept;
  PanelFile& operator=(PanelFile&&) = delete;
  ~PanelFile();

  // Read-only memory, every byte of it checked by the team. Nothing where there is no file, or one
  // that is damaged, of another user or of another state of the model: such a file is deleted.
  std::optional<PanelMapping> find(device::Team& team);
  // Zeroed memory of a new file, to be filled.  Errors: kIo where the disk has no room.
  Result<PanelMapping> create();
  // Makes what was filled the file that find() gives, and read-only; deletes old files beyond the
  // limit. Errors: kIo; the memory can be used all the same.
  Result<void> publish(const PanelMapping& filled, device::Team& team);

 private:
  PanelFile(PanelCacheOptions options, std::string prefix, uint64_t identity, uint64_t bytes,
            int lock)
      : options_(std::move(options)),
        prefix_(std::move(prefix)),
        identity_(identity),
        bytes_(bytes),
        lock_(lock) {}
  std::string path() const;
  std::string temporary() const { return prefix_ + ".tmp"; }
  void remove_others() const;

  PanelCacheOptions options_;
  std::string prefix_;  // The prefix of the model's files in the folder.
  uint64_t identity_;
  uint64_t bytes_;
  int lock_;       // Descriptor.
  int file_ = -1;  // The new file's, between create() and publish().
};

// Tells one state of a model's files from another: sizes, times, their beginnings and samples of
// the rest.  Errors: kNotFound, kIo.
Result<uint64_t> model_identity(const std::string& model);

}  // namespace altlas::model
