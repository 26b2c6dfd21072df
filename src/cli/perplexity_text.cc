#include "cli/perplexity_text.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <cmath>

namespace altlas::cli {

Result<std::vector<int32_t>> parse_ids(std::string_view text, int32_t vocab_size) {
  boost::system::error_code error;
  const boost::json::value value =
      boost::json::parse(boost::json::string_view(text.data(), text.size()), error);
  const boost::json::array* list = error ? nullptr : value.if_array();
  if (list == nullptr)
    return invalid("--ids: it is not a JSON list of token ids: write them as [1, 2, 3]");
  if (list->size() > kPerplexityIdsMax)
    return invalid(fmt::format("--ids: {} ids are more than {}", list->size(), kPerplexityIdsMax));
  std::vector<int32_t> ids;
  ids.reserve(list->size());
  for (size_t i = 0; i < list->size(); ++i) {
    const boost::json::value& item = (*list)[i];
    const int64_t id = item.is_int64() ? item.get_int64() : -1;
    if (id < 0 || id >= vocab_size)
      return invalid(fmt::format("--ids: element {} is {}, should be a token id from 0 to {}", i,
                                 boost::json::serialize(item).substr(0, 64), vocab_size - 1));
    ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

Result<Perplexity> make_perplexity_of(std::vector<int32_t> ids,
                                      std::span<const TokenLogprobs> logprobs) {
  if (logprobs.size() + 1 != ids.size())
    return Error(ErrorCode::kInternal,
                 fmt::format("the engine gave {} log-probabilities for {} tokens", logprobs.size(),
                             ids.size()));
  Perplexity out;
  double sum = 0;
  for (size_t i = 0; i < logprobs.size(); ++i) {
    const TokenLogprobs& one = logprobs[i];
    if (one.id != ids[i + 1] || one.top.empty() || !std::isfinite(one.logprob))
      return Error(ErrorCode::kInternal,
                   fmt::format("the engine's log-probability of token {} does not fit it", i + 1));
    out.logprobs.push_back(one.logprob);
    out.top1.push_back(one.top.front().first);
    sum -= static_cast<double>(one.logprob);
  }
  out.ids = std::move(ids);
  out.nll = sum / static_cast<double>(logprobs.size());
  return out;
}

std::string to_json(const Perplexity& perplexity) {
  return fmt::format("{{\"ids\":[{}],\"logprobs\":[{}],\"top1\":[{}],\"nll\":{}}}",
                     fmt::join(perplexity.ids, ","), fmt::join(perplexity.logprobs, ","),
                     fmt::join(perplexity.top1, ","), perplexity.nll);
}

}  // namespace altlas::cli
