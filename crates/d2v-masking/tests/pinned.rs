//! Masks of fixed keys, as they were when this file was written.
//!
//! A change here means that old seeds no longer give the masks they gave: say so in the change log under "Numerics", or
//! find out what moved.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use d2v_masking::{
    BlocksConfig, BlocksV2Config, MaskConfig, MaskKey, Positions, RandomConfig, SpansConfig, TokenCorruptor,
    TokensConfig, Vocabulary, draw_grid,
};

const LINE: Positions = Positions::Line { len: 60 };
const GRID: Positions = Positions::Grid { height: 8, width: 8 };

fn keys() -> [MaskKey; 3] {
    [0, 1, 2].map(|sample_id| MaskKey { seed: 42, epoch: 3, sample_id, clone: 1 })
}

#[track_caller]
fn check(config: &MaskConfig, positions: Positions, expected: &[&str]) {
    let mask = config.build().unwrap().sample_batch(positions, None, &keys()).unwrap();
    let drawn = match positions {
        Positions::Line { .. } => mask.to_string(),
        Positions::Grid { height, width } => draw_grid(mask.row(0), height, width).unwrap(),
    };
    assert_eq!(drawn.lines().collect::<Vec<_>>(), expected, "\n{drawn}");
}

#[test]
fn blocks() {
    let config = BlocksConfig { target_count: 38, min_block: 4, ..BlocksConfig::default() };
    check(
        &MaskConfig::Blocks(config),
        GRID,
        &[
            ". . . . . . . .",
            "# # . # # # # #",
            "# # . # # # # #",
            "# # # # # . . .",
            "# # # # # . . .",
            "# # # # # . . .",
            "# # # # # . . .",
            "# # # . . . . .",
        ],
    );
}

#[test]
fn spans() {
    check(
        &MaskConfig::Spans(SpansConfig { mask_length: 5, ..SpansConfig::default() }),
        LINE,
        &[
            "##.##......####.#####..#####..............######.########...",
            "...##########............########...#######......#######....",
            ".....###############........########.....#########..........",
        ],
    );
}

#[test]
fn tokens() {
    check(
        &MaskConfig::Tokens(TokensConfig::spans_of_four()),
        LINE,
        &[
            ".........#####.....####........................######.......",
            "............####................####.........########.....#.",
            ".......####.####..............#######.......####............",
        ],
    );
}

#[test]
fn random() {
    check(
        &MaskConfig::Random(RandomConfig::default()),
        LINE,
        &[
            "#.#.######....#..#....#.##.#..##.##....##.#...#.####..#..##.",
            ".#####.####.#.#.###.####...#...#...#...#...#..#....#.#.#..##",
            ".#.######.#.#....#.#...#.......#.##.###.#.###..##.#..##..##.",
        ],
    );
}

#[test]
fn blocks_v2_on_a_grid() {
    check(
        &MaskConfig::BlocksV2(BlocksV2Config::image_base()),
        GRID,
        &[
            "# # # . . . # .",
            "# # # . . . # #",
            "# # # . . . # #",
            "# # # # # # # #",
            ". # # # # # # #",
            "# # # # # # # #",
            "# # . # # # # #",
            "# # # # # # # #",
        ],
    );
}

#[test]
fn blocks_v2_on_a_line() {
    check(
        &MaskConfig::BlocksV2(BlocksV2Config::audio_base()),
        LINE,
        &[
            "###....#######.#..........#####.#..#.....#...#########...##.",
            "####............#....#.....######.#..######..#....##########",
            "#..######.........############.#....#...#.#.#...#.#.....####",
        ],
    );
}

#[test]
fn corrupted_ids() {
    let corruptor = TokenCorruptor::new(
        TokensConfig { mask_prob: 0.6, leave_prob: 0.2, random_prob: 0.3, ..TokensConfig::default() },
        Vocabulary::new(100, 99, &[0, 1, 2, 3]).unwrap(),
    );
    let ids: Vec<u32> = (10..30).collect();
    let seen = corruptor.unwrap().corrupt(&ids, None, keys()[0]).unwrap();
    assert_eq!(seen.ids, [21, 99, 12, 99, 18, 15, 16, 54, 18, 19, 20, 99, 22, 90, 99, 25, 26, 99, 99, 29]);
}
