#include "server/tasks/sampling.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>

#include "base/random.h"
#include "text/json_text.h"

namespace altlas::server {

namespace json = boost::json;

namespace {

constexpr size_t kLogitBiasMax = 16'384;
constexpr size_t kBiasTextBytesMax = 16 << 10;
constexpr double kBiasMax = 100;

// Returns a token's id, or the ids of a text.
std::vector<int32_t> biased_tokens(const json::value& name, bool number, const ServedModel& model) {
  const int32_t count = model.tokenizer->vocab_size();
  int64_t id = -1;
  if (name.is_string() && number) {
    const std::string_view text = name.get_string();
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
    if (error != std::errc() || end != text.data() + text.size()) id = -1;
  } else if (name.is_string()) {
    auto ids = model.tokenizer->encode(name.get_string(), {.continues = true});
    return ids.ok() ? *std::move(ids) : std::vector<int32_t>();
  } else {
    id = whole_number(name).value_or(-1);
  }
  if (id < 0 || id >= count) return {};
  return {static_cast<int32_t>(id)};
}

// Reads OpenAI's {"id": bias}, or llama-server's [[id or text, bias or false]].
void read_logit_bias(const json::value& bias, JsonReader& reader, const ServedModel& model,
                     SamplingParams& sampling) {
  const json::array* list = bias.if_array();
  const json::object* object = bias.if_object();
  if (list == nullptr && object == nullptr) return reader.fail_kind("logit_bias", bias, "an object");
  const size_t count = list != nullptr ? list->size() : object->size();
  if (count > kLogitBiasMax)
    return reader.fail("logit_bias", fmt::format("has {} tokens, at most {} are taken", count,
                                                 kLogitBiasMax));
  const auto add = [&](const json::value& name, const json::value& value) {
    const std::vector<int32_t> ids = biased_tokens(name, list == nullptr, model);
    if (ids.empty())
      return reader.fail("logit_bias",
                         fmt::format("names token {}, should be from 0 to {}",
                                     text::json_text(name).substr(0, 32),
                                     model.tokenizer->vocab_size() - 1));
    const bool never = list != nullptr && value.is_bool() && !value.get_bool();
    if (!never && (!value.is_number() || !(std::abs(value.to_number<double>()) <= kBiasMax)))
      return reader.fail("logit_bias",
                         fmt::format("of token {} should be a number from {} to {}", ids[0],
                                     -kBiasMax, kBiasMax));
    const auto by = static_cast<float>(never ? -kBiasMax : value.to_number<double>());
    for (const int32_t id : ids) sampling.logit_bias.emplace_back(id, by);
  };
  if (object != nullptr)
    for (const auto& [key, value] : *object) add(json::value(key), value);
  size_t text_bytes = 0;
  for (size_t i = 0; list != nullptr && i < count && reader.status().ok(); ++i) {
    const json::array* pair = (*list)[i].if_array();
    if (pair == nullptr || pair->size() != 2)
      return reader.fail("logit_bias", "holds what is no pair of a token and its bias");
    if ((*pair)[0].is_string()) text_bytes += (*pair)[0].get_string().size();
    if (text_bytes > kBiasTextBytesMax) break;
    add((*pair)[0], (*pair)[1]);
  }
  if (sampling.logit_bias.size() > kLogitBiasMax || text_bytes > kBiasTextBytesMax)
    return reader.fail("logit_bias",
                       fmt::format("names texts of more than {} bytes in all", kBiasTextBytesMax));
  // If a token is named twice, the last bias counts.
  std::ranges::reverse(sampling.logit_bias);
  std::ranges::stable_sort(sampling.logit_bias, {}, &std::pair<int32_t, float>::first);
  const auto doubles =
      std::ranges::unique(sampling.logit_bias, {}, &std::pair<int32_t, float>::first);
  sampling.logit_bias.erase(doubles.begin(), doubles.end());
}

}  // namespace

json::object logit_bias_schema(const config::Config&) {
  const json::object by{{"type", "number"}, {"minimum", -kBiasMax}, {"maximum", kBiasMax}};
  const json::object by_id{{"type", "object"},
                           {"maxProperties", kLogitBiasMax},
                           {"additionalProperties", by},
                           {"propertyNames", {{"pattern", "^[0-9]{1,9}$"}}}};
  const json::object pair{{"type", "array"}, {"minItems", 2}, {"maxItems", 2}};
  const json::object pairs{{"type", "array"}, {"maxItems", kLogitBiasMax}, {"items", pair}};
  return {{"anyOf", json::array{by_id, pairs}}};
}

SamplingParams read_sampling(SamplingFields fields, JsonReader& reader, const ServedModel& model) {
  SamplingParams& sampling = fields;
  sampling.top_k = std::max(0, sampling.top_k);
  const auto seed = wanted_seed(fields);
  sampling.seed = seed ? *seed : draw_seed();
  size_t stop_bytes = 0;
  for (const std::string& stop : sampling.stop) stop_bytes += stop.size();
  if (stop_bytes > text::kStopBytesMax)
    reader.fail("stop", fmt::format("has {} bytes in all, at most {} are allowed", stop_bytes,
                                    text::kStopBytesMax));
  if (fields.biases != nullptr) read_logit_bias(*fields.biases, reader, model, sampling);
  return std::move(sampling);
}

uint64_t draw_seed() {
  return random_bits() & ((uint64_t{1} << 52) - 1);
}

std::optional<uint64_t> wanted_seed(const SamplingFields& fields) {
  if (!fields.given_seed || *fields.given_seed == -1) return std::nullopt;
  return static_cast<uint64_t>(*fields.given_seed);
}

uint64_t choice_seed(uint64_t seed, uint64_t index) {
  const uint64_t own = seed + index;
  const bool passes = seed > INT64_MAX && (own == UINT64_MAX || own < seed);
  return passes ? own + 1 : own;
}

}  // namespace altlas::server
