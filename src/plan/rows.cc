#include "plan/rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <vector>

#include "base/integers.h"
#include "base/strings.h"
#include "plan/csv.h"

namespace altlas::plan {
namespace {

constexpr int64_t kRanksMax = 1024;
constexpr int64_t kConcurrencyMax = 65'536;
constexpr int64_t kTokensMax = 10'000'000;
// The most predictions that are kept for later rows.
constexpr size_t kKnownMax = 100'000;

enum Column : uint8_t {
  kModel,
  kGpu,
  kEngine,
  kDtype,
  kTensor,
  kPipeline,
  kReplicas,
  kConcurrency,
  kInput,
  kOutput,
  kColumns
};
constexpr std::array<std::string_view, kColumns> kColumnNames = {
    "model", "gpu", "engine", "dtype", "tp", "pp", "dp", "concurrency", "isl", "osl"};
constexpr std::array<std::string_view, 4> kAdded = {"predicted_ttft_ms", "predicted_tpot_ms",
                                                    "predicted_out_tok_s", "reason"};
using ColumnPlaces = std::array<size_t, kColumns>;

std::string printable(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 32) c = '?';
  return out;
}
std::string shown(std::string_view text) { return printable(text.substr(0, 40)); }

Result<ColumnPlaces> find_columns(const CsvRecord& header) {
  ColumnPlaces places;
  places.fill(SIZE_MAX);
  for (size_t i = 0; i < header.fields.size(); ++i) {
    const std::string& name = header.fields[i];
    if (std::ranges::find(kAdded, name) != kAdded.end())
      return invalid(fmt::format("line {}: the column {} is there already", header.line, name));
    const auto* found = std::ranges::find(kColumnNames, name);
    if (found == kColumnNames.end()) continue;
    size_t& place = places[static_cast<size_t>(found - kColumnNames.begin())];
    if (place != SIZE_MAX)
      return invalid(fmt::format("line {}: the column {} is there twice", header.line, name));
    place = i;
  }
  std::string missing;
  for (size_t i = 0; i < kColumns; ++i)
    if (places[i] == SIZE_MAX)
      missing += (missing.empty() ? "" : ", ") + std::string(kColumnNames[i]);
  if (!missing.empty())
    return invalid(fmt::format("line {}: the header has no column {}; needed are {}", header.line,
                               missing, fmt::join(kColumnNames, ", ")));
  return places;
}

Result<int64_t> number(const CsvRecord& record, Column column, std::string_view text, int64_t least,
                       int64_t most) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < least || value > most)
    return invalid(fmt::format("line {}: {} '{}' is no whole number from {} to {}", record.line,
                               kColumnNames[column], shown(text), least, most));
  return value;
}

Result<PointSpec> read_point(const CsvRecord& record, const ColumnPlaces& places) {
  const auto text = [&](Column column) -> const std::string& {
    return record.fields[places[column]];
  };
  PointSpec point{
      .model = text(kModel), .gpu = text(kGpu), .engine = text(kEngine), .dtype = text(kDtype)};
  const auto ranks = [&](Column column) -> Result<int64_t> {
    if (text(column).empty()) return 1;
    ALTLAS_TRY(const int64_t value, number(record, column, text(column), 0, kRanksMax));
    if (value == 0 && column != kReplicas)
      return invalid(
          fmt::format("line {}: {} is 0; at least 1 is needed", record.line, kColumnNames[column]));
    return std::max<int64_t>(value, 1);
  };
  ALTLAS_TRY(point.tensor, ranks(kTensor));
  ALTLAS_TRY(point.pipeline, ranks(kPipeline));
  ALTLAS_TRY(point.replicas, ranks(kReplicas));
  ALTLAS_TRY(point.concurrency,
             number(record, kConcurrency, text(kConcurrency), 1, kConcurrencyMax));
  ALTLAS_TRY(point.input_tokens, number(record, kInput, text(kInput), 1, kTokensMax));
  ALTLAS_TRY(point.output_tokens, number(record, kOutput, text(kOutput), 1, kTokensMax));
  return point;
}

// InferenceMAX measures these lengths with requests of 80 to 100 % of them. Clients of other points
// send all requests with one length.
double length_share_min(const PointSpec& p) {
  constexpr std::pair<int64_t, int64_t> kDrawn[] = {{1024, 1024}, {1024, 8192}, {8192, 1024}};
  const auto drawn = [&](const auto& pair) {
    return pair.first == p.input_tokens && pair.second == p.output_tokens;
  };
  return std::ranges::any_of(kDrawn, drawn) ? 0.8 : 1;
}

