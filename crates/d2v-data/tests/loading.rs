//! The laws of the loader: order, threads, seeks, unreadable samples, and what happens to threads.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use d2v_data::{
    Batch, BatchSize, Cursor, Dataset, Error, Evaluation, EvaluationConfig, ImageRgb, ImageTransform, Loader,
    LoaderConfig, RawSample, Split, SyntheticConfig, SyntheticImages, Transform, order,
};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Ten-pixel grey pictures whose index is their brightness; some cannot be read, one may panic.
struct Numbered {
    len: usize,
    unreadable: BTreeSet<usize>,
    panics_at: Option<usize>,
}

impl Numbered {
    fn new(len: usize, unreadable: impl IntoIterator<Item = usize>) -> Arc<Self> {
        Arc::new(Self { len, unreadable: unreadable.into_iter().collect(), panics_at: None })
    }
}

impl Dataset for Numbered {
    fn len(&self) -> usize {
        self.len
    }

    fn id(&self, index: usize) -> u64 {
        index as u64 + 1_000
    }

    fn label(&self, index: usize) -> Option<u32> {
        u32::try_from(index % 3).ok()
    }

    fn classes(&self) -> &[String] {
        &[]
    }

    fn name(&self, index: usize) -> String {
        format!("number {index}")
    }

    fn load(&self, index: usize) -> Result<RawSample, Error> {
        assert_ne!(self.panics_at, Some(index), "asked for it");
        if self.unreadable.contains(&index) {
            return Err(Error::UnknownFormat { name: self.name(index) });
        }
        let grey: Vec<u8> = (0..100).map(|at| (index * 7 + at) as u8).collect();
        ImageRgb::from_grey(10, 10, &grey).map(RawSample::Image)
    }
}

fn config(batch_size: usize, threads: usize, seed: u64) -> LoaderConfig {
    let transform = Transform::Image(ImageTransform::pretraining(6));
    LoaderConfig {
        batch: BatchSize::Samples(batch_size),
        threads,
        seed,
        transform,
        ..LoaderConfig::default()
    }
}

fn batches(data: Arc<dyn Dataset>, config: LoaderConfig, start: Cursor, count: usize) -> Vec<Batch> {
    Loader::new(data, config, start).unwrap().take(count).map(Result::unwrap).collect()
}

/// 24 cases, or as many as the environment asks for.
fn cases() -> ProptestConfig {
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => ProptestConfig::default(),
        None => ProptestConfig::with_cases(24),
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn threads_and_queue_change_nothing(len in 5_usize..60, batch_size in 1_usize..6, threads in 2_usize..6, queue in 1_usize..6, seed: u64) {
        let data = Numbered::new(len, [1, 3]);
        let alone = batches(data.clone(), LoaderConfig { queue: 1, ..config(batch_size, 1, seed) }, Cursor::default(), 12);
        let many = batches(data, LoaderConfig { queue, ..config(batch_size, threads, seed) }, Cursor::default(), 12);
        prop_assert_eq!(alone, many);
    }

    #[test]
    fn a_seek_is_a_continuation(len in 5_usize..40, batch_size in 1_usize..6, before in 0_usize..12, drop_last: bool, seed: u64) {
        let data = Numbered::new(len, [2]);
        let config = LoaderConfig { drop_last, ..config(batch_size, 3, seed) };
        let whole = batches(data.clone(), config.clone(), Cursor::default(), before + 5);
        let start = before.checked_sub(1).map_or(Cursor::default(), |last| whole[last].cursor_after);
        let resumed = batches(data, config, start, 5);
        prop_assert_eq!(&whole[before..], &resumed[..]);
    }

    #[test]
    fn an_epoch_is_its_order(len in 1_usize..50, batch_size in 1_usize..9, seed: u64) {
        let data = Numbered::new(len, []);
        let config = LoaderConfig { drop_last: false, ..config(batch_size, 2, seed) };
        let per_epoch = len.div_ceil(batch_size);
        let got = batches(data, config, Cursor { epoch: 3, batch: 0 }, per_epoch);
        let indices: Vec<usize> = got.iter().flat_map(|batch| batch.samples.iter().map(|sample| sample.index)).collect();
        prop_assert_eq!(indices, order(seed, 3, len));
        prop_assert_eq!(got.last().unwrap().cursor_after, Cursor { epoch: 4, batch: 0 });
    }
}

#[test]
fn another_epoch_shows_other_crops_in_another_order() {
    let got = batches(Numbered::new(8, []), config(8, 2, 0), Cursor::default(), 2);
    assert_ne!(got[0].ids(), got[1].ids());
    let row = |batch: &Batch| {
        let at = batch.ids().iter().position(|&id| id == 1_000).unwrap();
        batch.images().expect("pictures").index_axis(ndarray::Axis(0), at).to_owned()
    };
    assert_ne!(row(&got[0]), row(&got[1]));
}

#[test]
fn the_last_incomplete_batch_is_dropped_or_kept() {
    let sizes = |drop_last| {
        let config = LoaderConfig { drop_last, ..config(4, 2, 0) };
        let got = batches(Numbered::new(10, []), config, Cursor::default(), 4);
        got.iter().map(Batch::len).collect::<Vec<_>>()
    };
    assert_eq!(sizes(true), [4, 4, 4, 4]);
    assert_eq!(sizes(false), [4, 4, 2, 4]);
}

