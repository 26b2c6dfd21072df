#include "model/adapter.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <map>
#include <optional>
#include <utility>

#include "base/byte_order_mark.h"
#include "model/hf_tensors.h"
#include "ops/dequantize/dequantize.h"
#include "ops/low_rank/low_rank.h"
#include "weights/gguf.h"
#include "weights/mapped_file.h"
#include "weights/safetensors.h"

namespace altlas::model {

namespace json = boost::json;

namespace {

constexpr uint64_t kAdapterConfigBytesMax = 1 << 20;
constexpr double kAlphaMax = 1e6;
constexpr std::string_view kTargets =
    "attn_q, attn_k, attn_v, attn_output, ffn_gate, ffn_up and ffn_down";

struct TensorName {
  uint32_t layer = 0;
  std::string_view module;  // For example "attn_q".
};
// Parses a name such as "blk.3.attn_q.weight".
std::optional<TensorName> parse_name(std::string_view name) {
  constexpr std::string_view kPrefix = "blk.", kSuffix = ".weight";
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  name.remove_suffix(kSuffix.size());
  TensorName out;
  const auto [end, failed] = std::from_chars(name.data(), name.data() + name.size(), out.layer);
  if (failed != std::errc() || end == name.data() + name.size() || *end != '.') return std::nullopt;
  out.module = name.substr(static_cast<size_t>(end - name.data()) + 1);
  return out;
}

}  // namespace

// Reads one file into a CheckedAdapter.
class AdapterReader {
 public:
  AdapterReader(std::string path, const Hyperparameters& config, uint32_t rank_max)
      : rank_max_(rank_max == 0 ? ops::kLowRankMax : std::min<size_t>(rank_max, ops::kLowRankMax)) {
    file_.path_ = std::move(path);
    file_.config_ = config;
  }

  Result<CheckedAdapter> gguf() {
    ALTLAS_TRY(weights::GgufFile opened, weights::GgufFile::open(file_.path_));
    ALTLAS_TRY(const std::string_view type, opened.string_or("general.type", "model"));
    ALTLAS_TRY(const std::string_view kind, opened.string_or("adapter.type", ""));
    if (type != "adapter" || kind != "lora")
      return wrong(
          fmt::format("general.type is '{}' and adapter.type '{}'; a LoRA adapter has "
                      "'adapter' and 'lora'",
                      type.substr(0, 40), kind.substr(0, 40)));
    ALTLAS_TRY(const std::string_view architecture, opened.string("general.architecture"));
    const Architecture& own = file_.config_.architecture;
    if (architecture != own.name)
      return wrong(fmt::format("it is for models of architecture '{}', this one is '{}'",
                               architecture.substr(0, 40), own.name));
    const auto row = std::ranges::find(architectures(), own.name, &Architecture::name);
    file_.rope_ = row == architectures().end() ? own.rope : row->rope;
    ALTLAS_TRY(const double alpha, opened.float64_or("adapter.lora.alpha", 0));
    for (const std::string_view name : opened.tensor_names())
      ALTLAS_TRY_VOID(take(name, name, ".lora_a", ".lora_b"));
    file_.tensors_ = std::make_unique<weights::GgufFile>(std::move(opened));
    const auto scale = [&](uint32_t rank) { return alpha == 0 ? 1 : alpha / rank; };
    return finish(scale);
  }

