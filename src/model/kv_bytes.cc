#include "model/kv_bytes.h"

#include <fmt/format.h>

namespace altlas::model {
namespace {

Error other(std::string what) {
  return Error(ErrorCode::kConflict, "KV blocks from elsewhere: " + std::move(what));
}

std::string text_of(uint64_t adapter) {
  return adapter == 0 ? "no adapter" : fmt::format("adapter {:016x}", adapter);
}

}  // namespace

Result<void> check_stamp(const KvStamp& given, const KvStamp& own) {
  if (given.model != own.model)
    return other(
        fmt::format("they are of model {:016x}, this one is {:016x}", given.model, own.model));
  if (given.adapter != own.adapter)
    return other(fmt::format("they were computed with {}, not with {}", text_of(given.adapter),
                             text_of(own.adapter)));
  if (given.type != own.type || given.block_tokens != own.block_tokens)
    return other(fmt::format("they hold {} tokens of type {}, this KV cache {} of {}",
                             given.block_tokens, dtype_info(given.type).name, own.block_tokens,
                             dtype_info(own.type).name));
  const KvRange &a = given.range, &b = own.range;
  if (a.empty() || !b.holds(a))
    return invalid(
        fmt::format("KV blocks: layers {} to {} and heads {} to {} are not within {} to "
                    "{} and {} to {}, which this rank holds",
                    a.layer_begin, a.layer_end, a.head_begin, a.head_end, b.layer_begin,
                    b.layer_end, b.head_begin, b.head_end));
  return {};
}

}  // namespace altlas::model
