"""Reduce the reference's learning rates to what `src/schedule/golden.rs` reads.

    python make_fixture.py schedules.json > learning_rates.json

`schedules.json` holds the learning rates that fairseq at 3d262bb and the official vision code give for every published
configuration, sampled at about 20 steps each. Configurations that share a schedule appear once, at the union of their steps.
"""

import json
import sys

reference = json.load(open(sys.argv[1]))
schedules = {}


def add(name, setting, updates, values):
    key = json.dumps(setting, sort_keys=True)
    entry = schedules.setdefault(key, {"names": [], **setting, "rates": {}})
    entry["names"].append(name)
    entry["rates"].update(zip(updates, values))


for name, config in reference["fairseq"].items():
    for group, rate in config["learning_rate"].items():
        scheduler = dict(rate["scheduler"])
        setting = {"kind": scheduler.pop("_name"), "peak": rate["peak"], "total": config["max_update"], **scheduler}
        add(f"{name} ({group})", setting, rate["num_updates"], rate["values"])

for name in ("vit_b", "vit_l"):
    config = reference["official_vision"][name]
    setting = {
        "kind": "official_vision",
        "peak": config["peak"],
        "min_lr": config["min"],
        "warmup_updates": config["warmup_epochs"] * config["iterations_per_epoch"],
        "total": config["epochs"] * config["iterations_per_epoch"],
    }
    add(f"official vision {name}", setting, config["iteration"], config["values"])

for entry in schedules.values():
    entry["rates"] = sorted(entry["rates"].items())
print("[" + ",\n".join(json.dumps(entry) for entry in schedules.values()) + "]")
