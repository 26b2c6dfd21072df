"""Habits of hostile clients, each with a key of its own or with none: requests that arrive broken, that are too much, or that
never end. Each habit says what the server may answer; a status of 500 is never among it."""
import asyncio
import gzip
import json
import random
import re
import socket

from raw_http import request, reset

PATIENCE = 20.0  # Seconds that a hostile client waits for an answer before it resets.
REFUSED = {400, 401, 403, 404, 405, 408, 409, 411, 413, 414, 415, 422, 429, 431, 501, 503, 505}
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")


async def send(client, data, patience=PATIENCE, end=True):
    """Returns everything that is answered to these bytes, or b"" if the server only closes."""
    reader, writer = await client.connect()
    answer = b""
    try:
        async with asyncio.timeout(patience):
            writer.write(data)
            if end and writer.can_write_eof():
                writer.write_eof()
            while more := await reader.read(65536):
                answer = (answer + more)[:1 << 20]
    except (OSError, TimeoutError):  # The server closed while we still sent, or it waits for what never comes.
        pass
    finally:
        reset(writer)
    if b"HTTP/1.1 ".startswith(answer):  # The server sends its first bytes early to see whether the client is there.
        return 0, answer
    assert STATUS.match(answer), answer[:200]
    status = int(STATUS.match(answer)[1])
    assert status != 500, (data[:300], answer[:500])
    return status, answer


# Requests that are broken.

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
UNCLEAR = ["Transfer-Encoding: xchunked", "Transfer-Encoding: chunked, gzip", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding:",
           'Transfer-Encoding: "chunked"', "Transfer-Encoding: identity", "Transfer-Encoding: chunked, chunked", "Transfer-Encoding : chunked",
           "Transfer-Encoding: \x0bchunked", "Transfer-Encoding: chunked\r\nContent-Length: 4", "Content-Length: 4\r\nTransfer-Encoding: chunked",
           "Content-Length: 4\r\nContent-Length: 45", "Content-Length: 4, 4", "Content-Length: +4", "Content-Length: 0x4", "Content-Length: -1",
           "Content-Length: 4\r\n Content-Length: 45", "Content-Length: 99999999999999999999", "X: y\rTransfer-Encoding: chunked",
           "Transfer-Encoding\x00: chunked", "Transfer-Encoding: chunked\x00", "Host: other"]


async def smuggling(client):
    """A second request, in the body of one whose length is unclear, is never answered."""
    for field in UNCLEAR:
        data = f"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{field}\r\n\r\n".encode("latin-1")
        status, answer = await send(client, data + b"0\r\n\r\n" + SMUGGLED)
        assert status in (0, 400) and len(STATUS.findall(answer)) <= 1 and b"smuggled" not in answer, (field, answer[:500])


