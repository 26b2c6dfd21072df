#include "journal/codec.h"

#include <fmt/format.h>

#include "base/hash.h"
#include "journal/journal.pb.h"
#include "task/convert.h"

namespace altlas::journal {
namespace {

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

uint32_t checksum(const TaskId& task, std::string_view body) {
  const uint64_t hash = Hasher().add(task.high).add(task.low).add(body).value();
  return static_cast<uint32_t>(hash ^ (hash >> 32));
}

void write_spec(const TaskSpec& from, proto::Spec* to) {
  to->set_owner(from.owner);
  to->set_type(from.type);
  to->set_deployment(from.deployment);
  to->set_priority(static_cast<uint32_t>(from.priority));
  if (from.deadline) to->set_deadline(*from.deadline);
  to->set_idempotency_key(from.idempotency_key);
  to->set_body_hash(from.body_hash);
  to->set_estimated_memory(from.estimated_memory);
  if (from.strategy) to->set_strategy(static_cast<uint32_t>(*from.strategy));
  if (from.specific_device) to->set_specific_device(from.specific_device->value);
  to->set_batch_group(from.batch_group);
  to->set_durable(from.durable);
  write_prompt(from.prompt, to->mutable_segments());
  to->set_tokens_max(from.tokens_max);
  write_sampling(from.sampling, to->mutable_sampling());
  to->set_adapter(from.adapter);
  to->set_embeds(from.embeds);
  to->set_asked(from.asked);
}

// In version 1 a prompt is token ids, or the JSON body that a deployment without a model answers.
Result<Prompt> read_prompt_of(const proto::Spec& from, uint8_t version) {
  if (version >= 2) return read_prompt(from.segments());
  Prompt out(std::vector<int32_t>(from.prompt().begin(), from.prompt().end()));
  if (!from.payload().empty()) out.add_payload(from.payload(), 0);
  return out;
}

Result<TaskSpec> read_spec(const TaskId& id, const proto::Spec& from, uint8_t version) {
  TaskSpec to;
  to.id = id;
  to.owner = from.owner();
  to.type = from.type();
  to.deployment = from.deployment();
  ALTLAS_TRY(to.priority, to_enum<Priority>(from.priority(), "priority"));
  if (from.has_deadline()) to.deadline = from.deadline();
  to.idempotency_key = from.idempotency_key();
  to.body_hash = from.body_hash();
  to.estimated_memory = from.estimated_memory();
  if (from.has_strategy()) {
    ALTLAS_TRY(to.strategy, to_enum<Strategy>(from.strategy(), "strategy"));
  }
  if (from.has_specific_device()) to.specific_device = DeviceId{from.specific_device()};
  to.batch_group = from.batch_group();
  to.durable = from.durable();
  ALTLAS_TRY(to.prompt, read_prompt_of(from, version));
  to.tokens_max = from.tokens_max();
  ALTLAS_TRY(to.sampling, read_sampling(from.sampling()));
  to.adapter = from.adapter();
  to.embeds = from.embeds();
  to.asked = from.asked();
  return to;
}

Result<TaskEvent> read_event(const TaskId& task, const proto::Event& from, uint8_t version) {
  TaskEvent to;
  to.task = task;
  to.time = from.time();
  switch (from.what_case()) {
    case proto::Event::kAccepted: {
      ALTLAS_TRY(TaskSpec spec, read_spec(task, from.accepted().spec(), version));
      to.what = TaskAccepted{std::move(spec), DeviceId{from.accepted().device()}};
      return to;
    }
    case proto::Event::kStarted:
      to.what = TaskStarted{DeviceId{from.started().device()}};
      return to;
    case proto::Event::kTokens:
      to.what =
          TaskTokens{from.tokens().first_index(),
                     std::vector<int32_t>(from.tokens().ids().begin(), from.tokens().ids().end())};
      return to;
    case proto::Event::kCompleted: {
      ALTLAS_TRY(TaskResult result, read_result(from.completed().result()));
      to.what = TaskCompleted{std::move(result)};
      return to;
    }
    case proto::Event::kFailed: {
      ALTLAS_TRY(const ErrorCode code,
                 to_enum(from.failed().code(), ErrorCode::kInternal, "error code"));
      to.what = TaskFailed{code, from.failed().message()};
      return to;
    }
    case proto::Event::kCanceled:
      to.what = TaskCanceled{};
      return to;
    case proto::Event::WHAT_NOT_SET:
      break;
  }
  return invalid("an event of a kind that this version does not know");
}

}  // namespace

std::string encode_event(const TaskEvent& event) {
  proto::Event message;
  message.set_time(event.time);
  std::visit(Overloaded{[&](const TaskAccepted& what) {
                          write_spec(what.spec, message.mutable_accepted()->mutable_spec());
                          message.mutable_accepted()->set_device(what.device.value);
                        },
                        [&](const TaskStarted& what) {
                          message.mutable_started()->set_device(what.device.value);
                        },
                        [&](const TaskTokens& what) {
                          message.mutable_tokens()->set_first_index(what.first_index);
                          message.mutable_tokens()->mutable_ids()->Add(what.ids.begin(),
                                                                       what.ids.end());
                        },
                        [&](const TaskCompleted& what) {
                          write_result(what.result, message.mutable_completed()->mutable_result());
                        },
                        [&](const TaskFailed& what) {
                          message.mutable_failed()->set_code(static_cast<uint32_t>(what.code));
                          message.mutable_failed()->set_message(what.message);
                        },
                        [&](const TaskCanceled&) { message.mutable_canceled(); }},
             event.what);
  std::string payload(kPayloadHeaderBytes, '\0');
  ALTLAS_CHECK(message.AppendToString(&payload), "an event is at most 2 GiB");
  const uint32_t sum = checksum(event.task, std::string_view(payload).substr(kPayloadHeaderBytes));
  payload[0] = static_cast<char>(kPayloadVersion);
  for (int i = 0; i < 4; ++i) payload[1 + i] = static_cast<char>(sum >> (8 * i));
  return payload;
}

Result<TaskEvent> decode_event(const TaskId& task, std::string_view payload) {
  if (payload.size() < kPayloadHeaderBytes)
    return invalid(fmt::format("payload of {} bytes, its header alone has {}", payload.size(),
                               kPayloadHeaderBytes));
  const auto version = static_cast<uint8_t>(payload[0]);
  if (version < 1 || version > kPayloadVersion)
    return invalid(fmt::format("payload of version {}, this altlas reads versions 1 to {}", version,
                               kPayloadVersion));
  uint32_t sum = 0;
  for (int i = 0; i < 4; ++i)
    sum |= static_cast<uint32_t>(static_cast<uint8_t>(payload[1 + i])) << (8 * i);
  const std::string_view body = payload.substr(kPayloadHeaderBytes);
  if (checksum(task, body) != sum)
    return invalid("payload does not match its checksum: the file is damaged");
  proto::Event message;
  if (body.size() > INT32_MAX ||
      !message.ParseFromArray(body.data(), static_cast<int>(body.size())))
    return invalid("payload is not a journal event");
  return read_event(task, message, version);
}

std::string encode_task_id(const TaskId& id) {
  std::string bytes(16, '\0');
  for (int i = 0; i < 8; ++i) {
    bytes[i] = static_cast<char>(id.high >> (56 - 8 * i));
    bytes[8 + i] = static_cast<char>(id.low >> (56 - 8 * i));
  }
  return bytes;
}

Result<TaskId> decode_task_id(std::string_view bytes) {
  if (bytes.size() != 16)
    return invalid(fmt::format("a task id has 16 bytes, not {}", bytes.size()));
  TaskId id;
  for (int i = 0; i < 8; ++i) {
    id.high = id.high << 8 | static_cast<uint8_t>(bytes[i]);
    id.low = id.low << 8 | static_cast<uint8_t>(bytes[8 + i]);
  }
  return id;
}

}  // namespace altlas::journal
