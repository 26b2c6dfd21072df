#include "cli/status_text.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "base/units.h"
#include "cli/terminal.h"
#include "text/json_text.h"

namespace altlas::cli {
namespace {

namespace json = boost::json;

const json::value* field(const json::object& object, std::string_view name) {
  return object.if_contains(json::string_view(name.data(), name.size()));
}

// Returns a scalar as people read it.
std::string show(const json::object& object, std::string_view name) {
  const json::value* value = field(object, name);
  if (value == nullptr || value->is_null()) return "-";
  if (value->is_string())
    return value->get_string().empty() ? "-" : std::string(value->get_string().c_str());
  if (value->is_bool()) return value->get_bool() ? "yes" : "no";
  if (value->is_number()) return text::json_text(*value);
  return "-";
}

std::string show_rounded(const json::object& object, std::string_view name, std::string_view unit) {
  const json::value* value = field(object, name);
  boost::system::error_code error;
  const double number = value == nullptr ? 0 : value->to_number<double>(error);
  return value == nullptr || error ? "-" : fmt::format("{:.0f} {}", number, unit);
}

std::string show_bytes(const json::object& object, std::string_view name) {
  const json::value* value = field(object, name);
  boost::system::error_code error;
  const uint64_t number = value == nullptr ? 0 : value->to_number<uint64_t>(error);
  return value == nullptr || error ? "-" : format_bytes(number);
}

std::string show_list(const json::object& object, std::string_view name) {
  const json::value* value = field(object, name);
  const json::array* list = value == nullptr ? nullptr : value->if_array();
  std::string out;
  if (list != nullptr)
    for (const json::value& item : *list)
      out += (out.empty() ? "" : ", ") +
             (item.is_string() ? std::string(item.get_string().c_str()) : text::json_text(item));
  return out.empty() ? "-" : out;
}

// Calls `fn` for every object of a list.
template <class Fn>
void each(const json::object& object, std::string_view name, Fn fn) {
  const json::value* value = field(object, name);
  if (value == nullptr || !value->is_array()) return;
  for (const json::value& item : value->get_array())
    if (item.is_object()) fn(item.get_object());
}
// Calls `fn` for every object of an object, with its key.
template <class Fn>
void each_named(const json::object& object, std::string_view name, Fn fn) {
  const json::value* value = field(object, name);
  if (value == nullptr || !value->is_object()) return;
  for (const auto& item : value->get_object())
    if (item.value().is_object()) fn(std::string(item.key()), item.value().get_object());
}

std::string device_table(const json::object& gpus) {
  Table table({"DEVICE", "NODE", "NAME", "KIND", "BUSY", "MEMORY", "OF", "TASKS", "QUEUED", "TEMP",
               "POWER", "HEALTHY", "DEPLOYMENTS"});
  each(gpus, "gpus", [&table](const json::object& gpu) {
    table.add({show(gpu, "id"), show(gpu, "node"), show(gpu, "name"), show(gpu, "kind"),
               show_rounded(gpu, "utilization", "%"), show_bytes(gpu, "memory_used"),
               show_bytes(gpu, "memory_total"), show(gpu, "task_count"), show(gpu, "queued_count"),
               show_rounded(gpu, "temperature", "C"), show_rounded(gpu, "power", "W"),
               show(gpu, "healthy"), show_list(gpu, "deployments")});
  });
  return table.text();
}

bool is_true(const json::object& object, std::string_view name) {
  const json::value* value = field(object, name);
  return value != nullptr && value->is_bool() && value->get_bool();
}

}  // namespace

std::string replicas_text(const json::object& deployment) {
  std::string out = fmt::format("{} of at most {} wanted", show(deployment, "target_replicas"),
                                show(deployment, "max_replicas"));
  if (is_true(deployment, "autoscaled"))
    out += is_true(deployment, "held") ? ", held by a person" : ", by load";
  return out;
}

namespace {

std::string deployment_table(const json::object& answer) {
  Table deployments({"DEPLOYMENT", "STATUS", "MODEL", "REPLICAS", "MESSAGE"});
  Table replicas({"REPLICA", "DEPLOYMENT", "STATE", "DEVICES", "PID", "RUNNING", "AT MOST",
                  "KV TOKENS", "FREE", "RESTARTS", "MESSAGE"});
  each_named(answer, "deployments", [&](const std::string& name, const json::object& one) {
    std::string message = show(one, "message");
    if (const std::string why = show(one, "chat_template_error"); why != "-")
      message = (message == "-" ? "" : message + "; ") + "its chat template can't be used: " + why;
    deployments.add({name, show(one, "status"), show(one, "model"), replicas_text(one), message});
    each(one, "replicas", [&](const json::object& replica) {
      std::string state = show(replica, "state");
      if (const json::value* loading = field(replica, "loading");
          loading != nullptr && loading->is_object()) {
        boost::system::error_code error;
        const json::value* part = field(loading->get_object(), "fraction");
        const double fraction = part == nullptr ? 0 : part->to_number<double>(error);
        if (part != nullptr && !error) state += fmt::format(" {:.0f} %", fraction * 100);
      }
      replicas.add({show(replica, "replica_id"), name, state, show_list(replica, "devices"),
                    show(replica, "pid"), show(replica, "running"), show(replica, "max_sequences"),
                    show(replica, "kv_tokens"), show(replica, "kv_tokens_free"),
                    show(replica, "restarts"), show(replica, "message")});
    });
  });
  return deployments.text() + "\n" + replicas.text();
}

std::string task_table(const json::object& answer) {
  Table table({"TASK", "STATUS", "DEVICE", "TYPE", "CREATED", "QUEUE", "TOKENS", "ERROR"});
  size_t shown = 0;
  each_named(answer, "tasks", [&](const std::string& id, const json::object& task) {
    const json::value* result = field(task, "result");
    const std::string tokens =
        result != nullptr && result->is_object() ? show(result->get_object(), "tokens") : "-";
    table.add({id, show(task, "status"), show(task, "gpu_id"), show(task, "type"),
               show(task, "created_at"), show(task, "queue_position"), tokens,
               show(task, "error")});
    ++shown;
  });
  return fmt::format("{} of {} tasks, newest first\n", shown, show(answer, "total")) +
         (shown > 0 ? table.text() : "");
}

}  // namespace

std::string status_text(const StatusAnswers& answers) {
  const std::string message = show(answers.health, "message");
  const std::string notice = show(answers.gpus, "notice");
  return printable(fmt::format("{}, model {}{}", show(answers.health, "status"),
                               show(answers.health, "model"),
                               message == "-" ? "" : ": " + message)) +
         "\n\n" + device_table(answers.gpus) +
         (notice == "-" ? "" : printable(notice, 1000) + "\n") + "\n" +
         deployment_table(answers.deployments) + "\n" + task_table(answers.tasks);
}

}  // namespace altlas::cli
