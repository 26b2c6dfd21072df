#include "model/load_weights.h"

#include <fmt/format.h>

#include <optional>

#include "base/log.h"
#include "base/units.h"
#include "device/cpu/team.h"
#include "model/panel_cache.h"

namespace altlas::model {
namespace {

class Loader {
 public:
  Loader(const ModelFile& file, const ShardPlan& shard, const LoadOptions& options,
         WeightBytes bytes, device::Device& device)
      : file_(file),
        shard_(shard),
        options_(options),
        bytes_(bytes.all),
        booked_(bytes.booked),
        device_(device) {}

  Result<LoadedWeights> load() {
    const PanelCacheOptions& cache = options_.panels;
    if (cache.folder.empty() || bytes_ < cache.bytes_min ||
        options_.model_path.starts_with("/proc/"))
      return booked_ < bytes_ ? not_kept() : in_memory();
    Result<PanelFile> panels =
        PanelFile::open(cache, options_.model_path, options_.shard.name(), bytes_);
    if (!panels.ok()) return without_cache(panels.error());
    if (std::optional<PanelMapping> found = panels->find(device_.team()))
      return mapped(*std::move(found), /*filled=*/true);
    Result<PanelMapping> made = panels->create();
    if (!made.ok()) return without_cache(made.error());
    ALTLAS_TRY(LoadedWeights loaded, mapped(std::move(*made), /*filled=*/false));
    PanelMapping filled(loaded.buffer.data(), bytes_);
    const Result<void> published = panels->publish(filled, device_.team());
    filled.release();
    if (!published.ok()) log::warn("{}", published.error().message());
    return loaded;
  }

 private:
  Result<LoadedWeights> without_cache(const Error& error) {
    if (booked_ < bytes_) return error;
    log::warn("packed weights are not kept for the next start: {}", error.message());
    return in_memory();
  }
  Error not_kept() const {
    return invalid(
        fmt::format("offload_layers and stream_weights leave weights in the packed file, "
                    "and none is kept: engine.repack_cache is off, or the {} of this "
                    "rank are less than the {} that are worth a file",
                    format_bytes(bytes_), format_bytes(options_.panels.bytes_min)),
        "offload_layers");
  }
  Result<LoadedWeights> in_memory() {
    ALTLAS_TRY(device::Buffer buffer, device_.allocate("weights", bytes_));
    return lay_out(std::move(buffer), /*filled=*/false);
  }
  Result<LoadedWeights> mapped(PanelMapping mapping, bool filled) {
    ALTLAS_TRY(device::Buffer buffer,
               device_.adopt("weights", mapping.data(), mapping.bytes(), booked_));
    mapping.release();
    return lay_out(std::move(buffer), filled);
  }
  Result<LoadedWeights> lay_out(device::Buffer buffer, bool filled) {
    LoadedWeights out;
    out.buffer = std::move(buffer);
    Arena arena(out.buffer.data(), out.buffer.size(), filled);
    const auto progress = [&](double fraction) {
      if (options_.progress) options_.progress("weights", fraction);
    };
    ALTLAS_TRY(out.weights, lay_out_weights({file_.tensors(), file_.config(), shard_}, arena,
                                            &device_.team(), progress));
    return out;
  }

  const ModelFile& file_;
  const ShardPlan& shard_;
  const LoadOptions& options_;
  const uint64_t bytes_;
  const uint64_t booked_;
  device::Device& device_;
};

}  // namespace

Result<LoadedWeights> load_weights(const ModelFile& file, const ShardPlan& shard,
                                   const LoadOptions& options, WeightBytes bytes,
                                   device::Device& device) {
  return Loader(file, shard, options, bytes, device).load();
}

}  // namespace altlas::model
