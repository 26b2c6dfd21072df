"""Recipes of docs/adding carried out on a scratch copy, as in test_recipes.py: those whose sources take long to compile."""
import subprocess

from test_recipes import compiles, insert, replace, scratch, tidy  # noqa: F401: a fixture is among them.

PREDICT = "src/server/tasks/predict_body.h"


def test_a_field_is_added_as_the_page_says(scratch):
    body = scratch / PREDICT
    insert(body, "\n  static constexpr void fields(auto&& field) {\n    using S = PredictBody;", "  int32_t top_a = 0;\n")
    done, words = compiles(scratch, "server/tasks/predict_body.cc")
    assert not done and "describe every member in fields()" in words  # A member without a row.
    rows = "    using S = PredictBody;\n"
    replace(body, rows, rows + '    field("top_a", &S::top_a, BodyField{.help = "What it does", .min = 0, .max = 100});\n')
    done, words = compiles(scratch, "server/tasks/predict_body.cc")
    assert done, words
    done, words = tidy(scratch)
    assert done, words
    # Nothing else asks for a field by name.
    predict = scratch / "src/server/tasks/predict.cc"
    predict.write_text(predict.read_text() + 'int64_t top_a(JsonReader& reader) { return reader.integer("top_a", 0, 100); }\n')
    done, words = tidy(scratch)
    assert not done and "predict.cc" in words


def test_a_message_is_added_as_the_page_says(scratch):
    def generate():
        (scratch / "gen").mkdir(exist_ok=True)
        subprocess.run(["protoc", "-I", scratch / "src", "--cpp_out", scratch / "gen", "task/task.proto", "worker/worker.proto"],
                       cwd=scratch / "src", check=True, timeout=60)
    insert(scratch / "src/engine/messages.h", "using Command = std::variant<LoadReplica,", """// Say the stats now.
struct AskStats {
  uint32_t ticket = 0;
};

""")
    replace(scratch / "src/engine/messages.h", " UnloadAdapter>;", " UnloadAdapter, AskStats>;")
    generate()
    done, words = compiles(scratch, "worker/convert.cc")
    assert not done and "AskStats" in words  # The wire has no such message.
    proto = scratch / "src/worker/worker.proto"
    insert(proto, "message DrainReplica {}", "message AskStats {\n  uint32 ticket = 1;\n}\n\n")
    insert(proto, "    DrainReplica drain =", "    AskStats ask_stats = 99;\n")
    generate()
    convert = scratch / "src/worker/convert.cc"
    insert(convert, "void write(const engine::DrainReplica&,", """void write(const engine::AskStats& from, proto::Frame* to) {
  to->mutable_ask_stats()->set_ticket(from.ticket);
}
""")
    insert(convert, "    case proto::Frame::kDrain:", """    case proto::Frame::kAskStats:
      return command(engine::AskStats{from.ask_stats().ticket()});
""")
    done, words = compiles(scratch, "worker/convert.cc")
    assert done, words
    done, words = tidy(scratch)
    assert done, words


def test_a_fault_is_added_as_the_page_says(scratch):
    world, header = scratch / "src/simulation/world.cc", scratch / "src/simulation/world.h"
    replace(header, "link_breaks = 0, disk_faults = 0;", "link_breaks = 0, disk_faults = 0;\n  uint64_t quiet_links = 0;")
    replace(world, "const uint64_t kind = random_.below(14);\n", "const uint64_t kind = random_.below(15);\n")
    insert(world, "    case 8:\n      return disk_.power_loss_after", """    case 14:
      ++result_.quiet_links;
      return static_cast<void>(machine_.stall_link(kSecond));
""")
    done, words = compiles(scratch, "simulation/world.cc")
    assert done, words
    done, words = tidy(scratch)
    assert done, words


def test_a_command_is_added_as_the_page_says(scratch):
    (scratch / "src/cli/hello.cc").write_text("""// altlas hello.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "cli/command.h"
#include "cli/terminal.h"

namespace altlas::cli {

Run make_hello(CLI::App& app) {
  auto name = std::make_shared<std::string>();
  app.add_option("name", *name, "Who is greeted");
  return [name] {
    if (name->empty()) return fail(invalid("nobody is greeted: give a name"));
    fmt::print("hello, {}\\n", printable(*name, 64));
    return kExitOk;
  };
}

}  // namespace altlas::cli
""")
    done, words = compiles(scratch, "cli/hello.cc")
    assert done, words
    main = scratch / "src/cli/main.cc"
    insert(main, '    {"pull", "Fetch', '    {"hello", "Greet somebody", altlas::cli::make_hello},\n')
    done, words = compiles(scratch, "cli/main.cc")
    assert not done and "make_hello" in words  # It is not declared.
    insert(scratch / "src/cli/command.h", "Run make_pull(CLI::App& app);", "Run make_hello(CLI::App& app);\n")
    source = main.read_text()
    main.write_text('#define ALTLAS_VERSION "0"\n' + source)  # The build defines it.
    done, words = compiles(scratch, "cli/main.cc")
    assert done, words
    main.write_text(source)
    done, words = tidy(scratch)
    assert done, words
