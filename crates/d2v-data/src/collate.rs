//! Samples side by side in one array.

use crate::batch::{Inputs, SampleInfo};
use crate::dataset::{Input, Sample};
use crate::error::Error;
use crate::random::AugmentKey;
use crate::transform::{Ragged, Transform, crop_sound};
use ndarray::{Array2, Array3, ArrayView3, Axis};

/// Puts samples side by side; there must be at least one. Lengths are made equal as the transform says.
///
/// # Errors
/// [`Error::Modality`] if the samples are of several modalities, [`Error::Channels`] if sounds differ in channels.
pub(crate) fn collate(
    samples: Vec<Sample>,
    transform: &Transform,
    (seed, epoch): (u64, u64),
) -> Result<(Vec<SampleInfo>, Inputs), Error> {
    let infos: Vec<SampleInfo> =
        samples.iter().map(|&Sample { id, index, label, .. }| SampleInfo { id, index, label }).collect();
    let lengths: Vec<usize> = samples.iter().map(|sample| sample.input.length()).collect();
    let longest = lengths.iter().copied().max().unwrap_or_default();
    let inputs = match transform {
        Transform::Image(_) => {
            let views: Vec<ArrayView3<'_, f32>> = samples.iter().filter_map(picture).collect();
            all_of_one_kind(&samples, views.len(), transform)?;
            Inputs::Image(ndarray::stack(Axis(0), &views).expect("one transform makes inputs of one size"))
        }
        Transform::Audio(audio) => {
            let mut sounds: Vec<Array2<f32>> = Vec::with_capacity(samples.len());
            let count = samples.len();
            for Sample { id, input, .. } in samples {
                let Input::Audio(samples_ct) = input else { continue };
                sounds.push(match audio.ragged {
                    Ragged::Pad => samples_ct,
                    Ragged::Crop => {
                        let shortest = lengths.iter().copied().min().unwrap_or_default();
                        crop_sound(&samples_ct, shortest, AugmentKey { seed, epoch, sample_id: id })
                    }
                });
            }
            if sounds.len() != count {
                return Err(Error::Modality { data: "several modalities", transform: transform.modality() });
            }
            beside_each_other(&sounds)?
        }
        Transform::Text(text) => {
            let mut tokens_bl = Array2::from_elem((samples.len(), longest), text.pad_id);
            let mut rows = 0;
            for (row, sample) in samples.iter().enumerate() {
                let Input::Text(tokens) = &sample.input else { continue };
                tokens_bl.row_mut(row).iter_mut().zip(tokens).for_each(|(slot, &id)| *slot = id);
                rows += 1;
            }
            all_of_one_kind(&samples, rows, transform)?;
            Inputs::Text { tokens_bl, lengths }
        }
    };
    Ok((infos, inputs))
}

fn picture(sample: &Sample) -> Option<ArrayView3<'_, f32>> {
    match &sample.input {
        Input::Image(image) => Some(image.view()),
        Input::Audio(_) | Input::Text(_) => None,
    }
}

fn all_of_one_kind(samples: &[Sample], fitting: usize, transform: &Transform) -> Result<(), Error> {
    if fitting == samples.len() {
        Ok(())
    } else {
        Err(Error::Modality { data: "several modalities", transform: transform.modality() })
    }
}

