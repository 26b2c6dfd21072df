// The table of `altlas memory --train`.
#pragma once

#include <string>

#include "plan/training.h"

namespace CLI {
class App;
}

namespace altlas::cli {

struct TrainingFlags {
  std::string shape;  // "seed", or a name or file as `altlas plan` takes it; empty: the model's.
  std::string device = "a100-80gb";
  plan::TrainingLoad load;
};
void add_training_flags(CLI::App& app, TrainingFlags& out);

// Prints the table, or JSON; the exit code. model: --model, where flags.shape is empty.
int show_training(const TrainingFlags& flags, const std::string& model, bool json);

}  // namespace altlas::cli
