#include "text/grammar/categories.h"

#include <utf8proc.h>

#include <map>
#include <string>

namespace altlas::text::grammar {

namespace {

using Categories = std::map<std::string, std::vector<CodeRange>, std::less<>>;

// Code points of every general category ("Lu"), and of those with the same first letter ("L"). They
// are found once, since a few bytes of pattern may name a category thousands of times.
const Categories& categories() {
  static const Categories kMade = [] {
    Categories made;
    const auto add = [](std::vector<CodeRange>& ranges, uint32_t c) {
      if (!ranges.empty() && ranges.back().hi + 1 == c)
        ranges.back().hi = c;
      else
        ranges.push_back({c, c});
    };
    struct Place {
      std::vector<CodeRange>* own = nullptr;
      std::vector<CodeRange>* major = nullptr;
    };
    std::map<utf8proc_category_t, Place> places;
    utf8proc_category_t last{};
    Place place;  // The place of `last`: neighbours mostly have the same category.
    for (uint32_t c = 0; c <= kCodePointMax; ++c) {
      const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
      if (c == 0 || category != last) {
        Place& found = places[category];
        if (found.own == nullptr) {
          const std::string name = utf8proc_category_string(static_cast<utf8proc_int32_t>(c));
          found = {&made[name], &made[name.substr(0, 1)]};
        }
        last = category;
        place = found;
      }
      add(*place.own, c);
      add(*place.major, c);
    }
    return made;
  }();
  return kMade;
}

}  // namespace

std::vector<CodeRange> category_ranges(const std::vector<std::string_view>& names) {
  std::vector<CodeRange> out;
  for (const std::string_view name : names)
    if (const auto found = categories().find(name); found != categories().end())
      out.insert(out.end(), found->second.begin(), found->second.end());
  return out;
}

}  // namespace altlas::text::grammar