Result<StepModel> step_model(const PointSpec& point) {
  ALTLAS_TRY(const ModelShape shape, model_shape(point.model));
  ALTLAS_TRY(const DeviceModel device, device_model(device_kind_name(point.gpu)));
  ALTLAS_TRY(WeightFormat weights, weight_format(point.dtype));
  if (!device.computes(weights.math))
    return invalid(fmt::format("{} does not compute {}", device.kind.name, weights.name));
  if (point.tensor > shape.heads)
    return invalid(fmt::format("tp {} is more than the {} heads of {}", point.tensor, shape.heads,
                               shape.name));
  if (point.pipeline > shape.layers)
    return invalid(fmt::format("pp {} is more than the {} layers of {}", point.pipeline,
                               shape.layers, shape.name));
  if (point.input_tokens + point.output_tokens > shape.context)
    return invalid(fmt::format("isl {} + osl {} exceed the context of {}, {} tokens",
                               point.input_tokens, point.output_tokens, shape.name, shape.context));
  StepModel model{.shape = shape, .device = device, .layout = {}, .weights = weights};
  model.layout.tensor_parallel_size = static_cast<int32_t>(point.tensor);
  model.layout.pipeline_parallel_size = static_cast<int32_t>(point.pipeline);
  return model;
}
}  // namespace

std::string device_kind_name(std::string_view gpu) {
  std::string name = lower(gpu);
  std::ranges::replace(name, '_', '-');
  if (name.ends_with("-sxm")) name.resize(name.size() - 4);
  return name == "a100" ? "a100-80gb" : name;
}

Result<ServingFigures> predict_point(const PointSpec& point, const OverheadOverride& overheads) {
  ALTLAS_TRY(StepModel model, step_model(point));
  ALTLAS_TRY(EngineModel engine, engine_model(point.engine));
  model.weights.kv_bytes_per_value = kv_bytes_per_value(model, engine);
  engine.step_s = overheads.step_s.value_or(engine.step_s);
  engine.request_s = overheads.request_s.value_or(engine.request_s);
  const int64_t each = ceil_div(point.concurrency, point.replicas);
  ALTLAS_TRY(ServingFigures figures,
             predict_serving(model, engine,
                             {.concurrency = static_cast<int32_t>(each),
                              .input_tokens = static_cast<int32_t>(point.input_tokens),
                              .output_tokens = static_cast<int32_t>(point.output_tokens),
                              .length_share_min = length_share_min(point)}));
  figures.output_tokens_per_s *= static_cast<double>(point.concurrency) / static_cast<double>(each);
  return figures;
}

Result<void> predict_rows(std::string_view csv, const OverheadOverride& overheads,
                          const std::function<void(std::string_view)>& write) {
  CsvReader reader(csv);
  CsvRecord record;
  ALTLAS_TRY(const bool has_header, reader.next(record));
  if (!has_header) return invalid("line 1: the file is empty; a header is needed");
  ALTLAS_TRY(const ColumnPlaces places, find_columns(record));
  const size_t columns = record.fields.size();
  write(fmt::format("{},{}\n", record.raw, fmt::join(kAdded, ",")));
  std::map<std::string, std::string> known;  // Rows with equal inputs are computed once.
  while (true) {
    ALTLAS_TRY(const bool more, reader.next(record));
    if (!more) return {};
    if (record.fields.size() != columns)
      return invalid(fmt::format("line {}: {} fields where the header has {}", record.line,
                                 record.fields.size(), columns));
    ALTLAS_TRY(const PointSpec p, read_point(record, places));
    const std::string key = fmt::format("{}\n{}\n{}\n{}\n{} {} {} {} {} {}", p.model, p.gpu,
                                        p.engine, p.dtype, p.tensor, p.pipeline, p.replicas,
                                        p.concurrency, p.input_tokens, p.output_tokens);
    auto found = known.find(key);
    if (found == known.end()) {
      const auto figures = predict_point(p, overheads);
      std::string cells = figures.ok() ? fmt::format("{:.1f},{:.3f},{:.1f},", figures->ttft_ms,
                                                     figures->tpot_ms, figures->output_tokens_per_s)
                                       : ",,," + csv_field(printable(figures.error().message()));
      if (known.size() >= kKnownMax) known.clear();
      found = known.emplace(key, std::move(cells)).first;
    }
    write(fmt::format("{},{}\n", record.raw, found->second));
  }
}

}  // namespace altlas::plan