def corpus(key):
    chat = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 3}
    form = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b\r\nContent-Disposition: form-data; ' \
           b'name="file"; filename="f"\r\n\r\n{}\n\r\n--b--\r\n'
    return [request("GET", "/health"), request("GET", "/v1/models?limit=1", key=key), request("POST", "/echo", {"a": ["b", 1.5e3, None]}, key),
            request("POST", "/v1/completions", {"prompt": "Count:", "max_tokens": 3, "n": 2, "logprobs": 1, "stop": ["a"]}, key),
            request("POST", "/v1/chat/completions", {**chat, "stream": True, "tools": [], "logit_bias": {"5": 1}}, key),
            request("POST", "/v1/chat/completions", {**chat, "response_format": {"type": "json_schema", "json_schema": {
                "name": "a", "schema": {"type": "object", "properties": {"a": {"type": "integer", "minimum": 2}}}}}}, key),
            request("POST", "/v1/embeddings", {"input": ["a", "b"], "dimensions": 7}, key),
            request("POST", "/tokenize", {"content": "a b", "with_pieces": True}, key), request("POST", "/detokenize", {"tokens": [1, 2]}, key),
            request("POST", "/infill", {"input_prefix": "a", "input_suffix": "b", "n_predict": 2}, key),
            request("POST", "/api/v1/predict", {"text": "a", "max_length": 2, "idempotency_key": "k"}, key),
            request("POST", "/api/v1/batch_predict", {"batch": [{"text": "a", "max_length": 1}] * 3}, key),
            request("POST", "/v1/files", form, key, "multipart/form-data; boundary=b"),
            request("POST", "/echo", gzip.compress(b'{"a": 1}'), key, Content_Encoding="gzip"),
            request("GET", "/api/v1/tasks?status=completed&limit=5&offset=1", key=key), request("GET", "/v1/files?after=file-1", key=key),
            request("OPTIONS", "/v1/models", Origin="http://a.example", Access_Control_Request_Method="GET"),
            b"POST /echo HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + key.encode() + b"\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n3;x=y\r\n{\"a\r\n5\r\n\": 1}\r\n0\r\nT: v\r\n\r\n"]


PIECES = [b"\r\n", b"\n", b"\r", b"\0", b"\xff", b"\xc3", b"%00", b"%2e%2e/", b"../", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n",
          b"Host: b\r\n", b"Expect: 100-continue\r\n", b"Upgrade: h2c\r\n", b"Connection: close, x\r\n", b"HTTP/1.0", b"HTTP/2", b"9" * 30,
          b"-1", b"1e999", b"null", b"[" * 70, b"{\"a\":" * 70, b"\"", b"\\ud800", b"\\u0000", b"true", b"{}", b"[]", b"ffffffffffffffff\r\n",
          b"0\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b";", b"*", b"x" * 9000]


def mutated(draw, seeds):
    data = bytearray(draw.choice(seeds))
    for _ in range(draw.randint(1, 5)):
        at, end = sorted(draw.randrange(len(data) + 1) for _ in range(2))
        kind = draw.randrange(6)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            del data[at:min(end, at + 20)]
        elif kind == 2:
            data[at:at] = data[at:min(end, at + 100)]
        elif kind == 3:
            data[at:at] = draw.choice(PIECES)
        elif kind == 4:
            data[at:end] = draw.choice(PIECES)
        else:
            other = draw.choice(seeds)
            data[at:] = other[draw.randrange(len(other)):]
    return bytes(data)


async def fuzzing(client, draw, seeds):
    """Mutated requests: some come in two parts, some are followed by a good one."""
    data = mutated(draw, seeds)
    if draw.randrange(4) == 0:
        data += mutated(draw, seeds) + seeds[0]
    await send(client, data)


async def bytes_of_other_protocols(client):
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2
    for data in (hello, hello[:9], b"\x16\x03\x01\xff\xff" + b"\0" * 300, b"\x80\x2e\x01\x00\x02", b"SSH-2.0-x\r\n", b"\0" * 4096,
                 b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", b"\r\n" * 3000, b"GET " + b"/" * 70000, b"\x05\x01\x00"):
        reader, writer = await asyncio.open_connection(client.host, client.port, local_addr=client.address)
        try:
            async with asyncio.timeout(PATIENCE):
                writer.write(data)
                writer.write_eof()
                while await reader.read(65536):
                    pass
        except (OSError, TimeoutError):
            pass
        reset(writer)


async def half_request(client, data, pause):
    """Stops in the middle and stays for a while: a slow sender, byte by byte."""
    _, writer = await client.connect()
    cut = len(data) * 2 // 3
    try:
        writer.write(data[:cut])
        for at in range(cut, min(cut + 20, len(data) - 1)):
            writer.write(data[at:at + 1])
            await writer.drain()
            await asyncio.sleep(pause / 20)  # The pace is the input.
    except OSError:
        pass
    reset(writer)


async def leaving(client, data, count, read):
    """Many requests at once, maybe some bytes of the answers, then a reset."""
    reader, writer = await client.connect()
    try:
        writer.write(data * count)
        await writer.drain()
        if read:
            async with asyncio.timeout(PATIENCE):
                await reader.read(read)
    except (OSError, TimeoutError):
        pass
    reset(writer)


async def unread(client, path, body, pause):
    """A stream of which nothing is read, with a small window, until the client leaves."""
    reader, writer = await client.connect()
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    writer.transport.pause_reading()
    writer.write(request("POST", path, body, client.key))
    await asyncio.sleep(pause)  # Nothing is read for this time.
    reset(writer)


# Requests that are too much.

async def refused(client, data, statuses=frozenset(REFUSED | {200})):
    status, answer = await send(client, data, end=False, patience=60.0)
    assert status in statuses or status == 0, (status, data[:200], answer[:500])
    return status


def asking(path, body, key, **headers):
    return request("POST", path, body, key, Connection="close", **headers)


def products(key):
    """Each field is within its limit, but their product is not."""
    long = "a " * 4000000
    chat = [{"role": "user", "content": "x"}]
    return [asking("/v1/completions", {"prompt": long, "n": 128, "echo": True}, key),
            asking("/v1/completions", {"prompt": ["a " * 480] * 1000, "max_tokens": 1, "prompt_logprobs": 20}, key),
            asking("/v1/completions", {"prompt": "a", "n": 128, "max_tokens": 900, "logprobs": 5}, key),
            asking("/v1/chat/completions", {"messages": chat, "n": 128, "max_tokens": 900, "logprobs": True, "top_logprobs": 20}, key),
            asking("/v1/completions", {"prompt": ["a " * 900] * 1000, "max_tokens": 1}, key),
            asking("/v1/embeddings", {"input": [[1] * 1000] * 1000}, key), asking("/v1/embeddings", {"input": ["a"] * 1000}, key),
            asking("/tokenize", {"content": long, "with_pieces": True}, key), asking("/detokenize", {"tokens": [1] * 3000000}, key),
            asking("/infill", {"input_prefix": long[:4000000], "input_suffix": long[:3900000], "n_predict": 1}, key),
            asking("/generate", {"prompt": long}, key), asking("/llm/generate", {"prompt": long}, key), asking("/echo", {"x": long}, key),
            asking("/echo", {"x": [[]] * 1300000}, key), asking("/echo", {f"k{i}": i for i in range(300000)}, key),
            asking("/v1/completions", {"prompt": "a", "max_tokens": 1, "stop": ["a" * 200] * 4, "logit_bias": {str(i): 1 for i in range(150000)}}, key),
            asking("/v1/completions", {"prompt": "a", "max_tokens": 1, "stop": ["s" * 7000] * 1000}, key),
            asking("/v1/chat/completions", {"messages": chat * 100000, "max_tokens": 1}, key),
            asking("/v1/chat/completions", {"messages": chat, "max_tokens": 1, "tools": [
                {"type": "function", "function": {"name": f"f{i}", "parameters": {"type": "object", "properties": {
                    f"p{j}": {"type": "string", "description": "d" * 40} for j in range(60)}}}} for i in range(900)]}, key),
            asking("/echo", gzip.compress(b'{"x": "' + b"a" * (100 << 20) + b'"}', 1), key, Content_Encoding="gzip"),
            asking("/echo", gzip.compress(b"[" * (7 << 20), 1), key, Content_Encoding="gzip"),
            asking("/api/v1/batch_predict", {"batch": [{"text": "a " * 800, "max_length": 20}] * 1000}, key),
            asking("/api/v1/batch_predict", {"batch": [{"text": "a", "max_length": 1}] * 300000}, key)]


def bombs(key):
    """Small bodies with a large meaning."""
    chat = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 2}
    deep = schema = {"type": "object"}
    for _ in range(20):
        schema["properties"] = {"a": {"type": "object"}, "b": {"type": "object"}}
        schema = schema["properties"]["a"]
    doubling = {"$defs": {f"d{i}": {"type": "array", "prefixItems": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(40)}
                | {"d40": {"type": "null"}}, "$ref": "#/$defs/d0"}
    ask = [{**chat, "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": one}}}
           for one in (deep, doubling, {"type": "array", "items": {"enum": [str(i) for i in range(100000)]}},
                       {"type": "string", "pattern": "((a{1,1000}){1,1000}){1,1000}"}, {"type": "string", "minLength": 10**9},
                       {"type": "array", "minItems": 10**9}, {"anyOf": [{"type": "integer", "minimum": i} for i in range(3000)]})]
    ask += [{**chat, field: text} for field, text in (
        ("guided_regex", "(a|a)*" * 200 + "b"), ("guided_regex", "a?" * 3000 + "a" * 3000), ("guided_regex", "(?=.*a)" * 500),
        ("guided_regex", "(((((a{100}){100}){100}){100}){100})"), ("grammar", "root ::= a\na ::= a a | \"x\""),
        ("grammar", "root ::= " + "(" * 20000 + '"a"' + ")" * 20000), ("grammar", "\n".join(f'r{i} ::= r{i + 1} r{i + 1}' for i in range(2000))),
        ("grammar", 'root ::= [a-z]{1,1000000}'))]
    ask += [{**chat, "chat_template": text} for text in (
        "{% for i in range(10**9) %}x{% endfor %}", "{{ 'a' * 10**9 }}", "{{ ('a' * 100000) | replace('a', 'b' * 10000) }}",
        "{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}", "{{ messages[0].content.find('a' * 100000) }}" * 100)]
    ask += [{**chat, "chat_template_kwargs": {"a": ["b"] * 100000}}, {**chat, "messages": [{"role": "user", "content": "<|im_start|>" * 200000}]}]
    raw = [b'{"messages":' + b"[" * 500000, b'{"max_tokens": 1' + b"0" * 4000000 + b"}", b'{"a":"' + b"\\u00e9" * 1000000 + b'"}',
           b'{"prompt": "a", ' + b'"prompt": "b", ' * 300000 + b'"max_tokens": 1}', b"\xef\xbb\xbf" * 1000, b'"' + b"\xc3" * 1000000 + b'"']
    return [asking("/v1/chat/completions", body, key) for body in ask] + [asking("/v1/completions", body, key) for body in raw]


async def one_after_another(client, bodies, draw):
    await refused(client, draw.choice(bodies))


async def wrong_keys(client):
    """A wrong key is never let in, whatever it asks for and however large."""
    body = b" " * (1 << 20)
    for path, headers in (("/v1/completions", {}), ("/v1/files", {"Authorization": "Bearer wrong"}), ("/api/v1/predict", {"Authorization": "Basic Og=="}),
                          ("/echo", {"Authorization": "Bearer " + "x" * 9000}), ("/v1/batches", {"Authorization": "Digest a"})):
        await refused(client, request("POST", path, body, Connection="close", **headers), {401})
    await refused(client, request("POST", "/v1/load_lora_adapter", {"lora_name": "a", "lora_path": "/etc"}, client.key, Connection="close"), {403})
    foreign = {"Origin": "http://evil.example", "Authorization": "Basic " + "OmV2ZQ=="}  # ":eve".
    await refused(client, request("POST", "/echo", {"a": 1}, Connection="close", **foreign), {403})
    await refused(client, b"GET /v1/models HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n", {400})


async def bodies_without_a_key(client):
    await refused(client, request("POST", "/v1/completions", b" " * (8 << 20), Connection="close"), {401})


async def bad_batches(client):
    """Files and batches that are wrong, too many, or cancelled at once; the client tidies up nothing."""
    good = json.dumps({"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": {"prompt": "a", "max_tokens": 300}}) + "\n"
    for text in ("{bad\n" * 50, good * 2, "".join(good.replace('"a"', f'"{i}"', 1) for i in range(200)), ""):
        form = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b\r\nContent-Disposition: form-data; ' \
               b'name="file"; filename="f"\r\n\r\n' + text.encode() + b"\r\n--b--\r\n"
        status, answer = await send(client, request("POST", "/v1/files", form, client.key, "multipart/form-data; boundary=b", Connection="close"), end=False)
        assert status in REFUSED | {0, 200}, answer
        if status != 200:
            continue
        file = json.loads(answer[answer.index(b"\r\n\r\n") + 4:])["id"]
        status, answer = await send(client, asking("/v1/batches", {"input_file_id": file, "endpoint": "/v1/completions", "completion_window": "1s"},
                                                   client.key), end=False)
        assert status in REFUSED | {0, 200}, answer
        if status == 200 and text != good * 2:
            batch = json.loads(answer[answer.index(b"\r\n\r\n") + 4:])["id"]
            await send(client, asking(f"/v1/batches/{batch}/cancel", None, client.key), end=False)


async def slow_upload(client, pause):
    """Announces 60 MB and sends some of them."""
    reader, writer = await client.connect()
    head = request("POST", "/v1/files", b"--b\r\n", client.key, "multipart/form-data; boundary=b", Content_Length=60 << 20)
    try:
        writer.write(head)
        for _ in range(10):
            writer.write(b"x" * (1 << 20))
            await asyncio.wait_for(writer.drain(), PATIENCE)
            await asyncio.sleep(pause / 10)  # The pace is the input.
    except (OSError, TimeoutError):
        pass
    reset(writer)


def bodies_of(key):
    """The bodies that one of the clients sends, made once: a corpus, large ones, bombs."""
    return corpus(key), products(key), bombs(key)


def hostile_habits(eve, mallory, bodies, seed):
    """Returns (client, habit, its arguments) of all that come at once. `bodies` has those of each key."""
    draw = random.Random(seed)
    long = {"prompt": "Count:", "max_tokens": 900, "ignore_eos": True}
    unread_streams = [("/v1/completions", {**long, "stream": True, "logprobs": 5, "n": 8}, 1.0),
                      ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "max_tokens": 900, "ignore_eos": True, "stream": True,
                                                "logprobs": True, "top_logprobs": 20}, 2.0),
                      ("/v1/completions", {**long, "n": 64, "echo": True, "logprobs": 5}, 1.0)]
    out = []
    for client in (eve, mallory):
        seeds, large, small = bodies[client.key]
        out += [(client, fuzzing, random.Random(draw.random()), seeds)] * 3
        out += [(client, one_after_another, bodies, random.Random(draw.random())) for bodies in (large, large, small)]
        out += [(client, unread, *one) for one in unread_streams]
        out += [(client, half_request, data, 2.0) for data in seeds[3:6]]
        out += [(client, slow_upload, 2.0)] * 3
        out += [(client, leaving, request("POST", "/v1/completions", long, client.key), 5, 0),
                (client, leaving, request("GET", "/v1/models", key=client.key), 300, 1), (client, bad_batches)]
    return out + [(eve, smuggling), (eve, bytes_of_other_protocols), (mallory, wrong_keys), (mallory, bodies_without_a_key)]
