// read_query(): the query parameters of a request into their struct, row by row. The rows are those
// of a body (body/field.h); from them also come the parameters in /openapi.json and docs/api.md.
#pragma once

#include <boost/json.hpp>

#include <optional>
#include <string_view>
#include <type_traits>

#include "server/body/read.h"
#include "server/body/schema.h"
#include "server/http/http.h"
#include "server/http/route.h"

namespace altlas::server {

// What the text of a parameter stands for, by the kind of its member.
enum class QueryKind : uint8_t { kText, kInteger, kNumber };

template <class T>
inline constexpr QueryKind kQueryKind = std::is_floating_point_v<T> ? QueryKind::kNumber
                                        : std::is_integral_v<T>     ? QueryKind::kInteger
                                                                    : QueryKind::kText;
template <class T>
inline constexpr QueryKind kQueryKind<std::optional<T>> = kQueryKind<T>;

// A visitor of rows that gathers a request's parameters as the JSON object that a body with the
// same rows would be. The request outlives it.
class QueryValues {
 public:
  explicit QueryValues(const Request& request) : request_(request) {}

  template <class Query, class Member>
  void operator()(std::string_view name, Member Query::*, const BodyField& info) {
    static_assert(!std::is_same_v<Member, bool>, "give the two values names");
    add(name, kQueryKind<Member>, info);
  }
  template <class Query, class Rows>
  void operator()(Rows Query::*) {
    Rows::fields(*this);
  }
  // The object, or the first parameter that is no value of its kind.
  Result<boost::json::object> take();

 private:
  void add(std::string_view name, QueryKind kind, const BodyField& info);

  const Request& request_;
  boost::json::object object_;
  std::optional<Error> wrong_;
};

// What is absent keeps its default; of a parameter that is there several times the first counts;
// others are ignored. Errors: kInvalid with the parameter as its field.
template <HasFields Query>
Result<Query> read_query(const Request& request, const config::Config& now) {
  QueryValues values(request);
  Query::fields(values);
  ALTLAS_TRY(const boost::json::object object, values.take());
  JsonReader reader(object);
  Query query;
  read_fields(reader, query, now);
  ALTLAS_TRY_VOID(reader.status());
  return query;
}

// The description of `Query` for its route's row.
template <HasFields Query>
inline constexpr QueryRows kQueryOf{
    .parameters = [](const config::Config& now) { return BodySchemas(now).parameters(Query()); },
    .check = [](const Request& request, const config::Config& now) -> Result<void> {
      ALTLAS_TRY_VOID(read_query<Query>(request, now));
      return {};
    }};

}  // namespace altlas::server
