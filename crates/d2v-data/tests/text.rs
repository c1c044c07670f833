//! What becomes of files of text: units, blocks, parts, the cache, tables; all files are made here.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use d2v_data::{
    BatchSize, Cursor, Dataset, Documents, Error, Inputs, LabelledTextOptions, Loader, LoaderConfig,
    RawSample, SpecialNames, Split, TextBlocks, TextError, TextOptions, TextTransform, TextUnit, Tokenizer,
    Transform, open_labelled_text, open_text, open_text_with, train_tokenizer,
};
use std::sync::Arc;

const TRAIN: &str = " = The Sea = \n\nThe sea is wide , the sea is deep .\nNo ship may cross the wide sea .\n\n\
                     = The Ship =\n\nA ship is small , the ship is fast .\n";

/// A folder with a text of two parts, and one for the cache.
fn corpus() -> (tempfile::TempDir, TextOptions) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    std::fs::write(folder.path().join("data/sea.train.txt"), TRAIN.repeat(20)).unwrap();
    std::fs::write(folder.path().join("data/sea.valid.txt"), "The ship , the sea , the unseen whale .\n")
        .unwrap();
    let options = TextOptions { cache: Some(folder.path().join("cache")), ..TextOptions::default() };
    (folder, options)
}

fn units() -> [TextUnit; 5] {
    [
        TextUnit::Bytes {},
        TextUnit::Characters { vocabulary: 60 },
        TextUnit::Words { vocabulary: 60 },
        TextUnit::BytePair { vocabulary: 300 },
        TextUnit::Unigram { vocabulary: 60 },
    ]
}

fn tokens(set: &dyn Dataset, index: usize) -> Vec<u32> {
    let RawSample::Text(tokens) = set.load(index).unwrap() else { panic!("no text") };
    assert_eq!(tokens.len(), set.length(index));
    tokens
}

fn all_tokens(set: &dyn Dataset) -> Vec<Vec<u32>> {
    (0..set.len()).map(|index| tokens(set, index)).collect()
}

#[test]
fn every_unit_gives_roberta_ids_and_the_text_back() {
    let (folder, options) = corpus();
    let data = folder.path().join("data");
    for unit in units() {
        let options = TextOptions { unit: unit.clone(), ..options.clone() };
        let set = open_text(&data, Split::Train, &options).unwrap();
        let tokenizer = set.tokenizer();
        let specials = tokenizer.specials();
        assert_eq!([specials.bos, specials.pad, specials.eos, specials.unk], [0, 1, 2, 3], "{unit:?}");
        assert_eq!(specials.mask as usize + 1, tokenizer.vocabulary_size(), "{unit:?}");
        assert_eq!(tokenizer.token_text(specials.mask).as_deref(), Some("<mask>"));
        assert_eq!(tokenizer.token_text(specials.mask + 1), None);
        // The second document: two lines, each followed by </s>.
        let block = tokens(&set, 1);
        let lines: Vec<&[u32]> = block[1..block.len() - 1].split(|&id| id == specials.eos).collect();
        let text: Vec<String> = lines.iter().map(|line| tokenizer.text(line).unwrap()).collect();
        assert_eq!(block[0], specials.bos);
        assert_eq!(
            text,
            ["The sea is wide , the sea is deep .", "No ship may cross the wide sea ."],
            "{unit:?}"
        );
        // One word begins for each special token and each word.
        let starts = tokenizer.word_starts(&block).into_iter().filter(|&start| start).count();
        assert_eq!(starts, 10 + 8 + 3, "{unit:?}");
    }
}

#[test]
fn the_same_text_gives_the_same_tokenizer_and_json_keeps_it() {
    let (folder, options) = corpus();
    let data = folder.path().join("data");
    for unit in units() {
        let options = TextOptions { unit: unit.clone(), ..options.clone() };
        let json = train_tokenizer(&data, &options).unwrap().to_json().unwrap();
        for _ in 0..3 {
            assert!(train_tokenizer(&data, &options).unwrap().to_json().unwrap() == json, "{unit:?}");
        }
        let path = folder.path().join("tokenizer.json");
        std::fs::write(&path, &json).unwrap();
        let of_file = TextUnit::File { path, specials: SpecialNames::default() };
        let unit_of_file = TextOptions { unit: of_file, ..options.clone() };
        let (trained, read) = (
            open_text(&data, Split::Test, &options).unwrap(),
            open_text(&data, Split::Test, &unit_of_file).unwrap(),
        );
        assert!(read.tokenizer().to_json().unwrap() == json, "{unit:?}");
        assert_eq!(all_tokens(&trained), all_tokens(&read), "{unit:?}");
    }
}

