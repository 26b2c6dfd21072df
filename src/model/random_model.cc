#include "model/random_model.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

#include "base/hash.h"
#include "base/integers.h"
#include "base/strings.h"
#include "base/units.h"
#include "model/architecture.h"
#include "ops/matmul/matmul.h"
#include "weights/gguf_writer.h"

namespace altlas::model {
namespace {

struct Preset {
  std::string_view name, architecture;
  uint32_t layers, hidden, feed_forward, q_heads, kv_heads, head_dim, vocab, context;
  bool tied;
  uint32_t window;
  double rope_base;
  uint32_t experts = 0, experts_used = 0, expert_feed_forward = 0;
};

// Sources: the models' own configuration files.
constexpr Preset kPresets[] = {
    {"llama-tiny", "llama", 2, 256, 512, 4, 2, 64, 1024, 2048, false, 0, 10000},
    // As many heads and layers as few numbers of ranks divide.
    {"qwen2-tiny", "qwen2", 5, 448, 1216, 14, 2, 32, 3000, 2048, true, 0, 1e6},
    {"llama-1b", "llama", 16, 2048, 8192, 32, 8, 64, 128256, 131072, true, 0, 500000},
    {"llama-3b", "llama", 28, 3072, 8192, 24, 8, 128, 128256, 131072, true, 0, 500000},
    {"llama-8b", "llama", 32, 4096, 14336, 32, 8, 128, 128256, 131072, false, 0, 500000},
    {"llama-70b", "llama", 80, 8192, 28672, 64, 8, 128, 128256, 131072, false, 0, 500000},
    {"qwen2-0.5b", "qwen2", 24, 896, 4864, 14, 2, 64, 151936, 32768, true, 0, 1e6},
    {"qwen2-1.5b", "qwen2", 28, 1536, 8960, 12, 2, 128, 151936, 32768, true, 0, 1e6},
    {"qwen2-7b", "qwen2", 28, 3584, 18944, 28, 4, 128, 152064, 32768, false, 0, 1e6},
    {"qwen3-0.6b", "qwen3", 28, 1024, 3072, 16, 8, 128, 151936, 40960, true, 0, 1e6},
    {"qwen3-8b", "qwen3", 36, 4096, 12288, 32, 8, 128, 151936, 40960, false, 0, 1e6},
    {"qwen3moe-tiny", "qwen3moe", 2, 256, 512, 4, 2, 64, 1024, 2048, false, 0, 1e6, 8, 2, 128},
    {"qwen3-30b-a3b", "qwen3moe", 48, 2048, 6144, 32, 4, 128, 151936, 40960, false, 0, 1e6, 128, 8,
     768},
    {"mistral-7b", "mistral", 32, 4096, 14336, 32, 8, 128, 32768, 32768, false, 0, 1e6},
    {"mixtral-8x7b", "mixtral", 32, 4096, 14336, 32, 8, 128, 32000, 32768, false, 0, 1e6, 8, 2,
     14336},
    {"gemma2-2b", "gemma2", 26, 2304, 9216, 8, 4, 256, 256000, 8192, true, 4096, 10000},
    {"gemma3-270m", "gemma3", 18, 640, 2048, 4, 1, 256, 262144, 32768, true, 512, 1e6},
    {"gemma3-1b", "gemma3", 26, 1152, 6912, 4, 1, 256, 262144, 32768, true, 512, 1e6},
    {"gemma3-4b", "gemma3", 34, 2560, 10240, 8, 4, 256, 262208, 131072, true, 1024, 1e6},
};

constexpr DType kMatrixTypes[] = {DType::kF32,  DType::kF16,  DType::kBF16, DType::kQ4_0,
                                  DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kQ8_0,
                                  DType::kQ2_K, DType::kQ3_K, DType::kQ4_K, DType::kQ5_K,
                                  DType::kQ6_K};

// Returns the type itself, or, if rows are not whole blocks of 256, the type with blocks of 32 that
// is next in bits.
DType type_for(DType type, uint64_t cols) {
  if (cols % dtype_info(type).block_values == 0) return type;
  switch (type) {
    case DType::kQ2_K:
    case DType::kQ3_K:
      return DType::kQ4_0;
    case DType::kQ4_K:
      return DType::kQ5_0;
    case DType::kQ5_K:
      return DType::kQ5_1;
    default:
      return DType::kQ8_0;
  }
}

// Where a block has half-precision factors, and a value for them that keeps products near one.
struct Factors {
  uint32_t first = 0, count = 0;
  uint16_t value = 0;
};
Factors factors_of(DType type) {
  constexpr uint16_t kSmall = 0x0500, kLegacy = 0x1400;  // The halves 7.6e-5 and 9.8e-4.
  switch (type) {
    case DType::kQ4_0:
    case DType::kQ5_0:
    case DType::kQ8_0:
      return {0, 1, kLegacy};
    case DType::kQ4_1:
    case DType::kQ5_1:
      return {0, 2, kLegacy};
    case DType::kQ2_K:
      return {80, 2, kSmall};
    case DType::kQ3_K:
      return {108, 1, kSmall};
    case DType::kQ4_K:
    case DType::kQ5_K:
      return {0, 2, kSmall};
    case DType::kQ6_K:
      return {208, 1, kSmall};
    default:
      return {};
  }
}

// Fills bytes [begin, end) of a matrix's data with random values of the type. Both are starts of
// blocks and multiples of 8.
void fill_random(DType type, std::byte* data, uint64_t begin, uint64_t end) {
  // Sign and fraction stay random; the exponent makes values near 2^-7.
  uint64_t keep = ~uint64_t{0}, set = 0;
  if (type == DType::kF16) keep = 0x83ff83ff83ff83ff, set = 0x2000200020002000;
  if (type == DType::kBF16) keep = 0x807f807f807f807f, set = 0x3c003c003c003c00;
  if (type == DType::kF32) keep = 0x807fffff807fffff, set = 0x3c0000003c000000;
  for (uint64_t at = begin; at < end; at += 8) {
    const uint64_t word = (mix64(at + 1) & keep) | set;
    std::memcpy(data + at, &word, std::min<uint64_t>(8, end - at));
  }
  const Factors factors = factors_of(type);
  const uint64_t block = dtype_info(type).block_bytes;
  if (factors.count == 0) return;
  for (uint64_t at = begin; at < end; at += block)
    for (uint32_t i = 0; i < factors.count; ++i)
      std::memcpy(data + at + factors.first + 2 * i, &factors.value, 2);
}

struct Piece {
  DType type;
  uint64_t offset, bytes;
  bool ones;  // For a norm: every value is 1.
};

struct Layout {
  weights::GgufWriter writer;
  std::vector<Piece> pieces;

