// BodySchemas: JSON Schemas of request bodies, from the rows that body/read.h reads them by.
#pragma once

#include <boost/json.hpp>
#include <fmt/format.h>

#include <concepts>
#include <string>
#include <vector>

#include "server/body/read.h"

namespace altlas::server {

// Schemas by name. Those that several bodies share (BodyField::shared) stand once and are referred
// to. One thread at a time.
class BodySchemas {
 public:
  // `now` outlives it: settings that limit fields.
  explicit BodySchemas(const config::Config& now) : now_(now) {}

  // The schema of `Body`, whose defaults are those of `example`.
  template <HasFields Body>
  void add(std::string_view name, const Body& example) {
    all_[name] = object_of(example);
  }
  boost::json::object take() { return std::move(all_); }
  // Rows of query parameters, as QueryRows has them.
  template <HasFields Query>
  boost::json::array parameters(const Query& example) const {
    boost::json::array out;
    add_parameters(example, out);
    return out;
  }

 private:
  using Object = boost::json::object;

  template <HasFields Body>
  struct Properties {
    BodySchemas& schemas;
    const Body& example;
    Object& properties;
    boost::json::array& required;

    void operator()(std::string_view name, auto member, const BodyField& info) const {
      properties[name] = schemas.finish(schemas.value_schema(example.*member, info), info);
      if (!info.needed.empty()) required.emplace_back(name);
      for (const std::string_view other : info.other_names)
        if (!other.empty()) properties[other] = other_name(properties, name);
    }
    void operator()(auto member) const {
      schemas.add_properties(example.*member, properties, required);
    }
  };

  template <HasFields Query>
  struct Parameters {
    const BodySchemas& schemas;
    const Query& example;
    boost::json::array& out;

    void operator()(std::string_view name, auto member, const BodyField& info) const {
      out.push_back(Object{{"name", name},
                           {"schema", schemas.value_schema(example.*member, info)},
                           {"description", info.help}});
    }
    void operator()(auto member) const { schemas.add_parameters(example.*member, out); }
  };

  template <HasFields Query>
  void add_parameters(const Query& example, boost::json::array& out) const {
    Query::fields(Parameters<Query>{*this, example, out});
  }
  template <HasFields Body>
  void add_properties(const Body& example, Object& properties, boost::json::array& required) {
    const Properties<Body> each{*this, example, properties, required};
    Body::fields(each);
  }
  template <HasFields Body>
  Object object_of(const Body& example) {
    Object properties;
    boost::json::array required;
    add_properties(example, properties, required);
    Object out{{"type", "object"}};
    if (!required.empty()) out["required"] = std::move(required);
    out["properties"] = std::move(properties);
    return out;
  }

  // The schema of a field's value where it is there: an overload for each kind of body/read.h.
  static Object value_schema(bool example, const BodyField& info);
  static Object value_schema(const std::optional<bool>& example, const BodyField& info);
  static Object value_schema(const std::string& example, const BodyField& info);
  static Object value_schema(const std::optional<std::string>& example, const BodyField& info);
  static Object value_schema(const std::vector<std::string>& example, const BodyField& info);
  static Object value_schema(const std::optional<Priority>& example, const BodyField& info);
  static Object value_schema(const std::optional<DeviceId>& example, const BodyField& info);
  static Object value_schema(const std::optional<TaskStatus>& example, const BodyField& info);
  static Object value_schema(const TokensMax& example, const BodyField& info);
  static Object value_schema(const Refused& example, const BodyField& info);
  Object value_schema(const std::optional<Strategy>& example, const BodyField& info) const;
  Object value_schema(const boost::json::value* example, const BodyField& info) const;
  Object value_schema(const boost::json::array* example, const BodyField& info) const;
  Object value_schema(const boost::json::object* example, const BodyField& info) const;
  template <std::integral T>
  static Object value_schema(const T& example, const BodyField& info) {
    Object out = value_schema(std::optional<T>(), info);
    if (info.needed.empty()) out["default"] = example;
    return out;
  }
  template <std::integral T>
  static Object value_schema(const std::optional<T>&, const BodyField& info) {
    const auto [least, most] = range_of<T>(info);
    return {{"type", "integer"}, {"minimum", least}, {"maximum", most}};
  }
  template <std::floating_point T>
  static Object value_schema(const T& example, const BodyField& info) {
    Object out = value_schema(std::optional<T>(), info);
    // As it was written: 0.7f is 0.7.
    out["default"] = boost::json::parse(fmt::format("{}", example));
    return out;
  }
  template <std::floating_point T>
  static Object value_schema(const std::optional<T>&, const BodyField& info) {
    Object out{{"type", "number"}};
    if (!std::isinf(info.min)) out["minimum"] = info.min;
    if (!std::isinf(info.max)) out["maximum"] = info.max;
    return out;
  }
  template <NamedEnum E>
  static Object value_schema(const E& example, const BodyField& info) {
    Object out{{"enum", names_json(names_of(E{}))}};
    if (info.needed.empty()) out["default"] = altlas::to_string(example);
    return out;
  }
  template <HasFields T>
  Object value_schema(const std::optional<T>&, const BodyField&) {
    return object_of(T());
  }

  static boost::json::array names_json(std::span<const EnumName> names);
  static Object other_name(const Object& properties, std::string_view name);
  // With help, null where the field may be left out, and as a reference where it is shared.
  Object finish(Object schema, const BodyField& info);

  const config::Config& now_;
  Object all_;
};

}  // namespace altlas::server
