//! Files of `torch.save` (see `fixtures/make_pt.py`) against the same numbers as safetensors.

use crate::fixture::fixture;
use d2v_weights::names::to_ours;
use d2v_weights::torch_file::TorchFile;
use d2v_weights::{Checkpoint, DType, Error, Network, Tensors, read_safetensors};

/// The numbers beside a checkpoint.
fn expected(case: &str, network: &str) -> Tensors {
    let tensors = read_safetensors(&fixture(&format!("{case}.safetensors"))).unwrap();
    let prefix = format!("{network}.");
    tensors
        .into_iter()
        .filter_map(|(name, tensor)| Some((name.strip_prefix(&prefix)?.to_owned(), tensor)))
        .collect()
}

#[track_caller]
fn check(case: &str, teacher_prefix: &str, notes: &[&str]) {
    let path = fixture(&format!("{case}.pt"));
    let student = Checkpoint::read(&path, Network::Student).unwrap();
    let mut theirs = expected(case, "student");
    assert_eq!(student.tensors, to_ours(student.source, None, &theirs).unwrap().tensors);
    assert_eq!(student.notes, notes);
    assert!(student.tensors.contains_key("head.0.weight"));
    assert!(student.tensors.values().all(|tensor| tensor.dtype() == DType::F32));

    for (name, tensor) in expected(case, "teacher") {
        assert!(theirs.insert(format!("{teacher_prefix}{name}"), tensor).is_some(), "{name}");
    }
    let teacher = Checkpoint::read(&path, Network::Teacher).unwrap();
    assert_eq!(teacher.tensors, to_ours(student.source, None, &theirs).unwrap().tensors);
    assert_ne!(teacher.tensors, student.tensors);
}

#[test]
fn speech_in_halves_with_a_teacher_within() {
    check("speech", "encoder.", &[]);
}

#[test]
fn text_with_a_teacher_within() {
    check(
        "text",
        "encoder.sentence_encoder.",
        &["encoder.sentence_encoder.version is ignored: a version number"],
    );
}

#[test]
fn images_with_a_teacher_beside() {
    let index = "rel_pos_bias.relative_position_index is ignored: a buffer that the image size determines";
    check("image", "", &[index]);
}

#[test]
fn views_and_number_types() {
    let mut file = TorchFile::open(&fixture("views.pt")).unwrap();
    assert_eq!(file.tensors(&["tensors"], &[]).unwrap(), expected("views", "student"));
    assert_eq!(file.string(&["others", "text"]).unwrap(), "ä");
    assert_eq!(file.keys(&[]).unwrap(), ["tensors", "others", "shape"]);
}

#[test]
fn objects_are_named_and_not_made() {
    let mut file = TorchFile::open(&fixture("speech.pt")).unwrap();
    let error = file.tensors(&["cfg"], &[]).unwrap_err().to_string();
    assert!(error.starts_with("cfg.model is a Python object made by argparse.Namespace"), "{error}");
    let error = file.keys(&["cfg", "model"]).unwrap_err().to_string();
    assert!(error.contains("argparse.Namespace"), "{error}");
    let error = file.keys(&["cfg", "nothing"]).unwrap_err().to_string();
    assert!(error.starts_with("cfg.nothing is absent"), "{error}");
}

#[test]
fn the_old_form_is_recognised() {
    assert!(matches!(TorchFile::open(&fixture("old.pt")), Err(Error::OldTorchFile { .. })));
    let error = TorchFile::open(&fixture("names.json")).unwrap_err().to_string();
    assert!(error.ends_with("it is no file of torch.save"), "{error}");
}

#[test]
fn a_checkpoint_without_a_teacher_says_so() {
    let error = Checkpoint::read(&fixture("views.pt"), Network::Student).unwrap_err();
    assert!(matches!(error, Error::Value { .. }), "{error}");
}
