// Many short strings in two pieces of memory: a vocabulary is made and thrown away in no time.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <ranges>
#include <string>
#include <string_view>
#include <vector>

namespace altlas::text {

// Grows at its end only. Views that it returns live until the next push_back() or append().
class StringList {
 public:
  class Iterator {
   public:
    using iterator_concept = std::forward_iterator_tag;
    using difference_type = ptrdiff_t;
    using value_type = std::string_view;
    Iterator() = default;
    Iterator(const StringList& list, size_t at) : list_(&list), at_(at) {}
    std::string_view operator*() const { return (*list_)[at_]; }
    Iterator& operator++() {
      ++at_;
      return *this;
    }
    Iterator operator++(int) { return {*list_, at_++}; }
    bool operator==(const Iterator& other) const { return at_ == other.at_; }

   private:
    const StringList* list_ = nullptr;
    size_t at_ = 0;
  };

  StringList() = default;
  StringList(std::initializer_list<std::string_view> texts) { take(texts); }
  template <std::ranges::sized_range Texts>
    requires std::convertible_to<std::ranges::range_reference_t<const Texts&>, std::string_view> &&
             (!std::same_as<Texts, StringList>)
  StringList(const Texts& texts) {  // NOLINT: a list of strings is one, however it is kept.
    take(texts);
  }

  void reserve(size_t count, size_t bytes) {
    ends_.reserve(count);
    bytes_.reserve(bytes);
  }
  void push_back(std::string_view text) {
    append([text](std::string& out) { out += text; });
  }
  // `write` adds the new string's bytes to the end of what it is given.
  template <class Write>
  void append(Write write) {
    write(bytes_);
    ends_.push_back(bytes_.size());
  }
  void clear() { *this = StringList(); }

  size_t size() const { return ends_.size(); }
  bool empty() const { return ends_.empty(); }
  size_t bytes() const { return bytes_.size(); }  // The bytes of all strings together.
  std::string_view operator[](size_t at) const {
    const uint64_t begin = at == 0 ? 0 : ends_[at - 1];
    return {bytes_.data() + begin, static_cast<size_t>(ends_[at] - begin)};
  }
  Iterator begin() const { return {*this, 0}; }
  Iterator end() const { return {*this, size()}; }
  bool operator==(const StringList&) const = default;

 private:
  void take(const auto& texts) {
    size_t total = 0;
    for (const std::string_view text : texts) total += text.size();
    reserve(std::ranges::size(texts), total);
    for (const std::string_view text : texts) push_back(text);
  }

  std::string bytes_;
  std::vector<uint64_t> ends_;  // The ends of each string in bytes_.
};

}  // namespace altlas::text
