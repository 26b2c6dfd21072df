// Results of the collectives over every transport, compared with plain loops.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "collective/test_worlds.h"
#include "tensor/half.h"
#include "testing/data.h"

namespace altlas::collective {
namespace {

using Data = std::vector<std::byte>;

template <class T>
void put(Data& data, uint64_t i, T value) {
  std::memcpy(data.data() + i * sizeof(T), &value, sizeof(T));
}

// Stores a number as element i of `data`, rounded as the type's values are.
void store(Data& data, uint64_t i, ElementType type, double value) {
  switch (type) {
    case ElementType::kI8:
      return put(data, i, static_cast<int8_t>(static_cast<int64_t>(value)));
    case ElementType::kU8:
      return put(data, i, static_cast<uint8_t>(static_cast<int64_t>(value)));
    case ElementType::kI32:
      return put(data, i, static_cast<int32_t>(value));
    case ElementType::kU32:
      return put(data, i, static_cast<uint32_t>(static_cast<int64_t>(value)));
    case ElementType::kI64:
      return put(data, i, static_cast<int64_t>(value));
    case ElementType::kU64:
      return put(data, i, static_cast<uint64_t>(static_cast<int64_t>(value)));
    case ElementType::kF16:
      return put(data, i, f16_from_float(static_cast<float>(value)));
    case ElementType::kF32:
      return put(data, i, static_cast<float>(value));
    case ElementType::kF64:
      return put(data, i, value);
    case ElementType::kBF16:
      return put(data, i, bf16_from_float(static_cast<float>(value)));
  }
}

// Small whole numbers: their sums and products are exact in any order and in every type.
double value_of(int rank, uint64_t i, ReduceOp op) {
  const auto mixed = static_cast<int>((i * 7 + static_cast<uint64_t>(rank) * 5 + i / 3) % 5);
  return op == ReduceOp::kProd ? 1 + mixed % 2 : mixed;
}

double reduced(int ranks, uint64_t i, ReduceOp op) {
  double out = value_of(0, i, op);
  for (int rank = 1; rank < ranks; ++rank) {
    const double next = value_of(rank, i, op);
    if (op == ReduceOp::kProd)
      out *= next;
    else if (op == ReduceOp::kMin)
      out = std::min(out, next);
    else if (op == ReduceOp::kMax)
      out = std::max(out, next);
    else
      out += next;
  }
  return out;
}

bool is_integer(ElementType type) { return type <= ElementType::kU64; }

Data vector_of(ElementType type, uint64_t count, const std::function<double(uint64_t)>& value) {
  Data out(count * element_bytes(type));
  for (uint64_t i = 0; i < count; ++i) store(out, i, type, value(i));
  return out;
}

Data expected(ElementType type, ReduceOp op, int ranks, uint64_t begin, uint64_t count) {
  return vector_of(type, count, [&](uint64_t i) {
    const double all = reduced(ranks, begin + i, op);
    if (op != ReduceOp::kAvg) return all;
    if (is_integer(type)) return std::trunc(all / ranks);
    return type == ElementType::kF64 ? all / ranks
                                     : double{static_cast<float>(all) / static_cast<float>(ranks)};
  });
}

// A buffer at an odd address, with a guard behind it.
class Odd {
 public:
  explicit Odd(const Data& data) : bytes_(data.size() + 9, std::byte{0x5a}), size_(data.size()) {
    std::copy(data.begin(), data.end(), bytes_.begin() + 1);
  }
  std::span<std::byte> span() { return {bytes_.data() + 1, size_}; }
  Data get() const { return {bytes_.begin() + 1, bytes_.begin() + 1 + std::ptrdiff_t(size_)}; }
  bool guarded() const {
    return bytes_[0] == std::byte{0x5a} &&
           std::all_of(bytes_.end() - 8, bytes_.end(), [](auto b) { return b == std::byte{0x5a}; });
  }

