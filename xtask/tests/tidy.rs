//! House rules (CONTRIBUTING.md, ARCHITECTURE.md) that a compiler does not know. Each test names all offenders.
#![expect(clippy::unwrap_used, reason = "in a test, a failure of the machine is a failure of the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The arrows that ARCHITECTURE.md draws. What only tests need is free.
const ARROWS: &[(&str, &[&str])] = &[
    ("d2v-masking", &[]),
    ("d2v-data", &[]),
    ("d2v-weights", &[]),
    ("d2v-torch", &[]),
    ("d2v-transformer", &["d2v-torch"]),
    ("d2v-encoders", &["d2v-torch", "d2v-transformer"]),
    ("d2v-ema", &["d2v-torch"]),
    ("d2v-targets", &[]),
    ("xtask", &[]),
];

/// Names that say nothing, so that anything ends up under them.
const EMPTY_NAMES: [&str; 6] = ["base.rs", "common.rs", "helpers.rs", "misc.rs", "util.rs", "utils.rs"];

/// CONTRIBUTING.md asks for 100 to 400 lines; a test cannot judge whether 401 is one idea, this is where it stops.
const LONGEST_FILE_LINES: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Folders of all members of the workspace.
fn members() -> Vec<PathBuf> {
    let crates = fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path());
    crates.chain([root().join("benches"), root().join("xtask")]).filter(|path| path.is_dir()).collect()
}

/// All Rust files with their text.
fn sources() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut folders = members();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().unwrap() != "target" {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                files.push((path, text));
            }
        }
    }
    assert!(files.len() > 50, "the search for sources is broken");
    files
}

#[track_caller]
fn check(rule: &str, offends: impl Fn(&Path, &str) -> bool) {
    let offenders: Vec<_> =
        sources().into_iter().filter(|(path, text)| offends(path, text)).map(|(path, _)| path).collect();
    assert!(offenders.is_empty(), "{rule}: {offenders:#?}");
}

#[test]
fn every_file_says_what_it_is_for() {
    check("the first line begins with `//!`", |_, text| !text.starts_with("//!"));
}

#[test]
fn files_hold_one_idea() {
    check("a file this long holds more than one idea", |_, text| text.lines().count() > LONGEST_FILE_LINES);
}

#[test]
fn files_are_named_for_their_content() {
    check("a name that says nothing", |path, _| EMPTY_NAMES.iter().any(|name| path.ends_with(name)));
}

#[test]
fn every_test_runs() {
    // Put together so that this file does not offend.
    let attribute = format!("#[{}", "ignore");
    check("a test that never runs", |_, text| {
        text.lines().any(|line| line.trim_start().starts_with(&attribute))
    });
}

#[test]
fn every_crate_has_a_readme() {
    let without: Vec<_> = members()
        .into_iter()
        .filter(|member| member.parent().unwrap().ends_with("crates") && !member.join("README.md").is_file())
        .collect();
    assert!(without.is_empty(), "without README.md: {without:#?}");
}

#[test]
fn only_the_drawn_arrows_exist() {
    for member in members() {
        let text = fs::read_to_string(member.join("Cargo.toml")).unwrap();
        let manifest: toml::Table = toml::from_str(&text).unwrap();
        let name = manifest["package"]["name"].as_str().unwrap();
        let Some((_, allowed)) = ARROWS.iter().find(|(member, _)| *member == name) else { continue };
        let tables = ["dependencies", "build-dependencies"];
        let found: BTreeSet<_> = tables
            .iter()
            .filter_map(|table| manifest.get(*table)?.as_table())
            .flat_map(toml::Table::keys)
            .filter(|dependency| dependency.starts_with("d2v-"))
            .collect();
        let undrawn: Vec<_> =
            found.into_iter().filter(|dependency| !allowed.contains(&dependency.as_str())).collect();
        assert!(undrawn.is_empty(), "{name} -> {undrawn:?} is not drawn in ARCHITECTURE.md");
    }
}
