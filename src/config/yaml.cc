#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <map>
#include <sstream>

#include "base/byte_order_mark.h"
#include "base/utf8.h"
#include "config/document.h"

namespace altlas::config {
namespace {

size_t count_values(const Node& node) {
  size_t count = 1;
  for (const Node& child : node.children) count += count_values(child);
  return count;
}

// Builds the tree from the parser's events. After the first error it ignores the rest.
class Builder : public YAML::EventHandler {
 public:
  explicit Builder(Parsed& out) : out_(out) {}

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { leaf(mark, anchor, {}); }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    check_tag(mark, tag);
    Node node{.kind = Node::Kind::kScalar, .text = value, .quoted = tag == "!"};
    leaf(mark, anchor, std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, Node::Kind::kList);
  }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, Node::Kind::kMap);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapEnd() override { close(); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (stopped_) return;
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) return fail(mark, "this alias refers to a value that contains it");
    if (!count(mark, count_values(found->second))) return;
    if (depth_of(found->second) + open_.size() > kDepthMax) return fail_depth(mark);
    add(mark, found->second);
  }

 private:
  struct Open {
    Node node;
    YAML::anchor_t anchor;
    bool key_next;
    std::string key;
    YAML::Mark key_mark;
  };

  static size_t depth_of(const Node& node) {
    size_t depth = 0;
    for (const Node& child : node.children) depth = std::max(depth, depth_of(child));
    return depth + 1;
  }
  void fail(const YAML::Mark& mark, std::string what) {
    out_.errors.push_back({mark.line + 1, mark.column + 1, std::move(what)});
    stopped_ = true;
  }
  void fail_depth(const YAML::Mark& mark) {
    fail(mark, fmt::format("values are nested deeper than {} levels", kDepthMax));
  }
  bool count(const YAML::Mark& mark, size_t values) {
    values_ += values;
    if (values_ > kValuesMax)
      fail(mark, fmt::format("more than {} values, aliases written out", kValuesMax));
    return values_ <= kValuesMax;
  }
  void check_tag(const YAML::Mark& mark, const std::string& tag) {
    if (!stopped_ && !tag.empty() && tag != "?" && tag != "!") {
      fail(mark, "tags such as '" + tag.substr(0, 64) + "' have no meaning here: remove it");
    }
  }
  void leaf(const YAML::Mark& mark, YAML::anchor_t anchor, Node node) {
    if (stopped_ || !count(mark, 1)) return;
    node.line = mark.line + 1;
    node.column = mark.column + 1;
    remember(mark, anchor, node);
    add(mark, std::move(node));
  }
  void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
            Node::Kind kind) {
    check_tag(mark, tag);
    if (stopped_ || !count(mark, 1)) return;
    if (open_.size() >= kDepthMax) return fail_depth(mark);
    if (!open_.empty() && open_.back().key_next)
      return fail(mark, "a key must be text, not a list or map");
    Node node{.kind = kind, .line = mark.line + 1, .column = mark.column + 1};
    open_.push_back({std::move(node), anchor, kind == Node::Kind::kMap, "", mark});
  }
  void close() {
    if (stopped_) return;
    Open done = std::move(open_.back());
    open_.pop_back();
    remember(done.key_mark, done.anchor, done.node);
    if (!stopped_) add(done.key_mark, std::move(done.node));
  }
  void remember(const YAML::Mark& mark, YAML::anchor_t anchor, const Node& node) {
    if (anchor != 0 && count(mark, count_values(node))) anchors_[anchor] = node;
  }
  void add(const YAML::Mark& mark, Node node) {
    if (open_.empty()) {
      out_.root = std::move(node);
      return;
    }
    Open& parent = open_.back();
    if (parent.node.kind == Node::Kind::kList) {
      parent.node.children.push_back(std::move(node));
    } else if (parent.key_next) {
      if (node.kind != Node::Kind::kScalar) return fail(mark, "a key must be text");
      parent.key = std::move(node.text);
      parent.key_mark = mark;
      parent.key_next = false;
    } else {
      parent.key_next = true;
      node.key = std::move(parent.key);
      node.key_line = parent.key_mark.line + 1;
      node.key_column = parent.key_mark.column + 1;
      parent.node.children.push_back(std::move(node));
    }
  }

  Parsed& out_;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, Node> anchors_;
  size_t values_ = 0;
  bool stopped_ = false;
};

void find_duplicates(const Node& node, std::vector<SyntaxError>& errors) {
  std::map<std::string_view, const Node*> seen;
  for (const Node& child : node.children) {
    if (node.kind == Node::Kind::kMap) {
      const auto [first, fresh] = seen.try_emplace(child.key, &child);
      if (!fresh) {
        errors.push_back({child.key_line, child.key_column,
                          fmt::format("key '{}' is already on line {}", child.key.substr(0, 64),
                                      first->second->key_line)});
      }
    }
    find_duplicates(child, errors);
  }
}

}  // namespace

Parsed parse_yaml(std::string_view text) {
  Parsed out;
  if (text.size() > kTextBytesMax) {
    out.errors.push_back(
        {1, 1,
         fmt::format("the text has {} bytes, at most {} are read", text.size(), kTextBytesMax)});
    return out;
  }
  const auto plain = skip_byte_order_mark(text, "the text");
  if (!plain.ok()) {
    out.errors.push_back({1, 1, plain.error().message()});
    return out;
  }
  text = *plain;
  if (!is_valid_utf8(text) || text.find('\0') != text.npos) {
    out.errors.push_back({1, 1, "the text is not UTF-8"});
    return out;
  }
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    Builder builder(out);
    parser.HandleNextDocument(builder);
    Parsed rest;
    Builder second(rest);
    if (out.errors.empty() && parser.HandleNextDocument(second)) {
      out.errors.push_back(
          {1, 1, "the text holds several YAML documents, one is read: remove the others"});
    }
  } catch (const YAML::Exception& error) {
    // After an error of ours the parser's own adds nothing.
    if (out.errors.empty())
      out.errors.push_back({error.mark.line + 1, error.mark.column + 1, "not YAML: " + error.msg});
  } catch (const std::exception& error) {
    if (out.errors.empty()) out.errors.push_back({0, 0, std::string("not YAML: ") + error.what()});
  }
  if (out.errors.empty()) find_duplicates(out.root, out.errors);
  return out;
}

}  // namespace altlas::config
