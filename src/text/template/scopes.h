// Scopes: the variables of a rendering, innermost scope last.
#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/template/value.h"

namespace altlas::text {

using Variables = std::vector<std::pair<std::string, Value>>;

struct Scope {
  Variables variables;
  void set(const std::string& name, Value value);
  // Null if there is no such variable.
  const Value* find(std::string_view name) const;
};

class Scopes {
 public:
  // The first scope holds the globals.
  explicit Scopes(Variables globals) { all_.push_back({std::move(globals)}); }

  void push(Scope scope = {}) { all_.push_back(std::move(scope)); }
  void pop() { all_.pop_back(); }
  Scope& innermost() { return all_.back(); }
  // The variable that a name means where the rendering is; a function of that name; else undefined.
  Value lookup(const std::string& name, RenderBudget& budget) const;

  // A macro sees the globals and the scopes pushed since it began: begin_frame() hides the others
  // until end_frame() gets what it returned.
  size_t begin_frame() { return std::exchange(frame_, all_.size()); }
  void end_frame(size_t outer) { frame_ = outer; }
  // The scopes from here on are seen, and the globals.
  size_t first_visible() const { return frame_ > 1 ? frame_ : 1; }
  size_t size() const { return all_.size(); }
  const Scope& operator[](size_t index) const { return all_[index]; }

 private:
  std::deque<Scope> all_;
  size_t frame_ = 0;  // The first scope of the macro that runs.
};

}  // namespace altlas::text
