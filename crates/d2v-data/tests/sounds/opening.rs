//! What `open_audio` makes of folders, archives, lists and manifests; all files are made here.

use crate::signal::{mono, wav, wav_of};
use d2v_data::{
    AudioLabels, AudioOptions, AudioTransform, BatchSize, Cursor, Dataset, Error, Inputs, Loader,
    LoaderConfig, RawSample, Split, Subset, TestWhen, Transform, WhyIgnored, open_audio,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use tar::{Builder, Header};
use tempfile::TempDir;

/// 40 samples of one value at 1,000 Hz.
fn level(value: i16) -> Vec<u8> {
    wav(1_000, 1, &[value; 40])
}

fn options() -> AudioOptions {
    AudioOptions { sample_rate_hz: 1_000, min_seconds: 0.03, ..AudioOptions::default() }
}

fn folder(files: &[(&str, Vec<u8>)]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    root
}

fn tar(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, bytes.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Each sample as `label:group:value`, in index order.
fn content(data: &dyn Dataset) -> Vec<String> {
    (0..data.len())
        .map(|index| {
            let RawSample::Audio(sound) = data.load(index).unwrap() else { panic!("not sound") };
            let label = data.label(index).map_or("-", |label| &data.classes()[label as usize]);
            let group = data.group(index).map_or("-", |group| &data.groups()[group as usize]);
            format!("{label}:{group}:{}", sound.view()[[0, 0]] * 32_768.0)
        })
        .collect()
}

fn check(path: &Path, split: Split, options: &AudioOptions, expected: &[&str]) {
    assert_eq!(content(&*open_audio(path, split, options).unwrap()), expected, "{}", path.display());
}

fn yes_and_no() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("yes/2.wav", level(2)),
        ("no/1.wav", level(1)),
        ("yes/notes.txt", b"x".to_vec()),
        ("yes/3.wav", level(3)),
    ]
}

#[test]
fn folders_and_archives_of_classes() {
    let expected = ["no:-:1", "yes:-:2", "yes:-:3"];
    let root = folder(&yes_and_no());
    check(root.path(), Split::Train, &options(), &expected);
    check(&root.path().join("yes/2.wav"), Split::All, &options(), &["-:-:2"]);

    let plain = root.path().join("all.tar");
    std::fs::write(&plain, tar(&yes_and_no())).unwrap();
    check(&plain, Split::Train, &options(), &expected);
    let zipped = root.path().join("all.tar.gz");
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&tar(&yes_and_no())).unwrap();
    std::fs::write(&zipped, encoder.finish().unwrap()).unwrap();
    check(&zipped, Split::Train, &options(), &expected);

    for (shard, value) in [("s-1.tar", 8), ("s-2.tar", 9)] {
        std::fs::write(root.path().join(shard), tar(&[("a.wav", level(value))])).unwrap();
    }
    let data = open_audio(&root.path().join("s-*.tar"), Split::All, &options()).unwrap();
    assert_eq!(content(&*data), ["-:-:8", "-:-:9"]);
    assert_ne!(data.id(0), data.id(1), "equal paths in two shards are two samples");
}

#[test]
fn levels_called_train_and_test_are_splits() {
    let root =
        folder(&[("train/a/1.wav", level(1)), ("train/b/2.wav", level(2)), ("test/b/3.wav", level(3))]);
    check(root.path(), Split::Train, &options(), &["a:-:1", "b:-:2"]);
    check(root.path(), Split::Test, &options(), &["b:-:3"]);
}

#[test]
fn patterns_tell_label_group_and_split() {
    let files = ["7_ann_0", "7_ann_9", "3_bob_9", "3_bob_1", "stray"];
    let files: Vec<(String, Vec<u8>)> =
        files.iter().zip(1..).map(|(name, value)| (format!("x/{name}.wav"), level(value))).collect();
    let files: Vec<(&str, Vec<u8>)> =
        files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    let root = folder(&files);
    let is_one_of = vec!["0".into(), "1".into()];
    let labels = AudioLabels::Pattern {
        pattern: "{label}_{group}_{index}".into(),
        test_when: Some(TestWhen { placeholder: "index".into(), is_one_of }),
    };
    let options = AudioOptions { labels, ..options() };
    check(root.path(), Split::Train, &options, &["3:bob:3", "7:ann:2"]);
    check(root.path(), Split::Test, &options, &["3:bob:4", "7:ann:1"]);
    let data = open_audio(root.path(), Split::All, &options).unwrap();
    assert_eq!(
        (data.classes(), data.groups()),
        (&["3".into(), "7".into()][..], &["ann".into(), "bob".into()][..])
    );
    assert!(data.ignored().listed()[0].reason.contains("pattern"), "{:?}", data.ignored());

    let data: Arc<dyn Dataset> = Arc::from(data);
    let ann = Subset::filtered(Arc::clone(&data), |&index| data.group(index) == Some(0));
    assert_eq!(content(&ann), ["7:ann:1", "7:ann:2"]);
    assert_eq!(ann.length(0), 40);
}

