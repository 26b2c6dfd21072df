// Filters of chat templates for lists and objects.
#include "text/template/filters.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "text/template/access.h"
#include "text/template/functions.h"
#include "text/template/operators.h"
#include "text/template/string_methods.h"

namespace altlas::text {

namespace {

constexpr std::string_view kFilters =
    "abs attr batch capitalize center count default dictsort escape first float format groupby "
    "indent int items join "
    "last length list lower map max min reject rejectattr replace reverse round safe select "
    "selectattr sort string sum "
    "title tojson trim unique upper wordcount";

// Returns "a.b.0" of an item. An undefined part ends it.
Result<Value> path(Rendering& rendering, const Value& item, std::string_view name) {
  Value value = item;
  while (true) {
    const size_t dot = std::min(name.find('.'), name.size());
    const std::string part(name.substr(0, dot));
    const bool number =
        !part.empty() && part.size() < 10 && part.find_first_not_of("0123456789") == part.npos;
    ALTLAS_TRY(value,
               item_at(rendering, value, number ? Value(std::stoi(part)) : Value::trusted(part)));
    if (dot == name.size()) return value;
    name.remove_prefix(dot + 1);
  }
}

// Returns what sort, unique, min, max and groupby compare. Case of strings does not count unless
// asked for.
Result<Value> sort_key(Rendering& rendering, const Value& item, const TaggedText* attribute,
                       bool case_sensitive) {
  Value key = item;
  if (attribute != nullptr) {
    ALTLAS_TRY(key, path(rendering, item, attribute->bytes));
  }
  if (key.is_string() && !case_sensitive) {
    ALTLAS_TRY_VOID(rendering.reserve_text(key.view().size()));
    return Value(change_case(key.text(), Case::kLower));
  }
  return key;
}

struct Keyed {
  Value key, item;
};

Result<std::vector<Keyed>> keyed(Rendering& rendering, const std::vector<Value>& items,
                                 const TaggedText* attribute, bool case_sensitive) {
  std::vector<Keyed> made;
  ALTLAS_TRY_VOID(rendering.reserve_items(2 * items.size()));
  for (const Value& item : items) {
    ALTLAS_TRY(Value key, sort_key(rendering, item, attribute, case_sensitive));
    made.push_back({std::move(key), item});
  }
  return made;
}

Result<void> sort_keyed(Rendering& rendering, std::vector<Keyed>& all, bool reverse) {
  bool comparable = true;
  RenderBudget& budget = rendering.budget();
  budget.spend(all.size() * 20);
  ALTLAS_TRY_VOID(rendering.check_budget());
  // The order must stay strict even if values can't be compared or the budget ends: then all count
  // as equal, and the sort fails.
  std::stable_sort(all.begin(), all.end(), [&](const Keyed& a, const Keyed& b) {
    if (budget.exhausted() || !comparable) return false;
    return reverse ? less(b.key, a.key, budget, comparable)
                   : less(a.key, b.key, budget, comparable);
  });
  ALTLAS_TRY_VOID(rendering.check_budget());
  if (!comparable) return rendering.fail("sort: items of different kinds can't be compared");
  return {};
}

Result<Value> sort(Rendering& rendering, const std::vector<Value>& items,
                   const Arguments& arguments) {
  ALTLAS_TRY(std::vector<Keyed> all, keyed(rendering, items, arguments.text(2, "attribute"),
                                           arguments.truth(1, "case_sensitive", false)));
  ALTLAS_TRY_VOID(sort_keyed(rendering, all, arguments.truth(0, "reverse", false)));
  std::vector<Value> sorted;
  for (Keyed& one : all) sorted.push_back(std::move(one.item));
  return Value::list(std::move(sorted));
}

Result<Value> sort_object(Rendering& rendering, const Value& object, const Arguments& arguments) {
  if (!object.is_object())
    return rendering.fail(fmt::format("dictsort takes an object, not {}", object.kind_name()));
  const TaggedText* by = arguments.text(1, "by");
  const bool by_value = by != nullptr && by->bytes == "value";
  std::vector<Keyed> all;
  ALTLAS_TRY_VOID(rendering.reserve_items(4 * object.entries().size()));
  for (const auto& [key, value] : object.entries()) {
    ALTLAS_TRY(Value sorts_by, sort_key(rendering, by_value ? value : key, nullptr,
                                        arguments.truth(0, "case_sensitive", false)));
    all.push_back({std::move(sorts_by), Value::list({key, value}, /*is_tuple=*/true)});
  }
  ALTLAS_TRY_VOID(sort_keyed(rendering, all, arguments.truth(2, "reverse", false)));
  std::vector<Value> sorted;
  for (Keyed& one : all) sorted.push_back(std::move(one.item));
  return Value::list(std::move(sorted));
}

Result<Value> group_by(Rendering& rendering, const std::vector<Value>& items,
                       const Arguments& arguments) {
  const TaggedText* attribute = arguments.text(0, "attribute");
  if (attribute == nullptr) return rendering.fail("groupby takes an attribute's name");
  ALTLAS_TRY(std::vector<Keyed> all, keyed(rendering, items, attribute, true));
  ALTLAS_TRY_VOID(sort_keyed(rendering, all, false));
  std::vector<Value> groups, group;
  for (size_t i = 0; i < all.size(); ++i) {
    group.push_back(all[i].item);
    if (i + 1 < all.size() && equal(all[i].key, all[i + 1].key, rendering.budget())) continue;
    groups.push_back(
        Value::list({all[i].key, Value::list(std::exchange(group, {}))}, /*is_tuple=*/true));
  }
  return Value::list(std::move(groups));
}

Result<Value> unique(Rendering& rendering, const std::vector<Value>& items,
                     const Arguments& arguments) {
  ALTLAS_TRY(const std::vector<Keyed> all, keyed(rendering, items, arguments.text(1, "attribute"),
                                                 arguments.truth(0, "case_sensitive", false)));
  std::vector<Value> kept, keys;
  for (const Keyed& one : all) {
    ALTLAS_TRY_VOID(rendering.check_budget());
    const auto same = [&](const Value& key) { return equal(key, one.key, rendering.budget()); };
    if (std::ranges::any_of(keys, same)) continue;
    keys.push_back(one.key);
    kept.push_back(one.item);
  }
  return Value::list(std::move(kept));
}

Result<Value> extreme(Rendering& rendering, std::string_view name, const std::vector<Value>& items,
                      const Arguments& arguments) {
  ALTLAS_TRY(const std::vector<Keyed> all, keyed(rendering, items, arguments.text(1, "attribute"),
                                                 arguments.truth(0, "case_sensitive", false)));
  if (all.empty()) return Value::undefined("no aggregated item, sequence was empty");
  const Keyed* best = &all[0];
  bool comparable = true;
  for (const Keyed& one : all)
    if (name == "min" ? less(one.key, best->key, rendering.budget(), comparable)
                      : less(best->key, one.key, rendering.budget(), comparable))
      best = &one;
  if (!comparable)
    return rendering.fail(fmt::format("{}: items of different kinds can't be compared", name));
  return best->item;
}

Result<Value> sum(Rendering& rendering, const std::vector<Value>& items,
                  const Arguments& arguments) {
  const Value* start = arguments.get(1, "start");
  Value total = start != nullptr ? *start : Value(0);
  const TaggedText* attribute = arguments.text(0, "attribute");
  for (Value item : items) {
    if (attribute != nullptr) {
      ALTLAS_TRY(item, path(rendering, item, attribute->bytes));
    }
    ALTLAS_TRY(total, apply_operator(rendering, "+", total, item));
  }
  return total;
}

Result<Value> join(Rendering& rendering, const std::vector<Value>& items,
                   const Arguments& arguments) {
  const TaggedText *glue = arguments.text(0, "d"), *attribute = arguments.text(1, "attribute");
  TaggedText out;
  for (size_t i = 0; i < items.size(); ++i) {
    Value item = items[i];
    if (attribute != nullptr) {
      ALTLAS_TRY(item, path(rendering, item, attribute->bytes));
    }
    ALTLAS_TRY(const TaggedText text, rendering.to_text(item));
    const size_t glued = i > 0 && glue != nullptr ? glue->bytes.size() : 0;
    ALTLAS_TRY_VOID(rendering.check_size(out.bytes.size() + glued + text.bytes.size()));
    ALTLAS_TRY_VOID(rendering.reserve_text(glued + text.bytes.size()));
    if (glued > 0) out.append(*glue);
    out.append(text);
  }
  return Value(std::move(out));
}

// map(attribute="a", default=x), or map("filter", args...).
Result<Value> map(Rendering& rendering, const std::vector<Value>& items,
                  const Arguments& arguments) {
  std::vector<Value> mapped;
  const TaggedText* attribute =
      arguments.positional.empty() ? arguments.text(0, "attribute") : nullptr;
  const TaggedText* name = attribute == nullptr ? arguments.text(0, "filter") : nullptr;
  if (attribute == nullptr && name == nullptr)
    return rendering.fail("map takes a filter's name or attribute=...");
  Arguments rest = arguments;
  if (!rest.positional.empty()) rest.positional.erase(rest.positional.begin());
  for (const Value& item : items) {
    Value result;
    if (attribute != nullptr) {
      ALTLAS_TRY(result, path(rendering, item, attribute->bytes));
      const Value* fallback = arguments.get(~size_t{0}, "default");
      if (result.is_undefined() && fallback != nullptr) result = *fallback;
    } else {
      ALTLAS_TRY(result, apply_filter(rendering, name->bytes, item, rest));
    }
    mapped.push_back(std::move(result));
  }
  return Value::list(std::move(mapped));
}

// select(test, args...), selectattr(attribute, test, args...), and their opposites.
Result<Value> select(Rendering& rendering, std::string_view name, const std::vector<Value>& items,
                     const Arguments& arguments) {
  const bool by_attribute = name.ends_with("attr");
  const size_t skip = by_attribute ? 1 : 0;
  const TaggedText* attribute = by_attribute ? arguments.text(0, "attribute") : nullptr;
  if (by_attribute && attribute == nullptr)
    return rendering.fail(fmt::format("{} takes an attribute's name", name));
  const TaggedText* test = arguments.text(skip, "test");
  Arguments rest;
  for (size_t i = skip + 1; i < arguments.positional.size(); ++i)
    rest.positional.push_back(arguments.positional[i]);
  std::vector<Value> kept;
  for (const Value& item : items) {
    Value value = item;
    if (attribute != nullptr) {
      ALTLAS_TRY(value, path(rendering, item, attribute->bytes));
    }
    bool holds = value.truthy();
    if (test != nullptr) {
      const bool is_operator = test->bytes.find_first_of("=<>!") != std::string::npos;
      if (is_operator && rest.positional.empty())
        return rendering.fail("a comparison needs a value");
      ALTLAS_TRY(holds, is_operator
                            ? holds_comparison(rendering, test->bytes, value, rest.positional[0])
                            : holds_test(rendering, test->bytes, value, rest));
    }
    if (holds == name.starts_with("select")) kept.push_back(item);
  }
  return Value::list(std::move(kept));
}

Result<Value> batch(Rendering& rendering, const std::vector<Value>& items,
                    const Arguments& arguments) {
  const int64_t size = arguments.integer(0, "linecount", 0);
  if (size < 1) return rendering.fail("batch takes a size of at least 1");
  const Value* fill = arguments.get(1, "fill_with");
  std::vector<Value> batches, row;
  for (const Value& item : items) {
    row.push_back(item);
    if (static_cast<int64_t>(row.size()) == size)
      batches.push_back(Value::list(std::exchange(row, {})));
  }
  if (row.empty()) return Value::list(std::move(batches));
  while (fill != nullptr && static_cast<int64_t>(row.size()) < size) {
    ALTLAS_TRY_VOID(rendering.reserve_items(1));
    row.push_back(*fill);
  }
  batches.push_back(Value::list(std::move(row)));
  return Value::list(std::move(batches));
}

Result<Value> reverse(Rendering& rendering, const Value& input, std::vector<Value> items) {
  if (input.is_string()) {
    TaggedText out;
    for (size_t i = items.size(); i-- > 0;) out.append(items[i].text());
    return rendering.text_value(std::move(out));
  }
  std::ranges::reverse(items);
  return Value::list(std::move(items));
}

}  // namespace

Result<Value> apply_list_filter(Rendering& rendering, std::string_view name, const Value& input,
                                const Arguments& arguments) {
  if (name == "items") {
    if (input.is_undefined()) return Value::list({});
    if (!input.is_object())
      return rendering.fail(fmt::format("items takes an object, not {}", input.kind_name()));
    return call_method(rendering, input, "items", {});
  }
  if (name == "dictsort") return sort_object(rendering, input, arguments);
  if ((" " + std::string(kFilters) + " ").find(" " + std::string(name) + " ") == std::string::npos)
    return rendering.fail(fmt::format("unknown filter '{}'; known are {}", name, kFilters));
  ALTLAS_TRY(std::vector<Value> items, items_of(rendering, input));
  ALTLAS_TRY_VOID(rendering.reserve_items(items.size()));
  if (name == "list") return Value::list(std::move(items));
  if (name == "first")
    return items.empty() ? Value::undefined("first of an empty list") : items.front();
  if (name == "last")
    return items.empty() ? Value::undefined("last of an empty list") : items.back();
  if (name == "join") return join(rendering, items, arguments);
  if (name == "map") return map(rendering, items, arguments);
  if (name == "select" || name == "reject" || name == "selectattr" || name == "rejectattr")
    return select(rendering, name, items, arguments);
  if (name == "sort") return sort(rendering, items, arguments);
  if (name == "unique") return unique(rendering, items, arguments);
  if (name == "groupby") return group_by(rendering, items, arguments);
  if (name == "min" || name == "max") return extreme(rendering, name, items, arguments);
  if (name == "sum") return sum(rendering, items, arguments);
  if (name == "batch") return batch(rendering, items, arguments);
  return reverse(rendering, input, std::move(items));
}

}  // namespace altlas::text