#[test]
fn unreadable_samples_are_replaced_named_and_counted_once() {
    let data = Numbered::new(12, [4, 7]);
    let mut loader = Loader::new(data, config(4, 3, 1), Cursor::default()).unwrap();
    for batch in loader.by_ref().take(9) {
        let batch = batch.unwrap();
        assert_eq!(batch.len(), 4);
        assert!(batch.samples.iter().all(|sample| ![4, 7].contains(&sample.index)));
    }
    let names: Vec<String> = loader.skipped().into_iter().map(|skipped| skipped.name).collect();
    assert_eq!(names, ["number 4", "number 7"]);
}

#[test]
fn beyond_the_limit_is_an_error_at_the_same_batch_for_any_threads() {
    let until_error = |threads| {
        let data = Numbered::new(40, [5, 11, 23]);
        let config = LoaderConfig { unreadable_limit: 2, ..config(2, threads, 9) };
        let mut loader = Loader::new(data, config, Cursor::default()).unwrap();
        let good = loader.by_ref().take_while(Result::is_ok).count();
        assert!(loader.next().is_none(), "ended after an error");
        good
    };
    let alone = until_error(1);
    assert!(alone < 20);
    assert_eq!((until_error(2), until_error(5)), (alone, alone));

    let mut loader = Loader::new(Numbered::new(8, 0..8), config(4, 2, 0), Cursor::default()).unwrap();
    let got = loader.next();
    assert!(matches!(got, Some(Err(Error::NoReplacement { .. }))), "{got:?}");
}

#[test]
fn a_panic_in_a_worker_is_an_error_that_names_the_sample() {
    let data = Arc::new(Numbered { len: 20, unreadable: BTreeSet::new(), panics_at: Some(6) });
    let mut loader = Loader::new(data, config(20, 3, 0), Cursor::default()).unwrap();
    match loader.next() {
        Some(Err(Error::WorkerPanicked { name, message })) => {
            assert_eq!(name, "number 6");
            assert!(message.contains("asked for it"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    assert!(loader.next().is_none());
}

#[test]
fn dropping_a_loader_ends_its_threads() {
    let data: Arc<dyn Dataset> = Numbered::new(100, []);
    let mut loader = Loader::new(Arc::clone(&data), config(10, 4, 0), Cursor::default()).unwrap();
    loader.next().unwrap().unwrap();
    drop(loader);
    // Threads hold the data set; none is left that does.
    assert_eq!(Arc::strong_count(&data), 1);
}

#[test]
fn what_cannot_work_is_refused_with_the_numbers() {
    let start = |len, config, start| Loader::new(Numbered::new(len, []), config, start).err().unwrap();
    let error = start(3, config(4, 1, 0), Cursor::default());
    assert!(matches!(error, Error::TooFewSamples { batch_size: 4, samples: 3 }), "{error}");
    assert!(error.to_string().contains('4') && error.to_string().contains('3'));
    let error = start(8, config(4, 1, 0), Cursor { epoch: 5, batch: 2 });
    assert!(matches!(error, Error::CursorBeyondEpoch { epoch: 5, batch: 2, batches: 2 }), "{error}");
    for bad in [
        config(0, 1, 0),
        config(4, 0, 0),
        LoaderConfig { queue: 0, ..config(4, 1, 0) },
        LoaderConfig { transform: Transform::Image(ImageTransform::pretraining(0)), ..config(4, 1, 0) },
    ] {
        assert!(matches!(start(8, bad, Cursor::default()), Error::Setting { .. }));
    }
}

#[test]
fn evaluation_visits_all_in_order_and_leaves_out_the_unreadable() {
    let of = |threads| {
        let transform = Transform::Image(ImageTransform::pretraining(6).for_evaluation());
        let config = EvaluationConfig { batch_size: 4, threads, transform, ..EvaluationConfig::default() };
        let mut evaluation = Evaluation::new(Numbered::new(18, [0, 5, 12, 13, 14, 15]), config).unwrap();
        let batches: Vec<Batch> = evaluation.by_ref().map(Result::unwrap).collect();
        (batches, evaluation.skipped().len())
    };
    let (batches, skipped) = of(1);
    let indices: Vec<usize> =
        batches.iter().flat_map(|batch| batch.samples.iter().map(|s| s.index)).collect();
    assert_eq!(indices, [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 16, 17]);
    assert_eq!(skipped, 6);
    assert_eq!(batches.last().unwrap().len(), 2);
    assert_eq!(of(4).0, batches);
}

#[test]
fn the_built_in_pictures_load_like_any_others() {
    let pictures = SyntheticImages::new(SyntheticConfig::default(), Split::Train).unwrap();
    let config =
        LoaderConfig { transform: Transform::Image(ImageTransform::small(32, 4)), ..config(16, 2, 0) };
    let got = batches(Arc::new(pictures), config, Cursor { epoch: 1, batch: 100 }, 2);
    assert_eq!(got[1].images().expect("pictures").dim(), (16, 3, 32, 32));
    assert!(got[1].images().expect("pictures").iter().all(|value| value.is_finite()));
}
