// Goal: a content's parts reach a template in the form that it takes; as one text they are
// separated by line ends. Method: templates of the known kinds, and what they render of
// conversations.
#include "server/prompt/template_values.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

namespace altlas::server {
namespace {

namespace json = boost::json;

constexpr const char* kStrings =
    "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ '\n' }}{% endfor %}";
constexpr const char* kWalks =
    "{% for m in messages %}{{ m.role }}: {% if m.content is string %}{{ m.content }}{% else %}"
    "{% for p in m.content %}({{ p.text }}){% endfor %}{% endif %}{{ '\n' }}{% endfor %}";
constexpr const char* kOnlyWalks =
    "{% for m in messages %}{{ m.role }}: {% for p in m['content'] %}({{ p['text'] }})"
    "{% endfor %}{{ '\n' }}{% endfor %}";
// Llama 3.2's template goes through users' parts, and trims the system's text.
constexpr const char* kUsersOnly =
    "{% for m in messages %}{% if m.role == 'user' and m.content is not string %}user: "
    "{% for p in m.content %}{% if p.type == 'text' %}({{ p.text }}){% endif %}{% endfor %}{{ '\n' }}"
    "{% else %}{{ m.role }}: {{ m.content | trim }}{{ '\n' }}{% endif %}{% endfor %}";
constexpr const char* kPrintsAsJson =
    "{% for m in messages %}{{ m.role }}: {{ m.content | tojson }}{{ '\n' }}{% endfor %}";
constexpr const char* kRefusesLists =
    "{% for m in messages %}{% if m.content is not string %}{{ raise_exception('no') }}{% endif %}"
    "{{ m.role }}: {{ m.content }}{{ '\n' }}{% endfor %}";

std::string render(const char* source, const std::string& role, const std::string& content) {
  const auto made = *text::ChatTemplate::compile(source);
  json::value messages = json::array{{{"role", role}, {"content", json::parse(content)}}};
  fit_parts(messages, part_roles_of(made));
  text::ChatInput input;
  input.messages = to_messages(messages);
  const auto out = made.render(input);
  return out.ok() ? *out : out.error().message();
}

TEST(TemplateValues, PartsAsTheTemplateTakesThem) {
  const std::string two = R"([{"type":"text","text":"Fix it."},{"type":"text","text":"On b."}])";
  const std::string one = R"("Fix it.")";
  struct Row {
    const char* source;
    std::string role, content, want;
  };
  std::vector<Row> rows = {
      {kUsersOnly, "user", two, "user: (Fix it.)(On b.)\n"},
      {kUsersOnly, "system", two, "system: Fix it.\nOn b.\n"},
      {kUsersOnly, "assistant", two, "assistant: Fix it.\nOn b.\n"},
      {kPrintsAsJson, "user", two, "user: \"Fix it.\\nOn b.\"\n"},
      {kStrings, "user", R"([{"type":"text","text":""},{"type":"text","text":"x"}])",
       "user: \nx\n"},
  };
  for (const char* role : {"user", "system", "assistant", "tool"}) {
    const std::string name = role;
    rows.push_back({kStrings, role, two, name + ": Fix it.\nOn b.\n"});
    rows.push_back({kRefusesLists, role, two, name + ": Fix it.\nOn b.\n"});
    rows.push_back({kWalks, role, two, name + ": (Fix it.)(On b.)\n"});
    rows.push_back({kWalks, role, one, name + ": Fix it.\n"});
    rows.push_back({kOnlyWalks, role, two, name + ": (Fix it.)(On b.)\n"});
    rows.push_back({kOnlyWalks, role, one, name + ": (Fix it.)\n"});
    rows.push_back({kStrings, role, one, name + ": Fix it.\n"});
  }
  for (const Row& row : rows)
    EXPECT_EQ(render(row.source, row.role, row.content), row.want) << row.source << row.content;
}

}  // namespace
}  // namespace altlas::server
