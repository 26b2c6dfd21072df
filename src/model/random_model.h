// Models of known shapes with random weights: for speeds of shapes that no file is at hand for.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tensor/dtype.h"

namespace altlas::model {

// "llama-8b", "gemma3-270m", ….
std::vector<std::string_view> random_model_names();
// "q4_k", "q8_0", "f16", …: every type that matrices may have.  Errors: kInvalid, naming them.
Result<DType> parse_weight_type(std::string_view name);

// A model file in memory that lives as long as this. Movable.
class RandomModel {
 public:
  // Every matrix is of `type`, or of the nearest one that its columns can be cut into. Uses
  // `threads` threads. progress: 0 … 1, may be empty.  Errors: kInvalid for an unknown name,
  // kBusy if the file, and as much again for its packed weights, do not fit into memory_free bytes;
  // kIo if the system refuses.
  static Result<RandomModel> make(std::string_view name, DType type, uint64_t memory_free,
                                  uint32_t threads, const std::function<void(double)>& progress);
  RandomModel(RandomModel&& other) noexcept;
  RandomModel& operator=(RandomModel&&) = delete;
  ~RandomModel();

  // A GGUF file without a tokenizer, for this process.
  std::string path() const;
  uint64_t bytes() const { return bytes_; }

 private:
  RandomModel(int fd, uint64_t bytes) : fd_(fd), bytes_(bytes) {}
  int fd_;
  uint64_t bytes_;
};

}  // namespace altlas::model
