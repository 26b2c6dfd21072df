// Context: what every part of one compilation shares: the work that is left, what was left out of
// the schema, and the patterns and references that were read.
#pragma once

#include <boost/json.hpp>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/grammar/automaton.h"
#include "text/grammar/json_reference.h"
#include "text/grammar/program.h"

namespace altlas::text::grammar::schema {

// Lives as long as the compilation of one document, which outlives it. One thread.
class Context {
 public:
  // expands: if, not, oneOf and dependent… are held to, which multiplies cases; else they are named
  // as left out.
  Context(const json::value& root, bool expands) : expands(expands), references_(root) {}

  // An error about the schema at `path`, a JSON pointer.
  Error wrong(std::string_view path, std::string_view what) const;
  // Names a keyword that is left out.
  void leave_out(Unheld::Why why, const std::string& path, std::string reason);
  std::vector<Unheld> take_unheld() { return std::move(unheld_); }
  // The schema that the reference of `keyword` at `path` names, and its pointer in `target`. Null,
  // and the keyword is named as left out, if there is none.
  const json::value* resolve(std::string_view keyword, const json::value& reference,
                             const std::string& path, std::string& target);
  // The strings in which the pattern finds a match. Null, and the keyword at `path` is named as
  // left out, where it can't be held.
  const Automaton* pattern(std::string_view text, const std::string& path);

  const bool expands;
  bool expanded = false;  // Whether anything was.
  CompileBudget budget;

 private:
  const References references_;
  std::vector<Unheld> unheld_;
  std::map<std::string, std::optional<Automaton>, std::less<>> patterns_;
};

}  // namespace altlas::text::grammar::schema