  Result<CheckedAdapter> peft() {
    file_.peft_ = true;
    ALTLAS_TRY_VOID(read_peft_config());
    ALTLAS_TRY(weights::SafetensorsFile opened,
               weights::SafetensorsFile::open(file_.path_ + "/adapter_model.safetensors"));
    for (const std::string_view name : opened.tensor_names()) {
      std::string_view module = name;
      constexpr std::string_view kPrefix = "base_model.model.";
      if (module.starts_with(kPrefix)) module.remove_prefix(kPrefix.size());
      const size_t end = module.rfind(".lora_");
      std::string base;
      if (end != std::string_view::npos)
        base = gguf_name_of(std::string(module.substr(0, end)) + ".weight",
                            file_.config_.architecture);
      if (end == std::string_view::npos || base.empty())
        return wrong(
            fmt::format("tensor '{}' is not supported; {} are", name.substr(0, 200), kTargets));
      const std::string gguf_like = base + std::string(module.substr(end));
      ALTLAS_TRY_VOID(take(gguf_like, name, ".lora_A.weight", ".lora_B.weight"));
    }
    file_.tensors_ = std::make_unique<weights::SafetensorsFile>(std::move(opened));
    const auto scale = [&](uint32_t rank) {
      return rank_stabilised_ ? alpha_ / std::sqrt(rank) : alpha_ / rank;
    };
    return finish(scale);
  }

 private:
  Error wrong(const std::string& what) const {
    return invalid(fmt::format("adapter '{}': {}", file_.path_.substr(0, 300), what), "adapter");
  }

  // Adds one tensor of a pair. `name` is GGUF's name for it, `own` the file's.
  Result<void> take(std::string_view name, std::string_view own, std::string_view a,
                    std::string_view b) {
    const bool first = name.ends_with(a);
    const auto parsed =
        first || name.ends_with(b)
            ? parse_name(name.substr(0, name.size() - (first ? a.size() : b.size())))
            : std::nullopt;
    constexpr std::pair<std::string_view, CheckedAdapter::Target> kModules[] = {
        {"attn_q", CheckedAdapter::Target::kQ},
        {"attn_k", CheckedAdapter::Target::kK},
        {"attn_v", CheckedAdapter::Target::kV},
        {"attn_output", CheckedAdapter::Target::kOutput},
        {"ffn_gate", CheckedAdapter::Target::kGate},
        {"ffn_up", CheckedAdapter::Target::kUp},
        {"ffn_down", CheckedAdapter::Target::kDown},
    };
    const auto* module =
        std::ranges::find(kModules, parsed ? parsed->module : "",
                          &std::pair<std::string_view, CheckedAdapter::Target>::first);
    if (module == std::end(kModules))
      return wrong(
          fmt::format("tensor '{}' is not supported; {} are", own.substr(0, 200), kTargets));
    const bool feeds = module->second >= CheckedAdapter::Target::kGate;
    if (feeds && file_.config_.experts.count > 0)
      return wrong(fmt::format("tensor '{}': experts take no adapters", own.substr(0, 200)));
    if (parsed->layer >= file_.config_.layer_count)
      return wrong(fmt::format("tensor '{}' is of layer {}, the model has {} layers",
                               own.substr(0, 200), parsed->layer, file_.config_.layer_count));
    CheckedAdapter::Pair& pair = pairs_[{parsed->layer, module->second}];
    pair.layer = parsed->layer;
    pair.target = module->second;
    (first ? pair.a : pair.b) = own;
    return {};
  }

  Result<CheckedAdapter> finish(const auto& scale) {
    if (pairs_.empty()) return wrong("it has no matrices");
    for (auto& [key, pair] : pairs_) {
      if (pair.a.empty() || pair.b.empty())
        return wrong(fmt::format("'{}' has no partner", pair.a.empty() ? pair.b : pair.a));
      ALTLAS_TRY(const weights::TensorView a, file_.tensors_->tensor(pair.a));
      ALTLAS_TRY(const weights::TensorView b, file_.tensors_->tensor(pair.b));
      for (const weights::TensorView* view : {&a, &b})
        if (!ops::dequantize_supports(view->dtype))
          return wrong(fmt::format("'{}' has a type that is not supported", view->name));
      if (a.rows() == 0 || a.rows() > rank_max_)
        return wrong(fmt::format("'{}' has rank {}; 1 to {} are possible (max_lora_rank)", pair.a,
                                 a.rows(), rank_max_));
      const LowRank want = file_.place(pair, static_cast<uint32_t>(a.rows()));
      if (a.cols() != want.cols || b.rows() != want.rows || b.cols() != a.rows())
        return wrong(
            fmt::format("'{}' is [{}, {}] and its partner [{}, {}]; the model asks for "
                        "[rank, {}] and [{}, rank]",
                        pair.a, a.rows(), a.cols(), b.rows(), b.cols(), want.cols, want.rows));
      pair.scale = static_cast<float>(scale(want.rank));
      if (!std::isfinite(pair.scale) || std::abs(pair.scale) > kAlphaMax)
        return wrong(fmt::format("its alpha gives a scale of {}", pair.scale));
      file_.pairs_.push_back(pair);
    }
    return std::move(file_);
  }

