//! Weights out of a run and into another, for each modality, by the commands that users type.

use crate::tiny_run::{TinyRun, d2v, read, stderr};
use crate::wav::wav;
use d2v_train::weights::{ImportRecord, Of};
use d2v_weights::{Checkpoint, Network, Tensors, read_safetensors};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A recipe, made small, and something to embed.
struct Modality {
    recipe: &'static str,
    settings: &'static [&'static str],
    write_data: fn(&Path),
}

const SMALL: [&str; 7] = [
    "model.transformer.width=32",
    "model.transformer.depth=2",
    "model.transformer.heads=2",
    "model.transformer.ffn_width=64",
    "targets.top_k=2",
    "train.length={ steps = 2 }",
    "train.probe_at_end=false",
];

/// What transformers' image class has; the tiny recipe's network has none of it.
const IMAGE: Modality = Modality {
    recipe: "image-tiny",
    settings: &[
        "train.batch_size=4",
        "data.synthetic={ train_images = 16, test_images = 8 }",
        "model.encoder.class_token=true",
        "model.encoder.position={ kind = 'relative-bias' }",
        "model.transformer.qkv_bias='query-value'",
        "model.transformer.layer_scale=0.1",
    ],
    write_data: |folder| {
        for index in 0..3_u8 {
            let picture = image::RgbImage::from_fn(20, 18, |x, y| {
                image::Rgb([(x as u8 * (index + 3)).wrapping_mul(9), y as u8 * 13, index * 70])
            });
            picture.save(folder.join(format!("{index}.png"))).unwrap();
        }
    },
};

const SPEECH: Modality = Modality {
    recipe: "speech-tiny",
    settings: &[
        "train.batch_seconds=4.0",
        "data.synthetic_audio={ train_sounds = 16, test_sounds = 8 }",
        "data.audio.min_seconds=0.1",
    ],
    write_data: |folder| {
        for index in 0..3_u32 {
            let samples = 6_000 + 900 * index;
            let wave = |at: u32| {
                let seconds = f64::from(at) / 16_000.0;
                let tone = (seconds * 600.0 * f64::from(index + 1)).sin() * (seconds * 9.0).cos();
                (tone * 12_000.0) as i16
            };
            let sound: Vec<i16> = (0..samples).map(wave).collect();
            std::fs::write(folder.join(format!("{index}.wav")), wav(16_000, &sound)).unwrap();
        }
    },
};

const TEXT: Modality = Modality {
    recipe: "text-tiny",
    settings: &[
        "train.batch_size=8",
        "data.text.unit={ kind = 'characters', vocabulary = 60 }",
        "data.synthetic_text={ train_texts = 64, test_texts = 16, max_tokens = 32 }",
        "data.text.max_tokens=32",
        "model.encoder.max_tokens=32",
        "model.head.hidden=48",
    ],
    write_data: |folder| {
        std::fs::write(folder.join("words.txt"), "one two three\n\nfour five\n\nsix, and a longer text\n")
            .unwrap();
    },
};

/// A folder with runs and files in it, and the commands on them.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs the program in this folder and checks the exit code; returns the messages.
    #[track_caller]
    fn run(&self, arguments: &[&str], code: i32) -> String {
        let output = d2v().current_dir(self.0.path()).args(arguments).output().unwrap();
        let messages = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {messages}");
        messages
    }

    /// Trains two updates of a modality into `run`, and writes what there is to embed to `data`.
    fn train(&self, modality: &Modality) {
        let config = format!("{}/../../configs/{}.toml", env!("CARGO_MANIFEST_DIR"), modality.recipe);
        let settings = SMALL.iter().chain(modality.settings).flat_map(|setting| ["--set", setting]);
        let arguments = ["pretrain", "--config", &config, "--out", "run"];
        self.run(&arguments.into_iter().chain(settings).collect::<Vec<_>>(), 0);
        std::fs::create_dir(self.path("data")).unwrap();
        (modality.write_data)(&self.path("data"));
    }

    /// Features of every token behind the last block.
    fn features(&self, run: &str) -> Vec<u8> {
        let arguments = ["embed", "--run", run, "--data", "data", "--layer", "last", "--pool", "tokens"];
        self.run(&[&arguments[..], &["--out", "features.npy"]].concat(), 0);
        read(&self.path("features.npy"))
    }

    fn tensors(&self, run: &str, step: u64, file: &str) -> Tensors {
        let path = format!("{run}/checkpoints/step-{step}/{file}.safetensors");
        read_safetensors(&self.path(&path)).unwrap()
    }
}

