#include "model/decoder_weights.h"

#include <fmt/format.h>

#include <cstring>
#include <initializer_list>
#include <string>

#include "ops/dequantize/dequantize.h"

namespace altlas::model {
namespace {

class Builder {
 public:
  Builder(const weights::TensorSource& file, const ModelConfig& config, Arena& arena,
          device::Team* team, const std::function<void(double)>& progress)
      : file_(file), config_(config), arena_(arena), team_(team), progress_(progress) {}

  Result<DecoderWeights> build() {
    const bool encoder = config_.architecture.encoder;
    DecoderWeights weights;
    ALTLAS_TRY_VOID(encoder ? encoder_embedding(weights) : embedding_and_head(weights));
    for (uint32_t i = 0; i < config_.layer_count; ++i) {
      ALTLAS_TRY(LayerWeights layer, encoder ? encoder_layer(i) : one_layer(i));
      weights.layers.push_back(std::move(layer));
      report((i + 1.0) / config_.layer_count);
    }
    weights.parameters = parameters_;
    return weights;
  }

 private:
  void report(double fraction) const {
    if (!arena_.measuring() && progress_) progress_(fraction);
  }

  Result<weights::TensorView> matrix(const std::string& name, uint64_t rows, uint64_t cols) {
    ALTLAS_TRY(const weights::TensorView view, file_.tensor(name));
    if (view.rows() != rows || view.cols() != cols)
      return invalid(fmt::format("{} is [{}, {}], but the model's numbers ask for [{}, {}]", name,
                                 view.rows(), view.cols(), rows, cols));
    parameters_ += rows * cols;
    return view;
  }

  // Finds an expert's matrix, in a tensor NAME_exps.weight with all experts or in one such as
  // NAME.7.weight.
  template <class Source>
  Result<weights::TensorView> expert_matrix(const Source& source, uint64_t cols) {
    const std::string together = source.name + "_exps.weight";
    if (!file_.has_tensor(together))
      return matrix(fmt::format("{}.{}.weight", source.name, source.expert), source.rows, cols);
    ALTLAS_TRY(weights::TensorView view, file_.tensor(together));
    if (view.dims != std::array<uint64_t, 4>{cols, source.rows, config_.experts.count, 1})
      return invalid(fmt::format("{} is [{}, {}, {}], but the model's numbers ask for [{}, {}, {}]",
                                 together, view.dims[2], view.dims[1], view.dims[0],
                                 config_.experts.count, source.rows, cols));
    const uint64_t bytes = view.data.size() / config_.experts.count;
    view.dims[2] = 1;
    view.data = view.data.subspan(static_cast<uint64_t>(source.expert) * bytes, bytes);
    parameters_ += source.rows * cols;
    return view;
  }

  // Reads the factors of a norm.
  Result<void> norm(const std::string& name, uint64_t count, const float*& out) {
    float* data = arena_.take_array<float>(count);
    ALTLAS_TRY_VOID(fill_floats(name, count, data));
    if (arena_.fills() && config_.norm_offset != 0)
      for (uint64_t i = 0; i < count; ++i) data[i] += config_.norm_offset;
    out = data;
    return {};
  }
  Result<void> fill_floats(const std::string& name, uint64_t count, float* data) {
    ALTLAS_TRY(const weights::TensorView view, matrix(name, 1, count));
    if (!ops::dequantize_supports(view.dtype))
      return invalid(name + " has a type that is not supported");
    if (arena_.fills())
      ops::dequantize_row(view.dtype, reinterpret_cast<const std::byte*>(view.data.data()), count,
                          data);
    return {};
  }

  struct Source {
    std::string name;
    uint32_t rows;
    int32_t expert = -1;  // >= 0: one of the matrices that the tensor holds.
  };
  Result<weights::TensorView> matrix_of(const Source& source, uint32_t cols) {
    if (source.expert < 0) return matrix(source.name, source.rows, cols);
    return expert_matrix(source, cols);
  }
  Result<Linear> linear(std::initializer_list<Source> sources, uint32_t cols) {
    Linear out{.cols = cols};
    for (const Source& source : sources) {
      ALTLAS_TRY(const weights::TensorView view, matrix_of(source, cols));
      if (!ops::matmul_supports(view.dtype, cols))
        return invalid(fmt::format("{}: a matrix of {} with {} columns is not supported",
                                   source.name, dtype_info(view.dtype).name, cols));
      Linear::Part part{.matrix = {view.dtype, source.rows, cols, nullptr},
                        .first_column = out.rows};
      const uint64_t bytes = ops::packed_bytes(view.dtype, source.rows, cols);
      std::byte* data = arena_.take(bytes);
      if (arena_.fills()) pack(view, data);
      part.matrix.data = data;
      out.takes_quantized |= ops::takes_quantized_activations(view.dtype);
      out.rows += source.rows;
      out.bytes += bytes;
      out.parts.push_back(part);
    }
    return out;
  }

