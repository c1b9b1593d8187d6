"""Payloads made from JSON schemas: some that fit, some spoiled on purpose."""

import os
import random
from typing import Any


def drawn_seed() -> int:
    """The seed of this run, printed; CPCTL_SEED repeats one."""
    seed = int(os.environ.get("CPCTL_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"CPCTL_SEED={seed}")
    return seed


class Maker:
    """Makes payloads that fit a schema, and spoils them."""

    def __init__(self, rng: random.Random, root: dict[str, Any]):
        self.rng, self.root = rng, root

    def fit(self, schema: dict[str, Any]) -> Any:
        rng = self.rng
        if "$ref" in schema:
            return self.fit(self.root["definitions"][schema["$ref"].rpartition("/")[2]])
        match schema.get("type"):
            case "object":
                return {name: self.fit(one) for name, one in schema.get("properties", {}).items()
                        if name in schema.get("required", ()) or rng.random() < 0.5}
            case "array":
                least = schema.get("minItems", 0)
                most = min(schema.get("maxItems", 3), least + 2)
                return [self.fit(schema["items"]) for _ in range(rng.randint(least, most))]
            case "string":
                return self.text(schema)
            case "integer":
                return rng.choice((0, 1, -1, 7, 2**40))
            case "number":
                return rng.choice((0, 1, 16.1, 6.5, 32, 0.3))
            case "boolean":
                return rng.random() < 0.5
        return rng.choice(("anything", 1, None, {"a": [1]}))

    def text(self, schema: dict[str, Any]) -> str:
        if "enum" in schema:
            return str(self.rng.choice(schema["enum"]))
        if schema.get("format") == "date-time":
            return self.rng.choice(("2026-03-01T12:00:00Z", "2026-03-01T12:00:00.123+01:00",
                                    "2024-02-29T23:59:59.999999Z"))
        return "x" * self.rng.choice((0, 1, min(20, schema.get("maxLength", 20)),
                                      min(schema.get("maxLength", 40), 600)))

    def spoil(self, payload: Any) -> Any:
        """One change somewhere, not always for the worse."""
        places = list(self.places(payload))
        holder, at = self.rng.choice(places) if places else (None, None)
        if holder is None or self.rng.random() < 0.05:
            return self.rng.choice((payload, [], None, "text", {"unknown": 1}, 5))
        match self.rng.randrange(4):
            case 0:
                del holder[at]
            case 1 if isinstance(holder, dict):
                holder["unknownProperty"] = 1
            case 2 if isinstance(holder, list):
                holder.extend([holder[at]] * self.rng.randint(1, 30))
            case _:
                holder[at] = self.rng.choice((
                    None, True, 1, 1.0, 1.05, -3, 101, 16.3, 1e12, "", "y", "x" * 51, "x" * 10001,
                    [], [None], {}, "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z",
                    "2026-03-01T25:00:00Z", "notadate", "2026-03-01"))
        return payload

    def places(self, value: Any) -> Any:
        if isinstance(value, dict | list):
            for at, one in list(value.items() if isinstance(value, dict) else enumerate(value)):
                yield value, at
                yield from self.places(one)
