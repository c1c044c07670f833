//! The cache of large CPU tensors: one test, since the allocator is the process's.

use d2v_torch::cpu_memory::{cache, figures, release};
use tch::{Device, Kind, Tensor};

const MIB: i64 = 1 << 20;

/// A tensor of this many MiB, every element `value`.
fn filled(mib: i64, value: i64) -> Tensor {
    Tensor::full([mib * MIB / 4], value, (Kind::Int, Device::Cpu))
}

#[test]
fn freed_blocks_are_kept_reused_and_bounded() {
    let before = filled(1, 7);
    assert_eq!(figures().live, 0, "before the cache");
    assert_eq!(cache(), cfg!(unix));
    if !cfg!(unix) {
        return;
    }

    let (a, b) = (filled(8, 1), filled(8, 2));
    let held = figures();
    assert!((16 * MIB..17 * MIB).contains(&held.live) && held.kept == 0, "{held:?}");
    drop(a);
    let freed = figures();
    assert_eq!((freed.live, freed.kept), (held.live / 2, held.live / 2), "one of two is kept");
    let c = filled(8, 3);
    assert_eq!(figures(), held, "the kept block was handed out again");
    assert_eq!((b.int64_value(&[0]), c.int64_value(&[-1])), (2, 3), "contents");

    // Nearly the same size fits too; a quarter of it does not.
    drop(c);
    let nearly = Tensor::zeros([2 * MIB - 40_000], (Kind::Int, Device::Cpu));
    assert_eq!(figures().kept, 0, "a block a little larger serves");
    drop(nearly);
    let small = filled(2, 4);
    assert_eq!(figures().kept, held.live / 2, "a block four times the size is not wasted on it");
    drop((small, b));

    // Sizes that never come again do not pile up.
    for mib in 1..40 {
        drop(filled(mib, 5));
        let now = figures();
        assert!(now.live + now.kept <= now.peak + now.peak / 4 + MIB, "{mib} MiB: {now:?}");
    }
    release();
    assert_eq!((figures().live, figures().kept, figures().peak), (0, 0, 0), "released");
    assert_eq!(before.int64_value(&[0]), 7, "tensors from before are untouched");
    drop(before);

    // Small tensors are not its business, and neither are empty ones.
    let small =
        [Tensor::ones([100], (Kind::Float, Device::Cpu)), Tensor::zeros([0], (Kind::Float, Device::Cpu))];
    assert_eq!(figures().live, 0, "{small:?}");

    // Blocks that other threads free.
    let threads: Vec<_> = (0..4)
        .map(|value| {
            std::thread::spawn(move || {
                (0..50).all(|i| filled(1 + i % 3, value).eq(value).all().int64_value(&[]) == 1)
            })
        })
        .collect();
    assert!(threads.into_iter().all(|thread| thread.join().is_ok_and(|right| right)), "contents");
    assert_eq!(figures().live, 0, "all given back");
}
