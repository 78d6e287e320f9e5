#!/usr/bin/env python3
"""Makes tests/fixtures/pipedrive/ out of Pipedrive's OpenAPI documents.

    python3 tests/pipedrive_specs.py DIRECTORY

DIRECTORY holds openapi-v1.yaml and openapi-v2.yaml as Pipedrive publishes them. Written are

  examples.json   every example body of an answer: [version, method, path, status, body], and the price of each call
  strict.json.gz  the calls this client makes, as a document for a validating server, corrected where the documents are known to
                  be laxer or stricter than the API: unknown members of bodies refused, lists in one parameter allowed, pages of
                  1 to 500 rows, whole seconds, a name for a new person, `participants` instead of `person_id`, null where a
                  member of an answer is unset, and the prefixes /api/v2 and /v1.

Neither is edited by hand.
"""

import copy
import gzip
import json
import pathlib
import sys

import yaml

METHODS = ("get", "post", "put", "patch", "delete")
OURS = {
    "v2": ("activities", "deals", "organizations", "persons", "pipelines", "products", "stages", "leads/search",
           "leads/{id}/convert",
           "activityFields", "dealFields", "organizationFields", "personFields", "productFields"),
    "v1": ("activityTypes", "leadLabels", "leads", "noteFields", "notes", "recents", "users", "webhooks", "persons/{id}/merge", "organizations/{id}/merge", "deals/{id}/merge"),
}
# Sub-resources that this client does not call.
OTHERS = ("followers", "products", "discounts", "installments", "archived", "variations", "images", "duplicate", "options",
          "picture", "permittedUsers", "comments", "permissions", "roleAssignments", "roleSettings", "find", "{field_code}")
LISTS = ("status", "fields", "include_fields", "item_types", "items")
SECONDS = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$"
OLD_SECONDS = r"^\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}$"


def load(path):
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return json.loads(json.dumps(yaml.load(path.read_text(), Loader=loader), default=str))


def resolve(document, node):
    """The node without references."""
    if isinstance(node, dict):
        if "$ref" in node:
            target = document
            for part in node["$ref"][2:].split("/"):
                target = target[part]
            return resolve(document, target)
        return {key: resolve(document, value) for key, value in node.items()}
    if isinstance(node, list):
        return [resolve(document, value) for value in node]
    return node


def operations(document):
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, item


def examples(version, document):
    for path, method, item in operations(document):
        for status, answer in item[method].get("responses", {}).items():
            for content in resolve(document, answer).get("content", {}).values():
                bodies = [content["example"]] if "example" in content else []
                bodies += [entry.get("value") for entry in content.get("examples", {}).values()]
                for body in bodies:
                    if isinstance(body, (dict, list)):
                        yield [version, method.upper(), path, str(status), body]


def prices(version, document):
    for path, method, item in operations(document):
        if "x-token-cost" in item[method]:
            yield [version, method.upper(), path, item[method]["x-token-cost"]]


