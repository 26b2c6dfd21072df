// The measurement behind `altlas collectives`, and its table, as nccl-tests prints it.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <cstring>

#include "cli/collectives.h"
#include "collective/pattern.h"

namespace altlas::cli {
namespace {

namespace json = boost::json;
using collective::ElementType;
using collective::Group;
using collective::ReduceOp;
using Bytes = std::span<std::byte>;

// Buffers of one rank for one size, and the call between them.
class Run {
 public:
  Run(Group& group, const CollectiveBench& bench, uint64_t bytes)
      : group_(group),
        bench_(bench),
        n_(static_cast<uint64_t>(group.size())),
        rank_(static_cast<uint64_t>(group.rank())),
        unit_(collective::element_bytes(bench.type)) {
    const bool blocks = in_blocks();
    count_ = bytes / unit_ / (blocks ? n_ : 1);
    block_ = count_ * unit_;
    const uint64_t all = block_ * (blocks ? n_ : 1);
    send_.resize(bench.op == "all_gather" ? block_ : all);
    receive_.resize(bench.op == "reduce_scatter" ? block_ : all);
    bytes_ = all;
  }

  uint64_t bytes() const { return bytes_; }
  uint64_t count() const { return count_; }
  bool has_in_place() const { return bench_.op != "sendrecv"; }

  Result<CollectiveTime> measure(bool in_place) {
    CollectiveTime out;
    ALTLAS_TRY_VOID(repeat(bench_.warmup, in_place));
    ALTLAS_TRY_VOID(group_.barrier());
    const double from = group_.seconds();
    ALTLAS_TRY_VOID(repeat(bench_.iterations, in_place));
    double seconds = (group_.seconds() - from) / std::max(1, bench_.iterations);
    ALTLAS_TRY_VOID(group_.barrier());
    ALTLAS_TRY_VOID(over_ranks(ElementType::kF64, ReduceOp::kAvg, seconds));
    out.time_us = seconds * 1e6;
    out.algbw = seconds > 0 ? static_cast<double>(bytes_) / seconds / 1e9 : 0;
    out.busbw = out.algbw * bus_factor();
    if (!bench_.check) return out;
    fill(in_place);
    ALTLAS_TRY_VOID(once(in_place));
    out.wrong = wrong(in_place);
    ALTLAS_TRY_VOID(over_ranks(ElementType::kU64, ReduceOp::kSum, out.wrong));
    return out;
  }

 private:
  bool in_blocks() const {
    return bench_.op == "all_gather" || bench_.op == "reduce_scatter" || bench_.op == "alltoall";
  }

  // The bytes that cross the busiest link per byte of the vector (nccl-tests, doc/PERFORMANCE.md).
  double bus_factor() const {
    const double n = group_.size();
    if (bench_.op == "all_reduce") return 2 * (n - 1) / n;
    return in_blocks() ? (n - 1) / n : 1;
  }

  Bytes block_of(Bytes all) const { return all.subspan(rank_ * block_, block_); }

  Result<void> once(bool in_place) {
    const Bytes send(send_), receive(receive_);
    const auto type = bench_.type;
    if (bench_.op == "all_reduce")
      return group_.all_reduce(type, bench_.reduce, in_place ? receive : send, receive,
                               bench_.algorithm);
    if (bench_.op == "all_gather")
      return group_.all_gather(type, in_place ? block_of(receive) : send, receive);
    if (bench_.op == "reduce_scatter")
      return group_.reduce_scatter(type, bench_.reduce, send, in_place ? block_of(send) : receive);
    if (bench_.op == "alltoall") return group_.all_to_all(type, in_place ? receive : send, receive);
    if (bench_.op == "broadcast") return broadcast(in_place);
    const int n = group_.size(), rank = group_.rank();
    if (n == 1) {
      std::ranges::copy(send, receive.begin());
      return {};
    }
    return group_.send_receive(type, send, (rank + 1) % n, receive, (rank + n - 1) % n);
  }