fn beside_each_other(sounds: &[Array2<f32>]) -> Result<Inputs, Error> {
    let channels = sounds.first().map_or(0, Array2::nrows);
    if let Some(other) = sounds.iter().find(|sound| sound.nrows() != channels) {
        return Err(Error::Channels { expected: channels, got: other.nrows() });
    }
    let lengths: Vec<usize> = sounds.iter().map(Array2::ncols).collect();
    let longest = lengths.iter().copied().max().unwrap_or_default();
    let mut samples_bct = Array3::zeros((sounds.len(), channels, longest));
    for (row, sound) in sounds.iter().enumerate() {
        samples_bct
            .index_axis_mut(Axis(0), row)
            .slice_axis_mut(Axis(1), (..sound.ncols()).into())
            .assign(sound);
    }
    Ok(Inputs::Audio { samples_bct, lengths })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::{AudioTransform, ImageTransform, TextTransform};

    fn sample(id: u64, input: Input) -> Sample {
        Sample { id, index: id as usize, label: Some(id as u32), input }
    }

    fn sound(length: usize) -> Input {
        Input::Audio(Array2::from_shape_fn((1, length), |(_, at)| at as f32))
    }

    #[test]
    fn pictures_keep_their_order_and_lie_in_one_piece() {
        let picture = |i: u64| Input::Image(Array3::from_elem((3, 2, 4), i as f32));
        let samples = (0..3).map(|i| sample(i, picture(i))).collect();
        let transform = Transform::Image(ImageTransform::small(2, 0));
        let (infos, inputs) = collate(samples, &transform, (0, 0)).unwrap();
        assert_eq!(infos.iter().map(|info| info.id).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(infos.iter().map(|info| info.label).collect::<Vec<_>>(), [Some(0), Some(1), Some(2)]);
        let Inputs::Image(images) = inputs else { panic!("not pictures") };
        assert_eq!(images.dim(), (3, 3, 2, 4));
        let flat = images.as_slice().expect("contiguous");
        assert!(flat.iter().enumerate().all(|(at, &value)| value == (at / 24) as f32));
    }

    #[test]
    fn sounds_are_cropped_to_the_shortest_at_keyed_offsets() {
        let transform = Transform::Audio(AudioTransform { ragged: Ragged::Crop, ..Default::default() });
        let batch = |epoch| {
            let samples = vec![sample(1, sound(1_000)), sample(2, sound(40)), sample(3, sound(500))];
            let Inputs::Audio { samples_bct, lengths } = collate(samples, &transform, (5, epoch)).unwrap().1
            else {
                panic!("not sound")
            };
            assert_eq!((samples_bct.dim(), lengths), ((3, 1, 40), vec![40; 3]));
            // Each row is a run of consecutive samples.
            for row in samples_bct.outer_iter() {
                assert!(row.iter().zip(row.iter().skip(1)).all(|(a, b)| b - a == 1.0));
            }
            (samples_bct[[0, 0, 0]], samples_bct[[1, 0, 0]])
        };
        assert_eq!(batch(0), batch(0), "a function of the key");
        assert_ne!(batch(0).0, batch(1).0, "another epoch, another crop");
        assert_eq!(batch(0).1, 0.0, "the shortest is whole");
    }

    #[test]
    fn padding_is_behind_and_counted() {
        let transform = Transform::Audio(AudioTransform { ragged: Ragged::Pad, ..Default::default() });
        let (_, inputs) =
            collate(vec![sample(1, sound(3)), sample(2, sound(5))], &transform, (0, 0)).unwrap();
        let Inputs::Audio { samples_bct, lengths } = inputs else { panic!("not sound") };
        assert_eq!(lengths, [3, 5]);
        assert_eq!(samples_bct.as_slice(), Some(&[0.0, 1.0, 2.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0][..]));

        let transform = Transform::Text(TextTransform { pad_id: 1 });
        let samples = vec![sample(1, Input::Text(vec![0, 7])), sample(2, Input::Text(vec![0, 8, 9]))];
        let Inputs::Text { tokens_bl, lengths } = collate(samples, &transform, (0, 0)).unwrap().1 else {
            panic!("not text")
        };
        assert_eq!(tokens_bl, ndarray::arr2(&[[0, 7, 1], [0, 8, 9]]));
        assert_eq!(lengths, [2, 3]);
    }

    #[test]
    fn what_does_not_fit_together_is_an_error() {
        let transform = Transform::Audio(AudioTransform::default());
        let mixed = vec![sample(1, sound(3)), sample(2, Input::Text(vec![0]))];
        assert!(matches!(collate(mixed, &transform, (0, 0)), Err(Error::Modality { .. })));
        let stereo = Input::Audio(Array2::zeros((2, 3)));
        let channels = vec![sample(1, sound(3)), sample(2, stereo)];
        assert!(matches!(collate(channels, &transform, (0, 0)), Err(Error::Channels { .. })));
    }
}
