// Groups of every transport for tests, and a way to run all ranks of one.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "collective/join.h"

namespace altlas::collective {

enum class World { kThreads, kProcesses, kTls, kPlainLanes, kSimulated };
inline constexpr World kWorlds[] = {World::kThreads, World::kProcesses, World::kTls,
                                    World::kPlainLanes, World::kSimulated};

inline std::string name_of(World world) {
  constexpr const char* kNames[] = {"threads", "processes", "tls", "plain_lanes", "simulated"};
  return kNames[static_cast<int>(world)];
}

inline std::string unique_name() {
  static std::atomic<int> count{0};
  return "test-" + std::to_string(::getpid()) + "-" + std::to_string(count++);
}

// Shared memory as processes use it; its ranks are threads here.
inline Groups make_process_groups(int ranks, const GroupOptions& options) {
  const std::string name = unique_name();
  Groups groups(static_cast<size_t>(ranks));
  std::vector<std::jthread> threads;
  for (int rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] {
      groups[static_cast<size_t>(rank)] =
          join_shared_memory({.rank = rank, .size = ranks, .name = name, .token = "t"}, options)
              .value();
    });
  threads.clear();
  return groups;
}

inline Groups make_world(World world, int ranks, const GroupOptions& options = {}) {
  switch (world) {
    case World::kThreads:
      return make_thread_groups(ranks, options).value();
    case World::kProcesses:
      return make_process_groups(ranks, options);
    case World::kSimulated:
      return make_simulated_groups(ranks, {}, options).value();
    case World::kTls:
      return make_tcp_groups(ranks, {.identity = TlsIdentity::make_ephemeral().value()}, options)
          .value();
    case World::kPlainLanes:
      return make_tcp_groups(ranks, {.threads = 2, .sockets_per_thread = 2}, options).value();
  }
  return {};
}

// Runs `work(group)` for every rank at once, each in a thread of its own.
template <class Work>
void on_ranks(Groups& groups, const Work& work) {
  std::vector<std::jthread> threads;
  for (auto& group : groups)
    if (group) threads.emplace_back([&group, &work] { work(*group); });
}

}  // namespace altlas::collective
