#include "cli/plan_input.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "base/units.h"
#include "cli/terminal.h"
#include "config/device_spec.h"
#include "engine/sim_shape.h"
#include "model/hf_config.h"

namespace altlas::cli {
namespace {

Result<std::string> read_whole(const std::string& path, uint64_t bytes_max) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                             &std::fclose);
  if (file == nullptr) return not_found("'" + printable(path) + "' can't be read");
  std::string text;
  char buffer[1 << 16];
  while (true) {
    const size_t got = std::fread(buffer, 1, sizeof buffer, file.get());
    text.append(buffer, got);
    if (text.size() > bytes_max)
      return invalid(
          fmt::format("'{}' is larger than {}", printable(path), format_bytes(bytes_max)));
    if (got < sizeof buffer) break;
  }
  if (std::ferror(file.get()) != 0) return not_found("'" + printable(path) + "' can't be read");
  return text;
}

Result<plan::ModelShape> shape_of_config(const std::string& path) {
  ALTLAS_TRY(const std::string text, read_whole(path, model::kHfConfigBytesMax));
  ALTLAS_TRY(const model::HfConfig read, model::read_hf_config(text, path));
  const model::Hyperparameters& c = read.model;
  const bool experts = c.experts.count > 0;
  plan::ModelShape shape;
  shape.layers = static_cast<int32_t>(c.layer_count);
  shape.hidden = static_cast<int32_t>(c.hidden);
  shape.heads = static_cast<int32_t>(c.q_heads);
  shape.kv_heads = static_cast<int32_t>(c.kv_heads);
  shape.head_dim = static_cast<int32_t>(c.head_dim);
  shape.ffn = static_cast<int32_t>(experts ? c.experts.feed_forward : c.feed_forward);
  shape.vocab = static_cast<int32_t>(c.vocab_size);
  shape.context = static_cast<int32_t>(c.context_length);
  shape.tied = read.tied;
  shape.experts = static_cast<int32_t>(c.experts.count);
  shape.experts_used = static_cast<int32_t>(c.experts.used);
  return shape;
}

Result<PlanModel> read_weights_file(const std::string& path) {
  ALTLAS_TRY(const engine::SimShape s, engine::read_sim_shape(path));
  PlanModel out;
  out.shape.layers = static_cast<int32_t>(s.layers);
  out.shape.hidden = static_cast<int32_t>(s.hidden);
  out.shape.heads = static_cast<int32_t>(s.heads);
  out.shape.kv_heads = static_cast<int32_t>(s.kv_heads);
  out.shape.head_dim = static_cast<int32_t>(s.head_dim);
  out.shape.ffn = static_cast<int32_t>(s.ffn);
  out.shape.vocab = static_cast<int32_t>(s.vocab);
  out.shape.context = static_cast<int32_t>(s.model_len_max);
  out.shape.experts = static_cast<int32_t>(s.experts);
  out.shape.experts_used = static_cast<int32_t>(s.experts_used);
  if (s.layers == 0 || s.hidden == 0 || s.heads == 0 || s.kv_heads == 0 || s.head_dim == 0 ||
      s.ffn == 0 || s.vocab == 0)
    return invalid("'" + printable(path) + "': the model's shape has a zero");
  // The weights have the file's mean width; products are computed in BF16.
  out.weights = {.name = "the file's types",
                 .bytes_per_value = static_cast<double>(s.weight_bytes) / out.shape.parameters()};
  return out;
}
}  // namespace

Result<PlanModel> read_plan_model(const std::string& name, const std::string& dtype) {
  PlanModel out;
  std::error_code ignored;
  const bool here = std::filesystem::exists(name, ignored);
  ALTLAS_TRY(out.weights, plan::weight_format(dtype == "auto" ? "" : dtype));
  if (here && name.ends_with(".json")) {
    ALTLAS_TRY(out.shape, shape_of_config(name));
  } else if (here) {
    ALTLAS_TRY(const PlanModel read, read_weights_file(name));
    out.shape = read.shape;
    if (dtype == "auto") out.weights = read.weights;
  } else {
    ALTLAS_TRY(out.shape, plan::model_shape(name));
  }
  return out;
}

Result<PlanDevices> read_plan_devices(std::string_view spec) {
  const std::string_view whole = spec;
  if (spec.starts_with("sim:")) spec.remove_prefix(4);
  if (spec.find('+') != std::string_view::npos)
    return invalid(
        fmt::format("'{}': a plan is for devices of one kind: sim:KIND:COUNT", printable(whole)));
  PlanDevices out;
  if (const size_t colon = spec.find(':'); colon != std::string_view::npos) {
    const std::string_view count = spec.substr(colon + 1);
    const auto [end, error] = std::from_chars(count.data(), count.data() + count.size(), out.count);
    if (error != std::errc() || end != count.data() + count.size() || out.count < 1 ||
        out.count > config::kDevicesMax)
      return invalid(fmt::format("'{}': the count of devices is 1 to {}: sim:KIND:COUNT",
                                 printable(whole), config::kDevicesMax));
    spec = spec.substr(0, colon);
  }
  ALTLAS_TRY(out.model, device_model(spec));
  return out;
}

Result<std::string> read_rows_file(const std::string& path) {
  return read_whole(path, kRowsBytesMax);
}

}  // namespace altlas::cli
