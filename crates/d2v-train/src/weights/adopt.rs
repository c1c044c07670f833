//! Weights into a network, name by name: all problems are told at once, what may start fresh is told too.

use super::Error;
use crate::Result;
use crate::network::HEAD;
use d2v_torch::Parameters;

/// Parameters that published weights may lack, so that they keep their start values: what pretraining alone needs.
fn may_be_absent(name: &str) -> bool {
    name == "front_end.mask_token" || name.starts_with(HEAD)
}

/// Overwrites `own` with `source`, whose `origin` messages name; returns the names that `source` lacks, which keep their
/// values: at most mask token and prediction head.
///
/// # Errors
/// [`Error::Mismatch`] lists everything else that is missing, unexpected or of another shape; nothing is changed then.
pub fn adopt(own: &Parameters, source: &Parameters, origin: &str) -> Result<Vec<String>> {
    let (mut found, mut fresh, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for (name, tensor) in own.iter() {
        match source.get(name) {
            Some(theirs) if theirs.size() == tensor.size() => {
                found.push((name.to_owned(), tensor.shallow_clone()));
            }
            Some(theirs) => {
                let (theirs, ours) = (theirs.size(), tensor.size());
                problems.push(format!("{name} has shape {theirs:?} there and {ours:?} here"));
            }
            None if may_be_absent(name) => fresh.push(name.to_owned()),
            None => problems.push(format!("{name} is missing there")),
        }
    }
    let unexpected = source.names().filter(|name| own.get(name).is_none());
    problems.extend(unexpected.map(|name| format!("{name} is unexpected")));
    if !problems.is_empty() {
        return Err(Error::Mismatch { origin: origin.to_owned(), problems: listed(&problems) }.into());
    }
    let found: Parameters = found.into_iter().collect();
    let taken = found.names().filter_map(|name| Some((name.to_owned(), source.get(name)?.shallow_clone())));
    found.copy_from(&taken.collect())?;
    Ok(fresh)
}

/// All up to 20, then how many more.
fn listed(problems: &[String]) -> String {
    const SHOWN: usize = 20;
    let shown = problems[..problems.len().min(SHOWN)].join("; ");
    match problems.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind, Tensor};

    fn named(names: &[(&str, i64)], value: f64) -> Parameters {
        let tensor = |size: i64| Tensor::full([size], value, (Kind::Float, Device::Cpu));
        names.iter().map(|(name, size)| ((*name).to_owned(), tensor(*size))).collect()
    }

    #[test]
    fn mask_token_and_head_may_start_fresh() {
        let own = named(&[("front_end.mask_token", 2), ("head.0.weight", 2), ("transformer.a", 2)], 1.0);
        let fresh = adopt(&own, &named(&[("transformer.a", 2)], 5.0), "x").unwrap();
        assert_eq!(fresh, ["front_end.mask_token", "head.0.weight"]);
        let value = |name: &str| own.get(name).unwrap().double_value(&[0]);
        assert_eq!([value("transformer.a"), value("head.0.weight")], [5.0, 1.0]);
    }

    #[test]
    fn all_else_that_differs_is_named_and_nothing_changed() {
        let own = named(&[("transformer.a", 2), ("transformer.b", 2), ("transformer.c", 2)], 1.0);
        let source = named(&[("transformer.a", 2), ("transformer.b", 3), ("head.0.weight", 1)], 5.0);
        let error = adopt(&own, &source, "runs/x").unwrap_err().to_string();
        for part in ["runs/x", "transformer.b has shape [3] there and [2] here", "transformer.c is missing"] {
            assert!(error.contains(part), "{error}");
        }
        assert!(error.contains("head.0.weight is unexpected"), "{error}");
        assert_eq!(own.get("transformer.a").unwrap().double_value(&[0]), 1.0);
    }

    #[test]
    fn long_lists_are_cut_and_counted() {
        let problems: Vec<String> = (0..25).map(|i| format!("p{i}")).collect();
        assert!(listed(&problems).ends_with("p19; and 5 more"));
    }
}