  void pack(const weights::TensorView& view, std::byte* data) {
    const auto* source = reinterpret_cast<const std::byte*>(view.data.data());
    team_->run([&](uint32_t thread) {
      const auto range = device::split(ops::panel_count(view.rows()), thread, team_->size());
      ops::pack_panels(view.dtype, view.rows(), view.cols(), source, range.begin, range.end, data);
    });
  }

  Result<void> embedding_and_head(DecoderWeights& weights) {
    const uint32_t vocab = config_.vocab_size, hidden = config_.hidden;
    weights.tied = !file_.has_tensor("output.weight");
    if (weights.tied) {
      ALTLAS_TRY(weights.head, linear({{"token_embd.weight", vocab}}, hidden));
    } else {
      ALTLAS_TRY_VOID(raw_embedding(weights));
      ALTLAS_TRY(weights.head, linear({{"output.weight", vocab}}, hidden));
    }
    return norm("output_norm.weight", hidden, weights.output_norm);
  }

  // Reads the first `rows` rows of a table, as floats.
  Result<void> table(const std::string& name, uint64_t rows, uint64_t rows_min, const float*& out) {
    const uint64_t cols = config_.hidden;
    ALTLAS_TRY(const weights::TensorView view, file_.tensor(name));
    if (view.cols() != cols || view.rows() < rows_min || !ops::dequantize_supports(view.dtype))
      return invalid(fmt::format("{} is [{}, {}], but the model's numbers ask for [{}, {}]", name,
                                 view.rows(), view.cols(), rows_min, cols));
    float* data = arena_.take_array<float>(rows * cols);
    parameters_ += view.rows() * cols;
    if (arena_.fills())
      for (uint64_t row = 0; row < rows; ++row)
        ops::dequantize_row(view.dtype,
                            reinterpret_cast<const std::byte*>(view.data.data()) +
                                row * row_bytes(view.dtype, cols),
                            cols, data + row * cols);
    out = data;
    return {};
  }
  Result<void> vector(const std::string& name, uint64_t count, const float*& out) {
    float* data = arena_.take_array<float>(count);
    out = data;
    return fill_floats(name, count, data);
  }

  Result<void> encoder_embedding(DecoderWeights& weights) {
    const uint32_t hidden = config_.hidden;
    ALTLAS_TRY_VOID(raw_embedding(weights));
    ALTLAS_TRY_VOID(table("token_types.weight", 1, 1, weights.token_type));
    ALTLAS_TRY_VOID(table("position_embd.weight", config_.context_length, config_.context_length,
                          weights.position_embedding));
    ALTLAS_TRY_VOID(vector("token_embd_norm.weight", hidden, weights.output_norm));
    return vector("token_embd_norm.bias", hidden, weights.embedding_beta);
  }
  Result<void> raw_embedding(DecoderWeights& weights) {
    ALTLAS_TRY(const weights::TensorView view,
               matrix("token_embd.weight", config_.vocab_size, config_.hidden));
    if (!ops::dequantize_supports(view.dtype))
      return invalid("token_embd.weight has a type that is not supported");
    weights.embedding_type = view.dtype;
    std::byte* data = arena_.take(view.data.size());
    if (arena_.fills()) std::memcpy(data, view.data.data(), view.data.size());
    weights.embedding = data;
    return {};
  }

  Result<LayerWeights> encoder_layer(uint32_t index) {
    const std::string base = fmt::format("blk.{}.", index);
    const uint32_t hidden = config_.hidden, wide = config_.feed_forward;
    LayerWeights layer;
    ALTLAS_TRY(layer.qkv, linear({{base + "attn_q.weight", hidden},
                                  {base + "attn_k.weight", hidden},
                                  {base + "attn_v.weight", hidden}},
                                 hidden));
    ALTLAS_TRY(layer.qkv_bias, qkv_bias(base));
    ALTLAS_TRY(layer.output, linear({{base + "attn_output.weight", hidden}}, hidden));
    ALTLAS_TRY(layer.gate_up, linear({{base + "ffn_up.weight", wide}}, hidden));
    ALTLAS_TRY(layer.down, linear({{base + "ffn_down.weight", hidden}}, wide));
    const struct {
      const char* name;
      uint32_t count;
      const float*& out;
    } vectors[] = {{"attn_output.bias", hidden, layer.output_bias},
                   {"attn_output_norm.weight", hidden, layer.post_attention_norm},
                   {"attn_output_norm.bias", hidden, layer.post_attention_beta},
                   {"ffn_up.bias", wide, layer.up_bias},
                   {"ffn_down.bias", hidden, layer.down_bias},
                   {"layer_output_norm.weight", hidden, layer.post_feed_forward_norm},
                   {"layer_output_norm.bias", hidden, layer.post_feed_forward_beta}};
    for (const auto& one : vectors) ALTLAS_TRY_VOID(vector(base + one.name, one.count, one.out));
    return layer;
  }
  Result<const float*> qkv_bias(const std::string& base) {
    const uint32_t q = config_.q_width(), kv = config_.kv_width();
    float* bias = arena_.take_array<float>(q + 2 * kv);
    const bool measuring = bias == nullptr;
    ALTLAS_TRY_VOID(fill_floats(base + "attn_q.bias", q, bias));
    ALTLAS_TRY_VOID(fill_floats(base + "attn_k.bias", kv, measuring ? nullptr : bias + q));
    ALTLAS_TRY_VOID(fill_floats(base + "attn_v.bias", kv, measuring ? nullptr : bias + q + kv));
    return bias;
  }

