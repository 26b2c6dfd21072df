#include "simulation/clients.h"

#include <fmt/format.h>

#include <algorithm>

#include "simulation/toy_text.h"

namespace altlas::simulation {
namespace {

bool one_in(PhiloxStream& random, uint64_t n) { return random.below(n) == 0; }

}  // namespace

void Clients::later(int64_t delay_us, std::function<void()> what) {
  ++planned_;
  events_.after(delay_us, [this, what = std::move(what)] {
    --planned_;
    what();
  });
}

void Clients::schedule(uint32_t requests, int64_t busy_us) {
  while (requests > 0) {
    const auto at = static_cast<int64_t>(random_.below(static_cast<uint64_t>(busy_us)));
    const auto burst =
        std::min(requests, static_cast<uint32_t>(1 + random_.below(one_in(random_, 4) ? 12 : 3)));
    requests -= burst;
    for (uint32_t i = 0; i < burst; ++i) {
      later(at + static_cast<int64_t>(random_.below(50 * kMillisecond)),
            [this] { send(make_request()); });
    }
  }
}

TaskId Clients::next_id() { return TaskId{random_.next(), next_task_++}; }

Prompt Clients::make_prompt(size_t tokens_max) {
  Prompt prompt;
  // Half of the prompts have a beginning that others have, too.
  if (one_in(random_, 2)) {
    const auto shared = static_cast<int32_t>(random_.below(3));
    for (int32_t i = 0; i < 33; ++i)
      prompt.push_back((shared * 31 + i * 7) % static_cast<int32_t>(kVocabulary));
  }
  // Payloads are few, of two sizes, so that they recur.
  if (scenario_.shapes.payload_prompts && one_in(random_, 2)) {
    const auto places = static_cast<uint32_t>(one_in(random_, 2) ? 5 : 20);
    prompt.add_payload(fmt::format("picture {}", random_.below(3)), places);
  }
  const uint64_t most = tokens_max - std::min(prompt.size(), tokens_max - 1);
  const uint64_t own = 1 + random_.below(one_in(random_, 4) ? 90 : 20);
  for (uint64_t i = 0; i < std::min(own, most); ++i)
    prompt.push_back(static_cast<int32_t>(random_.below(kVocabulary)));
  return prompt;
}

// Returns a JSON value, as /echo takes it.
std::string Clients::make_payload() {
  return fmt::format(R"({{"number": {}, "text": "{}"}})", random_.next(),
                     std::string(random_.below(200), 'x'));
}

void Clients::make_text(TaskSpec& spec) {
  spec.tokens_max = static_cast<int32_t>(1 + random_.below(one_in(random_, 4) ? 60 : 16));
  if (one_in(random_, 4))
    spec.sampling.stop = {scenario_.shapes.grammars
                              ? std::string(1, static_cast<char>('!' + random_.below(94)))
                              : fmt::format(" t{}", random_.below(10))};
  if (scenario_.shapes.grammars && one_in(random_, 2)) spec.sampling.grammar = toy_grammar(random_);
}

// Fills in what the deployment is asked to compute.
void Clients::make_work(size_t deployment, TaskSpec& spec) {
  const Answers answers = scenario_.answers.at(deployment);
  if (answers == Answers::kPayloads) {
    spec.type = "echo";
    spec.tokens_max = 1;
    spec.prompt.add_payload(make_payload(), 0);
    return;
  }
  spec.type = one_in(random_, 5) ? "special" : "text_generation";
  spec.adapter = adapters_.draw_name(spec.deployment);
  const bool encodes = answers == Answers::kEmbeddings;
  spec.prompt = make_prompt(encodes ? kEncoderTokensMax : kModelLenMax);
  spec.embeds = encodes || (scenario_.shapes.embeddings && one_in(random_, 4));
  if (!spec.embeds) return make_text(spec);
  spec.tokens_max = 0;
}

TaskSpec Clients::make_spec(size_t deployment) {
  TaskSpec spec;
  spec.id = next_id();
  spec.deployment = scenario_.setup.deployments.at(deployment).name;
  spec.owner = one_in(random_, 3) ? "a" : "b";
  spec.priority = static_cast<Priority>(random_.below(3));
  make_work(deployment, spec);
  spec.durable = !one_in(random_, 5);
  spec.sampling.seed = random_.next();
  if (one_in(random_, 5))
    spec.deadline = events_.now() + static_cast<int64_t>(random_.below(8 * kSecond));
  const uint64_t total = scenario_.setup.devices[0].memory_total;
  if (one_in(random_, 5))
    spec.estimated_memory = 1 + random_.below(one_in(random_, 3) ? total + total / 16 : total / 2);
  if (one_in(random_, 12))
    spec.strategy = static_cast<Strategy>(random_.below(std::size(kStrategyNames)));
  if (one_in(random_, 12))
    spec.specific_device =
        DeviceId{static_cast<int32_t>(random_.below(scenario_.setup.devices.size()))};
  if (one_in(random_, 3)) spec.idempotency_key = fmt::format("key {}", next_key_++);
  spec.body_hash = spec.sampling.seed;
  return spec;
}

Clients::Request Clients::make_request() {
  const size_t deployment = random_.below(scenario_.setup.deployments.size());
  Request request;
  request.specs.push_back(make_spec(deployment));
  if (!one_in(random_, 5)) return request;
  request.split = one_in(random_, 2);
  request.min_per_device = static_cast<uint32_t>(1 + random_.below(3));
  const uint64_t more = 1 + random_.below(6);
  for (uint64_t i = 0; i < more; ++i) {
    TaskSpec spec = make_spec(deployment);
    spec.durable = request.specs[0].durable;
    request.specs.push_back(std::move(spec));
  }
  return request;
}

void Clients::send(Request request) {
  const uint64_t ticket = next_ticket_++;
  control::AdmissionRequested event;
  event.ticket = ticket;
  event.owner = request.specs[0].owner;
  event.deployment = request.specs[0].deployment;
  event.tasks = static_cast<uint32_t>(request.specs.size());
  const bool keyed = !request.specs[0].idempotency_key.empty();
  open_[ticket] = request;
  if (step_(std::move(event))) return;
  open_.erase(ticket);  // Nobody waits for the answer.
  if (keyed && !request.retried) repeat(request, 2 * kSecond, false);
}

// Sends the same request again, like a client that did not receive the answer.
void Clients::repeat(const Request& request, int64_t delay_us, bool other_body) {
  Request again = request;
  again.retried = true;
  for (TaskSpec& spec : again.specs) {
    spec.id = next_id();
    if (other_body) spec.body_hash = ++spec.sampling.seed;
  }
  later(delay_us, [this, again = std::move(again)] { send(again); });
}

void Clients::on_admission(uint64_t ticket, const Result<void>& admitted) {
  if (!open_.contains(ticket)) return;
  if (!admitted.ok()) {
    open_.erase(ticket);
    return;
  }
  later(100 + static_cast<int64_t>(random_.below(20 * kMillisecond)),
        [this, ticket] { submit(ticket); });
}

// The text is tokenized by now, or could not be.
void Clients::submit(uint64_t ticket) {
  const auto found = open_.find(ticket);
  if (found == open_.end()) return;
  if (one_in(random_, 20)) {
    open_.erase(found);
    step_(control::AdmissionReleased{ticket});
    return;
  }
  const Request& request = found->second;
  for (const TaskSpec& spec : request.specs)
    checkers_.submitted(spec, adapters_.file_of(spec.deployment, spec.adapter));
  control::TasksSubmitted event;
  event.ticket = ticket;
  event.specs = request.specs;
  event.split = request.split;
  event.min_per_device = request.min_per_device;
  if (!request.specs[0].idempotency_key.empty() && !request.retried && one_in(random_, 3))
    repeat(request,
           static_cast<int64_t>(random_.below(one_in(random_, 2) ? 2 * kMillisecond : 5 * kSecond)),
           one_in(random_, 5));
  if (one_in(random_, 12)) cancel_later(request.specs[0].id);
  step_(std::move(event));
}

void Clients::cancel_later(TaskId id) {
  later(static_cast<int64_t>(random_.below(one_in(random_, 3) ? 500 : 3 * kSecond)), [this, id] {
    checkers_.cancel_sent(id);
    step_(control::CancelRequested{id});
  });
}

void Clients::on_submission(uint64_t ticket, const Result<std::vector<control::Placed>>& placed) {
  const auto found = open_.find(ticket);
  if (found == open_.end())
    return checkers_.fail(fmt::format("ticket {} was answered, it is not open", ticket));
  const size_t asked = found->second.specs.size();
  open_.erase(found);
  if (!placed.ok()) return;
  if (placed->size() != asked)
    checkers_.fail(fmt::format("{} tasks were asked for, {} answered", asked, placed->size()));
  for (const control::Placed& one : *placed) {
    checkers_.accepted(one);
    if (one_in(random_, 10)) cancel_later(one.task);
  }
}

void Clients::server_lost() {
  for (const auto& [ticket, request] : open_)
    if (!request.specs[0].idempotency_key.empty() && !request.retried)
      repeat(request, static_cast<int64_t>(kSecond + random_.below(4 * kSecond)), false);
  open_.clear();
}

}  // namespace altlas::simulation