  void add(const std::string& name, DType type, std::vector<uint64_t> dims, bool ones = false) {
    uint64_t rows = 1;
    for (size_t i = 1; i < dims.size(); ++i) rows *= dims[i];
    pieces.push_back(
        {type, writer.tensor_space(name, type, dims), rows * row_bytes(type, dims[0]), ones});
  }
  void norm(const std::string& name, uint64_t width) { add(name, DType::kF32, {width}, true); }
  // `experts` is the number of matrices in the tensor; 0 stands for a plain matrix.
  void matrix(const std::string& name, DType type, uint64_t rows, uint64_t cols,
              uint64_t experts = 0) {
    std::vector<uint64_t> dims = {cols, rows};
    if (experts != 0) dims.push_back(experts);
    add(name, type_for(type, cols), std::move(dims));
  }
};

void write_metadata(const Preset& p, weights::GgufWriter& writer) {
  const std::string prefix = std::string(p.architecture) + ".";
  writer.string("general.architecture", p.architecture)
      .string("general.name", p.name)
      .uint32(prefix + "block_count", p.layers)
      .uint32(prefix + "embedding_length", p.hidden)
      .uint32(prefix + "feed_forward_length", p.feed_forward)
      .uint32(prefix + "attention.head_count", p.q_heads)
      .uint32(prefix + "attention.head_count_kv", p.kv_heads)
      .uint32(prefix + "attention.key_length", p.head_dim)
      .uint32(prefix + "attention.value_length", p.head_dim)
      .uint32(prefix + "context_length", p.context)
      .float32(prefix + "attention.layer_norm_rms_epsilon", 1e-6f)
      .float32(prefix + "rope.freq_base", static_cast<float>(p.rope_base));
  if (p.experts != 0)
    writer.uint32(prefix + "expert_count", p.experts)
        .uint32(prefix + "expert_used_count", p.experts_used)
        .uint32(prefix + "expert_feed_forward_length", p.expert_feed_forward);
  if (p.window != 0) writer.uint32(prefix + "attention.sliding_window", p.window);
}

void add_layer(const Preset& p, const Architecture& kind, DType type, uint32_t index, Layout& out) {
  const std::string base = fmt::format("blk.{}.", index);
  const uint64_t q = uint64_t{p.q_heads} * p.head_dim, kv = uint64_t{p.kv_heads} * p.head_dim;
  out.norm(base + "attn_norm.weight", p.hidden);
  out.matrix(base + "attn_q.weight", type, q, p.hidden);
  out.matrix(base + "attn_k.weight", type, kv, p.hidden);
  out.matrix(base + "attn_v.weight", type, kv, p.hidden);
  if (kind.qkv_bias) {
    out.norm(base + "attn_q.bias", q);
    out.norm(base + "attn_k.bias", kv);
    out.norm(base + "attn_v.bias", kv);
  }
  if (kind.qk_norm) {
    out.norm(base + "attn_q_norm.weight", p.head_dim);
    out.norm(base + "attn_k_norm.weight", p.head_dim);
  }
  out.matrix(base + "attn_output.weight", type, p.hidden, q);
  out.norm(base + "ffn_norm.weight", p.hidden);
  if (p.experts == 0) {
    out.matrix(base + "ffn_gate.weight", type, p.feed_forward, p.hidden);
    out.matrix(base + "ffn_up.weight", type, p.feed_forward, p.hidden);
    out.matrix(base + "ffn_down.weight", type, p.hidden, p.feed_forward);
  } else {
    const uint64_t wide = p.expert_feed_forward;
    out.matrix(base + "ffn_gate_inp.weight", DType::kF32, p.experts, p.hidden);
    out.matrix(base + "ffn_gate_exps.weight", type, wide, p.hidden, p.experts);
    out.matrix(base + "ffn_up_exps.weight", type, wide, p.hidden, p.experts);
    out.matrix(base + "ffn_down_exps.weight", type, p.hidden, wide, p.experts);
  }
  if (kind.post_norms) {
    out.norm(base + "post_attention_norm.weight", p.hidden);
    out.norm(base + "post_ffw_norm.weight", p.hidden);
  }
}

Layout lay_out(const Preset& p, DType type) {
  Layout out;
  write_metadata(p, out.writer);
  const auto kinds = architectures();
  const auto kind = std::ranges::find(kinds, p.architecture, &Architecture::name);
  ALTLAS_CHECK(kind != kinds.end(), "presets of architectures that there are");
  out.matrix("token_embd.weight", type, p.vocab, p.hidden);
  if (!p.tied) out.matrix("output.weight", type, p.vocab, p.hidden);
  out.norm("output_norm.weight", p.hidden);
  for (uint32_t i = 0; i < p.layers; ++i) add_layer(p, *kind, type, i, out);
  return out;
}

void fill_piece(const Piece& piece, std::byte* data, uint32_t thread, uint32_t threads) {
  if (piece.ones) {
    if (thread != 0) return;
    constexpr float kOne = 1;
    for (uint64_t at = 0; at < piece.bytes; at += 4) std::memcpy(data + at, &kOne, 4);
    return;
  }
  // Runs of 4 blocks are multiples of 8 bytes.
  const uint64_t run = uint64_t{4} * dtype_info(piece.type).block_bytes;
  const uint64_t runs = ceil_div(piece.bytes, run);
  fill_random(piece.type, data, runs * thread / threads * run,
              std::min(piece.bytes, runs * (thread + 1) / threads * run));
}

void fill(const std::vector<Piece>& pieces, std::byte* data, uint32_t threads,
          const std::function<void(double)>& progress) {
  uint64_t total = 0, done = 0;
  for (const Piece& piece : pieces) total += piece.bytes;
  for (const Piece& piece : pieces) {
    const uint32_t team = piece.bytes < (1 << 20) ? 1 : std::max(1u, threads);
    std::vector<std::jthread> others;
    for (uint32_t t = 1; t < team; ++t)
      others.emplace_back([&, t] { fill_piece(piece, data + piece.offset, t, team); });
    fill_piece(piece, data + piece.offset, 0, team);
    others.clear();
    done += piece.bytes;
    if (progress) progress(static_cast<double>(done) / static_cast<double>(total));
  }
}

Error refused(std::string_view what, uint64_t bytes) {
  return io_error(
      fmt::format("random weights: {} for {} bytes: {}", what, bytes, std::strerror(errno)));
}

Result<Preset> find_preset(std::string_view name) {
  const auto* found = std::ranges::find(kPresets, name, &Preset::name);
  if (found != std::end(kPresets)) return *found;
  std::string known;
  for (const Preset& preset : kPresets)
    known += (known.empty() ? "" : ", ") + std::string(preset.name);
  return invalid(fmt::format("there are no random weights named '{}': {} are known",
                             name.substr(0, 40), known));
}

}  // namespace

std::vector<std::string_view> random_model_names() {
  std::vector<std::string_view> names;
  for (const Preset& preset : kPresets) names.push_back(preset.name);
  return names;
}

Result<DType> parse_weight_type(std::string_view name) {
  std::string known;
  for (const DType type : kMatrixTypes) {
    const std::string one = lower(dtype_info(type).name);
    if (lower(name) == one) return type;
    known += (known.empty() ? "" : ", ") + one;
  }
  return invalid(
      fmt::format("there is no weight type '{}': {} are known", name.substr(0, 40), known));
}

Result<RandomModel> RandomModel::make(std::string_view name, DType type, uint64_t memory_free,
                                      uint32_t threads,
                                      const std::function<void(double)>& progress) {
  ALTLAS_TRY(const Preset preset, find_preset(name));
  const Layout layout = lay_out(preset, type);
  const std::vector<uint8_t> header = layout.writer.header();
  const uint64_t bytes = header.size() + layout.writer.space_bytes();
  if (bytes > memory_free / 2)
    return Error(ErrorCode::kBusy,
                 fmt::format("{} in {} takes {}, {} as a file and as much packed; {} are free: "
                             "choose a smaller model or type",
                             name, dtype_info(type).name, format_bytes(2 * bytes),
                             format_bytes(bytes), format_bytes(memory_free)));
  RandomModel model(::memfd_create("altlas-random-model", MFD_CLOEXEC), bytes);
  if (model.fd_ < 0) return refused("memfd_create", bytes);
  if (::ftruncate(model.fd_, static_cast<off_t>(bytes)) != 0) return refused("ftruncate", bytes);
  void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, model.fd_, 0);
  if (at == MAP_FAILED) return refused("mmap", bytes);
  auto* file = static_cast<std::byte*>(at);
  std::memcpy(file, header.data(), header.size());
  fill(layout.pieces, file + header.size(), threads, progress);
  ::munmap(at, bytes);
  return model;
}

RandomModel::RandomModel(RandomModel&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), bytes_(other.bytes_) {}
RandomModel::~RandomModel() {
  if (fd_ >= 0) ::close(fd_);
}

std::string RandomModel::path() const { return fmt::format("/proc/self/fd/{}", fd_); }

}  // namespace altlas::model
