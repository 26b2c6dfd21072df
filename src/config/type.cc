#include "config/type.h"

#include <map>
#include <memory>
#include <optional>
#include <type_traits>

#include "base/fields.h"

namespace altlas::config {
namespace {

template <class T>
struct Describe;

template <class T>
const Type& type_of() {
  static const Type type = [] {
    static const T fresh{};
    Type made = Describe<T>::make();
    made.fresh = &fresh;
    made.assign = [](void* to, const void* from) {
      *static_cast<T*>(to) = *static_cast<const T*>(from);
    };
    return made;
  }();
  return type;
}

template <class Section>
struct Describe {
  static Type make() {
    static_assert(std::is_aggregate_v<Section>, "a section holds plain public members");
    static_assert(fields_complete<Section>(), "describe every member in fields()");
    static const Section base{};
    Type type{.kind = Type::Kind::kSection};
    Section::fields(
        [&type]<class T>(std::string_view name, T Section::* member, const FieldInfo& info) {
          const auto offset =
              reinterpret_cast<const char*>(&(base.*member)) - reinterpret_cast<const char*>(&base);
          type.members.push_back({name, info, &type_of<T>(), static_cast<size_t>(offset)});
        });
    return type;
  }
};
template <>
struct Describe<bool> {
  static Type make() { return {.kind = Type::Kind::kBool}; }
};
template <>
struct Describe<int64_t> {
  static Type make() { return {.kind = Type::Kind::kInt}; }
};
template <>
struct Describe<double> {
  static Type make() { return {.kind = Type::Kind::kReal}; }
};
template <>
struct Describe<std::string> {
  static Type make() { return {.kind = Type::Kind::kText}; }
};
template <NamedEnum E>
struct Describe<E> {
  static_assert(sizeof(E) == 1);
  static Type make() { return {.kind = Type::Kind::kEnum, .names = names_of(E{})}; }
};
template <class T>
struct Describe<std::optional<T>> {
  using Box = std::optional<T>;
  static Type make() {
    Type type{.kind = Type::Kind::kOptional, .element = &type_of<T>()};
    type.size = [](const void* box) -> size_t { return static_cast<const Box*>(box)->has_value(); };
    type.clear = [](void* box) { static_cast<Box*>(box)->reset(); };
    type.append = [](void* box) -> void* { return &static_cast<Box*>(box)->emplace(); };
    type.at = [](const void* box, size_t) -> const void* {
      return &**static_cast<const Box*>(box);
    };
    return type;
  }
};
template <class T>
struct Describe<std::vector<T>> {
  using Box = std::vector<T>;
  static Type make() {
    Type type{.kind = Type::Kind::kList, .element = &type_of<T>()};
    type.size = [](const void* box) { return static_cast<const Box*>(box)->size(); };
    type.clear = [](void* box) { static_cast<Box*>(box)->clear(); };
    type.append = [](void* box) -> void* { return &static_cast<Box*>(box)->emplace_back(); };
    type.at = [](const void* box, size_t i) -> const void* {
      return &(*static_cast<const Box*>(box))[i];
    };
    return type;
  }
};
template <class T>
struct Describe<std::map<std::string, T>> {
  using Box = std::map<std::string, T>;
  static const auto& nth(const void* box, size_t i) {
    return *std::next(static_cast<const Box*>(box)->begin(), static_cast<std::ptrdiff_t>(i));
  }
  static Type make() {
    Type type{.kind = Type::Kind::kMap, .element = &type_of<T>()};
    type.size = [](const void* box) { return static_cast<const Box*>(box)->size(); };
    type.clear = [](void* box) { static_cast<Box*>(box)->clear(); };
    type.insert = [](void* box, const std::string& key) -> void* {
      return &(*static_cast<Box*>(box))[key];
    };
    type.at = [](const void* box, size_t i) -> const void* { return &nth(box, i).second; };
    type.key = [](const void* box, size_t i) { return &nth(box, i).first; };
    return type;
  }
};

}  // namespace

const Type& config_type() { return type_of<Config>(); }
const Type& deployment_type() { return type_of<DeploymentConfig>(); }

}  // namespace altlas::config
