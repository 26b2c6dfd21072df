// JobThread: carries out a replica's slow jobs on a thread of its own, so that steps go on
// meanwhile.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "base/channel.h"
#include "base/check.h"

namespace altlas::engine {

// One job after the other. Threads: every call from the replica's leading thread.
template <class Job, class Done>
class JobThread {
 public:
  // jobs_max: jobs that may wait. work: runs on the job's thread. wake: called from there when
  // take() has something.
  JobThread(size_t jobs_max, std::function<Done(Job)> work, std::function<void()> wake)
      : work_(std::move(work)), wake_(std::move(wake)), jobs_(jobs_max), done_(2 * jobs_max) {}
  // Waits for the job that is under way; what waits behind it is dropped.
  ~JobThread() {
    jobs_.close();
    if (thread_.joinable()) thread_.join();
  }
  JobThread(const JobThread&) = delete;
  JobThread& operator=(const JobThread&) = delete;

  void ask(Job job) {
    if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
    ALTLAS_CHECK(jobs_.try_send(std::move(job)), "no more jobs than the core asks for at once");
  }
  // What the jobs that have ended since the last call came to.
  std::vector<Done> take() { return done_.drain(); }

 private:
  void run() {
    while (true) {
      std::vector<Job> jobs = jobs_.wait_drain(std::chrono::hours(1));
      if (jobs.empty() && jobs_.closed()) return;
      for (Job& job : jobs) {
        if (jobs_.closed()) return;
        ALTLAS_CHECK(done_.try_send(work_(std::move(job))),
                     "results are taken before more is asked for");
        wake_();
      }
    }
  }

  const std::function<Done(Job)> work_;
  const std::function<void()> wake_;
  Channel<Job> jobs_;
  Channel<Done> done_;
  std::thread thread_;  // Started by the first job.
};

}  // namespace altlas::engine