/// What student and teacher have in common.
fn backbone(tensors: Tensors) -> Tensors {
    tensors.into_iter().filter(|(name, _)| !name.starts_with("head.")).collect()
}

#[track_caller]
fn check_out_and_in(modality: &Modality) {
    let place = Place::new();
    place.train(modality);
    let said = place.run(&["export", "--run", "run", "--format", "hf", "--out", "hf"], 0);
    assert!(said.contains("head.0.weight is left behind"), "{said}");
    let again = place.run(&["export", "--run", "run", "--format", "hf", "--out", "hf"], 3);
    assert!(again.contains("already there"), "{again}");

    let config = "run/config.toml";
    let import = ["import", "hf", "--format", "hf", "--config", config, "--out", "imported"];
    let said = place.run(&import, 0);
    assert!(said.contains("so fresh: head.0.bias, head.0.weight"), "{said}");
    let said = place.run(&import, 2);
    assert!(said.contains("already holds a run"), "{said}");
    assert!(place.features("run") == place.features("imported"), "features");
    place.run(&["inspect", "--run", "imported"], 0);

    // What goes in comes out.
    let teacher = ["--of", "teacher"];
    let export = ["export", "--run", "imported/checkpoints/step-0", "--format", "hf", "--out", "hf-again"];
    place.run(&[&export[..], &teacher].concat(), 0);
    for file in std::fs::read_dir(place.path("hf")).unwrap() {
        let name = file.unwrap().file_name();
        let bytes = |folder: &str| read(&place.path(folder).join(&name));
        assert!(bytes("hf") == bytes("hf-again"), "{}", name.display());
    }

    // A run that starts from there has those weights, and its own head.
    let further = ["pretrain", "--config", "imported/config.toml", "--init", "imported", "--out", "further"];
    let said = place.run(
        &[&further[..], &["--steps", "1", "--set", "seed=7", "--set", "train.probe_at_end=false"]].concat(),
        0,
    );
    assert!(said.contains("so fresh: head.0.bias, head.0.weight"), "{said}");
    let trained = place.tensors("run", 2, "student");
    let started = place.tensors("further", 0, "student");
    assert_ne!(trained["head.0.weight"], started["head.0.weight"]);
    assert_eq!(backbone(trained), backbone(started));
    assert_eq!(place.tensors("run", 2, "student").len(), place.tensors("further", 1, "student").len());
    let config = String::from_utf8(read(&place.path("further/config.toml"))).unwrap();
    assert!(config.contains("init = "), "{config}");
}

#[test]
fn images_go_out_and_in() {
    check_out_and_in(&IMAGE);
}

#[test]
fn speech_goes_out_and_in() {
    check_out_and_in(&SPEECH);
}

#[test]
fn text_goes_out_and_in() {
    check_out_and_in(&TEXT);
}

#[test]
fn special_tokens_have_the_names_that_the_folder_states() {
    let place = Place::new();
    place.train(&TEXT);
    place.run(&["export", "--run", "run", "--format", "hf", "--out", "hf"], 0);
    let replace = |file: &str, from: &str, to: &str| {
        let path = place.path("hf").join(file);
        let text = String::from_utf8(read(&path)).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(path, text.replace(from, to)).unwrap();
    };
    replace("tokenizer.json", "<mask>", "(hidden)");
    replace("tokenizer_config.json", "<mask>", "(hidden)");
    let import = |out: &str, code| {
        place.run(&["import", "hf", "--format", "hf", "--config", "run/config.toml", "--out", out], code)
    };
    import("imported", 0);
    let config = String::from_utf8(read(&place.path("imported/config.toml"))).unwrap();
    assert!(config.contains("mask = \"(hidden)\"") && config.contains("begin = \"<s>\""), "{config}");
    assert!(place.features("run") == place.features("imported"), "features");

    replace("tokenizer_config.json", "(hidden)", "(gone)");
    let said = import("other", 3);
    assert!(said.contains("tokenizer_config.json: `mask_token` is \"(gone)\""), "{said}");
    assert!(!place.path("other").exists(), "{said}");
}

