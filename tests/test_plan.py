"""`altlas plan`: the layout that the rules choose, and predictions for rows. The rows here are invented."""
import csv
import io
import json
import time

import pytest

from conftest import run_cli

HEADER = "id,model,gpu,engine,dtype,tp,pp,dp,concurrency,isl,osl,ttft_ms,tpot_ms,derived_out_tok_s"
ROWS = ["p1,meta-llama/Llama-3.1-8B-Instruct,h100_sxm,vllm,bf16?,1,1,,12,700,90,111.5,9.9,1234",
        "p2,Qwen/Qwen3-14B,h200_sxm,sglang,fp8,2,1,0,24,1500,300,95,7.1,1800",
        "p3,meta-llama/Llama-3.1-70B,b200_sxm,trtllm,fp4,4,2,1,40,3000,700,300,12,2500",
        "p4,meta-llama/Llama-3.1-70B,l40s,vllm,fp8,1,1,1,8,500,100,1,1,1",
        "p5,acme/nothing-9b,h100,vllm,bf16,1,1,1,8,500,100,1,1,1"]


def predict(tmp_path, text, *arguments):
    path = tmp_path / "rows.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return run_cli("plan", "--rows", str(path), *arguments)


def table(done):
    assert done.returncode == 0, done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout)))


def test_rows_come_back_with_predictions_or_a_reason(tmp_path):
    rows = table(predict(tmp_path, "\n".join([HEADER, *ROWS])))
    assert [row["id"] for row in rows] == ["p1", "p2", "p3", "p4", "p5"]
    for row in rows[:3]:
        ttft, tpot, tokens = (float(row[f"predicted_{name}"]) for name in ("ttft_ms", "tpot_ms", "out_tok_s"))
        assert ttft > tpot > 0 and row["reason"] == ""
        request_s = (ttft + tpot * (int(row["osl"]) - 1)) / 1e3
        assert tokens == pytest.approx(int(row["concurrency"]) * int(row["osl"]) / request_s, rel=0.01)
    assert "does not fit" in rows[3]["reason"] and rows[3]["predicted_tpot_ms"] == ""
    assert "nothing-9b" in rows[4]["reason"]


def test_what_was_measured_is_not_read(tmp_path):
    ours = ("predicted_ttft_ms", "predicted_tpot_ms", "predicted_out_tok_s", "reason")
    pick = lambda rows: [[row[name] for name in ours] for row in rows]
    whole = pick(table(predict(tmp_path, "\n".join([HEADER, *ROWS]))))
    other = [",".join([*row.split(",")[:11], "77", "nan", "\"x,y\""]) for row in ROWS]
    assert pick(table(predict(tmp_path, "\n".join([HEADER, *other])))) == whole
    cut = [",".join(row.split(",")[:11]) for row in [HEADER, *ROWS]]
    assert pick(table(predict(tmp_path, "\n".join(cut)))) == whole
    turned = [",".join(reversed(row.split(",")[:11])) for row in [HEADER, *ROWS]]
    assert pick(table(predict(tmp_path, "\r\n".join(turned)))) == whole


@pytest.mark.parametrize("text, says", [
    (b"", "line 1"),
    (b"\xff\xfe\x00", "line 1"),
    (HEADER.replace("isl,", "").encode(), "no column isl"),
    ("\n".join([HEADER, ROWS[0].replace(",12,", ",NaN,")]).encode(), "line 2: concurrency 'NaN'"),
    ("\n".join([HEADER, ROWS[0], ROWS[1].replace(",24,", ",1e99,")]).encode(), "line 3: concurrency '1e99'"),
    ("\n".join([HEADER, ROWS[0].replace("p1", '"p1')]).encode(), "line 2: a quote is not closed"),
    ("\n".join([HEADER, ROWS[0] + ",more"]).encode(), "line 2: 15 fields where the header has 14"),
    ("\n".join([HEADER, ROWS[0].replace(",700,", ",-700,")]).encode(), "line 2: isl '-700'"),
])
def test_hostile_rows_end_with_2_and_the_line(tmp_path, text, says):
    done = predict(tmp_path, text)
    assert done.returncode == 2 and says in done.stderr, done.stderr


def test_a_million_rows(tmp_path):
    done = predict(tmp_path, HEADER + "\n" + (ROWS[0] + "\n") * 1_000_000)
    assert done.returncode == 0 and done.stdout.count("\n") == 1_000_001


def test_70b_on_eight_a100(tmp_path):
    started = time.monotonic()
    done = run_cli("plan", "llama-3-70b", "--devices", "sim:a100-80gb:8", "--dtype", "bf16", "--json")
    assert time.monotonic() - started <= 2
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["rule"] == "needs 2–4 → TP 4, two replicas"
    assert (plan["chosen"]["tensor_parallel_size"], plan["chosen"]["num_replicas"]) == (4, 2)
    seed = [a for a in plan["alternatives"] if (a["tensor_parallel_size"], a["pipeline_parallel_size"]) == (4, 2)]
    assert seed[0]["usd_per_million_tokens"] > seed[0]["spot_usd_per_million_tokens"] > 0
    text = run_cli("plan", "llama-3-70b", "--devices", "sim:a100-80gb:8").stdout
    assert "needs 2–4 → TP 4, two replicas" in text and "TP4 x PP2" in text
    rows = [line for line in text.splitlines() if line.startswith(("   ", "*  "))]
    header = next(line for line in rows if "LAYOUT" in line)
    rows.remove(header)
    assert len(rows) > 5 and sum(row.startswith("*") for row in rows) == 1
    for column in ("REPLICAS", "WEIGHTS", "USD/H"):
        assert all(row[header.find(column) - 1] == " " and row[header.find(column)].isdigit() for row in rows)


@pytest.mark.parametrize("arguments, says", [
    (["llama-3-70b", "--tensor-parallel-size", "3"], "nearest layout that works is TP2"),
    (["llama-3-70b", "--tensor-parallel-size", "128"], "64 heads"),
    (["llama-3-8b", "--pipeline-parallel-size", "33"], "32 layers"),
    (["llama-3-8b", "--expert-parallel-size", "2"], "without experts"),
    (["llama-3-70b", "--devices", "sim:h900:8"], "h100"),
    (["llama-3-70b", "--devices", "sim:h100:0"], "1 to 1024"),
    (["llama-3-70b", "--devices", "sim:l4:1"], "too few"),
    (["lama-3-70b"], "did you mean llama-3-70b"),
    (["llama-3-70b", "--dtype", "fp8"], "does not compute fp8"),
    ([], "give a model"),
])
def test_bad_input_ends_with_2(arguments, says):
    done = run_cli("plan", *arguments)
    assert done.returncode == 2 and says in done.stderr, done.stderr


def test_explain_tells_strategies_and_rules():
    text = run_cli("plan", "--explain").stdout
    assert all(word in text for word in ("data parallelism", "tensor parallelism", "pipeline parallelism", "expert parallelism", "rule 4"))


def test_a_config_json_alone(tmp_path):
    config = {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "hidden_size": 3584, "num_hidden_layers": 28,
              "num_attention_heads": 28, "num_key_value_heads": 4, "intermediate_size": 18944, "vocab_size": 152064,
              "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "tie_word_embeddings": False}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    done = run_cli("plan", str(path), "--devices", "l4:4", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rule"].startswith(("fits one device", "needs 2–4"))