 private:
  Data bytes_;
  size_t size_;
};

struct Case {
  ElementType type;
  ReduceOp op;
  uint64_t count;
};

void expect_equal(Odd& got, const Data& want, std::string_view what, const Group& group) {
  EXPECT_TRUE(got.guarded()) << what;
  EXPECT_TRUE(got.get() == want) << what << ", rank " << group.rank() << " of " << group.size();
}

void check_all_reduce(Group& group, const Case& c, Algorithm algorithm) {
  const auto mine = [&](uint64_t i) { return value_of(group.rank(), i, c.op); };
  const Data want = expected(c.type, c.op, group.size(), 0, c.count);
  Odd in(vector_of(c.type, c.count, mine)), out(Data(want.size()));
  const auto done = group.all_reduce(c.type, c.op, in.span(), out.span(), algorithm);
  ASSERT_TRUE(done.ok()) << done.error().message();
  expect_equal(out, want, "all_reduce", group);
  ASSERT_TRUE(group.all_reduce(c.type, c.op, in.span(), in.span(), algorithm).ok());
  expect_equal(in, want, "all_reduce in place", group);
}

void check_reduce_scatter(Group& group, const Case& c) {
  const auto n = static_cast<uint64_t>(group.size()), rank = static_cast<uint64_t>(group.rank());
  const auto mine = [&](uint64_t i) { return value_of(group.rank(), i, c.op); };
  const Data want = expected(c.type, c.op, group.size(), rank * c.count, c.count);
  Odd in(vector_of(c.type, n * c.count, mine)), out(Data(want.size()));
  ASSERT_TRUE(group.reduce_scatter(c.type, c.op, in.span(), out.span()).ok());
  expect_equal(out, want, "reduce_scatter", group);
  const auto block = in.span().subspan(rank * want.size(), want.size());
  ASSERT_TRUE(group.reduce_scatter(c.type, c.op, in.span(), block).ok());
  EXPECT_TRUE(Data(block.begin(), block.end()) == want) << "reduce_scatter in place";
}

void check_moves(Group& group, const Case& c) {
  const auto n = static_cast<uint64_t>(group.size()), rank = static_cast<uint64_t>(group.rank());
  const size_t block = c.count * element_bytes(c.type);
  const auto of = [&](uint64_t from, uint64_t to) {
    return vector_of(c.type, c.count, [&](uint64_t i) {
      return value_of(static_cast<int>(from), i + to * 3, ReduceOp::kSum);
    });
  };
  Data gathered, sent, received;
  const auto append = [](Data& to, const Data& more) {
    to.insert(to.end(), more.begin(), more.end());
  };
  for (uint64_t r = 0; r < n; ++r) {
    append(gathered, of(r, 0));
    append(sent, of(rank, r));
    append(received, of(r, rank));
  }
  Odd in(of(rank, 0)), out(Data(gathered.size()));
  ASSERT_TRUE(group.all_gather(c.type, in.span(), out.span()).ok());
  expect_equal(out, gathered, "all_gather", group);
  Odd place(Data(gathered.size()));
  std::ranges::copy(in.span(), place.span().begin() + std::ptrdiff_t(rank * block));
  ASSERT_TRUE(
      group.all_gather(c.type, place.span().subspan(rank * block, block), place.span()).ok());
  expect_equal(place, gathered, "all_gather in place", group);

  Odd send(sent), receive(Data(sent.size()));
  ASSERT_TRUE(group.all_to_all(c.type, send.span(), receive.span()).ok());
  expect_equal(receive, received, "all_to_all", group);
  ASSERT_TRUE(group.all_to_all(c.type, send.span(), send.span()).ok());
  expect_equal(send, received, "all_to_all in place", group);

  const int root = group.size() - 1;
  Odd data(group.rank() == root ? of(uint64_t(root), 0) : Data(block));
  ASSERT_TRUE(group.broadcast(c.type, data.span(), root).ok());
  expect_equal(data, of(uint64_t(root), 0), "broadcast", group);
  ASSERT_TRUE(group.barrier().ok());

  if (n == 1) return;
  const int next = (group.rank() + 1) % group.size();
  const int last = (group.rank() + group.size() - 1) % group.size();
  Odd came{Data(block)};
  ASSERT_TRUE(group.send_receive(c.type, in.span(), next, came.span(), last).ok());
  expect_equal(came, of(uint64_t(last), 0), "send/recv", group);
  if (group.rank() == 0) ASSERT_TRUE(group.send(c.type, in.span(), next).ok());
  if (group.rank() == 1) {
    ASSERT_TRUE(group.receive(c.type, came.span(), 0).ok());
    expect_equal(came, of(0, 0), "receive", group);
  }
}

class Results : public ::testing::TestWithParam<World> {};

// Goal: every op, type, size, rank count and algorithm gives what a plain loop gives, in place too,
// at odd addresses and never beyond the buffer. Method: whole numbers, exact in every order.
TEST_P(Results, EveryOpTypeSizeAndRankCount) {
  for (int ranks = 1; ranks <= 7; ++ranks) {
    Groups groups = make_world(GetParam(), ranks);
    std::vector<Case> cases;
    for (const ElementType type : kElementTypes)
      for (const ReduceOp op : kReduceOps)
        for (const uint64_t count : {0, 1, 1001})
          if (ranks == 3 || (count != 0 && static_cast<int>(type) % 5 == static_cast<int>(op)))
            cases.push_back({type, op, count});
    on_ranks(groups, [&](Group& group) {
      for (const Case& c : cases) {
        for (const Algorithm algorithm : kAlgorithms) check_all_reduce(group, c, algorithm);
        check_reduce_scatter(group, c);
        if (c.op == ReduceOp::kSum) check_moves(group, c);
        if (::testing::Test::HasFailure()) return group.abort("the test failed");
      }
    });
  }
}

// Goal: vectors longer than every slot, stripe and socket buffer.
TEST_P(Results, LargeVectors) {
  for (const int ranks : {2, 3, 5}) {
    Groups groups = make_world(GetParam(), ranks);
    on_ranks(groups, [&](Group& group) {
      for (const Case& c : {Case{ElementType::kF32, ReduceOp::kSum, 300'001},
                            Case{ElementType::kI8, ReduceOp::kMax, 700'003}}) {
        for (const Algorithm algorithm : kAlgorithms) check_all_reduce(group, c, algorithm);
        check_reduce_scatter(group, c);
        check_moves(group, c);
        if (::testing::Test::HasFailure()) return group.abort("the test failed");
      }
    });
  }
}

// Goal: the fixed order gives the bits of a plain loop over the ranks, on every rank and transport,
// however threads run. Method: normals, whose sums depend on the order; many rounds.
TEST_P(Results, FixedOrderHasTheBitsOfAPlainLoop) {
  constexpr int kRanks = 5;
  constexpr uint64_t kCount = 3001;
  std::vector<std::vector<float>> values;
  for (int rank = 0; rank < kRanks; ++rank)
    values.push_back(testing::normals(kCount, 42 + static_cast<uint64_t>(rank)));
  Data f32(kCount * 4), bf16(kCount * 2);
  for (uint64_t i = 0; i < kCount; ++i) {
    float sum = values[0][i], rounded = float_from_bf16(bf16_from_float(values[0][i]));
    for (int rank = 1; rank < kRanks; ++rank) {
      sum += values[static_cast<size_t>(rank)][i];
      rounded += float_from_bf16(bf16_from_float(values[static_cast<size_t>(rank)][i]));
    }
    put(f32, i, sum);
    put(bf16, i, bf16_from_float(rounded));
  }
  Groups groups = make_world(GetParam(), kRanks, {.algorithm = Algorithm::kFixed});
  on_ranks(groups, [&](Group& group) {
    const auto& mine = values[static_cast<size_t>(group.rank())];
    const Data in = vector_of(ElementType::kF32, kCount, [&](uint64_t i) { return mine[i]; });
    const Data half = vector_of(ElementType::kBF16, kCount, [&](uint64_t i) { return mine[i]; });
    Data out(in.size()), half_out(half.size());
    for (int round = 0; round < 20; ++round) {
      if ((round + group.rank()) % 3 == 0) std::this_thread::yield();
      ASSERT_TRUE(group.all_reduce(ElementType::kF32, ReduceOp::kSum, in, out).ok());
      ASSERT_TRUE(group.all_reduce(ElementType::kBF16, ReduceOp::kSum, half, half_out).ok());
      ASSERT_TRUE(out == f32 && half_out == bf16) << "round " << round;
    }
  });
}

// Goal: rings and trees give every rank the same bits, whatever they are. Method: normals, compared
// over the ranks.
TEST_P(Results, RingAndTreeAgreeOverRanks) {
  constexpr int kRanks = 6;
  Groups groups = make_world(GetParam(), kRanks);
  for (const Algorithm algorithm : {Algorithm::kRing, Algorithm::kTree}) {
    std::vector<Data> out(kRanks, Data(4 * 777));
    on_ranks(groups, [&](Group& group) {
      const auto rank = static_cast<size_t>(group.rank());
      const auto mine = testing::normals(777, rank);
      const Data in = vector_of(ElementType::kF32, 777, [&](uint64_t i) { return mine[i]; });
      ASSERT_TRUE(
          group.all_reduce(ElementType::kF32, ReduceOp::kSum, in, out[rank], algorithm).ok());
    });
    for (const Data& one : out) EXPECT_TRUE(one == out[0]) << to_string(algorithm);
  }
}

// Goal: a size that doesn't fit is refused before anything is sent, and the group goes on.
TEST_P(Results, WrongSizesAreRefusedAndTheGroupGoesOn) {
  Groups groups = make_world(GetParam(), 2);
  on_ranks(groups, [&](Group& group) {
    Data a(16), b(15), c(32);
    const auto refused = [](const Result<void>& result) {
      return !result.ok() && result.error().code() == ErrorCode::kInvalid;
    };
    EXPECT_TRUE(refused(group.all_reduce(ElementType::kU8, ReduceOp::kSum, a, b)));
    EXPECT_TRUE(refused(group.all_reduce(ElementType::kF32, ReduceOp::kSum, b, b)));
    EXPECT_TRUE(refused(group.all_gather(ElementType::kU8, a, a)));
    EXPECT_TRUE(refused(group.reduce_scatter(ElementType::kU8, ReduceOp::kSum, a, c)));
    EXPECT_TRUE(refused(group.all_to_all(ElementType::kU8, b, b)));
    EXPECT_TRUE(refused(group.broadcast(ElementType::kU8, a, 2)));
    EXPECT_TRUE(refused(group.send(ElementType::kU8, a, group.rank())));
    EXPECT_TRUE(refused(group.receive(ElementType::kU8, a, -1)));
    const std::span all(c);
    EXPECT_TRUE(refused(
        group.all_reduce(ElementType::kU8, ReduceOp::kSum, all.first(20), all.subspan(4, 20))));
    EXPECT_TRUE(group.barrier().ok());
  });
}

INSTANTIATE_TEST_SUITE_P(Worlds, Results, ::testing::ValuesIn(kWorlds),
                         [](const auto& info) { return name_of(info.param); });

// Goal: threads that gather into one buffer copy nothing. Method: one buffer for all, each writes
// its part and reads the others'.
TEST(Threads, GatherIntoOneBuffer) {
  Groups groups = make_thread_groups(4, {}).value();
  Data all(4 * 1000);
  on_ranks(groups, [&](Group& group) {
    const auto rank = static_cast<size_t>(group.rank());
    for (int round = 0; round < 50; ++round) {
      const auto mine = std::span(all).subspan(rank * 1000, 1000);
      std::ranges::fill(mine, static_cast<std::byte>(round + group.rank()));
      ASSERT_TRUE(group.all_gather(ElementType::kU8, mine, all).ok());
      for (size_t r = 0; r < 4; ++r)
        ASSERT_EQ(all[r * 1000 + 999], static_cast<std::byte>(round + static_cast<int>(r)));
      // All have read before the next round is written.
      ASSERT_TRUE(group.barrier().ok());
    }
  });
}

// Goal: virtual time is the link model's, the same on all ranks, and bigger for slower links.
TEST(Simulated, TimeIsTheModels) {
  double before = 0;
  for (const char* link : {"nvswitch", "pcie4", "ethernet-10g"}) {
    const FabricOptions options{.inside = link};
    Groups groups = make_simulated_groups(4, options, {}).value();
    const Call call{
        .collective = Collective::kAllReduce, .algorithm = Algorithm::kRing, .bytes = 1 << 20};
    const double want = Fabric::make(options).value().seconds(call, 4);
    on_ranks(groups, [&](Group& group) {
      Data data(1 << 20);
      ASSERT_TRUE(
          group.all_reduce(ElementType::kF32, ReduceOp::kSum, data, data, Algorithm::kRing).ok());
      EXPECT_DOUBLE_EQ(group.seconds(), want);
    });
    EXPECT_GT(want, before);
    before = want;
  }
}

}  // namespace
}  // namespace altlas::collective
