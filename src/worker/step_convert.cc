#include "worker/step_convert.h"

#include <memory>
#include <utility>

#include "task/convert.h"
#include "worker/lists.h"

namespace altlas::worker {
namespace {

void write(const SlotStart& from, proto::SlotStart* to) {
  const SequenceRequest& request = *from.request;
  to->set_slot(from.slot);
  write_prompt(request.prompt, to->mutable_prompt());
  write_all(request.generated, to->mutable_generated());
  write_sampling(request.sampling, to->mutable_sampling());
  to->set_adapter(request.adapter);
  to->set_embeds(request.embeds);
}

Result<SlotStart> read(const proto::SlotStart& from) {
  auto request = std::make_shared<SequenceRequest>();
  ALTLAS_TRY(request->prompt, read_prompt(from.prompt()));
  request->generated = read_all<int32_t>(from.generated());
  ALTLAS_TRY(request->sampling, read_sampling(from.sampling()));
  request->adapter = from.adapter();
  request->embeds = from.embeds();
  return SlotStart{from.slot(), std::move(request)};
}

void write(const SlotTables& from, proto::SlotTables* to) {
  to->set_slot(from.slot);
  for (const kv::TableChange& change : from.changes) {
    proto::TableChange* row = to->add_changes();
    row->set_group(change.group);
    row->set_first_index(change.first_index);
    for (const BlockId block : change.blocks) row->add_blocks(block.value);
  }
}

SlotTables read(const proto::SlotTables& from) {
  SlotTables to{.slot = from.slot(), .changes = {}};
  for (const proto::TableChange& row : from.changes()) {
    kv::TableChange& change = to.changes.emplace_back();
    change.group = row.group();
    change.first_index = row.first_index();
    for (const uint32_t block : row.blocks()) change.blocks.push_back(BlockId{block});
  }
  return to;
}

void write(const kv::BlockSwap& from, proto::BlockSwap* to) {
  to->set_group(from.group);
  to->set_block(from.block.value);
  to->set_place(from.place);
}
kv::BlockSwap read(const proto::BlockSwap& from) {
  return {from.group(), BlockId{from.block()}, from.place()};
}

void write(const kv::BlockCopy& from, proto::BlockCopy* to) {
  to->set_group(from.group);
  to->set_from(from.from.value);
  to->set_to(from.to.value);
}
kv::BlockCopy read(const proto::BlockCopy& from) {
  return {from.group(), BlockId{from.from()}, BlockId{from.to()}};
}

void write(const StepEntry& from, proto::StepEntry* to) {
  to->set_slot(from.slot);
  to->set_position(from.position);
  write_all(from.tokens, to->mutable_tokens());
  to->set_samples(from.samples);
  to->set_guesses(from.guesses);
  to->set_prompt_logprobs(from.prompt_logprobs);
  to->set_masked(from.allowed != nullptr);
  if (from.allowed) write_all(*from.allowed, to->mutable_allowed());
}

StepEntry read(const proto::StepEntry& from) {
  StepEntry to;
  to.slot = from.slot();
  to.position = from.position();
  to.tokens = read_all<int32_t>(from.tokens());
  to.samples = from.samples();
  to.guesses = from.guesses();
  to.prompt_logprobs = from.prompt_logprobs();
  if (from.masked())
    to.allowed = std::make_shared<const std::vector<uint64_t>>(read_all<uint64_t>(from.allowed()));
  return to;
}

void write(const SampledToken& from, proto::SampledToken* to) {
  to->set_slot(from.slot);
  to->set_token(from.token);
  write_logprobs(from.logprobs, to->mutable_logprobs());
  for (const TokenLogprobs& row : from.prompt_logprobs)
    write_logprobs(row, to->add_prompt_logprobs());
  for (const FollowingToken& following : from.following) {
    proto::FollowingToken* row = to->add_following();
    row->set_token(following.token);
    write_logprobs(following.logprobs, row->mutable_logprobs());
  }
  write_all(from.embedding, to->mutable_embedding());
}

SampledToken read(const proto::SampledToken& from) {
  SampledToken to{
      .slot = from.slot(), .token = from.token(), .logprobs = {}, .prompt_logprobs = {}};
  to.logprobs = read_logprobs(from.logprobs());
  for (const altlas::proto::TokenLogprobs& row : from.prompt_logprobs())
    to.prompt_logprobs.push_back(read_logprobs(row));
  for (const proto::FollowingToken& row : from.following())
    to.following.push_back({row.token(), read_logprobs(row.logprobs())});
  to.embedding = read_all<float>(from.embedding());
  return to;
}

}  // namespace

void write_plan(const StepPlan& from, proto::StepPlan* to) {
  to->set_id(from.id.value);
  for (const SlotStart& start : from.starts) write(start, to->add_starts());
  for (const SlotTables& tables : from.tables) write(tables, to->add_tables());
  for (const kv::BlockSwap& swap : from.swap_out) write(swap, to->add_swap_out());
  for (const kv::BlockCopy& copy : from.copies) write(copy, to->add_copies());
  for (const kv::BlockSwap& swap : from.swap_in) write(swap, to->add_swap_in());
  for (const StepEntry& entry : from.entries) write(entry, to->add_entries());
  write_all(from.ends, to->mutable_ends());
}

Result<StepPlan> read_plan(const proto::StepPlan& from) {
  StepPlan to;
  to.id = StepId{from.id()};
  for (const proto::SlotStart& start : from.starts()) {
    ALTLAS_TRY(SlotStart one, read(start));
    to.starts.push_back(std::move(one));
  }
  for (const proto::SlotTables& tables : from.tables()) to.tables.push_back(read(tables));
  for (const proto::BlockSwap& swap : from.swap_out()) to.swap_out.push_back(read(swap));
  for (const proto::BlockCopy& copy : from.copies()) to.copies.push_back(read(copy));
  for (const proto::BlockSwap& swap : from.swap_in()) to.swap_in.push_back(read(swap));
  for (const proto::StepEntry& entry : from.entries()) to.entries.push_back(read(entry));
  to.ends = read_all<int32_t>(from.ends());
  return to;
}

void write_step_result(const StepResult& from, proto::StepResult* to) {
  to->set_id(from.id.value);
  for (const SampledToken& sampled : from.sampled) write(sampled, to->add_sampled());
  to->set_busy_us(from.busy_us);
  write_all(from.rank_busy_us, to->mutable_rank_busy_us());
}

StepResult read_step_result(const proto::StepResult& from) {
  StepResult to;
  to.id = StepId{from.id()};
  for (const proto::SampledToken& sampled : from.sampled()) to.sampled.push_back(read(sampled));
  to.busy_us = from.busy_us();
  to.rank_busy_us = read_all<int64_t>(from.rank_busy_us());
  return to;
}

}  // namespace altlas::worker