  Result<void> read_peft_config() {
    ALTLAS_TRY(const weights::MappedFile mapped,
               weights::MappedFile::open(file_.path_ + "/adapter_config.json"));
    const auto bytes = mapped.bytes();
    if (bytes.size() > kAdapterConfigBytesMax)
      return wrong(fmt::format("adapter_config.json has {} bytes; at most {} are allowed",
                               bytes.size(), kAdapterConfigBytesMax));
    ALTLAS_TRY(const std::string_view text,
               skip_byte_order_mark({reinterpret_cast<const char*>(bytes.data()), bytes.size()},
                                    file_.path_ + "/adapter_config.json"));
    json::error_code failed;
    const json::value root = json::parse({text.data(), text.size()}, failed);
    if (failed || !root.is_object()) return wrong("adapter_config.json is not a JSON object");
    const json::object& config = root.get_object();
    const auto is_on = [&](std::string_view key) {
      const json::value* value = config.if_contains(key);
      if (value == nullptr || value->is_null()) return false;
      if (value->is_bool()) return value->get_bool();
      if (value->is_array()) return !value->get_array().empty();
      if (value->is_object()) return !value->get_object().empty();
      return true;
    };
    const json::value* type = config.if_contains("peft_type");
    if (type == nullptr || !type->is_string() || type->get_string() != "LORA")
      return wrong("adapter_config.json: peft_type is not LORA");
    for (const std::string_view key :
         {"use_dora", "modules_to_save", "fan_in_fan_out", "rank_pattern", "alpha_pattern",
          "layer_replication", "lora_bias", "trainable_token_indices"})
      if (is_on(key)) return wrong(fmt::format("adapter_config.json: {} is not supported", key));
    const json::value* bias = config.if_contains("bias");
    if (bias != nullptr && (!bias->is_string() || bias->get_string() != "none"))
      return wrong("adapter_config.json: only bias 'none' is supported");
    rank_stabilised_ = is_on("use_rslora");
    const json::value* alpha = config.if_contains("lora_alpha");
    if (alpha == nullptr || !alpha->is_number())
      return wrong("adapter_config.json: lora_alpha is missing or not a number");
    alpha_ = alpha->to_number<double>();
    return {};
  }

