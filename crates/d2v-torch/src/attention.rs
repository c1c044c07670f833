//! Scaled dot-product attention from the packed product of query, key and value.
//!
//! On CUDA, in low precision and where nothing better is at hand this is libtorch's operator. On the CPU that operator
//! composes products and softmax as soon as the bias learns or weights are dropped, with a dozen passes over
//! `[B, H, L, L]`; there a kernel of ours does both in the cache, and neither copies nor keeps what it need not.

use crate::ffi::{self, check, pointer};
use crate::{Error, Result, autocast};
use tch::{Device, Kind, Tensor};

/// Dropout of attention's weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// Share of the weights that are dropped, in `[0, 1)`.
    pub rate: f64,
    /// Decides which, where the kernel is ours: the same weights for the same key. libtorch's operator draws from its
    /// generator instead.
    pub key: u64,
}

/// `softmax(q·kᵀ / √E + bias)·v` of every head: `[B, L, D]` from `qkv_bl3d`, `[B, L, 3·D]`.
///
/// The last axis of `qkv_bl3d` is query, key and value, each of `heads` heads of width `E = D / heads`. `bias` is
/// broadcast to `[B, H, L, L]` and may be −∞ for a key that must not be seen; a query that may see none gets zeros.
/// Gradients reach `qkv_bl3d` and `bias`.
///
/// # Errors
/// If shapes or kinds do not fit, or the rate is not in `[0, 1)`.
pub fn attention(
    qkv_bl3d: &Tensor,
    heads: i64,
    bias: Option<&Tensor>,
    dropout: Option<Dropout>,
) -> Result<Tensor> {
    let dims = Dims::of(qkv_bl3d, heads)?;
    let bias = bias.map(|bias| dims.four_axes(bias)).transpose()?;
    let dropout = checked(dropout)?;
    if dims.suit_kernel(qkv_bl3d, bias.as_ref()) {
        ours(Queries::All { qkv_bl3d }, heads, bias.as_ref(), dropout)
    } else {
        dims.composed(qkv_bl3d, bias, dropout.rate)
    }
}

/// Whether [`attention_of_chosen`] takes tensors like `x_bld` with this bias: on the CPU, in full precision.
pub fn takes_chosen(x_bld: &Tensor, heads: i64, bias: Option<&Tensor>) -> bool {
    let [batch, length, width] = x_bld.size()[..] else { return false };
    let dims = Dims { batch, length, heads, head_width: width / heads.max(1) };
    let bias = bias.map(|bias| dims.four_axes(bias)).transpose();
    matches!(autocast::kind(x_bld.device()), Ok(Kind::Float))
        && bias.is_ok_and(|bias| dims.suit_kernel(x_bld, bias.as_ref()))
}

/// [`attention`] for some of the queries: `[M, D]` from `query_md`, the queries at `positions_m` (ascending int64 indices
/// into the `B·L` positions), and `key_value_bl2d`, `[B, L, 2·D]`, key and value of all. The same weights are dropped.
///
/// # Errors
/// If shapes or kinds do not fit, positions do not ascend or lie outside, the rate is not in `[0, 1)`, or
/// [`takes_chosen`] says no.
pub fn attention_of_chosen(
    (query_md, positions_m): (&Tensor, &Tensor),
    key_value_bl2d: &Tensor,
    heads: i64,
    bias: Option<&Tensor>,
    dropout: Option<Dropout>,
) -> Result<Tensor> {
    let (query, key_value, positions) = (query_md.size(), key_value_bl2d.size(), positions_m.size());
    let fits = matches!((&query[..], &key_value[..]), ([m, d], [_, _, both]) if *both == 2 * d && positions == [*m])
        && heads > 0
        && query[1] % heads == 0
        && positions_m.kind() == Kind::Int64
        && (query_md.kind(), query_md.device()) == (key_value_bl2d.kind(), key_value_bl2d.device());
    if !fits {
        return Err(Error::Libtorch(format!(
            "attention of {heads} heads takes queries [M, D], keys and values [B, L, 2·D] and positions [M], not {query:?}, \
             {key_value:?} and {positions:?}"
        )));
    }
    let dims = Dims { batch: key_value[0], length: key_value[1], heads, head_width: query[1] / heads };
    let bias = bias.map(|bias| dims.four_axes(bias)).transpose()?;
    let dropout = checked(dropout)?;
    if !dims.suit_kernel(key_value_bl2d, bias.as_ref()) {
        return Err(Error::Libtorch("attention of chosen queries is for full precision on the CPU".into()));
    }
    ours(Queries::Chosen { query_md, positions_m, key_value_bl2d }, heads, bias.as_ref(), dropout)
}