#[test]
fn a_run_from_weights_is_resumed_without_them() {
    let source = TinyRun::new();
    source.run(&["--steps", "4"], 0);
    let weights = source.out().display().to_string();
    let arguments = ["--init", &weights, "--set", "seed=11"];
    let expected = TinyRun::new();
    let said = expected.run(&arguments, 0);
    assert!(said.contains("starting from the weights of"), "{said}");

    let run = TinyRun::new();
    let mut running = run.start(&arguments);
    assert!(running.wait_until("a step", || run.logged_step() >= 3), "ended early");
    running.signal("INT");
    assert_eq!(running.end().code(), Some(130));
    drop(source);
    let said = run.run(&arguments, 0);
    assert!(said.contains("going on from step"), "{said}");
    run.assert_ended_like(&expected, "resumed");
    // The weights are a setting of the run like any other.
    let said = run.run(&["--set", "seed=11"], 2);
    assert!(said.contains("`init`"), "{said}");
}

#[test]
fn the_first_checkpoint_holds_the_weights_themselves() {
    let source = TinyRun::new();
    source.run(&["--steps", "4"], 0);
    let run = TinyRun::new();
    let newest = source.out().join("checkpoints/step-4").display().to_string();
    run.run(&["--init", &newest, "--steps", "1"], 0);
    for file in ["student", "teacher"] {
        let (from, to) = (source.checkpoint_file(4, file), run.checkpoint_file(0, file));
        assert!(read(&from) == read(&to), "{file}: the run's own head included");
    }
}

#[test]
fn weights_of_another_network_are_refused_by_name() {
    let source = TinyRun::new();
    source.run(&["--steps", "1"], 0);
    let weights = source.out().display().to_string();
    let check = |setting: &str, says: &str| {
        let messages = TinyRun::new().run(&["--init", &weights, "--set", setting], 2);
        assert!(messages.contains(says), "{messages}");
    };
    check("model.transformer.heads=1", "model.transformer.heads");
    check("model.head={ kind = 'mlp', hidden = 7 }", "head.0.weight has shape");
    let messages = TinyRun::new().run(&["--init", "nowhere"], 2);
    assert!(messages.contains("no checkpoint in"), "{messages}");
}

#[test]
fn a_network_that_transformers_lacks_is_refused_by_name() {
    let source = TinyRun::new();
    source.run(&["--steps", "1"], 0);
    let place = Place::new();
    let run = source.out().display().to_string();
    let said = place.run(&["export", "--run", &run, "--format", "hf", "--out", "hf"], 2);
    assert!(said.contains("model.transformer.qkv_bias = \"full\"; its class has \"query-value\""), "{said}");
    assert!(!place.path("hf").exists());
}

/// The networks that the small `.pt` files of `d2v-weights` hold.
const CHECKPOINTS: [(&str, &str, &[&str]); 3] = [
    (
        "image",
        "image-tiny",
        &[
            "model.encoder={ kind = 'image', image_size = 4, patch_size = 2, channels = 3, class_token = true, \
             position = { kind = 'relative-bias' } }",
            "data.transform.geometry={ kind = 'resize', size_px = 4 }",
            "model.transformer.qkv_bias='query-value'",
            "model.transformer.layer_scale=0.1",
            "model.transformer.depth=1",
            "targets.top_k=1",
        ],
    ),
    (
        "speech",
        "speech-tiny",
        &[
            "model.encoder.features.layers=[{ width = 3, kernel = 5, stride = 5 }, { width = 3, kernel = 2, stride = 2 }]",
            "model.encoder.positional={ layers = 2, kernel = 3, groups = 2 }",
            "model.transformer.depth=2",
            "targets.top_k=1",
        ],
    ),
    (
        "text",
        "text-tiny",
        &[
            "data.text.unit={ kind = 'file', path = 'tokenizer.json' }",
            "data.synthetic_text.max_tokens=5",
            "data.text.max_tokens=5",
            "model.encoder.max_tokens=5",
            "model.transformer.depth=1",
            "model.head.hidden=8",
            "targets.top_k=1",
        ],
    ),
];

