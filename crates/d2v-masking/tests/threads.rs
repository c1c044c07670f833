//! The same masks for any number of threads.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use d2v_masking::{
    BlocksConfig, BlocksV2Config, MaskConfig, MaskKey, PaddingMask, Positions, RandomConfig, SpansConfig,
    TokenCorruptor, TokensConfig, Vocabulary,
};
use rayon::ThreadPoolBuilder;

/// Enough rows that a batch is spread over threads.
const ROWS: usize = 400;

fn keys() -> Vec<MaskKey> {
    (0..ROWS as u64).map(|sample_id| MaskKey { seed: 21, epoch: 3, sample_id, clone: 0 }).collect()
}

#[track_caller]
fn check<T: PartialEq + std::fmt::Debug + Send>(draw: impl Fn() -> T + Sync) {
    let expected = draw();
    for threads in [1, 2, 5] {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert!(pool.install(&draw) == expected, "{threads} threads draw other masks");
    }
}

#[test]
fn masks_do_not_depend_on_the_number_of_threads() {
    let grid = Positions::Grid { height: 14, width: 14 };
    let line = Positions::Line { len: 300 };
    let lengths: Vec<usize> = (0..ROWS).map(|row| 100 + row / 2).collect();
    let padding = PaddingMask::from_lengths(&lengths, 300).unwrap();
    for (config, positions, padding) in [
        (MaskConfig::Blocks(BlocksConfig::default()), grid, None),
        (
            MaskConfig::Spans(SpansConfig { mask_dropout: 0.1, ..SpansConfig::default() }),
            line,
            Some(&padding),
        ),
        (MaskConfig::Tokens(TokensConfig::default()), line, Some(&padding)),
        (MaskConfig::Random(RandomConfig::default()), line, Some(&padding)),
        (MaskConfig::BlocksV2(BlocksV2Config::image_base()), grid, None),
        (MaskConfig::BlocksV2(BlocksV2Config::audio_base()), line, Some(&padding)),
    ] {
        let sampler = config.build().unwrap();
        check(|| sampler.sample_batch(positions, padding, &keys()));
    }
}

#[test]
fn corrupted_tokens_do_not_depend_on_the_number_of_threads() {
    let ids: Vec<u32> = (0..ROWS as u32 * 64).map(|token| 10 + token % 1000).collect();
    let corruptor = TokenCorruptor::new(TokensConfig::default(), Vocabulary::roberta()).unwrap();
    check(|| corruptor.corrupt_batch(&ids, 64, None, None, &keys()));
}

/// Of several bad rows the first is named, whichever thread meets one first.
#[test]
fn the_first_error_is_reported() {
    let mut lengths = vec![300; ROWS];
    lengths[50] = 1;
    lengths[390] = 0;
    let padding = PaddingMask::from_lengths(&lengths, 300).unwrap();
    let sampler = MaskConfig::Spans(SpansConfig::default()).build().unwrap();
    let draw = || sampler.sample_batch(Positions::Line { len: 300 }, Some(&padding), &keys());
    check(draw);
    let error = draw().unwrap_err().to_string();
    assert!(error.starts_with("sample 50 has 1 real positions"), "{error}");
}