  Result<ExpertWeights> experts(const std::string& base) {
    const ExpertConfig& config = config_.experts;
    const uint32_t hidden = config_.hidden, wide = config.feed_forward,
                   shared = config.shared_feed_forward;
    ExpertWeights out;
    if (shared == 0) {
      ALTLAS_TRY(out.router, linear({{base + "ffn_gate_inp.weight", config.count}}, hidden));
    } else {
      ALTLAS_TRY(out.router, linear({{base + "ffn_gate_inp.weight", config.count},
                                     {base + "ffn_gate_inp_shexp.weight", 1}},
                                    hidden));
      ALTLAS_TRY(out.shared_gate_up, linear({{base + "ffn_gate_shexp.weight", shared},
                                             {base + "ffn_up_shexp.weight", shared}},
                                            hidden));
      ALTLAS_TRY(out.shared_down, linear({{base + "ffn_down_shexp.weight", hidden}}, shared));
    }
    for (int32_t e = 0; e < static_cast<int32_t>(config.count); ++e) {
      ALTLAS_TRY(Linear gate_up,
                 linear({{base + "ffn_gate", wide, e}, {base + "ffn_up", wide, e}}, hidden));
      ALTLAS_TRY(Linear down, linear({{base + "ffn_down", hidden, e}}, wide));
      out.gate_up.push_back(std::move(gate_up));
      out.down.push_back(std::move(down));
    }
    return out;
  }

  Result<LayerWeights> one_layer(uint32_t index) {
    const Architecture& kind = config_.architecture;
    const std::string base = fmt::format("blk.{}.", index);
    const uint32_t hidden = config_.hidden, q = config_.q_width(), kv = config_.kv_width(),
                   wide = config_.feed_forward;
    LayerWeights layer;
    ALTLAS_TRY_VOID(norm(base + "attn_norm.weight", hidden, layer.attention_norm));
    ALTLAS_TRY(layer.qkv, linear({{base + "attn_q.weight", q},
                                  {base + "attn_k.weight", kv},
                                  {base + "attn_v.weight", kv}},
                                 hidden));
    if (kind.qkv_bias) {
      ALTLAS_TRY(layer.qkv_bias, qkv_bias(base));
    }
    if (kind.qk_norm) {
      ALTLAS_TRY_VOID(norm(base + "attn_q_norm.weight", config_.head_dim, layer.q_norm));
      ALTLAS_TRY_VOID(norm(base + "attn_k_norm.weight", config_.head_dim, layer.k_norm));
    }
    ALTLAS_TRY(layer.output, linear({{base + "attn_output.weight", hidden}}, q));
    ALTLAS_TRY_VOID(norm(base + "ffn_norm.weight", hidden, layer.feed_forward_norm));
    if (config_.experts.count > 0 && file_.has_tensor(base + "ffn_gate_inp.weight")) {
      ALTLAS_TRY(layer.experts, experts(base));
    } else {
      ALTLAS_TRY(
          layer.gate_up,
          linear({{base + "ffn_gate.weight", wide}, {base + "ffn_up.weight", wide}}, hidden));
      ALTLAS_TRY(layer.down, linear({{base + "ffn_down.weight", hidden}}, wide));
    }
    if (kind.post_norms) {
      ALTLAS_TRY_VOID(norm(base + "post_attention_norm.weight", hidden, layer.post_attention_norm));
      ALTLAS_TRY_VOID(norm(base + "post_ffw_norm.weight", hidden, layer.post_feed_forward_norm));
    }
    return layer;
  }

  const weights::TensorSource& file_;
  const ModelConfig& config_;
  Arena& arena_;
  device::Team* team_;
  const std::function<void(double)>& progress_;
  uint64_t parameters_ = 0;
};

}  // namespace

Result<DecoderWeights> lay_out_weights(const weights::TensorSource& file, const ModelConfig& config,
                                       Arena& arena, device::Team* team,
                                       const std::function<void(double)>& progress) {
  return Builder(file, config, arena, team, progress).build();
}

}  // namespace altlas::model