/// Folders, archives and lists that say the same with the ends of their paths.
#[test]
fn patterns_with_folders_tell_label_and_group() {
    let files =
        || vec![("d/yes/ann_1.wav", level(2)), ("d/no/bob_1.wav", level(1)), ("d/no/ann_2.wav", level(3))];
    let mut with_strays = files();
    with_strays.extend([("d/yes/stray.wav", level(4)), ("ann_4.wav", level(5))]);
    let root = folder(&with_strays);
    let plain = root.path().join("all.tar");
    std::fs::write(&plain, tar(&with_strays)).unwrap();
    let zipped = root.path().join("all.tar.gz");
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&tar(&with_strays)).unwrap();
    std::fs::write(&zipped, encoder.finish().unwrap()).unwrap();

    let labels = AudioLabels::Pattern { pattern: "{label}/{group}_{take}".into(), test_when: None };
    let of_pattern = AudioOptions { labels, ..options() };
    let expected = ["no:ann:3", "no:bob:1", "yes:ann:2"];
    for path in [root.path(), &plain, &zipped] {
        check(path, Split::Train, &of_pattern, &expected);
        let data = open_audio(path, Split::Train, &of_pattern).unwrap();
        assert_eq!(data.ignored().total(), 2, "{:?}", data.ignored());
    }
    // Opened one level further down, the same paths are shorter and still fit.
    check(&root.path().join("d"), Split::Train, &of_pattern, &expected);
    let manifest = root.path().join("train.tsv");
    std::fs::write(&manifest, ".\nd/yes/ann_1.wav\t40\nd/no/bob_1.wav\t40\nd/no/ann_2.wav\t40\n").unwrap();
    check(&manifest, Split::Train, &of_pattern, &expected);
    let list = root.path().join("list.csv");
    std::fs::write(&list, "d/yes/ann_1.wav,yes,ann\nd/no/bob_1.wav,no,bob\nd/no/ann_2.wav,no,ann\n").unwrap();
    check(&list, Split::Train, &options(), &expected);

    let split = folder(&[("train/ann/yes/1.wav", level(1)), ("test/bob/yes/1.wav", level(2))]);
    let labels = AudioLabels::Pattern { pattern: "{group}/{label}/{take}".into(), test_when: None };
    let of_pattern = AudioOptions { labels, ..options() };
    check(split.path(), Split::Train, &of_pattern, &["yes:ann:1"]);
    check(split.path(), Split::Test, &of_pattern, &["yes:bob:2"]);
}

#[test]
fn lists_and_manifests() {
    let root = folder(&yes_and_no());
    let list = root.path().join("list.csv");
    std::fs::write(&list, "path,label\nyes/2.wav,B\nno/1.wav,A\nno/none.wav,A\n").unwrap();
    check(&list, Split::Train, &options(), &["A:-:1", "B:-:2"]);
    let data = open_audio(&list, Split::Train, &options()).unwrap();
    assert_eq!(data.ignored().total(), 1, "the file that is not there");
    let by_folder = AudioOptions { labels: AudioLabels::Folder {}, ..options() };
    check(&list, Split::Train, &by_folder, &["no:-:1", "yes:-:2"]);

    let manifest = root.path().join("train.tsv");
    std::fs::write(&manifest, format!("{}\nyes/2.wav\t40\nno/1.wav\t40\n", root.path().display())).unwrap();
    check(&manifest, Split::Train, &options(), &["no:-:1", "yes:-:2"]);
    let of_list = AudioOptions { labels: AudioLabels::List {}, ..options() };
    assert!(matches!(open_audio(&manifest, Split::Train, &of_list), Err(Error::Setting { .. })));
    // Ids come from the names alone.
    let of_folder = open_audio(root.path(), Split::All, &options()).unwrap();
    assert_eq!(open_audio(&manifest, Split::All, &options()).unwrap().id(0), of_folder.id(0));
}

