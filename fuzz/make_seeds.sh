#!/usr/bin/env bash
# Fills fuzz/corpus/TARGET with files for each target to begin from: bash fuzz/make_seeds.sh
#
# What is there stays: a corpus grows by fuzzing.
set -euo pipefail
cd "$(dirname "$0")"

data=../crates/d2v-data/tests/fixtures
weights=../crates/d2v-weights/tests/fixtures

# seed TARGET FILE...
seed() {
    local target=$1 file name
    shift
    mkdir -p "corpus/$target"
    for file in "$@"; do
        name=${file#../crates/*/tests/fixtures/}
        cp "$file" "corpus/$target/${name//\//-}"
    done
}

# written TARGET NAME < CONTENT
written() {
    mkdir -p "corpus/$1"
    cat >"corpus/$1/$2"
}

seed flac "$data/short.flac"
seed mp3 "$data/short.mp3"
seed ogg "$data/short.ogg" "$data/opus.ogg"
seed picture "$data/cmyk.jpg" "$data/palette.png" "$data/huge_header.png"
seed safetensors "$weights"/*.safetensors "$weights"/hf_*/model.safetensors
seed config "$weights"/hf_*/config.json
seed torch_file "$weights"/*.pt "$weights/hf_text.bin"
seed fairseq "$weights"/{speech,text,image}.pt

tar -C "$data" --format=ustar -cf - cmyk.jpg palette.png | written archive ustar.tar
tar -C "$data" --format=gnu -cf - cmyk.jpg palette.png | written archive gnu.tar

printf 'The sea is wide .\n\nNo ship may cross it .\n' | written lines text
printf '{"id": [1, {}], "text": "the \\u00e9 sea", "label": 1}\n{"text": "a ship"}\n' | written lines json
printf 'sentence\tlabel\nthe sea\t1\na ship\t0\n' | written table tabs
printf 'label,text\n1,"the ""sea"" ,\n"\n0,a ship\n' | written table commas
printf '{"text": "the sea", "label": 1}\n{"text": "a ship", "label": "x"}\n' | written table json

cat <<'JSON' | written processor image
{"image_processor_type": "BeitImageProcessor", "do_resize": true, "size": {"height": 224, "width": 224},
 "resample": 3, "do_normalize": true, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
 "do_rescale": true, "rescale_factor": 0.00392156862745098, "do_center_crop": false}
JSON
cat <<'JSON' | written processor audio
{"feature_extractor_type": "Wav2Vec2FeatureExtractor", "feature_size": 1, "sampling_rate": 16000,
 "padding_side": "right", "padding_value": 0.0, "do_normalize": true, "return_attention_mask": true}
JSON

# What takes more than a copy.
cargo run --quiet --example derived_seeds -- corpus
