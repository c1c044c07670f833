"""Takes from the statistics of the reference's maskers what the tests compare with.

usage: extract.py statistics.json > reference.json

`statistics.json` comes from running the published maskers (fairseq at 3d262bb and the official vision repository) for
thousands of draws; it gives every mean with its standard error. See README.md beside this file.
"""

import json
import sys


def moments(entry):
    return {key: entry[key] for key in ("mean", "mean_se")}


def rates(entry, positions):
    return {position: entry[position] for position in positions if position in entry}


def runs(entry, lengths=("1", "2", "5", "10")):
    return {length: [bin["p"], bin["se"]] for length, bin in entry["bins"].items() if length in lengths}


with open(sys.argv[1]) as file:
    reference = json.load(file)

chosen = {"spans": {}, "blocks_v2_line": {}, "blocks_v2_grid": {}, "blocks": {}, "tokens": {}, "random": {}}
for name, entry in reference["audio_v1_spans"].items():
    chosen["spans"][name] = {
        "setting": entry["setting"],
        "masked_fraction": moments(entry["masked_fraction"]),
        "runs_per_row": moments(entry["runs_per_row"]),
        "position_rate": rates(entry["position_rate"] or {}, ("0", "1", "5", "50", "249", "375", "98", "99", "498", "749")),
        "masked_run_length": runs(entry["masked_run_length"]),
    }
for name, entry in reference["audio_v2_blocks"].items():
    chosen["blocks_v2_line"][name] = {
        "setting": entry["setting"],
        "masked_count": moments(entry["masked_count"]),
        "fraction_as_laid": moments(entry["before_count_is_fixed"]["masked_fraction"]),
        "runs_per_row": moments(entry["runs_per_row"]),
        "position_rate": rates(entry["position_rate"], ("0", "1", "2", "50", "249", "375", "99", "498", "749")),
        "masked_run_length": runs(entry["masked_run_length"]),
    }
for name, entry in reference["image_v2_blocks"].items():
    chosen["blocks_v2_grid"][name] = {
        "setting": entry["setting"],
        "fraction_as_laid": moments(entry["before_count_is_fixed"]["masked_fraction"]),
        "equal_neighbours": moments(entry["equal_neighbours"]),
        "visible_3x3_windows": moments(entry["fully_visible_3x3_windows_per_row"]),
        "cell_rate": entry["cell_rate"],
        "rows": entry["rows"],
    }
for name, entry in reference["image_v1_blocks"].items():
    if not name.startswith("official"):
        continue
    chosen["blocks"][name] = {
        "setting": entry["setting"],
        "masked_count": moments(entry["count_moments"]),
        "reached_exactly": entry["reached_exactly"],
        "equal_neighbours": moments(entry["equal_neighbours"]),
        "cell_rate": entry["cell_rate"],
        "rows": entry["rows"],
    }
for name, entry in reference["text_v1_tokens"].items():
    chosen["tokens"][name] = {
        "setting": entry["setting"],
        "selected_fraction": moments(entry["selected_fraction"]),
        "mask_token_fraction": moments(entry["mask_token_fraction"]),
        "of_selected": entry["of_selected"],
        "position_rate": rates(entry["position_rate"], ("0", "1", "5", "32", "256", "63", "511")),
        "selected_run_length": runs(entry["selected_run_length"], ("1", "2", "4", "5")),
    }
for name, entry in reference["text_v2_uniform"].items():
    chosen["random"][name] = {
        "setting": entry["setting"],
        "kept": entry["kept"],
        "position_rate": entry["position_rate"],
    }
json.dump(chosen, sys.stdout, indent=1)
print()
