"""200 schemas of the kinds in the public JSON Schema test suite, made from a seed. Keywords that can't be held to while a text is
written are left out."""
import random

WORDS = ["id", "name", "size", "tags", "kind", "parent", "değer", "a b", "x\"y", "note", "at", "count"]
FORMATS = ["date", "time", "date-time", "uuid", "email", "ipv4", "ipv6", "hostname", "uri", "duration"]
PATTERNS = ["^[a-z]{2,5}$", "^(foo|bar)+$", "\\d{3}", "^[A-Z][a-z]*( [A-Z][a-z]*)?$", "^\\S+@\\S+$", "ab?c", "^[^\"]*$", "^$|^x"]


def number(r):
    kind = r.choice(["integer", "number"])
    schema = {"type": kind}
    low = r.choice([-1000, -3, 0, 1, 17]) if kind == "integer" else r.choice([-10.5, -0.25, 0, 0.125, 3])
    if r.random() < 0.7:
        schema[r.choice(["minimum", "exclusiveMinimum"])] = low
    if r.random() < 0.6:
        schema[r.choice(["maximum", "exclusiveMaximum"])] = low + r.choice([2, 9, 1234, 100.75 if kind == "number" else 50])
    if kind == "integer" and r.random() < 0.3:
        schema["multipleOf"] = r.choice([1, 2, 5, 12])
        if "maximum" in schema or "exclusiveMaximum" in schema:
            schema[("maximum" if "maximum" in schema else "exclusiveMaximum")] = low + 100
    return schema


def string(r):
    schema = {"type": "string"}
    what = r.randrange(5)
    if what == 0:
        schema["format"] = r.choice(FORMATS)
    elif what == 1:
        schema["pattern"] = r.choice(PATTERNS)
    elif what == 2:
        schema["minLength"] = r.randrange(0, 6)
        schema["maxLength"] = schema["minLength"] + r.choice([0, 1, 10, 60])
    elif what == 3:
        schema["enum"] = r.sample(WORDS, r.randrange(1, 6))
    return schema


def array(r, depth):
    schema = {"type": "array"}
    what = r.randrange(4)
    if what == 0:
        schema["prefixItems"] = [value(r, depth + 1) for _ in range(r.randrange(1, 4))]
        schema["items"] = r.choice([False, value(r, depth + 1)])
    elif what < 3:
        schema["items"] = value(r, depth + 1)
    if r.random() < 0.6:
        schema["maxItems"] = r.choice([0, 1, 2, 5, 12])
    if r.random() < 0.4 and schema.get("items") is not False:
        schema["minItems"] = min(r.choice([1, 2, 3]), schema.get("maxItems", 3))
    return schema


def object_(r, depth):
    names = r.sample(WORDS, r.randrange(0, 6))
    schema = {"type": "object", "properties": {name: value(r, depth + 1) for name in names}}
    schema["required"] = r.sample(names, r.randrange(0, len(names) + 1))
    what = r.randrange(5)
    if what == 0:
        schema["additionalProperties"] = False
    elif what == 1:
        schema["additionalProperties"] = value(r, depth + 1)
    elif what == 2:
        schema["patternProperties"] = {"^z": value(r, depth + 1)}
        schema["additionalProperties"] = False
    elif what == 3:
        schema["propertyNames"] = {"pattern": "^[^\\s]{1,9}$"} if not any(" " in n for n in schema["required"]) else True
    if r.random() < 0.2:
        schema["maxProperties"] = max(len(schema["required"]), r.randrange(1, 6))
    return schema


def combined(r, depth):
    what = r.randrange(4)
    if what == 0:
        return {"anyOf": [value(r, depth + 1) for _ in range(r.randrange(1, 4))]}
    if what == 1:
        return {"oneOf": [dict(number(r)), {"type": "string"}, {"type": "boolean"}]}
    if what == 2:
        return {"allOf": [{"type": "object", "properties": {"a": value(r, depth + 1)}, "required": ["a"]},
                          {"properties": {"b": value(r, depth + 1)}}]}
    return {"type": ["string", "null", "integer"], "maxLength": r.randrange(0, 20), "minimum": 3}


def value(r, depth=0):
    if depth > 3:
        return r.choice([{"type": "boolean"}, {"type": "null"}, {"type": "integer"}, {"const": {"k": [1, "é"]}}])
    kinds = [number, string, number, string, lambda r: {"enum": [None, True, "x", 2.5, [1], {"a": 1}]},
             lambda r: {"const": r.choice(WORDS)}, lambda r: {"type": "boolean"},
             lambda r: array(r, depth), lambda r: object_(r, depth), lambda r: object_(r, depth), lambda r: combined(r, depth)]
    return r.choice(kinds)(r)


def recursive(r):
    leaf = value(r, 3)
    return r.choice([
        {"$defs": {"node": {"type": "object", "properties": {"v": leaf, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
                            "required": ["v", "next"], "additionalProperties": False}}, "$ref": "#/$defs/node"},
        {"type": "object", "properties": {"v": leaf, "children": {"type": "array", "items": {"$ref": "#"}, "maxItems": 2}},
         "required": ["v"], "additionalProperties": False},
        {"$defs": {"a": {"anyOf": [leaf, {"type": "array", "items": {"$ref": "#/$defs/b"}}]},
                   "b": {"anyOf": [{"type": "integer"}, {"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"},
    ])


def schemas(count=200, seed=4):
    r = random.Random(seed)
    return [recursive(r) if i % 8 == 7 else [number, string, lambda r: array(r, 0), lambda r: object_(r, 0),
                                              lambda r: combined(r, 0), lambda r: object_(r, 0), value][i % 8](r) for i in range(count)]
