// Products of BF16 weights with activations rounded to bfloat16: the order in which panels, columns
// and tokens meet, over any `Words` (which rounds) and any Kernel. A .cc includes this inside its
// namespace and its compiler attributes. No lambdas and no standard templates in here: they would
// not carry the target's attributes.
//
// A Kernel has kChunk (columns whose two panels stay in L1; whole 32), kTokens (it reads whole
// multiples of that), panels(tokens) (1 or 2 at a time), chunk(panels) (columns that it takes at
// once for that many panels: kChunk for two) and product<NP>(job, chunk), which adds
// the chunk's products to the sums, begins them at the first column, and hands them to y at the
// last.
#pragma once

// Bytes of one column of a panel.
inline constexpr size_t kRowBytes = kPanelRows * sizeof(uint16_t);

struct Part {
  size_t begin, end;
  size_t size() const { return end - begin; }
};

struct Job {
  PackedMatrix weights;
  Activations x;
  size_t panel_bytes;
  Part panels;
  float* y;
  size_t y_stride;
  std::byte* scratch;
  float* sums() const { return reinterpret_cast<float*>(scratch); }
  uint16_t* values() const { return reinterpret_cast<uint16_t*>(scratch + kBf16SumBytes); }
  std::byte* pairs() const { return scratch + kBf16SumBytes + kBf16Values * sizeof(uint16_t); }
  const std::byte* weights_at(size_t panel, size_t column) const {
    return weights.data + panel * panel_bytes + column * kRowBytes;
  }
};

// Columns of one or two panels times tokens.
struct Chunk {
  size_t panel;
  Part columns;
  Part tokens;
  // The values of the first token and column; the next token's are `stride` away.
  const uint16_t* values;
  size_t stride;
  float* sums;            // [token][panel][16].
  const std::byte* next;  // What is multiplied next, of the first panel, for prefetching.
  bool first(const Job&) const { return columns.begin == 0; }
  bool last(const Job& job) const { return columns.end == job.weights.cols; }
};

inline size_t rows_of(const Job& job, size_t panel) {
  const size_t left = job.weights.rows - panel * kPanelRows;
  return left < kPanelRows ? left : kPanelRows;
}
inline size_t least(size_t a, size_t b) { return a < b ? a : b; }
// `parts` nearly equal pieces of `total`: where piece `i` begins.
inline size_t piece(size_t total, size_t parts, size_t i) { return total * i / parts; }
// An odd number of cache lines: tokens do not fall into the same sets.
inline size_t value_stride(size_t columns) { return (round_up(columns, 32) / 32 | 1) * 32; }

// Those columns of those tokens as bfloat16, zeros up to 32 columns and `unit` tokens.
inline void narrow(const Job& job, Part tokens, Part columns, size_t unit) {
  const size_t count = columns.size(), stride = value_stride(count);
  uint16_t* out = job.values();
  for (size_t t = tokens.begin; t < tokens.end; ++t, out += stride) {
    const float* x = job.x.values + t * job.x.stride + columns.begin;
    for (size_t k = 0; k < count; k += 32) {
      Words::narrow(x + k, least(count - k, 32), out + k);
      __builtin_prefetch(x + job.x.stride + k, 0, 3);
      __builtin_prefetch(x + job.x.stride + k + 16, 0, 3);
    }
  }
  const size_t missing = round_up(tokens.size(), unit) - tokens.size();
  __builtin_memset(out, 0, missing * stride * sizeof(uint16_t));
}

// Panels times the columns that are narrowed. `after`: the columns that follow of the same panels.
template <class Kernel>
void panels_product(const Job& job, Part tokens, Part panels, Part columns) {
  const size_t stride = value_stride(columns.size()), at_once = Kernel::panels(tokens.size());
  const size_t most = Kernel::chunk(at_once);
  const size_t after = panels.end < job.panels.end ? panels.end : job.panels.begin;
  for (size_t panel = panels.begin; panel < panels.end; panel += at_once) {
    for (size_t begin = columns.begin; begin < columns.end; begin += most) {
      const size_t end = least(begin + most, columns.end);
      const std::byte* next = end < columns.end ? job.weights_at(panel, end)
                              : panel + at_once < panels.end
                                  ? job.weights_at(panel + at_once, columns.begin)
                              : columns.end < job.weights.cols ? job.weights_at(panels.begin, end)
                                                               : job.weights_at(after, 0);
      const Chunk chunk{panel,  {begin, end},
                        tokens, job.values() + (begin - columns.begin),
                        stride, job.sums() + (panel - panels.begin) * kBf16Tokens * kPanelRows,
                        next};
      if (at_once == 2 && panel + 2 <= panels.end)
        Kernel::template product<2>(job, chunk);
      else
        Kernel::template product<1>(job, chunk);
    }
  }
}

// Where all columns of the tokens can be narrowed at once, a panel is done with before the next
// begins; else panels take turns with as many columns as can be.
template <class Kernel>
void tokens_product(const Job& job, Part tokens) {
  static_assert(Kernel::kChunk % 32 == 0 && kBf16Tokens % Kernel::kTokens == 0);
  const size_t cols = job.weights.cols, padded = round_up(tokens.size(), Kernel::kTokens);
  const size_t most = (kBf16Values / padded - 32) / Kernel::kChunk * Kernel::kChunk;
  if (cols <= most) narrow(job, tokens, {0, cols}, Kernel::kTokens);
  const size_t panels = cols <= most ? Kernel::panels(tokens.size()) : kBf16Panels;
  for (size_t p = job.panels.begin; p < job.panels.end; p += panels) {
    const Part some{p, least(p + panels, job.panels.end)};
    for (size_t begin = 0; begin < cols; begin += most) {
      const Part columns{begin, least(begin + most, cols)};
      if (cols > most) narrow(job, tokens, columns, Kernel::kTokens);
      panels_product<Kernel>(job, tokens, some, columns);
    }
  }
}

// As matmul(), of BF16 weights.
template <class Kernel>
void bf16_product(const PackedMatrix& weights, const Activations& x, Range panels, Rows<float> y,
                  std::byte* scratch) {
  const Job job{weights,
                x,
                packed_panel_bytes(weights.type, weights.cols),
                {panels.begin, panels.end},
                y.data,
                y.stride,
                scratch};
  const size_t blocks = ceil_div(x.tokens, kBf16Tokens);
  for (size_t b = 0; b < blocks; ++b)
    tokens_product<Kernel>(job, {piece(x.tokens, blocks, b), piece(x.tokens, blocks, b + 1)});
}
