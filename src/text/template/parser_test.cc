// Goal: sources that nest without end are refused. Method: each construct, nested deeply.
#include "text/template/parser.h"

#include <gtest/gtest.h>

#include <string>

#include "text/template/chat_template.h"

namespace altlas::text {
namespace {

TEST(TemplateParser, DeepSourcesAreRefused) {
  const auto repeat = [](std::string_view part, int count) {
    std::string text;
    for (int i = 0; i < count; ++i) text += part;
    return text;
  };
  for (const std::string& source :
       {"{{ " + repeat("(", 100000), "{{ " + repeat("[", 100000),
        "{{ " + repeat("not ", 100000) + "1 }}", "{{ " + repeat("-", 100000) + "1 }}",
        "{{ 1" + repeat("+1", 100000) + " }}", "{{ a" + repeat(".b", 100000) + " }}",
        "{{ a" + repeat("|upper", 100000) + " }}", repeat("{% if 1 %}", 100000),
        repeat("{% for a in b %}", 1000), "{{ 1" + repeat(" if 1 else 1", 100000) + " }}",
        repeat("{% if 1 %}{% else %}", 50000)}) {
    EXPECT_FALSE(ChatTemplate::compile(source).ok()) << source.substr(0, 40);
  }
  EXPECT_FALSE(ChatTemplate::compile(std::string((1 << 20) + 1, 'x')).ok());
}

}  // namespace
}  // namespace altlas::text