#[test]
fn unknown_words_and_spelled_out_special_tokens_are_unknown() {
    let (folder, options) = corpus();
    for unit in units() {
        let options = TextOptions { unit: unit.clone(), ..options.clone() };
        let tokenizer = train_tokenizer(&folder.path().join("data"), &options).unwrap();
        let specials = tokenizer.specials();
        let ids = tokenizer.encode("the <mask> <s> sea </s> <pad>").unwrap();
        for special in [specials.bos, specials.pad, specials.eos, specials.mask] {
            assert!(!ids.contains(&special), "{unit:?}: {ids:?}");
        }
        if let TextUnit::Words { .. } = unit {
            assert_eq!(ids.iter().filter(|&&id| id == specials.unk).count(), 4);
        }
        if let TextUnit::Bytes {} | TextUnit::BytePair { .. } = unit {
            assert_eq!(
                tokenizer.text(&tokenizer.encode("h\u{e9}llo \u{1f600}").unwrap()).unwrap(),
                "h\u{e9}llo \u{1f600}"
            );
        }
    }
}

#[test]
fn documents_stay_apart_unless_asked_otherwise() {
    let (folder, options) = corpus();
    let data = folder.path().join("data");
    let count = |options: &TextOptions| open_text(&data, Split::Train, options).unwrap().len();
    let words = TextOptions { unit: TextUnit::Words { vocabulary: 60 }, ..options };
    // Four documents twenty times, but only a line's end stands between the last of one time and the first of the next.
    assert_eq!(count(&words), 61);
    let crossing = TextOptions { cross_documents: true, max_tokens: 64, ..words.clone() };
    assert!(count(&crossing) < 20);
    assert_eq!(count(&TextOptions { documents: Documents::File, ..words.clone() }), 2);
    assert_eq!(count(&TextOptions { documents: Documents::Line, ..words }), 100);
}

#[test]
fn the_cache_is_used_renewed_and_repaired() {
    let (folder, options) = corpus();
    let (data, cache) = (folder.path().join("data"), folder.path().join("cache"));
    let open = || open_text(&data, Split::Train, &options).unwrap();
    let files = |ending: &str| -> Vec<std::path::PathBuf> {
        let all = std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> =
            all.filter(|path| path.extension().is_some_and(|found| found == ending)).collect();
        files.sort();
        files
    };
    let first = open();
    let expected = all_tokens(&first);
    let ids: Vec<u64> = (0..first.len()).map(|index| first.id(index)).collect();
    assert_eq!((files("token-cache").len(), files("tokenizer").len()), (1, 1));
    assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 2, "no temporary file is left");

    // A second opening writes nothing.
    let written = std::fs::metadata(&files("token-cache")[0]).unwrap().modified().unwrap();
    assert_eq!(all_tokens(&open()), expected);
    assert_eq!(std::fs::metadata(&files("token-cache")[0]).unwrap().modified().unwrap(), written);

    // Cut short and damaged files are made anew, which is told; the open data set still reads its own.
    for (ending, keep) in [("token-cache", 200), ("tokenizer", 100), ("token-cache", 3)] {
        let file = files(ending).remove(0);
        let bytes = std::fs::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, &bytes[..keep]).unwrap();
        let again = open();
        assert!(again.ignored().listed()[0].reason.contains("made anew"), "{:?}", again.ignored());
        assert_eq!(all_tokens(&again), expected);
        assert_eq!(std::fs::read(&file).unwrap(), bytes);
    }
    assert_eq!(all_tokens(&first), expected);

    // Other text, another key; ids are names and numbers only.
    std::fs::write(data.join("sea.train.txt"), TRAIN.repeat(21)).unwrap();
    let longer = open();
    assert_eq!(files("token-cache").len(), 2);
    assert_eq!((0..ids.len()).map(|index| longer.id(index)).collect::<Vec<_>>(), ids);
}

