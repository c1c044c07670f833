//! Prints a few masks of every family: `cargo run -p d2v-masking --example show_masks [SEED]`.

#![expect(clippy::print_stdout, reason = "this program's purpose")]

use d2v_masking::{
    BlocksConfig, BlocksV2Config, EqualCounts, MaskConfig, MaskKey, Overlap, Positions, RandomConfig,
    SpanLengths, SpansConfig, TokenCorruptor, TokensConfig, VisibleOrder, Vocabulary, draw_grid,
};

const GRID: Positions = Positions::Grid { height: 14, width: 14 };
const LINE: Positions = Positions::Line { len: 100 };

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seed = std::env::args().nth(1).map_or(Ok(0), |seed| seed.parse())?;
    let keys = [0, 1, 2].map(|sample_id| MaskKey { seed, epoch: 0, sample_id, clone: 0 });

    println!("# is hidden from the student, . is visible\n");
    for (title, config) in [
        ("images 1.0: BEiT's blocks", MaskConfig::Blocks(BlocksConfig::default())),
        ("images 2.0: visible blocks of 3 x 3", MaskConfig::BlocksV2(BlocksV2Config::image_base())),
    ] {
        let mask = config.build()?.sample_batch(GRID, None, &keys)?;
        println!("{title}, {} of {} hidden", mask.hidden_count(0), mask.len());
        println!("{}\n", draw_grid(mask.row(0), 14, 14)?);
    }

    let free = SpansConfig { equal_counts: EqualCounts::Off {}, ..SpansConfig::default() };
    let apart = SpansConfig {
        lengths: SpanLengths::Normal { stdev: 3.0 },
        overlap: Overlap::Forbidden { min_space: 2 },
        ..free.clone()
    };
    for (title, config) in [
        ("speech 1.0: spans, cut to one count", MaskConfig::Spans(SpansConfig::default())),
        ("speech 1.0: spans as the paper describes them", MaskConfig::Spans(free)),
        ("spans of normal length that keep a distance", MaskConfig::Spans(apart)),
        ("spans as transformers draws them", MaskConfig::Spans(SpansConfig::transformers(0.65, 10))),
        ("speech 2.0: blocks of 5", MaskConfig::BlocksV2(BlocksV2Config::audio_base())),
        ("text 1.0: 15 % of the tokens", MaskConfig::Tokens(TokensConfig::default())),
        ("text 1.0: spans of four", MaskConfig::Tokens(TokensConfig::spans_of_four())),
        ("text 2.0: random positions", MaskConfig::Random(RandomConfig::default())),
    ] {
        let mask = config.build()?.sample_batch(LINE, None, &keys)?;
        println!("{title}, {:.0} % hidden\n{mask}\n", 100.0 * mask.hidden_fraction());
    }

    let vocabulary = Vocabulary::new(30, 29, &[0, 1, 2, 3])?;
    let ids: Vec<u32> = [0].into_iter().chain(4..28).chain([2]).collect();
    let seen = TokenCorruptor::new(TokensConfig::default(), vocabulary)?.corrupt(&ids, None, keys[0])?;
    println!("text 1.0: what the student sees (29 is the mask token)\n{ids:?}\n{:?}\n", seen.ids);

    let mask = MaskConfig::Random(RandomConfig::default()).build()?.sample_batch(
        Positions::Line { len: 16 },
        None,
        &keys[..1],
    )?;
    let order = VisibleOrder::new(&mask, None)?;
    println!(
        "2.0: what the student gets of {mask}\nids_keep    {:?}\nids_restore {:?}",
        order.ids_keep(),
        order.ids_restore()
    );
    Ok(())
}
