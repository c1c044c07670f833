//! Data from outside: what cannot be used ends with 3, what can be left out is named, counted and listed.

use crate::tiny_run::{TinyRun, read};
use d2v_data::Skipped;
use std::path::Path;
use tempfile::TempDir;

/// A folder of `good` pictures and `broken` files that only have a picture's name.
fn pictures(good: u8, broken: usize) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for index in 0..good {
        let picture = image::RgbImage::from_fn(20, 18, |x, y| {
            let stripes = (x as u8 * index).wrapping_mul(9);
            image::Rgb([stripes, y as u8 * 13, index * 7])
        });
        picture.save(folder.path().join(format!("good-{index}.png"))).unwrap();
    }
    for index in 0..broken {
        std::fs::write(folder.path().join(format!("broken-{index}.png")), b"no picture").unwrap();
    }
    folder
}

/// The arguments with which the tiny recipe reads `data`; it resizes pictures itself.
fn arguments(data: &Path) -> Vec<&str> {
    vec!["--data", data.to_str().expect("temporary folders have plain names")]
}

#[track_caller]
fn check(data: &Path, code: i32, parts: &[&str]) {
    let messages = TinyRun::new().run(&arguments(data), code);
    for part in parts {
        assert!(messages.contains(part), "no {part:?} in: {messages}");
    }
}

#[test]
fn data_that_cannot_be_used_ends_with_3() {
    let empty = tempfile::tempdir().unwrap();
    check(&empty.path().join("nothing"), 3, &["nothing"]);
    check(empty.path(), 3, &["no picture", ".png"]);
    check(&empty.path().join("shards-*.tar"), 3, &["no file matches"]);
    check(pictures(0, 12).path(), 3, &["unreadable", "broken-"]);
    // Too little for the settings: those can be mended too.
    check(pictures(7, 0).path(), 2, &["8 samples per step", "7 per epoch", "use more data"]);
}

#[test]
fn unreadable_files_are_replaced_and_listed() {
    let data = pictures(20, 3);
    let run = TinyRun::new();
    let listed = || -> Vec<String> {
        let list: Vec<Skipped> = serde_json::from_slice(&read(&run.out().join("unreadable.json"))).unwrap();
        list.into_iter().map(|Skipped { name, reason }| format!("{name}: {reason}")).collect()
    };
    let messages = run.run(&arguments(data.path()), 0);
    assert!(messages.contains("3 samples could not be read"), "{messages}");
    let list = listed();
    assert_eq!(list.len(), 3, "{list:?}");
    for (index, line) in list.iter().enumerate() {
        assert!(line.contains(&format!("broken-{index}.png")), "{line}");
    }
}

#[test]
fn too_many_unreadable_files_end_with_3_and_are_listed() {
    let data = pictures(20, 4);
    let run = TinyRun::new();
    let messages = run.run(&[arguments(data.path()), vec!["--set", "data.unreadable_limit=2"]].concat(), 3);
    assert!(messages.contains("3 unreadable samples, more than the limit of 2"), "{messages}");
    let list: Vec<Skipped> = serde_json::from_slice(&read(&run.out().join("unreadable.json"))).unwrap();
    assert_eq!(list.len(), 3, "{list:?}");
}
