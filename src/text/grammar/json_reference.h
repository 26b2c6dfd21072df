// References: where the $ref of a schema document lead: within it, by pointer, $id and $anchor.
#pragma once

#include <boost/json.hpp>

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace altlas::text::grammar {

namespace json = boost::json;

// A step of a JSON pointer: "/" and the name with ~ and / escaped.
std::string pointer_step(std::string_view name);

// Calls `visit` with every schema that stands directly in `schema`, and its pointer from there.
// What stands under const, enum, default and examples is data.
void visit_subschemas(const json::object& schema,
                      const std::function<void(const std::string&, const json::value&)>& visit);

// An URI as RFC 3986 resolves it against a base.
std::string resolve_uri(std::string_view base, std::string_view reference);

// The references of one document, which outlives it. Immutable.
class References {
 public:
  explicit References(const json::value& root);

  struct Target {
    const json::value* value = nullptr;
    std::string pointer;
  };
  // What `reference` names for a schema at `pointer`.  Errors: kNotFound: another document;
  // kInvalid: nothing in this one.
  Result<Target> resolve(std::string_view reference, std::string_view pointer) const;
  // The same for $dynamicRef and $recursiveRef, where only one target is possible: the document has
  // no other, or its root, from where every value is judged, has the anchor; kNotFound else.
  Result<Target> resolve_dynamic(std::string_view reference, std::string_view pointer) const;

 private:
  struct Resource {
    std::string uri;
    const json::value* value = nullptr;
  };
  void collect(const json::value& schema, std::string& pointer, const std::string& resource,
               size_t depth);
  // The pointer of the resource that the schema at `pointer` belongs to.
  const std::string& resource_of(std::string_view pointer) const;
  Result<Target> in_resource(const std::string& resource, std::string_view fragment) const;
  // For a schema's resource with a dynamic anchor of this name ("": $recursiveAnchor).
  Result<Target> outermost(const Target& target, const std::string& name) const;

  std::map<std::string, Resource, std::less<>> resources_;  // By pointer.
  // Pointers; of several resources with one URI, as tools may have, the nearest is meant.
  std::multimap<std::string, std::string, std::less<>> by_uri_;
  // By resource's pointer and name.
  std::map<std::pair<std::string, std::string>, Target> anchors_;
  // Names of $dynamicAnchor, "" for $recursiveAnchor, and the schemas that have them, by pointer.
  std::map<std::string, std::map<std::string, const json::value*>, std::less<>> dynamic_;
  size_t bytes_ = 0;  // The bytes of what is collected, at most kReferencesBytesMax.
};

}  // namespace altlas::text::grammar
