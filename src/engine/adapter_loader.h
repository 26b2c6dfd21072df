// AdapterLoader: reads LoRA adapters on a thread of its own, so that steps go on meanwhile.
#pragma once

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/channel.h"
#include "base/result.h"
#include "engine/executor.h"

namespace altlas::engine {

inline constexpr size_t kAdaptersMax = 256;  // The limit of one replica, those being read included.

// An adapter's file that is to be read.
struct AdapterJob {
  uint32_t id = 0;  // As SequenceRequest::adapter names it.
  std::string path;
};
struct AdapterRead {
  uint32_t id = 0;
  Result<uint64_t> bytes = uint64_t{0};
};

// One file after the other. Threads: every call from the replica's leading thread.
class AdapterLoader {
 public:
  // executor: outlives it. wake: called from the loader's thread when take() has something.
  AdapterLoader(Executor& executor, std::function<void()> wake);
  ~AdapterLoader();  // Waits for the file that is being read.
  AdapterLoader(const AdapterLoader&) = delete;
  AdapterLoader& operator=(const AdapterLoader&) = delete;

  // At most kAdaptersMax may wait.
  void read(AdapterJob job);
  // Those that were read, or could not be, since the last call.
  std::vector<AdapterRead> take() { return done_.drain(); }

 private:
  void run();

  Executor& executor_;
  const std::function<void()> wake_;
  Channel<AdapterJob> jobs_;
  Channel<AdapterRead> done_;
  std::thread thread_;  // Started by the first job.
};

}  // namespace altlas::engine
