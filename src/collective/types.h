// Words of collectives: element types, reductions, algorithms, and one call as every rank makes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/range.h"
#include "base/result.h"

namespace altlas::collective {

enum class Collective : uint8_t {
  kAllReduce,
  kAllGather,
  kReduceScatter,
  kBroadcast,
  kAllToAll,
  kSendReceive,  // Between pairs: send, receive, or both at once.
  kBarrier,
};

// Named as nccl-tests names them: "float", "half", "bfloat16", "int8", ...
enum class ElementType : uint8_t {
  kI8,
  kU8,
  kI32,
  kU32,
  kI64,
  kU64,
  kF16,
  kF32,
  kF64,
  kBF16,
};

// kAvg is the sum divided by the number of ranks; of integers it is cut towards zero. Sums and
// products of integers wrap. A NaN among the values of kMin and kMax is the result.
enum class ReduceOp : uint8_t { kSum, kProd, kMin, kMax, kAvg };

// How an all_reduce goes. kFixed adds the ranks' values in the order of ranks, 16-bit floats in
// float32 and rounded once, so its bits depend on the values alone: every transport gives the same.
// kRing and kTree give every rank the same bits too, in an order of their own, rounded at each hop.
enum class Algorithm : uint8_t { kAuto, kFixed, kRing, kTree };

inline constexpr Collective kCollectives[] = {Collective::kAllReduce,     Collective::kAllGather,
                                              Collective::kReduceScatter, Collective::kBroadcast,
                                              Collective::kAllToAll,      Collective::kSendReceive,
                                              Collective::kBarrier};
inline constexpr ElementType kElementTypes[] = {
    ElementType::kI8,  ElementType::kU8,  ElementType::kI32, ElementType::kU32, ElementType::kI64,
    ElementType::kU64, ElementType::kF16, ElementType::kF32, ElementType::kF64, ElementType::kBF16};
inline constexpr ReduceOp kReduceOps[] = {ReduceOp::kSum, ReduceOp::kProd, ReduceOp::kMin,
                                          ReduceOp::kMax, ReduceOp::kAvg};
inline constexpr Algorithm kAlgorithms[] = {Algorithm::kAuto, Algorithm::kFixed, Algorithm::kRing,
                                            Algorithm::kTree};

std::string_view to_string(Collective collective);  // "all_reduce".
std::string_view to_string(ElementType type);
std::string_view to_string(ReduceOp op);
std::string_view to_string(Algorithm algorithm);

// Errors: kInvalid, naming the known ones. Types also by short names ("f32", "bf16", "i8", "u8").
Result<ElementType> parse_element_type(std::string_view name);
Result<ReduceOp> parse_reduce_op(std::string_view name);
Result<Algorithm> parse_algorithm(std::string_view name);

size_t element_bytes(ElementType type);

inline constexpr int kNobody = -1;
inline constexpr int kRanksMax = 64;  // The limit of one group.

// One call as a rank makes it; checked by Group. `bytes` counts as the ranks have to agree on it:
// the whole vector of all_reduce and broadcast, one rank's block of the others.
struct Call {
  Collective collective = Collective::kBarrier;
  ElementType type = ElementType::kU8;
  ReduceOp op = ReduceOp::kSum;
  Algorithm algorithm = Algorithm::kFixed;
  int root = 0;
  uint64_t bytes = 0;
  uint64_t step = 0;  // The group's collectives are numbered from 1.
  std::span<const std::byte> in;
  std::span<std::byte> out;
  int to = kNobody;    // kSendReceive only.
  int from = kNobody;  // kSendReceive only.
};

// What the ranks of a call compare, in two words: all but the step, the buffers and the peers.
struct Signature {
  uint64_t what = 0;  // Collective, type, op, algorithm, root: one byte each, the root two.
  uint64_t bytes = 0;
  friend bool operator==(const Signature&, const Signature&) = default;
};
Signature signature_of(const Call& call);
// "all_reduce of 1024 bytes of float, sum, fixed": any 128 bits give words.
std::string describe(const Signature& signature);

// "all_reduce, step 12": how a failure names where it happened.
std::string place_of(const Call& call);

// The half-open range of elements that part `index` of `parts` has of `count`: sizes differ by 1.
Range part_of(uint64_t count, int parts, int index);

}  // namespace altlas::collective