#[test]
fn a_cache_inside_the_data_is_not_read_as_text() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    // A name without a part: all files of a known ending are read.
    std::fs::write(data.join("sea.txt"), TRAIN).unwrap();
    let cache = data.join("cache");
    let options = TextOptions { cache: Some(cache.clone()), ..TextOptions::default() };
    let open = || open_text(data, Split::Train, &options).unwrap();
    let first = open();
    let again = open();
    assert_eq!((all_tokens(&again), again.ignored().total()), (all_tokens(&first), 0));

    // A cache with the ending of earlier versions is left out and told; text with this ending stays text.
    let written = std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path());
    let written: Vec<_> =
        written.filter(|path| path.extension().is_some_and(|ending| ending == "token-cache")).collect();
    assert_eq!(written.len(), 1, "{written:?}");
    let former = written[0].with_extension("tokens");
    std::fs::rename(&written[0], &former).unwrap();
    let again = open();
    assert_eq!((again.ignored().total(), again.ignored().listed()[0].reason.as_str()), (1, "a token cache"));
    assert_eq!(all_tokens(&again), all_tokens(&first));
    std::fs::write(data.join("more.tokens"), "d2vtext is a word of this text .\n").unwrap();
    assert!(open().len() > first.len());
    assert!(open_text(&former, Split::Train, &options).is_err(), "a cache alone is no data");
}

#[test]
fn two_at_once_write_the_same_cache() {
    let (folder, options) = corpus();
    let data = folder.path().join("data");
    let sets: Vec<Vec<Vec<u32>>> = std::thread::scope(|scope| {
        let open = || all_tokens(&open_text(&data, Split::Train, &options).unwrap());
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(sets.windows(2).all(|pair| pair[0] == pair[1]));
}

/// More lines, and a longer line, than are tokenised at a time; far more than a block.
#[test]
fn long_files_and_long_lines_go_through_in_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let unit = TextUnit::Words { vocabulary: 10 };
    let options = TextOptions { unit, cache: Some(folder.path().join("cache")), ..TextOptions::default() };
    let words = 100_000;
    for (name, text) in [("many.txt", "a\nb ".repeat(words)), ("one.txt", "a b ".repeat(words))] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let set = open_text(&path, Split::Train, &options).unwrap();
        let total: usize = (0..set.len()).map(|index| set.length(index)).sum();
        assert!(total >= 2 * words + set.len(), "{name}");
        assert!((0..set.len()).all(|index| set.length(index) <= 512), "{name}");
        let short = TextOptions { max_line_bytes: 1_000, ..options.clone() };
        std::fs::remove_dir_all(folder.path().join("cache")).unwrap();
        let outcome = open_text(&path, Split::Train, &short);
        assert_eq!(outcome.is_err(), name == "one.txt", "{name}");
    }
}

#[test]
fn what_cannot_be_opened_is_told() {
    let (folder, options) = corpus();
    let data = folder.path().join("data");
    let check = |outcome: Result<TextBlocks, Error>, part: &str| {
        let message = outcome.err().expect("an error").to_string();
        assert!(message.contains(part), "{message}");
    };
    check(open_text(&data.join("no"), Split::Train, &options), "cannot read");
    check(open_text(&folder.path().join("cache"), Split::Train, &options), "cannot read");
    let valid = data.join("sea.valid.txt");
    check(open_text(&valid, Split::Test, &options), "learned from the train part");
    check(open_text(&valid, Split::Train, &options), "has no 'train' part");
    let tokenizer = Arc::new(train_tokenizer(&data, &options).unwrap());
    let set = open_text_with(&valid, Split::Test, &options, Some(tokenizer)).unwrap();
    assert_eq!((set.len(), set.name(0).as_str()), (1, "sea.valid.txt, block 0"));

    std::fs::write(data.join("empty.train.txt"), "").unwrap();
    let set = open_text(&data, Split::Train, &options).unwrap();
    assert_eq!(set.ignored().listed()[0].name, "empty.train.txt");
    check(open_text(&data.join("empty.train.txt"), Split::Train, &options), "hold no text");

    std::fs::write(data.join("b.train.txt"), b"fine\nnot \xff fine\n").unwrap();
    check(open_text(&data, Split::Train, &options), "b.train.txt is not valid UTF-8 at byte 9 (line 2)");
    let json = br#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,
        "pre_tokenizer":null,"post_processor":null,"decoder":null,
        "model":{"type":"WordLevel","vocab":{"[CLS]":0,"[SEP]":1,"[UNK]":2,"a":3},"unk_token":"[UNK]"}}"#;
    let message = Tokenizer::from_json(json, "t.json").unwrap_err().to_string();
    assert!(message.starts_with("t.json lacks a token for pad, mask:"), "{message}");
}

