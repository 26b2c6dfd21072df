// BatchRunner: carries the requests of batches out, through the same handlers as requests from
// outside, at low priority.
#pragma once

#include <memory>
#include <string>

namespace boost::asio {
class io_context;
}

namespace altlas::server {

class FileDesk;
struct Services;

// Any thread. Not after `io` has stopped.
class BatchRunner {
 public:
  // `desk` and `services` outlive what `io` runs.
  BatchRunner(boost::asio::io_context& io, FileDesk& desk, Services& services);

  // Goes on with what an earlier process left.
  void start();
  // Runs a batch that the desk holds; the first come first, four at a time.
  void submit(std::string batch);
  // Its requests end as those of a client that goes away.
  void cancel(std::string batch);
  // Begins no more requests. Those that run may end; what has no result yet waits for the next
  // start.
  void stop();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace altlas::server