  Result<void> broadcast(bool in_place) {
    if (!in_place && group_.rank() == bench_.root) std::ranges::copy(send_, receive_.begin());
    return group_.broadcast(bench_.type, receive_, bench_.root);
  }

  Result<void> repeat(int times, bool in_place) {
    for (int i = 0; i < times; ++i) ALTLAS_TRY_VOID(once(in_place));
    return {};
  }

  template <class T>
  Result<void> over_ranks(ElementType type, ReduceOp op, T& value) {
    const Bytes bytes = std::as_writable_bytes(std::span(&value, 1));
    return group_.all_reduce(type, op, bytes, bytes);
  }

  void fill(bool in_place) {
    const auto own = collective::rank_pattern(bench_.type, bench_.reduce, group_.rank());
    std::ranges::fill(receive_, std::byte{0xff});
    collective::fill_pattern(own, 0, send_);
    if (!in_place || bench_.op == "reduce_scatter") return;
    if (bench_.op == "all_gather")
      std::ranges::copy(send_, block_of(receive_).begin());
    else if (bench_.op != "broadcast" || group_.rank() == bench_.root)
      std::ranges::copy(send_, receive_.begin());
  }

  uint64_t wrong(bool in_place) const {
    const auto pattern_of = [&](uint64_t rank) {
      return collective::rank_pattern(bench_.type, bench_.reduce, static_cast<int>(rank));
    };
    const auto reduced = collective::reduced_pattern(bench_.type, bench_.reduce, group_.size());
    if (bench_.op == "all_reduce") return collective::count_wrong(reduced, 0, receive_);
    if (bench_.op == "reduce_scatter")
      return collective::count_wrong(
          reduced, rank_ * count_,
          in_place ? std::span(send_).subspan(rank_ * block_, block_) : std::span(receive_));
    if (bench_.op == "broadcast")
      return collective::count_wrong(pattern_of(static_cast<uint64_t>(bench_.root)), 0, receive_);
    if (bench_.op == "sendrecv")
      return collective::count_wrong(pattern_of((rank_ + n_ - 1) % n_), 0, receive_);
    uint64_t out = 0;
    for (uint64_t r = 0; r < n_; ++r)
      out += collective::count_wrong(pattern_of(r), bench_.op == "alltoall" ? rank_ * count_ : 0,
                                     std::span(receive_).subspan(r * block_, block_));
    return out;
  }

