// Program: a compiled grammar: automata over bytes that call each other.
#pragma once

#include <bitset>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "task/task.h"
#include "text/grammar/limits.h"

namespace altlas::text::grammar {

// A keyword of a schema that texts are not held to.
struct Unheld {
  enum class Why : uint8_t { kUnsupported, kMalformed, kTooComplex };
  Why why = Why::kUnsupported;
  std::string pointer;  // The keyword's JSON pointer: "/properties/a/contains".
  std::string reason;   // What of it, and what would be right.
};

// The pointer as messages write fields: "properties.a.anyOf[0]".
std::string dotted_pointer(std::string_view pointer);

// Immutable; any thread. Every state reaches an end, and none calls a rule that reaches itself
// without a byte in between.
struct Program {
  struct ByteEdge {
    uint8_t lo = 0;
    uint8_t hi = 0;
    uint32_t to = 0;
  };
  struct Call {
    uint32_t rule = 0;
    uint32_t to = 0;  // Where it goes on afterwards.
  };
  struct State {
    std::vector<ByteEdge> bytes;  // By byte; apart.
    std::vector<Call> calls;
    uint32_t rule = 0;
    uint32_t texts = 0;    // For a distinct rule: how many go on from here; UINT32_MAX: no end.
    bool accepts = false;  // The rule may end here; of a counted rule, if it has counted enough.
    bool counts = false;   // A counted rule's start: coming back to it counts one.
    bool leads_nowhere() const { return bytes.empty() && calls.empty(); }
  };
  struct Rule {
    uint32_t start = 0;
    bool counted = false;
    // Its texts differ from each other, of all calls by one text of the rule that calls it. It
    // calls no rules.
    bool distinct = false;
    bool remembers = false;  // Calls a distinct rule.
    // Counted: no byte can both begin another round and follow the rule.
    bool ends_clearly = false;
    uint32_t min = 0;
    uint32_t max = 0;
    std::bitset<256> follow;  // Bytes that can come after the rule, wherever it is called.
  };
  std::vector<State> states;
  std::vector<Rule> rules;  // Rule 0 is the root.
  bool remembers = false;   // Some rule is distinct.
  uint64_t bytes = 0;       // Bytes of memory, about.
  std::vector<Unheld> unheld;
};

// What a schema says that can't be held is left out and named in `unheld`: who asked decides.
// Errors: kInvalid says what of the text can't be compiled and what would be right; its field is
// the place within a schema ("properties.a.pattern"), where there is one.
Result<std::shared_ptr<const Program>> compile(const Grammar& grammar);

struct Rules;
// Also: every reader's last step.  Errors: kInvalid for left recursion, over a limit, and for rules
// that no text matches.
Result<std::shared_ptr<const Program>> compile_rules(Rules rules, CompileBudget& budget,
                                                     std::vector<Unheld> unheld = {});

// The readers. Errors: kInvalid.
Result<std::shared_ptr<const Program>> compile_json_schema(std::string_view schema);
Result<std::shared_ptr<const Program>> compile_regex(std::string_view pattern);
Result<std::shared_ptr<const Program>> compile_gbnf(std::string_view rules);

}  // namespace altlas::text::grammar
