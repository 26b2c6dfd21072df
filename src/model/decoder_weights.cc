#include "model/decoder_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "ops/dequantize/dequantize.h"

namespace altlas::model {
namespace {

class Builder {
 public:
  Builder(const WeightSource& source, Arena& arena, device::Team* team,
          const std::function<void(double)>& progress)
      : file_(source.file),
        config_(source.config),
        shard_(source.shard),
        arena_(&arena),
        team_(team),
        progress_(progress) {}

  Result<DecoderWeights> build() {
    const bool encoder = config_.architecture.encoder;
    DecoderWeights weights;
    ALTLAS_TRY_VOID(encoder ? encoder_embedding(weights) : embedding_and_head(weights));
    for (uint32_t i = 0; i < config_.layer_count; ++i) {
      const Skip skip(*this, !shard_.layers.holds(i));
      const uint64_t begin = arena_->used();
      ALTLAS_TRY(LayerWeights layer, encoder ? encoder_layer(i) : one_layer(i));
      layer.bytes = {begin, arena_->used()};
      weights.layers.push_back(std::move(layer));
      if (skip.skips()) weights.layers.back() = {};
      report((i + 1.0) / config_.layer_count);
    }
    weights.parameters = parameters_;
    return weights;
  }

 private:
  // While it lives and skips, tensors of other stages are looked at and counted, and none is held.
  class Skip {
   public:
    Skip(Builder& builder, bool skips) : builder_(builder), kept_(builder.arena_) {
      if (skips) builder.arena_ = &none_;
    }
    ~Skip() { builder_.arena_ = kept_; }
    Skip(const Skip&) = delete;
    Skip& operator=(const Skip&) = delete;
    bool skips() const { return builder_.arena_ == &none_; }

   private:
    Builder& builder_;
    Arena* const kept_;
    Arena none_;
  };

  void report(double fraction) const {
    if (!arena_->measuring() && progress_) progress_(fraction);
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
    float* data = arena_->take_array<float>(count);
    ALTLAS_TRY_VOID(fill_floats(name, count, data));
    if (arena_->fills() && config_.norm_offset != 0)
      for (uint64_t i = 0; i < count; ++i) data[i] += config_.norm_offset;
    out = data;
    return {};
  }
  Result<void> fill_floats(const std::string& name, uint64_t count, float* data) {
    ALTLAS_TRY(const weights::TensorView view, matrix(name, 1, count));
    if (!ops::dequantize_supports(view.dtype))
      return invalid(name + " has a type that is not supported");
    if (arena_->fills())
      ops::dequantize_row(view.dtype, reinterpret_cast<const std::byte*>(view.data.data()), count,
                          data);
    return {};
  }

  // A matrix of `rows` rows, of which the rank holds `part`. Its outputs begin at `column` of the
  // product's row.
  struct Source {
    std::string name;
    uint32_t rows;
    ShardRange part;
    uint32_t column = 0;
    int32_t expert = -1;  // >= 0: the matrix is this expert's.
  };
  // All rows of an encoder's matrix, behind those of others.
  static Source whole(std::string name, uint32_t rows, uint32_t column = 0) {
    return {std::move(name), rows, {0, rows}, column};
  }
  // Rows of a matrix whose outputs, of all ranks, lie side by side from `column` on.
  static Source part(std::string name, uint32_t rows, const ShardRange& part, uint32_t column = 0) {
    return {std::move(name), rows, part, column + part.begin};
  }
  static Source expert_part(std::string name, uint32_t rows, const ShardRange& part,
                            int32_t expert) {
    return {std::move(name), rows, part, part.begin, expert};
  }
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
      const uint32_t rows = source.part.size();
      Linear::Part part{.matrix = {view.dtype, rows, cols, nullptr}, .first_column = source.column};
      const uint64_t bytes = ops::packed_bytes(view.dtype, rows, cols);
      std::byte* data = arena_->take(bytes);
      if (arena_->fills()) pack(view, source.part, data);
      part.matrix.data = data;
      out.takes_quantized |= ops::takes_quantized_activations(view.dtype);
      out.rows += rows;
      out.bytes += bytes;
      out.parts.push_back(part);
    }
    return out;
  }

  void pack(const weights::TensorView& view, const ShardRange& rows, std::byte* data) {
    const auto* source = reinterpret_cast<const std::byte*>(view.data.data()) +
                         rows.begin * row_bytes(view.dtype, view.cols());
    team_->run([&](uint32_t thread) {
      const auto range = device::split(ops::panel_count(rows.size()), thread, team_->size());
      ops::pack_panels({view.dtype, rows.size(), view.cols(), source}, range, data);
    });
  }

