// OpenAI's /v1/embeddings.
#include <fmt/format.h>
#include <openssl/evp.h>

#include <bit>
#include <boost/json.hpp>
#include <cmath>
#include <cstring>

#include "server/body/read.h"
#include "server/openai/bodies.h"
#include "server/openai/choices.h"
#include "server/routes.h"
#include "text/json_text.h"

namespace altlas::server {
namespace {

namespace json = boost::json;
using boost::asio::awaitable;

struct EmbeddingRequest {
  std::vector<PendingTask> tasks;
  ServedModelPointer model;
  bool base64 = false;
  std::optional<int64_t> dimensions;
};

Result<EmbeddingRequest> read_request(const json::object& object, const Request& request,
                                      const Services& services) {
  JsonReader reader(object);
  EmbeddingBody body;
  read_fields(reader, body, *services.now());
  ALTLAS_TRY_VOID(reader.status());
  PendingTask pattern;
  ALTLAS_TRY_VOID(
      read_target(body.target, body.priority, kEmbeddingType, request, services, pattern));
  pattern.spec.asked = request.received;
  EmbeddingRequest out;
  out.model = pattern.model;
  out.base64 = body.encoding_format == EmbeddingFormat::kBase64;
  out.dimensions = body.dimensions;
  if (out.dimensions && *out.dimensions > out.model->embedding_size)
    return invalid(fmt::format("dimensions: is {}, embeddings of '{}' have {}", *out.dimensions,
                               out.model->id, out.model->embedding_size),
                   "dimensions");
  ALTLAS_TRY(auto prompts, read_prompts(*body.input, "input", *out.model));
  for (PromptSource& prompt : prompts) {
    PendingTask task = pattern;
    if (prompts.size() > 1) task.place = fmt::format("input[{}]", &prompt - prompts.data());
    task.prompt = std::move(prompt);
    as_embedding(task);
    out.tasks.push_back(std::move(task));
  }
  return out;
}

// Encodes little-endian floats, which OpenAI's clients expect.
std::string base64_of(std::span<const float> values) {
  static_assert(std::endian::native == std::endian::little);
  const size_t bytes = values.size_bytes();
  std::string out((bytes + 2) / 3 * 4 + 1, '\0');  // OpenSSL ends the text with a zero.
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                   reinterpret_cast<const unsigned char*>(values.data()),
                                   static_cast<int>(bytes));
  out.resize(static_cast<size_t>(size));
  return out;
}

json::value embedding_json(std::vector<float> values, const EmbeddingRequest& asked) {
  if (asked.dimensions) shorten_embedding(values, static_cast<size_t>(*asked.dimensions));
  if (asked.base64) return json::value(base64_of(values));
  return json::array(values.begin(), values.end());
}

// POST /v1/embeddings {"input", "model", "encoding_format", "dimensions"} -> one vector per input,
// of length 1.
awaitable<Result<Response>> embeddings(Request request, Services& services) {
  ALTLAS_CO_TRY(const json::object body, read_body(request, services));
  ALTLAS_CO_TRY(EmbeddingRequest asked, read_request(body, request, services));
  std::vector<PendingTask> tasks = std::move(asked.tasks);
  ALTLAS_CO_TRY(auto owned, co_await submit_owned(std::move(tasks), request.asker(), services));
  ALTLAS_CO_TRY(auto choices,
                co_await collect_choices(std::move(owned), /*with_ids=*/false, services));
  json::array data;
  uint64_t tokens = 0;
  for (size_t i = 0; i < choices.size(); ++i) {
    tokens += choices[i].view.prompt_tokens;
    data.push_back(
        {{"object", "embedding"},
         {"index", i},
         {"embedding", embedding_json(std::move(choices[i].view.result->embedding), asked)}});
  }
  const json::object answer{{"object", "list"},
                            {"data", std::move(data)},
                            {"model", asked.model->id},
                            {"usage", {{"prompt_tokens", tokens}, {"total_tokens", tokens}}}};
  co_return json_response(text::json_text(answer));
}

}  // namespace

void shorten_embedding(std::vector<float>& values, size_t size) {
  if (size >= values.size()) return;
  values.resize(size);
  double sum = 0;
  for (const float value : values) sum += double{value} * double{value};
  if (sum <= 0) return;
  const auto scale = static_cast<float>(1 / std::sqrt(sum));
  for (float& value : values) value *= scale;
}

std::vector<Route> embedding_routes() {
  return {{"POST",
           "/v1/embeddings",
           Access::kUser,
           embeddings,
           "Embeddings of texts",
           "EmbeddingRequest",
           "Embeddings",
           {},
           {400, 404, 413, 415, 429, 503}}};
}

}  // namespace altlas::server