def bare(schema, answer):
    """The schema without prose; null allowed where an answer may be unset; whole, closed objects for bodies."""
    if isinstance(schema, list):
        return [bare(entry, answer) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    out = {}
    for key, value in schema.items():
        if key in ("description", "title", "example", "examples", "externalDocs") or key.startswith("x-"):
            if not (key in ("description", "title", "example") and isinstance(value, dict)):
                continue
        if key == "properties":
            out[key] = {name: bare(entry, answer) for name, entry in value.items()}
        elif key in ("items", "allOf", "anyOf", "oneOf", "not", "additionalProperties"):
            out[key] = bare(value, answer)
        else:
            out[key] = value
    if answer:
        out.pop("required", None)
        out.pop("enum", None)
        # v1 writes times with a blank, which no format of JSON Schema is.
        out.pop("format", None)
        if "type" in out:
            out["nullable"] = True
    return out


def members(schema):
    found = dict(schema.get("properties", {}))
    for word in ("allOf", "anyOf", "oneOf"):
        for part in schema.get(word, []):
            found.update(members(part))
    return found


def close(schema):
    """One closed object; `custom_fields` stays open."""
    properties = members(schema)
    required = set(schema.get("required", []))
    for part in schema.get("allOf", []):
        required |= set(part.get("required", []))
    out = {"type": "object", "additionalProperties": False, "properties": {}}
    for name, entry in properties.items():
        entry = copy.deepcopy(entry)
        inner = entry.get("items") if entry.get("type") == "array" else entry
        if name != "custom_fields" and isinstance(inner, dict) and inner.get("properties"):
            inner["additionalProperties"] = False
        if "type" in entry:
            entry["nullable"] = name not in required
        out["properties"][name] = entry
    if required:
        out["required"] = sorted(required)
    return out


def parameter(entry):
    entry = {key: entry[key] for key in ("name", "in", "required", "schema") if key in entry}
    schema = bare(entry.get("schema", {}), False)
    if entry["name"] in LISTS and "enum" in schema:
        word = "(" + "|".join(map(str, schema.pop("enum"))) + ")"
        schema["pattern"] = f"^{word}(,{word})*$"
        schema.pop("default", None)
    if entry["name"] == "limit":
        schema = {"type": "integer", "minimum": 1, "maximum": 500}
    if entry["name"] in ("updated_since", "updated_until"):
        schema = {"type": "string", "pattern": SECONDS}
    if entry["name"] == "since_timestamp":
        schema = {"type": "string", "pattern": OLD_SECONDS}
    entry["schema"] = schema
    return entry


def strict(document, version, prefix, out):
    for path, method, item in operations(document):
        word = path.lstrip("/")
        wanted = any(word == name or word.startswith(name + "/") for name in OURS[version])
        parts = word.split("/")[1:]
        if not wanted or any(part in OTHERS for part in parts):
            continue
        operation = resolve(document, item[method])
        parameters = [parameter(entry) for entry in resolve(document, item.get("parameters", [])) + operation.get("parameters", [])]
        made = {"parameters": parameters, "responses": {}, "security": [{"token": []}]}
        body = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if body:
            schema = close(bare(body["schema"], False))
            if (method, path) == ("post", "/persons"):
                schema["required"] = ["name"]
            if path.startswith("/activities"):
                schema["properties"].pop("person_id", None)
            made["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
        for status, answer in operation["responses"].items():
            content = answer.get("content", {}).get("application/json")
            if not content or not str(status).startswith("2"):
                continue
            entry = {"schema": bare(content["schema"], True)}
            example = content.get("example")
            if example is None and content.get("examples"):
                example = next(iter(content["examples"].values())).get("value")
            if example is not None:
                entry["example"] = example
            made["responses"][str(status)] = {"description": "", "content": {"application/json": entry}}
        out.setdefault(prefix + path, {})[method] = made


def main():
    source = pathlib.Path(sys.argv[1])
    target = pathlib.Path(__file__).parent / "fixtures" / "pipedrive"
    target.mkdir(parents=True, exist_ok=True)
    documents = {"v2": load(source / "openapi-v2.yaml"), "v1": load(source / "openapi-v1.yaml")}
    listed = [entry for version, document in documents.items() for entry in examples(version, document)]
    costs = [entry for version, document in documents.items() for entry in prices(version, document)]
    lines = ",\n".join(json.dumps(entry, separators=(",", ":"), ensure_ascii=False) for entry in listed)
    prices_text = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in costs)
    (target / "examples.json").write_text('{"examples":[\n' + lines + '\n],"prices":[\n' + prices_text + "\n]}\n")
    paths = {}
    strict(documents["v2"], "v2", "/api/v2", paths)
    strict(documents["v1"], "v1", "/v1", paths)
    schemes = {"token": {"type": "apiKey", "in": "header", "name": "x-api-token"}}
    whole = {"openapi": "3.0.1", "info": {"title": "strict", "version": "1"}, "servers": [{"url": "/"}],
             "components": {"securitySchemes": schemes}, "paths": paths}
    packed = gzip.compress(json.dumps(whole, separators=(",", ":"), sort_keys=True).encode(), 9, mtime=0)
    (target / "strict.json.gz").write_bytes(packed)
    print(f"{len(listed)} examples, {len(costs)} prices, {sum(len(item) for item in paths.values())} calls")


if __name__ == "__main__":
    main()
