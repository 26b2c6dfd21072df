// Disjointness: whether two schemas certainly have no value in common, told from what they say.
#pragma once

#include <boost/json.hpp>

#include <map>
#include <string>
#include <utility>

#include "text/grammar/schema/context.h"
#include "text/grammar/schema/validator.h"

namespace altlas::text::grammar::schema {

class Disjointness {
 public:
  Disjointness(Context& context, Validator& validator) : context_(context), validator_(validator) {}

  // Whether no value fits both; false: perhaps.
  bool are_apart(const json::value& a, const std::string& path_a, const json::value& b,
                 const std::string& path_b);

 private:
  bool are_disjoint(const json::value& a, const std::string& path_a, const json::value& b,
                    const std::string& path_b);
  // By what `a` refers to and is composed of.
  bool parts_are_disjoint(const json::object& a, const std::string& path_a, const json::value& b,
                          const std::string& path_b);
  bool differ_in_member(const json::object& a, const std::string& path_a, const json::object& b,
                        const std::string& path_b);
  bool lists_no_value_of(const json::object& a, const json::value& b, const std::string& path_b);

  Context& context_;
  Validator& validator_;
  std::map<std::pair<const json::value*, const json::value*>, bool> disjoint_;  // Looked up only.
  size_t disjoint_steps_ = 0;
  size_t disjoint_depth_ = 0;
};

}  // namespace altlas::text::grammar::schema
