// The tensors of a Hugging Face checkpoint under the names that GGUF gives them.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "model/architecture.h"
#include "weights/tensor_source.h"

namespace altlas::model {

// "blk.3.attn_q.weight" for "model.layers.3.self_attn.q_proj.weight"; empty for a tensor that no
// decoder takes. An expert's matrix is "blk.3.ffn_gate.7.weight".
std::string gguf_name_of(std::string_view hugging_face, const Architecture& kind);

// Threads as its source, which outlives it.
class HfTensors final : public weights::TensorSource {
 public:
  // tied: the head is the embedding, also where the files repeat it.
  HfTensors(const weights::TensorSource& files, const Architecture& kind, bool tied);

  std::vector<std::string_view> tensor_names() const override;
  bool has_tensor(std::string_view name) const override { return names_.contains(name); }
  Result<weights::TensorView> tensor(std::string_view name) const override;

 private:
  const weights::TensorSource& files_;
  std::map<std::string, std::string_view, std::less<>> names_;  // GGUF's -> the checkpoint's.
};

}  // namespace altlas::model
