#include "worker/step_line.h"

#include <fmt/format.h>

#include <atomic>
#include <cstring>
#include <semaphore>
#include <span>
#include <thread>
#include <utility>

#include "worker/step_convert.h"

namespace altlas::worker {
namespace {

using collective::ElementType;

// What comes before the words of a message.
struct Head {
  uint32_t kind = 0;
  uint32_t zero = 0;
  uint64_t bytes = 0;
};
static_assert(sizeof(Head) == 16);

std::span<std::byte> bytes_of(std::string& text) {
  return std::as_writable_bytes(std::span(text.data(), text.size()));
}

Error wrong(const StepMessage& message) {
  return invalid(
      fmt::format("a worker of the replica said message {} of {} bytes, which does not "
                  "belong here",
                  static_cast<uint32_t>(message.kind), message.bytes.size()));
}

StepMessage plan_message(const StepPlan& plan) {
  proto::StepPlan frame;
  write_plan(plan, &frame);
  return {StepMessage::Kind::kPlan, frame.SerializeAsString()};
}

StepMessage answer_message(const Result<StepResult>& result) {
  if (!result.ok()) return {StepMessage::Kind::kFailed, result.error().message()};
  proto::StepResult frame;
  write_step_result(*result, &frame);
  return {StepMessage::Kind::kResult, frame.SerializeAsString()};
}

}  // namespace

Result<void> send_message(collective::Group& group, int to, const StepMessage& message) {
  const Head head{static_cast<uint32_t>(message.kind), 0, message.bytes.size()};
  ALTLAS_TRY_VOID(group.send(ElementType::kU8, std::as_bytes(std::span(&head, 1)), to));
  if (message.bytes.empty()) return {};
  return group.send(ElementType::kU8,
                    std::as_bytes(std::span(message.bytes.data(), message.bytes.size())), to);
}

Result<StepMessage> receive_message(collective::Group& group, int from) {
  Head head;
  ALTLAS_TRY_VOID(
      group.receive(ElementType::kU8, std::as_writable_bytes(std::span(&head, 1)), from));
  StepMessage out{static_cast<StepMessage::Kind>(head.kind), {}};
  if (head.bytes > kStepMessageMax || head.kind < static_cast<uint32_t>(StepMessage::Kind::kPlan) ||
      head.kind > static_cast<uint32_t>(StepMessage::Kind::kFailed))
    return invalid(fmt::format("a message {} of {} bytes between workers; at most {} are possible",
                               head.kind, head.bytes, kStepMessageMax));
  out.bytes.resize(head.bytes);
  if (head.bytes > 0) ALTLAS_TRY_VOID(group.receive(ElementType::kU8, bytes_of(out.bytes), from));
  return out;
}

LeadingExecutor::LeadingExecutor(std::unique_ptr<engine::Executor> own, StepLine line,
                                 std::vector<uint32_t> workers, uint32_t answering)
    : own_(std::move(own)),
      line_(std::move(line)),
      workers_(std::move(workers)),
      answering_(answering) {}

// The others carry out what they were sent, which this worker's last steps wait for.
LeadingExecutor::~LeadingExecutor() {
  while (own_->in_flight() > 0 && !failed_) static_cast<void>(collect());
  tell({StepMessage::Kind::kEnd, {}});
}

void LeadingExecutor::tell(const StepMessage& message) {
  for (int worker = 1; worker < line_.plans->size() && !failed_; ++worker) {
    const Result<void> sent = send_message(*line_.plans, worker, message);
    if (!sent.ok())
      failed_ = Error(ErrorCode::kDevice, fmt::format("worker {} takes no more steps: {}", worker,
                                                      sent.error().message()));
  }
}

void LeadingExecutor::launch(StepPlan plan) {
  tell(plan_message(plan));
  own_->launch(std::move(plan));
}

Result<StepResult> LeadingExecutor::answer_of(uint32_t worker) {
  ALTLAS_TRY(const StepMessage message, receive_message(*line_.results, static_cast<int>(worker)));
  if (message.kind == StepMessage::Kind::kFailed) return Error(ErrorCode::kDevice, message.bytes);
  proto::StepResult frame;
  if (message.kind != StepMessage::Kind::kResult || !frame.ParseFromString(message.bytes))
    return wrong(message);
  return read_step_result(frame);
}

Result<StepResult> LeadingExecutor::collect() {
  Result<StepResult> result = gather();
  if (!result.ok() && !failed_) failed_ = Error(ErrorCode::kDevice, result.error().message());
  return result;
}

Result<StepResult> LeadingExecutor::gather() {
  ALTLAS_TRY(StepResult out, own_->collect());
  if (failed_) return *failed_;
  std::vector<int64_t> busy(workers_.size());
  const auto take_busy = [&](const StepResult& of, uint32_t worker) {
    const std::span<const int64_t> own =
        of.rank_busy_us.empty() ? std::span(&of.busy_us, 1) : std::span(of.rank_busy_us);
    size_t next = 0;
    for (size_t rank = 0; rank < workers_.size(); ++rank)
      if (workers_[rank] == worker && next < own.size()) busy[rank] = own[next++];
  };
  take_busy(out, 0);
  for (uint32_t worker = 1; worker < static_cast<uint32_t>(line_.results->size()); ++worker) {
    Result<StepResult> answer = answer_of(worker);
    if (!answer.ok())
      return Error(ErrorCode::kDevice, fmt::format("worker {} of the replica failed in step {}: {}",
                                                   worker, out.id.value, answer.error().message()));
    if (answer->id != out.id)
      return Error(ErrorCode::kDevice, fmt::format("worker {} answers for step {} instead of {}",
                                                   worker, answer->id.value, out.id.value));
    take_busy(*answer, worker);
    if (workers_[answering_] == worker) out.sampled = std::move(answer->sampled);
  }
  out.busy_us = busy.front();
  out.rank_busy_us = std::move(busy);
  return out;
}

Result<uint64_t> LeadingExecutor::load_adapter(uint32_t, const std::string&) {
  return Error(ErrorCode::kUnsupported,
               "a replica of several workers takes its LoRA adapters when it loads: name them in "
               "engine.lora_modules, or use distributed_executor_backend uni");
}

void LeadingExecutor::drop_adapter(uint32_t id) {
  own_->drop_adapter(id);
  std::string number(sizeof id, '\0');
  std::memcpy(number.data(), &id, sizeof id);
  tell({StepMessage::Kind::kDropAdapter, std::move(number)});
}

namespace {

// Answers the steps that were launched, in their order, until one fails or there are no more.
class Answers {
 public:
  Answers(engine::Executor& own, collective::Group& results, collective::Group& plans)
      : own_(own), results_(results), plans_(plans), thread_([this] { run(); }) {}
  ~Answers() { static_cast<void>(end()); }
  void launched() { steps_.release(); }
  // Waits for what was launched.
  Result<void> end() {
    if (thread_.joinable()) {
      over_ = true;
      steps_.release();
      thread_.join();
    }
    return result_;
  }

