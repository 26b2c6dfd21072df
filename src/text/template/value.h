// Values of chat templates: what a rendering is given and computes with.
//
// Strings remember which of their bytes are content, that is, came from outside (messages, tools,
// documents), and which the template's author wrote. Joining, slicing, trimming and replacing keep
// that per byte; operations that rewrite characters (upper, title, indent) make the whole result
// content if any of the input was. A value from outside is content unless it is made by trusted().
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace altlas::text {

// Deeper lists and objects are refused by a rendering.
inline constexpr int kValueDepthMax = 200;

// Bytes, and the ranges of them that are content: sorted, disjoint, not empty, not touching.
struct TaggedText {
  std::string bytes;
  std::vector<std::pair<size_t, size_t>> content;

  static TaggedText of(std::string_view bytes, bool is_content);
  void append(std::string_view more, bool is_content);
  void append(const TaggedText& more) { append(more, 0, more.bytes.size()); }
  void append(const TaggedText& from, size_t begin, size_t end);  // Bytes [begin, end) of `from`.
  TaggedText slice(size_t begin, size_t end) const;
  bool has_content() const { return !content.empty(); }
};

// Work that a rendering may still do, and memory it may still ask for. Operations on values spend
// it before they begin, and give up where nothing is left.
class RenderBudget {
 public:
  RenderBudget(int64_t steps, size_t bytes) : left_(steps), bytes_left_(bytes) {}
  // For what is made of `bytes`.
  bool take(size_t bytes) {
    is_full_ = is_full_ || bytes > bytes_left_;
    bytes_left_ -= is_full_ ? 0 : bytes;
    return spend(bytes / 64) && !is_full_;
  }
  bool spend(size_t steps) {
    left_ -= static_cast<int64_t>(steps < kMost ? steps : kMost);
    if (left_ < -static_cast<int64_t>(kMost)) left_ = -static_cast<int64_t>(kMost);
    return left_ >= 0;
  }
  bool exhausted() const { return left_ < 0 || is_full_; }
  bool is_full() const { return is_full_; }

 private:
  static constexpr size_t kMost = 1u << 30;
  int64_t left_;
  size_t bytes_left_;
  bool is_full_ = false;
};

struct ListData;
struct ObjectData;
struct FunctionData;  // Lives inside a rendering only.

// Immutable, cheap to copy; copies share. Any thread.
class Value {
 public:
  enum class Kind : uint8_t {
    kUndefined,
    kNull,
    kBool,
    kInt,
    kDouble,
    kString,
    kList,
    kObject,
    kNamespace,
    kLoop,
    kFunction,  // Made by a rendering, meaningless outside it.
  };
  using Entry = std::pair<Value, Value>;  // Key (a string or integer), value.

  Value() : data_(Null{}) {}
  Value(bool b) : data_(b) {}                      // NOLINT: implicit on purpose, as the next ones.
  Value(int i) : data_(int64_t{i}) {}              // NOLINT
  Value(int64_t i) : data_(i) {}                   // NOLINT
  Value(double d) : data_(d) {}                    // NOLINT
  Value(std::string s);                            // NOLINT: content.
  Value(const char* s) : Value(std::string(s)) {}  // NOLINT: content.
  Value(TaggedText text);                          // NOLINT
  static Value trusted(std::string_view s);  // Written by the template's or the model's author.
  static Value undefined(std::string_view name = "");  // `name` is for messages.
  static Value list(std::vector<Value> items, bool is_tuple = false);
  // Among equal keys the last counts, at the place of the first.
  static Value object(std::vector<Entry> entries);
  static Value object_of(std::vector<std::pair<std::string, Value>> entries);
  static Value name_space(size_t index);
  static Value loop(size_t index);
  static Value function(FunctionData data);

  Kind kind() const { return static_cast<Kind>(data_.index()); }
  bool is(Kind k) const { return kind() == k; }
  bool is_string() const { return is(Kind::kString); }
  bool is_list() const { return is(Kind::kList); }
  bool is_object() const { return is(Kind::kObject); }
  bool is_none() const { return is(Kind::kNull); }
  bool is_undefined() const { return is(Kind::kUndefined); }
  // Null or undefined.
  bool is_absent() const { return is_none() || is_undefined(); }
  bool is_integral() const { return is(Kind::kInt) || is(Kind::kBool); }
  bool is_number() const { return is_integral() || is(Kind::kDouble); }

  // Each needs the kind its name says (a bool is also an integer, an integer also a real).
  bool as_bool() const { return std::get<bool>(data_); }
  int64_t as_int() const;
  double as_double() const;
  const TaggedText& text() const { return *std::get<std::shared_ptr<const TaggedText>>(data_); }
  std::string_view view() const { return text().bytes; }
  const std::vector<Value>& items() const;
  bool is_tuple() const;
  const std::vector<Entry>& entries() const;
  // Null if there is no such key. O(log n).
  const Value* find(std::string_view key) const;
  // The same; the key is a string or an integer, null for other kinds.
  const Value* find_key(const Value& key) const;
  size_t index() const;  // The index of a namespace or loop.
  const FunctionData& function_data() const;

  // 0 for scalars, else one more than the deepest inside.
  int depth() const;
  // Python's bool(x). Namespaces, loops and functions are true.
  bool truthy() const;
  std::string_view kind_name() const;  // As Python names the type.
  std::string_view undefined_name() const;

 private:
  struct Undefined {
    std::shared_ptr<const std::string> name;
  };
  struct Null {};
  struct NamespaceIndex {
    size_t index;
  };
  struct LoopIndex {
    size_t index;
  };
  std::variant<Undefined, Null, bool, int64_t, double, std::shared_ptr<const TaggedText>,
               std::shared_ptr<const ListData>, std::shared_ptr<const ObjectData>, NamespaceIndex,
               LoopIndex, std::shared_ptr<const FunctionData>>
      data_;
};

struct ListData {
  std::vector<Value> items;
  bool is_tuple = false;
  int depth = 1;
};
struct ObjectData {
  std::vector<Value::Entry> entries;
  std::vector<uint32_t> by_key;  // Indices of entries, sorted by key.
  int depth = 1;
};
// Something a template can call.
struct FunctionData {
  std::string name;
  Value receiver;             // The receiver of a method; else undefined.
  size_t macro = ~size_t{0};  // Index of a macro of the rendering.
};

bool equal(const Value& a, const Value& b, RenderBudget& budget);
// a < b for numbers, strings, lists; `comparable` becomes false for others.
bool less(const Value& a, const Value& b, RenderBudget& budget, bool& comparable);

// Python's str(x), as {{ x }} prints it (undefined prints nothing).
void append_str(TaggedText& out, const Value& value, RenderBudget& budget);
// Python's repr(x).
void append_repr(TaggedText& out, const Value& value, RenderBudget& budget);

struct JsonStyle {
  int indent = -1;  // Below 0: one line.
  bool sort_keys = false;
  bool ensure_ascii = false;
  std::string item_separator = ", ";  // Python's default; "," where indented.
  std::string key_separator = ": ";
};
// Python's json.dumps. False if `value` holds what JSON can't.
bool append_json(TaggedText& out, const Value& value, const JsonStyle& style, RenderBudget& budget);

// Python's repr of a float: shortest digits that read back the same.
std::string format_double(double value);

}  // namespace altlas::text
