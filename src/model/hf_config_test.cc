// Goal: config.json files of real models are read as transformers reads them, and every fault is
// named together with what is supported. Method: texts in both styles of rope's numbers; one fault
// at a time; every prefix and byte change of one.
#include "model/hf_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "model/hf_tensors.h"

namespace altlas::model {
namespace {

using ::testing::HasSubstr;

// Llama 3.2 1B as Meta publishes it, in the style of transformers 4.
const std::string kLlama =
    R"({"architectures":["LlamaForCausalLM"],"attention_bias":false,"head_dim":64,)"
    R"("hidden_act":"silu","hidden_size":2048,"intermediate_size":8192,)"
    R"("max_position_embeddings":131072,"mlp_bias":false,"model_type":"llama",)"
    R"("num_attention_heads":32,"num_hidden_layers":16,"num_key_value_heads":8,)"
    R"("rms_norm_eps":1e-05,"rope_scaling":{"factor":32.0,"high_freq_factor":4.0,)"
    R"("low_freq_factor":1.0,"original_max_position_embeddings":8192,"rope_type":"llama3"},)"
    R"("rope_theta":500000.0,"tie_word_embeddings":true,"vocab_size":128256})";

std::string with(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}
std::string error_of(const std::string& text) {
  const auto config = read_hf_config(text, "m/config.json");
  return config.ok() ? "" : config.error().message();
}

TEST(HfConfig, Llama3) {
  const auto config = read_hf_config(kLlama, "config.json");
  ASSERT_TRUE(config.ok()) << config.error().message();
  EXPECT_TRUE(config->tied);
  EXPECT_EQ(config->model.kv_heads, 8u);
  EXPECT_EQ(config->model.architecture.rope, ops::RopeStyle::kNeox);
  EXPECT_EQ(config->model.rope.frequency.size(), 32u);
  EXPECT_DOUBLE_EQ(config->model.rope.frequency[0], 1.0);
  EXPECT_NEAR(config->model.rope.frequency[31] * 32, std::pow(5e5, -62.0 / 64), 1e-12);
  // The same numbers in the style of transformers 5.
  const std::string style5 =
      with(with(kLlama, "\"rope_scaling\":{", "\"rope_parameters\":{\"rope_theta\":500000.0,"),
           "\"rope_theta\":500000.0,\"tie", "\"tie");
  const auto again = read_hf_config(style5, "config.json");
  ASSERT_TRUE(again.ok()) << again.error().message();
  EXPECT_EQ(again->model.rope.frequency, config->model.rope.frequency);
}

// Goal: the text part is found within a model that also sees images; window layers keep their own
// base, without scaling. Method: Gemma 3 4B.
TEST(HfConfig, Gemma3InsideAnImageModel) {
  const std::string text =
      R"({"model_type":"gemma3","text_config":{"model_type":"gemma3_text","hidden_size":2560,)"
      R"("intermediate_size":10240,"num_attention_heads":8,"num_hidden_layers":34,)"
      R"("num_key_value_heads":4,"head_dim":256,"max_position_embeddings":131072,)"
      R"("vocab_size":262208,"sliding_window":1024,"query_pre_attn_scalar":256,)"
      R"("rope_theta":1000000.0,"rope_local_base_freq":10000.0,"sliding_window_pattern":6,)"
      R"("rope_scaling":{"factor":8.0,"rope_type":"linear"}},"vision_config":{}})";
  const auto config = read_hf_config(text, "config.json");
  ASSERT_TRUE(config.ok()) << config.error().message();
  EXPECT_TRUE(config->tied);
  EXPECT_EQ(config->model.norm_offset, 1);
  EXPECT_TRUE(config->model.is_window_layer(0));
  EXPECT_FALSE(config->model.is_window_layer(5));
  EXPECT_DOUBLE_EQ(config->model.rope.frequency[0], 1.0 / 8);
  EXPECT_DOUBLE_EQ(config->model.window_rope.frequency[0], 1.0);
  EXPECT_FLOAT_EQ(config->model.attention_scale, 1.0f / 16);
  EXPECT_EQ(gguf_name_of("language_model.model.layers.7.post_feedforward_layernorm.weight",
                         config->model.architecture),
            "blk.7.post_ffw_norm.weight");
}

TEST(HfConfig, EveryFaultIsNamed) {
  const struct {
    std::string text, message;
  } kCases[] = {
      {"", "JSON is not valid"},
      {"[]", "not an object"},
      {std::string(100, '['), "JSON is not valid"},
      {"{}", "model_type '' is not supported; llama, mistral"},
      {R"({"model_type":"mamba"})", "'mamba' is not supported; llama, mistral"},
      {R"({"model_type":3})", "model_type must be a string"},
      {with(kLlama, "\"hidden_size\":2048", "\"hidden_size\":0"), "hidden_size must be"},
      {with(kLlama, "\"hidden_size\":2048", "\"hidden_size\":-1"), "from 1 to 1048576"},
      {with(kLlama, "\"hidden_size\":2048", "\"hidden_size\":1e99"), "hidden_size must be"},
      {with(kLlama, "\"hidden_size\":2048", "\"hidden_size\":\"2048\""), "hidden_size must be"},
      {with(kLlama, "\"hidden_size\":2048,", ""), "hidden_size is missing"},
      {with(kLlama, "\"vocab_size\":128256", "\"vocab_size\":99999999999"), "vocab_size must be"},
      {with(kLlama, "\"num_hidden_layers\":16", "\"num_hidden_layers\":100000"), "1024"},
      {with(kLlama, "\"num_attention_heads\":32", "\"num_attention_heads\":30"), "can't share"},
      {with(kLlama, "\"head_dim\":64", "\"head_dim\":60"), "a multiple of 16"},
      {with(kLlama, "\"hidden_act\":\"silu\"", "\"hidden_act\":\"relu\""),
       "'relu' is not supported for llama; silu is"},
      {with(kLlama, "\"attention_bias\":false", "\"attention_bias\":true"), "attention_bias"},
      {with(kLlama, "llama3\"", "longrope\""),
       "'longrope' is not supported; default, linear, yarn and llama3 are"},
      {with(kLlama, "\"factor\":32.0", "\"factor\":0"), "factor must be"},
      {with(kLlama, "\"low_freq_factor\":1.0", "\"low_freq_factor\":9"), "two ascending"},
      {with(kLlama, "\"rope_theta\":500000.0", "\"rope_theta\":-1"), "rope_theta must be"},
      {with(kLlama, "\"rope_scaling\":{", "\"rope_scaling\":7,\"x\":{"),
       "rope_scaling must be an object"},
      {with(kLlama, "\"mlp_bias\":false", "\"quantization_config\":{}"), "quantised safetensors"},
      {with(kLlama, "\"tie_word_embeddings\":true", "\"tie_word_embeddings\":1"),
       "tie_word_embeddings must be true or false"},
      {std::string(kHfConfigBytesMax + 1, ' '), "at most"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.text.substr(0, 200));
    EXPECT_THAT(error_of(c.text), HasSubstr(c.message));
    EXPECT_THAT(error_of(c.text), HasSubstr("config.json"));
  }
}

// Goal: reading ends in an error or in checked numbers, never in a crash.
TEST(HfConfig, EveryPrefixAndByteChangeIsSafe) {
  for (size_t i = 0; i < kLlama.size(); ++i) {
    EXPECT_FALSE(read_hf_config(kLlama.substr(0, i), "c").ok()) << i;
    for (const char byte : {'\0', '"', '9', '}', '-', '\xff'}) {
      std::string changed = kLlama;
      changed[i] = byte;
      const auto config = read_hf_config(changed, "c");
      if (config.ok()) {
        EXPECT_TRUE(check_config(config->model).ok()) << i;
      }
    }
  }
}

TEST(HfConfig, Pooling) {
  EXPECT_EQ(*read_hf_pooling(R"({"pooling_mode_cls_token":true})", "p"), Pooling::kCls);
  EXPECT_EQ(
      *read_hf_pooling(R"({"pooling_mode_cls_token":false,"pooling_mode_mean_tokens":true})", "p"),
      Pooling::kMean);
  EXPECT_THAT(read_hf_pooling(R"({"pooling_mode_max_tokens":true})", "p").error().message(),
              HasSubstr("first token, mean or last token"));
}

TEST(HfTensors, Names) {
  const Architecture& kind = architectures()[0];
  EXPECT_EQ(gguf_name_of("model.layers.3.self_attn.q_proj.weight", kind), "blk.3.attn_q.weight");
  EXPECT_EQ(gguf_name_of("layers.3.mlp.experts.17.down_proj.weight", kind),
            "blk.3.ffn_down.17.weight");
  for (const char* name :
       {"", ".", "model.layers", "model.layers.", "model.layers.3", "model.layers.x.mlp.up.weight",
        "model.layers.3.weight", "model.layers.3.mlp.experts..w1.weight",
        "model.layers.99999999.mlp.up_proj.weight", "model.rotary_emb.inv_freq", "vision.a.b"})
    EXPECT_EQ(gguf_name_of(name, kind), "") << name;
}

}  // namespace
}  // namespace altlas::model