fn checked(dropout: Option<Dropout>) -> Result<Dropout> {
    let dropout = dropout.unwrap_or(Dropout { rate: 0.0, key: 0 });
    match (0.0..1.0).contains(&dropout.rate) {
        true => Ok(dropout),
        false => Err(Error::Libtorch(format!("a dropout of {} is not in [0, 1)", dropout.rate))),
    }
}

/// What the kernel is given.
#[derive(Clone, Copy)]
enum Queries<'a> {
    All { qkv_bl3d: &'a Tensor },
    Chosen { query_md: &'a Tensor, positions_m: &'a Tensor, key_value_bl2d: &'a Tensor },
}

/// Sizes of one call.
#[derive(Debug, Clone, Copy)]
struct Dims {
    batch: i64,
    length: i64,
    heads: i64,
    head_width: i64,
}

impl Dims {
    fn of(qkv_bl3d: &Tensor, heads: i64) -> Result<Dims> {
        match qkv_bl3d.size()[..] {
            [batch, length, packed] if heads > 0 && packed > 0 && packed % (3 * heads) == 0 => {
                Ok(Dims { batch, length, heads, head_width: packed / (3 * heads) })
            }
            ref size => Err(Error::Libtorch(format!(
                "attention of {heads} heads takes [B, L, 3·D] with D a multiple of the heads, not {size:?}"
            ))),
        }
    }

    /// The bias with all its axes, if it broadcasts to `[B, H, L, L]`.
    fn four_axes(self, bias: &Tensor) -> Result<Tensor> {
        let wanted = [self.batch, self.heads, self.length, self.length];
        let mut size = bias.size();
        let fits =
            size.len() <= 4 && size.iter().rev().zip(wanted.iter().rev()).all(|(&a, &b)| a == 1 || a == b);
        if !fits {
            return Err(Error::Libtorch(format!("a bias of {size:?} does not broadcast to {wanted:?}")));
        }
        while size.len() < 4 {
            size.insert(0, 1);
        }
        Ok(bias.view(&size[..]))
    }

    fn suit_kernel(self, qkv_bl3d: &Tensor, bias: Option<&Tensor>) -> bool {
        let kind = qkv_bl3d.kind();
        let [_, h, rows, columns] = match bias {
            Some(bias) => bias.size4().map_or([0; 4], |(b, h, i, j)| [b, h, i, j]),
            None => [1, self.heads, self.length, self.length],
        };
        // A gradient is summed over samples alone, and rows of a bias are read whole.
        let whole = (h, rows, columns) == (self.heads, self.length, self.length);
        let learns = bias.is_some_and(Tensor::requires_grad);
        qkv_bl3d.device() == Device::Cpu
            && (kind == Kind::Float || kind == Kind::Double)
            && bias.is_none_or(|bias| bias.kind() == kind && bias.device() == Device::Cpu)
            && (whole || (!learns && columns == self.length))
            && qkv_bl3d.numel() > 0
    }

    fn composed(self, qkv_bl3d: &Tensor, bias: Option<Tensor>, rate: f64) -> Result<Tensor> {
        let Dims { batch, length, heads, head_width } = self;
        let qkv = qkv_bl3d.f_view([batch, length, 3, heads, head_width])?.permute([2, 0, 3, 1, 4]);
        // Unbound at once: the gradient of three selections is three tensors of the whole size, mostly zeros, added up.
        let parts = qkv.unbind(0);
        let (q, k, v) = (&parts[0], &parts[1], &parts[2]);
        let bias = bias.map(|bias| bias.to_kind(q.kind()));
        let out_bhle = Tensor::f_scaled_dot_product_attention(q, k, v, bias, rate, false, None, false)?;
        Ok(out_bhle.transpose(1, 2).reshape([batch, length, heads * head_width]))
    }
}

fn ours(queries: Queries<'_>, heads: i64, bias: Option<&Tensor>, dropout: Dropout) -> Result<Tensor> {
    let mut out = std::ptr::null_mut();
    let none = std::ptr::null();
    let (query, key_value, positions) = match queries {
        Queries::All { qkv_bl3d } => (pointer(qkv_bl3d), none, none),
        Queries::Chosen { query_md, positions_m, key_value_bl2d } => {
            (pointer(query_md), pointer(key_value_bl2d), pointer(positions_m))
        }
    };
    let bias = bias.map_or(none, pointer);
    let Dropout { rate, key } = dropout;
    #[expect(unsafe_code, reason = "call into attention.cpp, which hands over a new tensor")]
    // SAFETY: pointers are live tensors for the length of the call or null where that is allowed; shapes and kinds were
    // checked, positions are there; on success `out` is a fresh `at::Tensor*` that we own.
    unsafe {
        check(ffi::d2v_attention(query, key_value, bias, positions, heads, rate, key, &mut out))?;
        Ok(Tensor::from_ptr(out.cast()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::seeded;

    /// B, L, H, E: one tile and many, odd sizes, one position.
    const SIZES: [[i64; 4]; 5] = [[3, 7, 2, 4], [2, 33, 3, 8], [1, 1, 1, 4], [5, 19, 1, 16], [2, 700, 1, 8]];

    fn random(size: &[i64], kind: Kind) -> Tensor {
        Tensor::randn(size, (kind, Device::Cpu))
    }

    /// Output, gradient of `qkv`, gradient of the bias.
    fn run(
        attend: impl Fn(&Tensor, Option<&Tensor>) -> Tensor,
        qkv: &Tensor,
        bias: Option<&Tensor>,
    ) -> (Tensor, Tensor, Option<Tensor>) {
        let qkv = qkv.copy().set_requires_grad(true);
        let bias = bias.map(|bias| bias.copy().set_requires_grad(true));
        let out = attend(&qkv, bias.as_ref());
        (&out * out.cos()).sum(qkv.kind()).backward();
        (out.detach(), qkv.grad(), bias.map(|bias| bias.grad()))
    }

    fn composed(heads: i64) -> impl Fn(&Tensor, Option<&Tensor>) -> Tensor {
        move |qkv, bias| {
            let dims = Dims::of(qkv, heads).unwrap();
            dims.composed(qkv, bias.map(Tensor::shallow_clone), 0.0).unwrap()
        }
    }

    /// Largest difference over largest value, which is of the order of 1 except where it is 0 but for rounding.
    fn difference(a: &Tensor, b: &Tensor) -> f64 {
        assert_eq!((a.size(), a.kind()), (b.size(), b.kind()));
        let scale = b.abs().max().to_kind(Kind::Double).double_value(&[]).max(0.1);
        (a - b).abs().max().to_kind(Kind::Double).double_value(&[]) / scale
    }

    #[test]
    fn equals_the_operators() {
        for (kind, bound) in [(Kind::Double, 1e-13), (Kind::Float, 3e-6)] {
            for [b, l, h, e] in SIZES {
                let (qkv, full, each) = seeded(&[1, l as u64], || {
                    let qkv = random(&[b, l, 3 * h * e], kind);
                    (qkv, random(&[1, h, l, l], kind), random(&[b, h, l, l], kind))
                });
                for (what, bias) in [("none", None), ("shared", Some(&full)), ("of each sample", Some(&each))]
                {
                    let ours = run(
                        |x, m| {
                            ours(Queries::All { qkv_bl3d: x }, h, m, Dropout { rate: 0.0, key: 0 }).unwrap()
                        },
                        &qkv,
                        bias,
                    );
                    let theirs = run(composed(h), &qkv, bias);
                    let name = format!("{kind:?} [{b}, {l}, {h}, {e}], bias {what}");
                    assert!(difference(&ours.0, &theirs.0) < bound, "{name}: output");
                    assert!(difference(&ours.1, &theirs.1) < bound, "{name}: gradient of qkv");
                    if let (Some(ours), Some(theirs)) = (&ours.2, &theirs.2) {
                        assert!(difference(ours, theirs) < bound, "{name}: gradient of the bias");
                    }
                }
            }
        }
    }

    #[test]
    fn chosen_queries_are_those_of_all_gathered() {
        // Samples without a query, with one, and with more than a tile holds.
        let (b, l, h, e) = (4, 700, 2, 8);
        let d = h * e;
        let mut chosen: Vec<i64> = vec![3];
        chosen.extend((0..l).filter(|i| i % 7 != 2).map(|i| 2 * l + i));
        chosen.extend([3 * l, 4 * l - 1]);
        let positions_m = Tensor::from_slice(&chosen);
        for (kind, bound) in [(Kind::Double, 1e-12), (Kind::Float, 5e-6)] {
            let (qkv, shared, each) = seeded(&[8], || {
                let random = |size: &[i64]| random(size, kind);
                (random(&[b, l, 3 * d]), random(&[1, h, l, l]), random(&[b, h, l, l]))
            });
            for (what, bias) in [("none", None), ("shared", Some(&shared)), ("of each sample", Some(&each))] {
                let dropout = Some(Dropout { rate: 0.2, key: 5 });
                let all = run(
                    |x, m| {
                        let out = attention(x, h, m, dropout).unwrap();
                        out.flatten(0, 1).index_select(0, &positions_m)
                    },
                    &qkv,
                    bias,
                );
                let some = run(
                    |x, m| {
                        let query = x.narrow(2, 0, d).flatten(0, 1).index_select(0, &positions_m);
                        let rest = x.narrow(2, d, 2 * d);
                        assert!(takes_chosen(&rest, h, m), "{kind:?}, {what}");
                        attention_of_chosen((&query, &positions_m), &rest, h, m, dropout).unwrap()
                    },
                    &qkv,
                    bias,
                );
                assert!(difference(&some.0, &all.0) < bound, "{kind:?}, bias {what}: output");
                assert!(difference(&some.1, &all.1) < bound, "{kind:?}, bias {what}: gradient of qkv");
                if let (Some(some), Some(all)) = (&some.2, &all.2) {
                    assert!(difference(some, all) < bound, "{kind:?}, bias {what}: gradient of the bias");
                }
            }
        }
    }

    /// The kernels of processors with narrower vectors, in processes that may not use wider ones.
    #[test]
    fn lesser_processors_compute_the_same() {
        for vectors in ["avx2", "none"] {
            let tests = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["equals_the", "chosen_queries", "threads_do_not"])
                .env("D2V_VECTORS", vectors)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&tests.stdout);
            assert!(tests.status.success() && !said.contains(" 0 passed"), "{vectors}: {said}");
        }
    }

    #[test]
    fn keys_that_must_not_be_seen_change_nothing() {
        let (b, l, h, e) = (3, 9, 2, 4);
        let qkv = seeded(&[2], || random(&[b, l, 3 * h * e], Kind::Double));
        // The first sample has 9 real positions, the second 4, the third none.
        let real_b = Tensor::from_slice(&[9i64, 4, 0]);
        let padding_bl =
            Tensor::arange(l, (Kind::Int64, Device::Cpu)).unsqueeze(0).ge_tensor(&real_b.unsqueeze(1));
        let blocked = Tensor::zeros([b, 1, 1, l], (Kind::Double, Device::Cpu))
            .masked_fill(&padding_bl.view([b, 1, 1, l]), f64::NEG_INFINITY);
        let attend = |qkv: &Tensor| {
            let qkv = qkv.copy().set_requires_grad(true);
            let out = attention(&qkv, h, Some(&blocked), None).unwrap();
            out.narrow(0, 1, 1).narrow(1, 0, 4).cos().sum(Kind::Double).backward();
            (out.detach(), qkv.grad())
        };
        let (out, gradient) = attend(&qkv);
        // Other values where nobody may look.
        let other = qkv.where_self(&padding_bl.logical_not().unsqueeze(-1), &(&qkv + 5.0));
        let (other_out, other_gradient) = attend(&other);
        assert!(
            out.narrow(1, 0, 4).narrow(0, 0, 2).equal(&other_out.narrow(1, 0, 4).narrow(0, 0, 2)),
            "output"
        );
        assert!(gradient.equal(&other_gradient), "gradient");
        assert!(gradient.narrow(0, 1, 1).narrow(1, 4, 5).abs().max().double_value(&[]) == 0.0, "of padding");
        assert!(out.narrow(0, 2, 1).abs().max().double_value(&[]) == 0.0, "nothing to attend to gives zeros");
    }

    #[test]
    fn dropout_keeps_the_mean_and_follows_its_key() {
        let (b, l, h, e, rate) = (4, 64, 2, 4, 0.3);
        // Equal keys: every weight is 1/L. A value of one: the output counts the weights that were kept.
        let qkv = Tensor::cat(
            &[
                Tensor::zeros([b, l, 2 * h * e], (Kind::Float, Device::Cpu)),
                Tensor::ones([b, l, h * e], (Kind::Float, Device::Cpu)),
            ],
            2,
        );
        let draw = |key| attention(&qkv, h, None, Some(Dropout { rate, key })).unwrap();
        let one = draw(1);
        assert!(one.equal(&draw(1)), "the same key");
        let counts = (one.view([b, l, h, e]).select(3, 0) * (l as f64 * (1.0 - rate))).round();
        let weights = (b * l * h * l) as f64;
        let kept = counts.sum(Kind::Double).double_value(&[]) / weights;
        let bound = 5.0 * (rate * (1.0 - rate) / weights).sqrt();
        assert!((kept - (1.0 - rate)).abs() < bound, "{kept} of the weights kept");
        // Rows are drawn on their own: their counts vary as a binomial's do.
        let expected = l as f64 * rate * (1.0 - rate);
        let variance = counts.var(true).double_value(&[]);
        let rows = (b * l * h) as f64;
        assert!(
            (variance / expected - 1.0).abs() < 5.0 * (2.0 / rows).sqrt(),
            "{variance} is not {expected}"
        );
        assert!(!one.equal(&draw(2)), "another key");
    }

    #[test]
    fn dropout_has_the_gradient_of_what_it_did() {
        let (b, l, h, e) = (2, 5, 2, 3);
        let (qkv, bias, along) = seeded(&[5], || {
            let kind = Kind::Double;
            (random(&[b, l, 3 * h * e], kind), random(&[1, h, l, l], kind), random(&[b, l, h * e], kind))
        });
        let dropout = Some(Dropout { rate: 0.4, key: 9 });
        let value = |qkv: &Tensor, bias: &Tensor| {
            (attention(qkv, h, Some(bias), dropout).unwrap() * &along).sum(Kind::Double)
        };
        let (x, m) = (qkv.copy().set_requires_grad(true), bias.copy().set_requires_grad(true));
        value(&x, &m).backward();
        let step = 1e-5;
        for (tensor, gradient, which) in [(&qkv, x.grad(), "qkv"), (&bias, m.grad(), "bias")] {
            let n = tensor.numel() as i64;
            for i in (0..n).step_by(7) {
                let nudge = Tensor::zeros([n], (Kind::Double, Device::Cpu));
                let _ = nudge.get(i).fill_(step);
                let nudge = nudge.view(&tensor.size()[..]);
                let at = |sign: f64| {
                    let moved = tensor + &nudge * sign;
                    if which == "qkv" { value(&moved, &bias) } else { value(&qkv, &moved) }.double_value(&[])
                };
                let slope = (at(1.0) - at(-1.0)) / (2.0 * step);
                let ours = gradient.view([n]).double_value(&[i]);
                assert!((slope - ours).abs() < 1e-7, "{which}[{i}]: {slope} by differences, {ours}");
            }
        }
    }

    #[test]
    fn threads_do_not_change_bits() {
        let (b, l, h, e) = (6, 40, 3, 8);
        let (qkv, bias) =
            seeded(&[6], || (random(&[b, l, 3 * h * e], Kind::Float), random(&[1, h, l, l], Kind::Float)));
        let all = |threads| {
            let before = tch::get_num_threads();
            tch::set_num_threads(threads);
            let attend = |x: &Tensor, m: Option<&Tensor>| {
                attention(x, h, m, Some(Dropout { rate: 0.1, key: 3 })).unwrap()
            };
            let out = run(attend, &qkv, Some(&bias));
            tch::set_num_threads(before);
            out
        };
        let (one, four) = (all(1), all(4));
        assert!(one.0.equal(&four.0) && one.1.equal(&four.1) && one.2.unwrap().equal(&four.2.unwrap()));
    }

    #[test]
    fn not_a_number_is_passed_on() {
        let qkv = Tensor::ones([1, 3, 12], (Kind::Float, Device::Cpu));
        let _ = qkv.get(0).get(1).get(0).fill_(f64::NAN);
        let out = attention(&qkv, 2, None, None).unwrap();
        assert!(out.isnan().any().int64_value(&[]) == 1, "{out}");
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let zeros = |size: &[i64]| Tensor::zeros(size, (Kind::Float, Device::Cpu));
        let qkv = zeros(&[2, 5, 24]);
        assert!(attention(&qkv, 3, None, None).is_err(), "8 is no multiple of 3");
        assert!(attention(&qkv, 0, None, None).is_err(), "no heads");
        assert!(attention(&qkv, 2, Some(&zeros(&[1, 2, 5, 4])), None).is_err(), "bias of other positions");
        assert!(attention(&qkv, 2, None, Some(Dropout { rate: 1.0, key: 0 })).is_err(), "everything dropped");
        let chosen = |positions: &[i64], key_value: &Tensor| {
            let query = zeros(&[positions.len() as i64, 8]);
            attention_of_chosen((&query, &Tensor::from_slice(positions)), key_value, 2, None, None)
        };
        let key_value = zeros(&[2, 5, 16]);
        assert!(chosen(&[0, 9], &key_value).is_ok() && chosen(&[], &key_value).is_ok(), "within");
        for outside in [[0, 10], [-1, 3], [4, 3]] {
            let error = chosen(&outside, &key_value).unwrap_err().to_string();
            assert!(error.contains("must ascend and lie within 2 x 5"), "{outside:?}: {error}");
        }
        assert!(chosen(&[0, 9], &qkv).is_err(), "keys of another width");
        assert!(chosen(&[0, 9], &key_value.to_kind(Kind::Half)).is_err(), "another kind");
    }
}