  Result<void> embedding_and_head(DecoderWeights& weights) {
    const uint32_t vocab = config_.vocab_size, hidden = config_.hidden;
    weights.tied = !file_.has_tensor("output.weight");
    if (weights.tied) {
      const Skip skip(*this, !shard_.first && !shard_.last);
      ALTLAS_TRY(weights.head, linear({{"token_embd.weight", vocab, shard_.vocab}}, hidden));
    } else {
      {
        const Skip skip(*this, !shard_.first);
        ALTLAS_TRY_VOID(raw_embedding(weights));
      }
      const Skip skip(*this, !shard_.last);
      ALTLAS_TRY(weights.head, linear({{"output.weight", vocab, shard_.vocab}}, hidden));
      if (skip.skips()) weights.head = {};
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
    float* data = arena_->take_array<float>(rows * cols);
    parameters_ += view.rows() * cols;
    if (arena_->fills())
      for (uint64_t row = 0; row < rows; ++row)
        ops::dequantize_row(view.dtype,
                            reinterpret_cast<const std::byte*>(view.data.data()) +
                                row * row_bytes(view.dtype, cols),
                            cols, data + row * cols);
    out = data;
    return {};
  }
  Result<void> vector(const std::string& name, uint64_t count, const float*& out) {
    float* data = arena_->take_array<float>(count);
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
    const uint64_t row = row_bytes(view.dtype, config_.hidden);
    std::byte* data = arena_->take(shard_.vocab.size() * row);
    if (arena_->fills())
      std::memcpy(data, view.data.data() + shard_.vocab.begin * row, shard_.vocab.size() * row);
    weights.embedding = data;
    return {};
  }

  Result<LayerWeights> encoder_layer(uint32_t index) {
    const std::string base = fmt::format("blk.{}.", index);
    const uint32_t hidden = config_.hidden, wide = config_.feed_forward;
    LayerWeights layer;
    ALTLAS_TRY(layer.qkv, linear({whole(base + "attn_q.weight", hidden),
                                  whole(base + "attn_k.weight", hidden, hidden),
                                  whole(base + "attn_v.weight", hidden, 2 * hidden)},
                                 hidden));
    ALTLAS_TRY(layer.qkv_bias, qkv_bias(base));
    ALTLAS_TRY(layer.output, linear({whole(base + "attn_output.weight", hidden)}, hidden));
    ALTLAS_TRY(layer.gate_up, linear({whole(base + "ffn_up.weight", wide)}, hidden));
    ALTLAS_TRY(layer.down, linear({whole(base + "ffn_down.weight", hidden)}, wide));
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
  // The rows of q, k or v that are of the rank's heads, and how many heads there are.
  struct HeadRows {
    const char* name;
    uint32_t rows;
    ShardRange part;
    uint32_t column;  // Among the rank's own.
  };
  std::array<HeadRows, 3> head_rows() const {
    const uint32_t dim = config_.head_dim;
    const ShardRange q{shard_.q_heads.begin * dim, shard_.q_heads.end * dim},
        kv{shard_.kv_heads.begin * dim, shard_.kv_heads.end * dim};
    return {{{"attn_q", config_.q_width(), q, 0},
             {"attn_k", config_.kv_width(), kv, q.size()},
             {"attn_v", config_.kv_width(), kv, q.size() + kv.size()}}};
  }
  Result<Linear> qkv(const std::string& base) {
    const auto rows = head_rows();
    const auto source = [&](size_t i) -> Source {
      return {base + rows[i].name + ".weight", rows[i].rows, rows[i].part, rows[i].column};
    };
    return linear({source(0), source(1), source(2)}, config_.hidden);
  }
  Result<const float*> qkv_bias(const std::string& base) {
    const auto rows = head_rows();
    float* bias = arena_->take_array<float>(rows[2].column + rows[2].part.size());
    std::vector<float> all;
    for (const HeadRows& one : rows) {
      all.resize(one.rows);
      ALTLAS_TRY_VOID(fill_floats(base + one.name + ".bias", one.rows, all.data()));
      if (arena_->fills())
        std::copy_n(all.data() + one.part.begin, one.part.size(), bias + one.column);
    }
    return bias;
  }

  Result<ExpertWeights> experts(const std::string& base) {
    const ExpertConfig& config = config_.experts;
    const uint32_t hidden = config_.hidden, wide = config.feed_forward,
                   shared = config.shared_feed_forward;
    ExpertWeights out;
    const ShardRange& router = shard_.router;
    const Source chooses =
        part(base + "ffn_gate_inp.weight", config.count,
             {std::min(router.begin, config.count), std::min(router.end, config.count)});
    if (shared == 0) {
      ALTLAS_TRY(out.router, linear({chooses}, hidden));
    } else {
      const uint32_t own = router.holds(config.count) ? 1 : 0;
      ALTLAS_TRY(out.router,
                 linear({chooses, {base + "ffn_gate_inp_shexp.weight", 1, {0, own}, config.count}},
                        hidden));
      const ShardRange& columns = shard_.shared_feed_forward;
      ALTLAS_TRY(out.shared_gate_up,
                 linear({part(base + "ffn_gate_shexp.weight", shared, columns),
                         part(base + "ffn_up_shexp.weight", shared, columns, shared)},
                        hidden));
      ALTLAS_TRY(out.shared_down,
                 linear({part(base + "ffn_down_shexp.weight", hidden, shard_.hidden)}, shared));
    }
    const ShardRange& columns = shard_.expert_feed_forward;
    for (int32_t e = 0; e < static_cast<int32_t>(config.count); ++e) {
      // Experts of other ranks keep only their form: nobody multiplies with them here.
      const Skip skip(*this, !shard_.experts.holds(static_cast<uint32_t>(e)));
      ALTLAS_TRY(Linear gate_up, linear({expert_part(base + "ffn_gate", wide, columns, e),
                                         expert_part(base + "ffn_up", wide, columns, e)},
                                        hidden));
      ALTLAS_TRY(Linear down,
                 linear({expert_part(base + "ffn_down", hidden, shard_.expert_hidden, e)}, wide));
      out.gate_up.push_back(std::move(gate_up));
      out.down.push_back(std::move(down));
    }
    return out;
  }

  Result<LayerWeights> one_layer(uint32_t index) {
    const Architecture& kind = config_.architecture;
    const std::string base = fmt::format("blk.{}.", index);
    const uint32_t hidden = config_.hidden, q = config_.q_width(), wide = config_.feed_forward;
    LayerWeights layer;
    ALTLAS_TRY_VOID(norm(base + "attn_norm.weight", hidden, layer.attention_norm));
    ALTLAS_TRY(layer.qkv, qkv(base));
    if (kind.qkv_bias) {
      ALTLAS_TRY(layer.qkv_bias, qkv_bias(base));
    }
    if (kind.qk_norm) {
      ALTLAS_TRY_VOID(norm(base + "attn_q_norm.weight", config_.head_dim, layer.q_norm));
      ALTLAS_TRY_VOID(norm(base + "attn_k_norm.weight", config_.head_dim, layer.k_norm));
    }
    ALTLAS_TRY(layer.output, linear({part(base + "attn_output.weight", hidden, shard_.hidden)}, q));
    ALTLAS_TRY_VOID(norm(base + "ffn_norm.weight", hidden, layer.feed_forward_norm));
    if (config_.experts.count > 0 && file_.has_tensor(base + "ffn_gate_inp.weight")) {
      ALTLAS_TRY(layer.experts, experts(base));
    } else {
      const ShardRange& columns = shard_.feed_forward;
      ALTLAS_TRY(layer.gate_up, linear({part(base + "ffn_gate.weight", wide, columns),
                                        part(base + "ffn_up.weight", wide, columns, wide)},
                                       hidden));
      ALTLAS_TRY(layer.down, linear({part(base + "ffn_down.weight", hidden, shard_.hidden)}, wide));
    }
    if (kind.post_norms) {
      ALTLAS_TRY_VOID(norm(base + "post_attention_norm.weight", hidden, layer.post_attention_norm));
      ALTLAS_TRY_VOID(norm(base + "post_ffw_norm.weight", hidden, layer.post_feed_forward_norm));
    }
    return layer;
  }

  const weights::TensorSource& file_;
  const Hyperparameters& config_;
  const ShardPlan& shard_;
  Arena* arena_;
  device::Team* team_;
  const std::function<void(double)>& progress_;
  uint64_t parameters_ = 0;
};

}  // namespace

Result<DecoderWeights> lay_out_weights(const WeightSource& source, Arena& arena, device::Team* team,
                                       const std::function<void(double)>& progress) {
  return Builder(source, arena, team, progress).build();
}

}  // namespace altlas::model
