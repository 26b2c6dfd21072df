#include "config/reference.h"

#include <gtest/gtest.h>

#include <set>

#include "config/document.h"
#include "config/load.h"
#include "testing/generated_file.h"

namespace altlas::config {
namespace {

void expect_file(const std::string& path, const std::string& want) {
  altlas::testing::expect_generated_file(ALTLAS_SOURCE_DIR, path, want);
}

// Goal: the committed page and schema are what the metadata says. Method: compare texts.
TEST(Reference, DocsAreCurrent) {
  expect_file("docs/config.md", markdown_reference());
  expect_file("docs/config.schema.json", json_schema());
}

// Goal: the schema is JSON and describes every section. Method: parse it with the reader of
// requests.
TEST(Reference, SchemaIsJson) {
  const auto schema = parse_json(json_schema());
  ASSERT_TRUE(schema.ok()) << schema.error().message();
  size_t sections = 0;
  for (const Node& child : schema->children) {
    if (child.key == "properties") sections = child.children.size();
  }
  EXPECT_EQ(sections, 11u);
}

// Goal: a variable leads to one setting only, and every setting has help. Method: all rows.
TEST(Reference, RowsAreComplete) {
  std::set<std::string> variables;
  for (const SettingRow& row : setting_rows()) {
    EXPECT_TRUE(variables.insert(row.environment).second) << row.environment;
    if (!row.environment_too.empty()) {
      EXPECT_TRUE(variables.insert(row.environment_too).second);
    }
    EXPECT_TRUE(row.help.ends_with('.')) << row.path;
  }
  EXPECT_TRUE(variables.contains("ALTLAS_SERVER_PORT"));
  EXPECT_TRUE(variables.contains("ALTLAS_GPU_MULTI_GPU_DEFAULT_STRATEGY"));
  EXPECT_GT(variables.size(), 80u);
}

// Goal: every default is inside its own range. Method: every setting's default as a flag.
TEST(Reference, DefaultsAreInRange) {
  for (const SettingRow& row : setting_rows()) {
    std::string value = row.default_value;
    if (value.starts_with('"')) value = value.substr(1, value.size() - 2);
    LoadInput input;
    input.flags = {{row.path, value, "--x"}};
    const LoadReport report = load_report(input);
    EXPECT_TRUE(report.errors.empty()) << row.path << ": " << to_string(report.errors[0]);
  }
}

// Goal: a flag's help line says range, default and the other ways to set it.
TEST(Reference, FlagHelp) {
  const SettingRow* row = find_setting("server.port");
  ASSERT_NE(row, nullptr);
  EXPECT_EQ(flag_help(*row),
            "Port to listen on; 0 takes a free one. (0 to 65535; default 8000; ALTLAS_SERVER_PORT; "
            "server.port)");
  EXPECT_EQ(find_setting("server.nothing"), nullptr);
}

}  // namespace
}  // namespace altlas::config
