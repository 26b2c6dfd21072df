#include "kv/kv_cache.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/integers.h"

namespace altlas::kv {

namespace {
KvOptions settled(KvOptions options) {
  if (keeps_state(options.groups)) options.prefix_caching = false;
  return options;
}
}  // namespace

KvCache::KvCache(KvOptions options)
    : options_(settled(std::move(options))),
      tree_(static_cast<uint32_t>(options_.groups.size()), options_.block_tokens),
      swap_(static_cast<uint32_t>(options_.groups.size()), options_.swap_places) {
  ALTLAS_CHECK(options_.block_tokens > 0 && !options_.groups.empty(),
               "block_tokens >= 1, at least one group");
  pools_.reserve(options_.groups.size());
  for (const GroupSpec& group : options_.groups) {
    ALTLAS_CHECK((group.kind == GroupKind::kWindow) == (group.window > 0),
                 "a window where the kind says so");
    pools_.emplace_back(group.blocks);
  }
}

// Returns the number of a group's blocks from the first token up to position `tokens`.
uint32_t KvCache::blocks_until(uint32_t group, uint64_t tokens) const {
  if (is_state(group)) return tokens > 0 ? 1 : 0;
  const uint64_t blocks = ceil_div(tokens, options_.block_tokens);
  return static_cast<uint32_t>(std::min<uint64_t>(blocks, UINT32_MAX));
}

uint32_t KvCache::blocks_needed(uint32_t group, uint64_t tokens) const {
  const uint64_t all = blocks_until(group, tokens);
  const uint64_t window = options_.groups[group].window;
  if (window == 0) return static_cast<uint32_t>(all);
  // A window of `window` tokens may end anywhere in a block.
  return static_cast<uint32_t>(std::min(all, ceil_div(window - 1, options_.block_tokens) + 1));
}

uint64_t KvCache::blocks_wanted(uint32_t group, uint64_t tokens, uint64_t held) const {
  const uint64_t all = blocks_needed(group, tokens);
  const uint64_t grows = is_state(group) ? 0 : 1;
  return std::max(all > held ? all - held : 0, grows);
}

bool KvCache::fits_alone(uint64_t tokens) const {
  for (uint32_t g = 0; g < groups(); ++g) {
    if (blocks_needed(g, tokens) > pools_[g].size()) return false;
  }
  return true;
}

uint64_t KvCache::tokens_max() const {
  uint64_t most = UINT32_MAX;
  for (uint32_t g = 0; g < groups(); ++g) {
    const uint64_t held = uint64_t{pools_[g].size()} * options_.block_tokens;
    if (blocks_needed(g, UINT32_MAX) > pools_[g].size()) most = std::min(most, held);
  }
  return most;
}

// Returns the first block that a token at `position` sees in this group.
uint32_t KvCache::first_needed(uint32_t group, uint32_t position) const {
  const uint32_t window = options_.groups[group].window;
  return window == 0 || position < window ? 0 : (position - window + 1) / options_.block_tokens;
}

namespace {

// Returns those of a sequence's payloads that have tokens in [begin, begin + count).
std::vector<BlockPayload> payloads_within(std::span<const PayloadPlace> payloads, uint32_t begin,
                                          uint32_t count) {
  std::vector<BlockPayload> out;
  for (const PayloadPlace& one : payloads) {
    if (one.first >= begin + count) break;
    if (one.first + one.tokens <= begin) continue;
    out.push_back({one.first > begin ? one.first - begin : 0,
                   begin > one.first ? begin - one.first : 0, one.hash});
  }
  return out;
}

}  // namespace

PrefixMatch KvCache::match(uint64_t salt, std::span<const int32_t> tokens,
                           std::span<const PayloadPlace> payloads) const {
  PrefixMatch best;
  if (!options_.prefix_caching || tokens.size() < 2) return best;
  const uint32_t bt = options_.block_tokens;
  const auto last = static_cast<uint32_t>(tokens.size() - 1);
  // For each group, the first block of the unbroken run that ends here.
  std::vector<uint32_t> run_begin(groups(), 0);
  std::vector<uint32_t> nodes;
  size_t good = 0;
  uint32_t node = kNoNode;
  for (uint32_t index = 0; (index + 1) * bt <= tokens.size(); ++index) {
    node = tree_.find(node, salt, tokens.subspan(index * bt, bt),
                      payloads_within(payloads, index * bt, bt));
    if (node == kNoNode) break;
    nodes.push_back(node);
    const uint32_t next = std::min((index + 1) * bt, last);  // The first token to compute.
    bool whole = true;
    for (uint32_t g = 0; g < groups(); ++g) {
      if (!tree_.block(node, g)) run_begin[g] = index + 1;
      whole = whole && run_begin[g] <= first_needed(g, next);
    }
    if (whole) {
      good = nodes.size();
      best.tokens = next;
    }
  }
  nodes.resize(good);
  best.nodes = std::move(nodes);
  return best;
}

uint32_t KvCache::kept_blocks(const PrefixMatch& match, uint32_t group) const {
  uint32_t kept = 0;
  for (size_t i = first_needed(group, match.tokens); i < match.nodes.size(); ++i) {
    if (pools_[group].users(*tree_.block(match.nodes[i], group)) == 0) ++kept;
  }
  return kept;
}

uint32_t KvCache::matched_blocks(const PrefixMatch& match, uint32_t group) const {
  const auto blocks = static_cast<uint32_t>(match.nodes.size());
  return blocks - std::min(first_needed(group, match.tokens), blocks);
}

PrefixMatch KvCache::shorten(PrefixMatch match) const {
  // A shorter prefix of a whole one can lack blocks that fell out of windows, so the longest whole
  // one is searched anew.
  while (!match.nodes.empty()) {
    match.nodes.pop_back();
    match.tokens = static_cast<uint32_t>(match.nodes.size()) * options_.block_tokens;
    bool whole = true;
    for (uint32_t g = 0; g < groups() && whole; ++g) {
      for (size_t i = first_needed(g, match.tokens); i < match.nodes.size() && whole; ++i) {
        whole = tree_.block(match.nodes[i], g).has_value();
      }
    }
    if (whole) break;
  }
  return match;
}

SequenceBlocks KvCache::start(uint64_t salt, const PrefixMatch& match, BlockChanges& changes) {
  SequenceBlocks sequence;
  sequence.salt = salt;
  sequence.tables.resize(groups());
  sequence.published = static_cast<uint32_t>(match.nodes.size());
  if (!match.nodes.empty()) {
    sequence.node = match.nodes.back();
    tree_.pin(sequence.node);
  }
  for (uint32_t g = 0; g < groups(); ++g) {
    GroupTable& table = sequence.tables[g];
    table.first = std::min(first_needed(g, match.tokens), sequence.published);
    for (uint32_t i = table.first; i < sequence.published; ++i) {
      const BlockId block = *tree_.block(match.nodes[i], g);
      pools_[g].retain(block);
      table.blocks.push_back(block);
    }
    if (table.blocks.empty()) continue;
    // Ranks hold tables from the first token on: an existing block stands in for those that the
    // window hides.
    TableChange whole{g, 0, std::vector<BlockId>(table.first, table.blocks.front())};
    whole.blocks.insert(whole.blocks.end(), table.blocks.begin(), table.blocks.end());
    changes.tables.push_back(std::move(whole));
  }
  return sequence;
}

// Whether the block must be copied before it is written: others use it, or the tree names its
// content.
bool KvCache::must_copy(const SequenceBlocks& sequence, uint32_t group, uint32_t begin) const {
  const GroupTable& table = sequence.tables[group];
  const uint32_t index = begin / options_.block_tokens;
  if (index < table.first || index >= table.end()) return false;
  const BlockId block = table.blocks[index - table.first];
  return pools_[group].users(block) > 1 || pools_[group].node(block) != kNoNode;
}

uint32_t KvCache::reservable(const SequenceBlocks& sequence, uint32_t begin, uint32_t want) const {
  uint64_t count = want;
  for (uint32_t g = 0; g < groups(); ++g) {
    const GroupTable& table = sequence.tables[g];
    uint64_t available = pools_[g].available();
    if (is_state(g)) {
      if (table.blocks.empty() && available == 0) return 0;
      continue;
    }
    const uint32_t needed = first_needed(g, begin);
    for (uint32_t i = table.first; i < std::min(needed, table.end()); ++i) {
      if (pools_[g].users(table.blocks[i - table.first]) == 1) ++available;
    }
    if (must_copy(sequence, g, begin)) {
      if (available == 0) return 0;
      --available;
    }
    const uint64_t end = (std::max(table.end(), needed) + available) * options_.block_tokens;
    count = std::min(count, end > begin ? end - begin : 0);
  }
  return static_cast<uint32_t>(count);
}

BlockId KvCache::allocate(uint32_t group) {
  BlockPool& pool = pools_[group];
  if (pool.free_count() == 0) {
    const BlockId oldest = pool.oldest_kept();
    const uint32_t node = pool.node(oldest);
    pool.set_node(oldest, kNoNode);
    tree_.clear_block(node, group);
  }
  return pool.take();
}

void KvCache::drop_fallen(SequenceBlocks& sequence, uint32_t group, uint32_t begin) {
  GroupTable& table = sequence.tables[group];
  const uint32_t needed = first_needed(group, begin);
  if (needed <= table.first) return;
  const uint32_t drop = std::min(needed - table.first, static_cast<uint32_t>(table.blocks.size()));
  for (uint32_t i = 0; i < drop; ++i) pools_[group].release(table.blocks[i]);
  table.blocks.erase(table.blocks.begin(), table.blocks.begin() + drop);
  table.first = needed;
}

void KvCache::reserve(SequenceBlocks& sequence, uint32_t begin, uint32_t count,
                      BlockChanges& changes) {
  ALTLAS_CHECK(count > 0 && count <= reservable(sequence, begin, count), "1 ... reservable tokens");
  const uint32_t bt = options_.block_tokens;
  for (uint32_t g = 0; g < groups(); ++g) {
    drop_fallen(sequence, g, begin);
    GroupTable& table = sequence.tables[g];
    if (must_copy(sequence, g, begin)) {
      BlockId& block = table.blocks[begin / bt - table.first];
      const BlockId copy = allocate(g);
      changes.copies.push_back({g, block, copy});
      changes.tables.push_back({g, begin / bt, {copy}});
      copied_.push_back(changes.copies.back());
      block = copy;
    }
    TableChange added{g, table.end(), {}};
    while (table.end() < blocks_until(g, uint64_t{begin} + count)) {
      table.blocks.push_back(allocate(g));
      added.blocks.push_back(table.blocks.back());
    }
    if (!added.blocks.empty()) changes.tables.push_back(std::move(added));
  }
  // A copied block's content is the sequence's own, not the tree's.
  const uint32_t node_blocks = begin / bt;
  ALTLAS_CHECK(sequence.published <= node_blocks + 1,
               "only the last published block can be written again");
}

// Gives the sequence's full block `index` to the tree, as `node`'s.
void KvCache::share(SequenceBlocks& sequence, uint32_t group, uint32_t index, uint32_t node,
                    BlockChanges& changes) {
  GroupTable& table = sequence.tables[group];
  if (index < table.first) return;  // The block has fallen out of the window already.
  BlockId& own = table.blocks[index - table.first];
  const auto known = tree_.block(node, group);
  if (!known) {
    tree_.set_block(node, group, own);
    pools_[group].set_node(own, node);
  } else if (*known != own) {
    pools_[group].retain(*known);
    pools_[group].release(own);
    own = *known;
    changes.tables.push_back({group, index, {own}});
  }
}

void KvCache::publish(SequenceBlocks& sequence, std::span<const int32_t> tokens, uint32_t computed,
                      BlockChanges& changes, std::span<const PayloadPlace> payloads) {
  ALTLAS_CHECK(computed <= tokens.size(), "only known tokens are computed");
  if (!options_.prefix_caching) return;
  const uint32_t bt = options_.block_tokens;
  while ((sequence.published + 1) * bt <= computed) {
    const uint32_t index = sequence.published;
    const uint32_t node =
        tree_.find_or_add(sequence.node, sequence.salt, tokens.subspan(index * bt, bt),
                          payloads_within(payloads, index * bt, bt));
    tree_.pin(node);
    if (sequence.node != kNoNode) tree_.unpin(sequence.node);
    sequence.node = node;
    ++sequence.published;
    for (uint32_t g = 0; g < groups(); ++g) share(sequence, g, index, node, changes);
  }
}

void KvCache::forget_copied() {
  for (const BlockCopy& copy : copied_) pools_[copy.group].release(copy.from);
  copied_.clear();
  swap_.forget();
}

uint32_t KvCache::shared_tokens(const SequenceBlocks& sequence, uint32_t tokens) const {
  uint32_t blocks = tokens / options_.block_tokens;
  for (uint32_t g = 0; g < groups(); ++g) {
    const GroupTable& table = sequence.tables[g];
    uint32_t shared = table.first;
    while (shared < std::min(blocks, table.end()) &&
           pools_[g].users(table.blocks[shared - table.first]) > 1)
      ++shared;
    blocks = std::min(blocks, table.first == shared ? 0 : shared);
  }
  return blocks * options_.block_tokens;
}

uint32_t KvCache::swap_blocks(const SequenceBlocks& sequence, uint32_t tokens) const {
  uint32_t sum = 0;
  for (uint32_t g = 0; g < groups(); ++g) {
    if (is_state(g)) continue;
    const uint32_t end = blocks_until(g, tokens);
    const uint32_t first = std::max(first_needed(g, tokens), sequence.tables[g].first);
    sum += end > first ? end - first : 0;
  }
  return sum;
}

bool KvCache::can_swap_out(const SequenceBlocks& sequence, uint32_t tokens) const {
  if (tokens == 0 || sequence.tables.empty()) return false;
  for (uint32_t g = 0; g < groups(); ++g) {
    const uint32_t end = blocks_until(g, tokens);
    const uint32_t first = std::max(first_needed(g, tokens), sequence.tables[g].first);
    if (end > first && end - first > swap_.free_count(g)) return false;
  }
  return true;
}

SwappedBlocks KvCache::swap_out(const SequenceBlocks& sequence, uint32_t tokens,
                                std::vector<BlockSwap>& changes) {
  ALTLAS_CHECK(can_swap_out(sequence, tokens), "places for all blocks");
  SwappedBlocks out{.tokens = tokens, .tables = std::vector<SwappedTable>(groups())};
  for (uint32_t g = 0; g < groups(); ++g) {
    const GroupTable& table = sequence.tables[g];
    const uint32_t end = blocks_until(g, tokens);
    out.tables[g].first = std::max(first_needed(g, tokens), table.first);
    for (uint32_t i = out.tables[g].first; i < end; ++i) {
      const uint32_t place = swap_.take(g);
      out.tables[g].places.push_back(place);
      changes.push_back({g, table.blocks[i - table.first], place});
    }
  }
  return out;
}

SequenceBlocks KvCache::swap_in(uint64_t salt, const SwappedBlocks& swapped,
                                BlockChanges& changes) {
  SequenceBlocks sequence;
  sequence.salt = salt;
  sequence.tables.resize(groups());
  for (uint32_t g = 0; g < groups(); ++g) {
    GroupTable& table = sequence.tables[g];
    table.first = swapped.tables[g].first;
    for (const uint32_t place : swapped.tables[g].places) {
      table.blocks.push_back(allocate(g));
      changes.swap_in.push_back({g, table.blocks.back(), place});
    }
    if (table.blocks.empty()) continue;
    // Ranks hold tables from the first token on, as in start().
    TableChange whole{g, 0, std::vector<BlockId>(table.first, table.blocks.front())};
    whole.blocks.insert(whole.blocks.end(), table.blocks.begin(), table.blocks.end());
    changes.tables.push_back(std::move(whole));
  }
  return sequence;
}

void KvCache::release(SequenceBlocks& sequence) {
  for (uint32_t g = 0; g < groups() && g < sequence.tables.size(); ++g) {
    auto& blocks = sequence.tables[g].blocks;
    for (size_t i = blocks.size(); i > 0; --i) pools_[g].release(blocks[i - 1]);
  }
  if (sequence.node != kNoNode) tree_.unpin(sequence.node);
  sequence = SequenceBlocks{};
}

void KvCache::check_integrity(std::span<const SequenceBlocks* const> sequences,
                              const std::vector<const SwappedBlocks*>& swapped) const {
  swap_.check_integrity(swapped);
  for (uint32_t g = 0; g < groups(); ++g) {
    std::vector<uint32_t> users(pools_[g].size(), 0);
    for (const SequenceBlocks* sequence : sequences) {
      if (sequence->tables.empty()) continue;
      ALTLAS_CHECK(!is_state(g) || sequence->tables[g].end() <= 1, "a sequence has one state");
      for (const BlockId block : sequence->tables[g].blocks) ++users[block.value];
    }
    for (const BlockCopy& copy : copied_) users[copy.from.value] += copy.group == g ? 1 : 0;
    for (uint32_t b = 0; b < pools_[g].size(); ++b) {
      ALTLAS_CHECK(users[b] == pools_[g].users(BlockId{b}),
                   "users of a block are the tables that name it");
    }
    pools_[g].check_integrity();
  }
  tree_.check_integrity(pools_);
}

void KvCache::add_to(Hasher& hasher) const {
  for (const BlockPool& pool : pools_) pool.add_to(hasher);
  tree_.add_to(hasher);
  swap_.add_to(hasher);
}

}  // namespace altlas::kv