 private:
  void run() {
    for (;;) {
      steps_.acquire();
      if (over_ && own_.in_flight() == 0) return;
      const Result<StepResult> result = own_.collect();
      const Result<void> sent = send_message(results_, 0, answer_message(result));
      if (result.ok() && sent.ok()) continue;
      result_ = result.ok() ? sent : Result<void>(result.error());
      // Whoever waits for the next plan waits in vain.
      plans_.abort(result_.error().message());
      return;
    }
  }

  engine::Executor& own_;
  collective::Group &results_, &plans_;
  std::counting_semaphore<> steps_{0};
  std::atomic<bool> over_ = false;
  Result<void> result_;
  std::thread thread_;  // The last member, since it uses the others.
};

Result<void> carry_out(engine::Executor& own, const StepMessage& message, Answers& answers) {
  if (message.kind == StepMessage::Kind::kDropAdapter) {
    uint32_t id = 0;
    if (message.bytes.size() != sizeof id) return wrong(message);
    std::memcpy(&id, message.bytes.data(), sizeof id);
    own.drop_adapter(id);
    return {};
  }
  proto::StepPlan frame;
  if (message.kind != StepMessage::Kind::kPlan || !frame.ParseFromString(message.bytes))
    return wrong(message);
  ALTLAS_TRY(StepPlan plan, read_plan(frame));
  if (own.in_flight() >= own.depth())
    return invalid(
        fmt::format("step {} comes while {} are in flight", plan.id.value, own.in_flight()));
  own.launch(std::move(plan));
  answers.launched();
  return {};
}

}  // namespace

Result<void> follow(engine::Executor& own, const StepLine& line) {
  Answers answers(own, *line.results, *line.plans);
  for (;;) {
    const Result<StepMessage> message = receive_message(*line.plans, 0);
    if (message.ok() && message->kind == StepMessage::Kind::kEnd) return answers.end();
    Result<void> done =
        message.ok() ? carry_out(own, *message, answers) : Result<void>(message.error());
    if (done.ok()) continue;
    line.results->abort(done.error().message());
    const Result<void> answered = answers.end();
    return answered.ok() ? done : answered;
  }
}

}  // namespace altlas::worker