  const size_t rank_max_;
  CheckedAdapter file_;
  std::map<std::pair<uint32_t, CheckedAdapter::Target>, CheckedAdapter::Pair> pairs_;
  double alpha_ = 0;
  bool rank_stabilised_ = false;
};

Result<CheckedAdapter> CheckedAdapter::open(const std::string& path, const Hyperparameters& config,
                                            uint32_t rank_max) {
  std::error_code failed;
  std::string place = path;
  if (path.ends_with("/adapter_model.safetensors") || path.ends_with("/adapter_config.json"))
    place = path.substr(0, path.rfind('/'));
  AdapterReader reader(place, config, rank_max);
  auto opened = std::filesystem::is_directory(place, failed) ? reader.peft() : reader.gguf();
  if (opened.ok() || opened.error().message().starts_with("adapter ")) return opened;
  return Error(opened.error()).with_context("adapter");
}

// Returns where the pair's product is added; its pointers are null.
LowRank CheckedAdapter::place(const Pair& pair, uint32_t rank) const {
  const uint32_t q = config_.q_width(), kv = config_.kv_width(), wide = config_.feed_forward;
  LowRank out{.rows = config_.hidden, .cols = config_.hidden, .rank = rank};
  switch (pair.target) {
    case Target::kQ:
      out.rows = q;
      break;
    case Target::kK:
      out.first_column = q, out.rows = kv;
      break;
    case Target::kV:
      out.first_column = q + kv, out.rows = kv;
      break;
    case Target::kOutput:
      out.cols = q;
      break;
    case Target::kGate:
      out.rows = wide;
      break;
    case Target::kUp:
      out.first_column = wide, out.rows = wide;
      break;
    case Target::kDown:
      out.cols = wide;
      break;
  }
  return out;
}

// Returns the file's row of B for a row of the model: q and k may be in the order of the other
// style of rope.
uint32_t CheckedAdapter::file_row(const Pair& pair, uint32_t row) const {
  const bool turns = pair.target == Target::kQ || pair.target == Target::kK;
  const ops::RopeStyle own = config_.architecture.rope;
  if (!turns || rope_ == own) return row;
  const uint32_t dim = config_.head_dim, half = dim / 2, head = row / dim * dim, i = row % dim;
  // The two rows of a pair lie side by side in the model and half a head apart in the file, or the
  // other way round.
  return own == ops::RopeStyle::kAdjacent ? head + i % 2 * half + i / 2
                                          : head + i % half * 2 + i / half;
}

Result<void> CheckedAdapter::fill(const Pair& pair, const LowRank& into, float* a, float* b) const {
  ALTLAS_TRY(const weights::TensorView a_view, tensors_->tensor(pair.a));
  ALTLAS_TRY(const weights::TensorView b_view, tensors_->tensor(pair.b));
  const auto row_of = [](const weights::TensorView& view, size_t row, float* out) {
    ops::dequantize_row(view.dtype,
                        reinterpret_cast<const std::byte*>(view.data.data()) +
                            row * row_bytes(view.dtype, view.cols()),
                        view.cols(), out);
  };
  const auto check = [&](const std::string& name, std::span<const float> values) -> Result<void> {
    if (std::ranges::all_of(values, [](float value) { return std::isfinite(value); })) return {};
    return invalid(fmt::format("adapter '{}': '{}' holds values that are not finite (NaN or "
                               "infinity): save it again from a training run that did not diverge",
                               path_.substr(0, 300), name.substr(0, 200)),
                   "adapter");
  };
  for (uint32_t r = 0; r < into.rank; ++r) {
    float* const row = a + size_t{r} * into.cols;
    row_of(a_view, r, row);
    ALTLAS_TRY_VOID(check(pair.a, {row, into.cols}));
  }
  std::vector<float> row(into.rank);
  for (uint32_t i = 0; i < into.rows; ++i) {
    row_of(b_view, file_row(pair, i), row.data());
    for (uint32_t r = 0; r < into.rank; ++r) b[size_t{r} * into.rows + i] = row[r] *= pair.scale;
    ALTLAS_TRY_VOID(check(pair.b, row));
  }
  return {};
}

Result<Adapter> CheckedAdapter::lay_out(Arena& arena) const {
  Adapter out;
  out.layers.resize(config_.layer_count);
  for (const Pair& pair : pairs_) {
    ALTLAS_TRY(const weights::TensorView a_view, tensors_->tensor(pair.a));
    LowRank one = place(pair, static_cast<uint32_t>(a_view.rows()));
    float* a = arena.take_array<float>(uint64_t{one.rank} * one.cols);
    float* b = arena.take_array<float>(uint64_t{one.rank} * one.rows);
    if (!arena.measuring()) ALTLAS_TRY_VOID(fill(pair, one, a, b));
    one.a = a;
    one.b = b;
    LayerAdapter& layer = out.layers[pair.layer];
    if (pair.target <= Target::kV)
      layer.qkv.push_back(one);
    else if (pair.target == Target::kOutput)
      layer.output.push_back(one);
    else if (pair.target <= Target::kUp)
      layer.gate_up.push_back(one);
    else
      layer.down.push_back(one);
  }
  return out;
}

}  // namespace altlas::model