/// Nine words, five of them special.
const TOKENIZER: &str = r#"{
    "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
    "decoder": null, "added_tokens": [], "pre_tokenizer": { "type": "Whitespace" },
    "model": { "type": "WordLevel", "unk_token": "<unk>", "vocab": {
        "<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4, "b": 5, "c": 6, "d": 7, "<mask>": 8 } }
}"#;

#[test]
fn checkpoints_with_teacher_and_head() {
    for (case, recipe, settings) in CHECKPOINTS {
        let place = Place::new();
        std::fs::write(place.path("tokenizer.json"), TOKENIZER).unwrap();
        let root = env!("CARGO_MANIFEST_DIR");
        let file = format!("{root}/../d2v-weights/tests/fixtures/{case}.pt");
        let config = format!("{root}/../../configs/{recipe}.toml");
        let sizes =
            ["model.transformer.width=4", "model.transformer.heads=2", "model.transformer.ffn_width=6"];
        let flags: Vec<&str> = sizes.iter().chain(settings).flat_map(|setting| ["--set", setting]).collect();
        let import = |more: &[&str], code: i32| {
            let fixed = ["import", &file, "--format", "fairseq", "--config", &config];
            place.run(&[&fixed[..], &flags, more].concat(), code)
        };
        import(&["--out", "both"], 0);
        let read = |network| Checkpoint::read(file.as_ref(), network).unwrap().tensors;
        assert_eq!(place.tensors("both", 0, "student"), read(Network::Student), "{case}");
        assert_eq!(place.tensors("both", 0, "teacher"), backbone(read(Network::Teacher)), "{case}");
        import(&["--out", "teacher", "--of", "teacher"], 0);
        assert_eq!(place.tensors("teacher", 0, "student"), read(Network::Teacher), "{case}");
        assert_eq!(place.tensors("teacher", 0, "teacher"), backbone(read(Network::Teacher)), "{case}");
        let record = ImportRecord::read(&place.path("teacher")).unwrap().unwrap();
        assert_eq!((record.of, record.fresh), (Of::Teacher, Vec::new()), "{case}");

        let said = import(&["--out", "other", "--set", "model.transformer.ffn_width=8"], 2);
        assert!(said.contains("mlp.fc1.weight has shape [6, 4] there and [8, 4] here"), "{said}");
        assert!(!place.path("other").exists(), "{said}");
    }
}

#[test]
fn what_an_import_needs_is_said() {
    let place = Place::new();
    let root = env!("CARGO_MANIFEST_DIR");
    let fixtures = format!("{root}/../d2v-weights/tests/fixtures");
    let check = |arguments: &[&str], code: i32, says: &str| {
        let said = place.run(&[&["import", "--out", "out"], arguments].concat(), code);
        assert!(said.contains(says), "{said}");
        assert!(!place.path("out").exists(), "{said}");
    };
    let speech = format!("{fixtures}/speech.pt");
    check(&["--format", "fairseq", &speech], 2, "--config");
    let text = format!("{root}/tests/golden/hf_text");
    check(&["--format", "hf", &text], 2, "has no tokenizer.json");
    let vision = format!("{root}/tests/golden/hf_vision_shared_bias");
    let config = format!("{root}/../../configs/speech-tiny.toml");
    check(&["--format", "hf", &vision, "--config", &config], 2, "for image, the recipe is one for audio");
    check(&["--format", "hf", &vision, "--of", "teacher"], 2, "leave --of out");
    check(&["--format", "hf", "nowhere"], 1, "nowhere");
    std::fs::create_dir(place.path("empty")).unwrap();
    std::fs::write(place.path("empty/config.json"), "{}").unwrap();
    check(&["--format", "hf", "empty"], 3, "model_type");
    // Without a recipe it is the tiny one of the modality, and what is missing is said.
    let said = place.run(&["import", "--format", "hf", &vision, "--out", "out"], 0);
    assert!(said.contains("preprocessor_config.json is not there"), "{said}");
    assert!(said.contains("mask.target_count = 21 of 36 patches: the recipe's share of its 64"), "{said}");
    place.run(&["inspect", "--run", "out"], 0);
}