#[test]
fn what_is_left_out_is_listed() {
    let mut files = yes_and_no();
    files.push(("no/short.wav", wav(1_000, 1, &[1; 29])));
    files.push(("no/broken.wav", b"RIFF....WAVE".to_vec()));
    let root = folder(&files);
    let data = open_audio(root.path(), Split::All, &options()).unwrap();
    assert_eq!(data.len(), 3);
    let reasons: Vec<&str> = data.ignored().listed().iter().map(|left| left.reason.as_str()).collect();
    assert!(reasons[0].contains("broken.wav") && reasons[1].contains("min_seconds"), "{reasons:?}");
    let ignored = data.ignored();
    let counts =
        [WhyIgnored::Unreadable, WhyIgnored::TooShort, WhyIgnored::NotMeant].map(|why| ignored.count(why));
    assert_eq!(counts, [1, 1, 0]);
    let broken: Vec<&str> =
        ignored.listed_for(WhyIgnored::Unreadable).map(|left| left.name.as_str()).collect();
    assert!(broken[0].ends_with("broken.wav"), "{broken:?}");
    let empty = folder(&[("notes.txt", vec![])]);
    assert!(open_audio(empty.path(), Split::All, &options()).is_err());
    assert!(open_audio(&empty.path().join("none"), Split::All, &options()).is_err());
}

/// Files that are broken count as unreadable samples, those that are too short do not.
#[test]
fn broken_files_count_towards_the_limit() {
    let files: Vec<(String, Vec<u8>)> = (0..12)
        .map(|number| match number {
            0..3 => (format!("{number}.wav"), b"RIFF....WAVE".to_vec()),
            3..7 => (format!("{number}.wav"), wav(1_000, 1, &[1; 29])),
            // In order by its header, but not a number inside.
            7 => (format!("{number}.wav"), wav_of(3, 32, 1_000, 1, &[0xFF; 160])),
            _ => (format!("{number}.wav"), level(number)),
        })
        .collect();
    let files: Vec<(&str, Vec<u8>)> =
        files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    let root = folder(&files);
    let outcome = |unreadable_limit| {
        let data = open_audio(root.path(), Split::All, &options()).unwrap();
        assert_eq!(data.len(), 5);
        let config = LoaderConfig {
            batch: BatchSize::Samples(5),
            transform: Transform::Audio(AudioTransform::default()),
            unreadable_limit,
            ..LoaderConfig::default()
        };
        Loader::new(Arc::from(data), config, Cursor::default()).and_then(|mut loader| loader.next().unwrap())
    };
    match outcome(2) {
        Err(Error::TooManyUnreadable { count: 3, limit: 2, name, .. }) => assert!(name.ends_with("2.wav")),
        other => panic!("{other:?}"),
    }
    match outcome(3) {
        Err(Error::TooManyUnreadable { count: 4, limit: 3, name, .. }) => assert!(name.ends_with("7.wav")),
        other => panic!("{other:?}"),
    }
    assert_eq!(outcome(4).unwrap().len(), 5);
}

/// Sounds of many lengths come in batches of a total length, cropped to the shortest, the same for any threads.
#[test]
fn batches_of_a_total_length() {
    let files: Vec<(String, Vec<u8>)> =
        (0..40).map(|number| (format!("{number}.wav"), mono(1_000, 100 + number * 37 % 400))).collect();
    let files: Vec<(&str, Vec<u8>)> =
        files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    let root = folder(&files);
    let batches = |threads| {
        let data = open_audio(root.path(), Split::All, &options()).unwrap();
        let config = LoaderConfig {
            batch: BatchSize::TotalLength(1_200),
            threads,
            transform: Transform::Audio(AudioTransform::default()),
            ..LoaderConfig::default()
        };
        let loader = Loader::new(Arc::from(data), config, Cursor::default()).unwrap();
        loader.take(30).map(Result::unwrap).collect::<Vec<_>>()
    };
    let of_one = batches(1);
    assert_eq!(of_one, batches(3));
    for batch in &of_one {
        let Inputs::Audio { samples_bct, lengths } = &batch.inputs else { panic!("not sound") };
        let (count, channels, longest) = samples_bct.dim();
        assert!(channels == 1 && count * longest <= 1_200 && lengths.iter().all(|&length| length == longest));
    }
}