  Group& group_;
  const CollectiveBench& bench_;
  const uint64_t n_, rank_;
  const size_t unit_;
  uint64_t count_ = 0, block_ = 0, bytes_ = 0;
  std::vector<std::byte> send_, receive_;
};

std::string half_line(const CollectiveTime& time, bool check) {
  const int digits = time.time_us < 100 ? 2 : time.time_us < 1000 ? 1 : 0;
  return fmt::format("  {:>8.{}f}  {:>6.2f}  {:>6.2f}  {:>6}", time.time_us, digits, time.algbw,
                     time.busbw, check ? fmt::format("{}", time.wrong) : "N/A");
}

json::object half_json(const CollectiveTime& time, bool check) {
  json::object out{{"time_us", time.time_us}, {"algbw", time.algbw}, {"busbw", time.busbw}};
  out["wrong"] = check ? json::value(time.wrong) : json::value(nullptr);
  return out;
}

bool reduces(const CollectiveBench& bench) {
  return bench.op == "all_reduce" || bench.op == "reduce_scatter";
}

}  // namespace

Result<std::vector<CollectiveRow>> run_collective_bench(Group& group, const CollectiveBench& bench,
                                                        const CollectiveRowPrinter& print) {
  std::vector<CollectiveRow> rows;
  for (uint64_t bytes = bench.bytes_min; bytes <= bench.bytes_max;) {
    Run run(group, bench, bytes);
    CollectiveRow row{.bytes = run.bytes(), .count = run.count()};
    row.has_in_place = run.has_in_place();
    ALTLAS_TRY(row.out_of_place, run.measure(/*in_place=*/false));
    if (row.has_in_place) {
      ALTLAS_TRY(row.in_place, run.measure(/*in_place=*/true));
    }
    rows.push_back(row);
    if (group.rank() == 0) print(row);
    const double next = static_cast<double>(bytes) * bench.factor;
    bytes = bench.factor > 0 ? std::max(bytes + 1, static_cast<uint64_t>(next))
                             : bytes + std::max<uint64_t>(1, bench.step_bytes);
  }
  return rows;
}

std::string collective_heading() {
  return fmt::format(
             "#\n#{:>49}{:^34}{:^34}\n"
             "#{:>11}  {:>12}  {:>8}  {:>6}  {:>6}",
             "", "out-of-place", "in-place", "size", "count", "type", "redop", "root") +
         fmt::format("{0}{0}\n", fmt::format("  {:>8}  {:>6}  {:>6}  {:>6}", "time", "algbw",
                                             "busbw", "#wrong")) +
         fmt::format("#{:>11}  {:>12}  {:>8}  {:>6}  {:>6}", "(B)", "(elements)", "", "", "") +
         fmt::format("{0}{0}\n",
                     fmt::format("  {:>8}  {:>6}  {:>6}  {:>6}", "(us)", "(GB/s)", "(GB/s)", ""));
}

std::string collective_line(const CollectiveRow& row, const CollectiveBench& bench) {
  const std::string op = reduces(bench) ? std::string(to_string(bench.reduce)) : "none";
  const int root = bench.op == "broadcast" ? bench.root : -1;
  return fmt::format("{:>12}  {:>12}  {:>8}  {:>6}  {:>6}{}{}\n", row.bytes, row.count,
                     to_string(bench.type), op, root, half_line(row.out_of_place, bench.check),
                     row.has_in_place
                         ? half_line(row.in_place, bench.check)
                         : fmt::format("  {:>8}  {:>6}  {:>6}  {:>6}", "N/A", "N/A", "N/A", "N/A"));
}

namespace {
struct Sum {
  uint64_t wrong = 0;
  double busbw = 0;
};
Sum sum_of(const std::vector<CollectiveRow>& rows) {
  Sum sum;
  double halves = 0;
  for (const CollectiveRow& row : rows) {
    sum.wrong += row.out_of_place.wrong + row.in_place.wrong;
    sum.busbw += row.out_of_place.busbw + (row.has_in_place ? row.in_place.busbw : 0);
    halves += row.has_in_place ? 2 : 1;
  }
  if (halves > 0) sum.busbw /= halves;
  return sum;
}
}  // namespace

std::string collective_footer(const std::vector<CollectiveRow>& rows) {
  const Sum sum = sum_of(rows);
  return fmt::format("# Out of bounds values : {} {}\n# Avg bus bandwidth    : {:g}\n#\n",
                     sum.wrong, sum.wrong == 0 ? "OK" : "FAILED", sum.busbw);
}

std::string collective_json(const std::vector<CollectiveRow>& rows, const CollectiveBench& bench,
                            int ranks, const std::string& transport,
                            const collective::NcclSettings& settings) {
  json::array lines, variables;
  for (const CollectiveRow& row : rows) {
    json::object line{{"size", row.bytes}, {"count", row.count}};
    line["out_of_place"] = half_json(row.out_of_place, bench.check);
    line["in_place"] =
        row.has_in_place ? json::value(half_json(row.in_place, bench.check)) : json::value(nullptr);
    lines.push_back(std::move(line));
  }
  for (const auto& one : settings.read)
    variables.push_back(json::object{
        {"name", one.name}, {"value", one.value}, {"acts", one.acts}, {"effect", one.effect}});
  const Sum sum = sum_of(rows);
  json::object out{{"op", bench.op}, {"ranks", ranks}, {"transport", transport}};
  out["type"] = std::string(to_string(bench.type));
  out["redop"] =
      reduces(bench) ? json::value(std::string(to_string(bench.reduce))) : json::value(nullptr);
  out["variables"] = std::move(variables);
  out["rows"] = std::move(lines);
  out["wrong"] = sum.wrong;
  out["busbw_mean"] = sum.busbw;
  return json::serialize(out) + "\n";
}

}  // namespace altlas::cli
