//! What stands in for unreadable samples where batches hold samples of like length.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use d2v_data::{
    AudioTransform, BatchSize, Cursor, Dataset, Error, Inputs, Loader, LoaderConfig, Ragged, RawSample,
    Transform, Waveform,
};
use ndarray::Array2;
use std::sync::Arc;

/// Sounds whose lengths are given, of which some cannot be read.
struct Lengths {
    lengths: Vec<usize>,
    unreadable: fn(usize) -> bool,
}

impl Dataset for Lengths {
    fn len(&self) -> usize {
        self.lengths.len()
    }

    fn id(&self, index: usize) -> u64 {
        index as u64 + 1_000
    }

    fn label(&self, _: usize) -> Option<u32> {
        None
    }

    fn classes(&self) -> &[String] {
        &[]
    }

    fn name(&self, index: usize) -> String {
        format!("number {index}")
    }

    fn length(&self, index: usize) -> usize {
        self.lengths[index]
    }

    fn load(&self, index: usize) -> Result<RawSample, Error> {
        if (self.unreadable)(index) {
            return Err(Error::UnknownFormat { name: self.name(index) });
        }
        Waveform::new(100, Array2::from_elem((1, self.lengths[index]), index as f32)).map(RawSample::Audio)
    }
}

/// 200 sounds of lengths 20 to 20,000, most of them short, in no order.
fn skewed(unreadable: fn(usize) -> bool) -> Arc<Lengths> {
    let length = |index: usize| (20.0 * 1_000_f64.powf((index * 37 % 200) as f64 / 199.0)) as usize;
    Arc::new(Lengths { lengths: (0..200).map(length).collect(), unreadable })
}

fn loader(data: Arc<Lengths>, ragged: Ragged, total: usize, threads: usize) -> Loader {
    let config = LoaderConfig {
        batch: BatchSize::TotalLength(total),
        threads,
        seed: 3,
        unreadable_limit: 200,
        transform: Transform::Audio(AudioTransform { ragged, ..AudioTransform::default() }),
        ..LoaderConfig::default()
    };
    Loader::new(data, config, Cursor::default()).unwrap()
}

/// A third is unreadable, and yet no batch is above its bound, and none is cropped to what is not in its neighbourhood.
#[test]
fn are_of_like_length_and_within_the_bound() {
    const TOTAL: usize = 20_000;
    let data = skewed(|index| index % 3 == 0);
    let mut sorted = data.lengths.clone();
    sorted.sort_unstable();
    let place = |length| sorted.partition_point(|&other| other < length);
    for ragged in [Ragged::Pad, Ragged::Crop] {
        // What the batches are without damage; how long the batch is in which each sample lies.
        let sound = loader(skewed(|_| false), ragged, TOTAL, 2);
        let per_epoch = sound.batches_per_epoch() as usize;
        let whole: Vec<_> = sound.take(per_epoch).map(Result::unwrap).collect();
        let damaged = loader(Arc::clone(&data), ragged, TOTAL, 3);
        for (batch, whole) in damaged.take(per_epoch).map(Result::unwrap).zip(whole) {
            let Inputs::Audio { samples_bct, .. } = &batch.inputs else { panic!("not sound") };
            let (count, _, longest) = samples_bct.dim();
            assert!(count * longest <= TOTAL, "{count} x {longest}");
            assert_eq!(count, whole.len());
            for (sample, wanted) in batch.samples.iter().zip(&whole.samples) {
                assert_ne!(sample.index % 3, 0);
                let [got, wanted] = [sample.index, wanted.index].map(|index| place(data.lengths[index]));
                assert!(got.abs_diff(wanted) <= 16, "{got} for {wanted} of 200");
            }
        }
    }
}

#[test]
fn do_not_depend_on_threads_but_on_the_epoch() {
    let of = |threads| {
        let loader = loader(skewed(|index| index % 5 == 0), Ragged::Pad, 20_000, threads);
        let per_epoch = loader.batches_per_epoch() as usize;
        loader.take(2 * per_epoch).map(Result::unwrap).collect::<Vec<_>>()
    };
    assert_eq!(of(1), of(4));
}

/// Two long sounds share a batch that has room for none longer; the other one alone can stand in.
#[test]
fn may_be_the_only_one_that_fits() {
    let lengths = vec![10, 10, 500, 500, 1_000];
    let data = Arc::new(Lengths { lengths, unreadable: |index| index == 2 });
    for batch in loader(data, Ragged::Pad, 1_000, 1).take(30) {
        let batch = batch.unwrap();
        let Inputs::Audio { samples_bct, .. } = &batch.inputs else { panic!("not sound") };
        assert!(samples_bct.dim().0 * samples_bct.dim().2 <= 1_000);
    }
    let all_bad = Arc::new(Lengths { lengths: vec![10; 40], unreadable: |_| true });
    match loader(all_bad, Ragged::Pad, 100, 1).next() {
        Some(Err(Error::NoReplacement { tries: 16, .. })) => {}
        other => panic!("{other:?}"),
    }
}