#[test]
fn batches_of_text_are_padded_and_bounded_in_tokens() {
    let (folder, options) = corpus();
    let set = open_text(&folder.path().join("data"), Split::Train, &options).unwrap();
    let pad = set.tokenizer().specials().pad;
    let config = LoaderConfig {
        batch: BatchSize::Samples(8),
        transform: Transform::Text(TextTransform { pad_id: pad }),
        ..LoaderConfig::default()
    };
    let batch = Loader::new(Arc::new(set), config, Cursor::default()).unwrap().next().unwrap().unwrap();
    let Inputs::Text { tokens_bl, lengths } = &batch.inputs else { panic!("no text") };
    for (row, &length) in tokens_bl.rows().into_iter().zip(lengths) {
        assert_eq!(row[0], 0);
        assert!(row.iter().skip(length).all(|&token| token == pad));
        assert!(row.iter().take(length).all(|&token| token != pad));
    }
}

fn check_table(
    name: &str,
    content: &str,
    options: &LabelledTextOptions,
    expected: Result<&[(&str, &str)], &str>,
) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    let outcome = open_labelled_text(&path, Split::All, options, bytes());
    match (outcome, expected) {
        (Ok(set), Ok(rows)) => {
            let got: Vec<(String, &str)> = (0..set.len())
                .map(|index| {
                    let tokens = tokens(&set, index);
                    assert_eq!((tokens[0], tokens[tokens.len() - 1]), (0, 2));
                    let text = set.tokenizer().text(&tokens[1..tokens.len() - 1]).unwrap();
                    (text, set.classes()[set.label(index).unwrap() as usize].as_str())
                })
                .collect();
            let got: Vec<(&str, &str)> = got.iter().map(|(text, label)| (text.as_str(), *label)).collect();
            assert_eq!(got, rows, "{name}");
        }
        (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
        (outcome, _) => panic!("{name}: {:?}", outcome.err()),
    }
}

fn bytes() -> Arc<Tokenizer> {
    Arc::new(Tokenizer::bytes().unwrap())
}

#[test]
fn tables_of_every_kind() {
    let options = LabelledTextOptions::default();
    let named = LabelledTextOptions {
        text_column: Some("review".into()),
        label_column: "stars".into(),
        max_tokens: 6,
        ..LabelledTextOptions::default()
    };
    check_table(
        "a.tsv",
        "sentence\tlabel\nit 's \"good \t1\nbad\t0\n\n",
        &options,
        Ok(&[("it 's \"good", "1"), ("bad", "0")]),
    );
    check_table(
        "a.csv",
        "label,text\npos,\"a, \"\"b\"\"\nc\"\nneg,d\n",
        &options,
        Ok(&[("a, \"b\"\nc", "pos"), ("d", "neg")]),
    );
    check_table("a.jsonl", "{\"review\": \"wonderful\", \"stars\": 5}\n", &named, Ok(&[("wond", "5")]));
    check_table("a.tsv", "text\tscore\nx\t1\n", &options, Err("has no column 'label'; it has: text, score"));
    check_table("a.tsv", "text\tlabel\nx\n", &options, Err("line 2: there are 1 columns, not 2 as needed"));
    check_table("a.jsonl", "{\"text\": \"x\"}\n", &options, Err("line 1 has no column 'label'"));
    check_table("a.tsv", "text\tlabel\n", &options, Err("hold no text"));
    let short = LabelledTextOptions { max_line_bytes: 100, ..LabelledTextOptions::default() };
    let open_quote = format!("text,label\n\"{}", "x\n".repeat(100_000));
    check_table("a.csv", &open_quote, &short, Err("line 2 has more than 100 bytes"));
}

#[test]
fn classes_come_from_the_train_part() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("train.tsv"), "sentence\tlabel\na\tx\nb\tz\nc\ty\n").unwrap();
    std::fs::write(folder.path().join("dev.tsv"), "sentence\tlabel\nd\tz\n").unwrap();
    let open = || open_labelled_text(folder.path(), Split::Test, &LabelledTextOptions::default(), bytes());
    let set = open().unwrap();
    assert_eq!(set.classes(), ["x", "y", "z"]);
    assert_eq!((set.len(), set.label(0), set.name(0).as_str()), (1, Some(2), "dev.tsv, line 2"));
    std::fs::write(folder.path().join("dev.tsv"), "sentence\tlabel\nd\tw\n").unwrap();
    assert!(matches!(open(), Err(Error::Text(TextError::UnknownLabel { line: 2, .. }))));
}
