//! Parameters with unique, ordered names.
//!
//! tch's `VarStore` renames a duplicate silently, lists variables in no order, and draws initial values from one
//! global stream. Here a duplicate is an error, the order is that of the names, and a parameter's initial values
//! depend on (seed, name) alone, so that adding one layer leaves all others as they were.

use crate::seed::{of_text, seeded};
use crate::{Error, Result, foreach};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use tch::{Device, Kind, Tensor};

/// How a parameter starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// All the same value.
    Constant(f64),
    /// Normal with mean 0.
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// Normal with mean 0, redrawn until within `±cut` (by inversion of the distribution function).
    TruncatedNormal {
        /// Standard deviation before the cut.
        std: f64,
        /// Largest magnitude.
        cut: f64,
    },
    /// Uniform in `[low, high)`.
    Uniform {
        /// Lower end.
        low: f64,
        /// Upper end.
        high: f64,
    },
}

impl Init {
    /// libtorch's default of linear and convolution weights and biases: uniform within `1/sqrt(fan_in)`.
    pub fn default_for(fan_in: i64) -> Init {
        let bound = 1.0 / (fan_in as f64).sqrt();
        Init::Uniform { low: -bound, high: bound }
    }

    /// Xavier (Glorot) uniform: within `sqrt(6 / (fan_in + fan_out))`.
    pub fn xavier_uniform(fan_in: i64, fan_out: i64) -> Init {
        let bound = (6.0 / (fan_in + fan_out) as f64).sqrt();
        Init::Uniform { low: -bound, high: bound }
    }

    fn draw(self, shape: &[i64]) -> Tensor {
        let host = (Kind::Double, Device::Cpu);
        match self {
            Init::Constant(value) => Tensor::full(shape, value, host),
            Init::Normal { std } => Tensor::randn(shape, host) * std,
            Init::Uniform { low, high } => Tensor::rand(shape, host) * (high - low) + low,
            Init::TruncatedNormal { std, cut } => {
                // P(-cut < x < cut) = erf(cut / (std sqrt 2)); x = std sqrt 2 erfinv(u), u uniform in ± that.
                let edge = Tensor::from(cut / (std * std::f64::consts::SQRT_2)).erf();
                let u = (Tensor::rand(shape, host) * 2.0 - 1.0) * edge;
                (u.erfinv() * (std * std::f64::consts::SQRT_2)).clamp(-cut, cut)
            }
        }
    }
}

/// Where layers register their parameters while a network is built.
#[derive(Debug)]
pub struct ParamStore {
    device: Device,
    kind: Kind,
    seed: u64,
    entries: RefCell<BTreeMap<String, Tensor>>,
}

impl ParamStore {
    /// An empty store; `kind` is [`Kind::Float`] for training, [`Kind::Double`] where a test needs it.
    pub fn new(device: Device, kind: Kind, seed: u64) -> ParamStore {
        ParamStore { device, kind, seed, entries: RefCell::default() }
    }

    /// The scope of names without a prefix.
    pub fn root(&self) -> Scope<'_> {
        Scope { store: self, prefix: String::new() }
    }

    /// What was registered, in the order of the names.
    pub fn into_parameters(self) -> Parameters {
        Parameters { entries: self.entries.into_inner() }
    }
}

/// A prefix of names within a [`ParamStore`].
#[derive(Debug, Clone)]
pub struct Scope<'a> {
    store: &'a ParamStore,
    prefix: String,
}

impl Scope<'_> {
    /// The scope `prefix.name`.
    #[must_use]
    pub fn sub(&self, name: impl Display) -> Self {
        Scope { store: self.store, prefix: self.full_name(&name) }
    }

    /// Registers a parameter and returns it; gradients are recorded.
    ///
    /// # Errors
    /// [`Error::DuplicateParameter`] if the name is taken.
    pub fn param(&self, name: impl Display, shape: &[i64], init: Init) -> Result<Tensor> {
        let full = self.full_name(&name);
        if self.store.entries.borrow().contains_key(&full) {
            return Err(Error::DuplicateParameter { name: full });
        }
        let drawn = seeded(&[self.store.seed, of_text(&full)], || init.draw(shape));
        let tensor = drawn.to_kind(self.store.kind).to_device(self.store.device).set_requires_grad(true);
        self.store.entries.borrow_mut().insert(full, tensor.shallow_clone());
        Ok(tensor)
    }

    /// Device of the parameters.
    pub fn device(&self) -> Device {
        self.store.device
    }

    /// Kind of the parameters.
    pub fn kind(&self) -> Kind {
        self.store.kind
    }

    fn full_name(&self, name: &impl Display) -> String {
        if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) }
    }
}

/// Named parameters in the order of their names. Cloning shares the tensors.
#[derive(Debug, Default)]
pub struct Parameters {
    entries: BTreeMap<String, Tensor>,
}

impl Clone for Parameters {
    fn clone(&self) -> Self {
        Parameters { entries: self.entries.iter().map(|(n, t)| (n.clone(), t.shallow_clone())).collect() }
    }
}

impl FromIterator<(String, Tensor)> for Parameters {
    fn from_iter<I: IntoIterator<Item = (String, Tensor)>>(entries: I) -> Self {
        Parameters { entries: entries.into_iter().collect() }
    }
}

impl Parameters {
    /// Name and tensor, in the order of the names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Tensor)> {
        self.entries.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// The names, in order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// One parameter.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.entries.get(name)
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Number of elements over all tensors.
    pub fn count(&self) -> usize {
        self.entries.values().map(Tensor::numel).sum()
    }

    /// The tensors, sharing storage, in the order of the names.
    pub fn tensors(&self) -> Vec<Tensor> {
        self.entries.values().map(Tensor::shallow_clone).collect()
    }

    /// Those whose names start with `prefix`, the prefix removed.
    #[must_use]
    pub fn under(&self, prefix: &str) -> Parameters {
        self.entries
            .iter()
            .filter_map(|(name, t)| Some((name.strip_prefix(prefix)?.to_owned(), t.shallow_clone())))
            .collect()
    }

    /// Adds `other` with `prefix` in front of its names.
    ///
    /// # Errors
    /// [`Error::DuplicateParameter`] if a name is taken.
    pub fn insert_all(&mut self, prefix: &str, other: &Parameters) -> Result<()> {
        for (name, tensor) in other.iter() {
            let full = format!("{prefix}{name}");
            if self.entries.contains_key(&full) {
                return Err(Error::DuplicateParameter { name: full });
            }
            self.entries.insert(full, tensor.shallow_clone());
        }
        Ok(())
    }

    /// Stops or starts the recording of gradients for all.
    pub fn set_requires_grad(&self, on: bool) {
        for tensor in self.entries.values() {
            let _ = tensor.set_requires_grad(on);
        }
    }

    /// Overwrites the values with those of `source`, name by name; kind and device stay.
    ///
    /// # Errors
    /// [`Error::ParameterMismatch`] naming the first name that is missing on either side or has another shape;
    /// nothing is changed then.
    pub fn copy_from(&self, source: &Parameters) -> Result<()> {
        self.check_same(source)?;
        foreach::copy(&self.tensors(), &source.tensors())
    }

    /// Checks that both have the same names with the same shapes.
    ///
    /// # Errors
    /// [`Error::ParameterMismatch`] for the first difference.
    pub fn check_same(&self, other: &Parameters) -> Result<()> {
        let describe =
            |t: Option<&Tensor>| t.map_or("no such parameter".into(), |t| format!("shape {:?}", t.size()));
        let names = self.names().chain(other.names().filter(|n| self.get(n).is_none()));
        for name in names {
            let (mine, theirs) = (self.get(name), other.get(name));
            if mine.map(Tensor::size) != theirs.map(Tensor::size) {
                return Err(Error::ParameterMismatch {
                    name: name.into(),
                    expected: describe(mine),
                    got: describe(theirs),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(seed: u64) -> ParamStore {
        ParamStore::new(Device::Cpu, Kind::Float, seed)
    }

    #[test]
    fn duplicates_are_refused_and_order_is_by_name() {
        let store = store(0);
        let root = store.root();
        let _ = root.param("b", &[2], Init::Constant(1.0)).unwrap();
        let _ = root.sub("a").sub(0).param("w", &[2], Init::Constant(1.0)).unwrap();
        let again = root.param("b", &[2], Init::Constant(1.0));
        assert!(matches!(again, Err(Error::DuplicateParameter { ref name }) if name == "b"), "{again:?}");
        assert_eq!(store.into_parameters().names().collect::<Vec<_>>(), ["a.0.w", "b"], "names");
    }

    #[test]
    fn values_depend_on_seed_and_name_alone() {
        let draw = |seed, names: &[&str]| {
            let store = store(seed);
            let drawn: Vec<Tensor> = names
                .iter()
                .map(|n| store.root().param(n, &[8], Init::Normal { std: 1.0 }).unwrap())
                .collect();
            drawn.into_iter().next_back().unwrap()
        };
        assert!(draw(3, &["x"]).equal(&draw(3, &["a", "b", "x"])), "other parameters changed it");
        assert!(!draw(3, &["x"]).equal(&draw(4, &["x"])), "seed");
        assert!(!draw(3, &["x"]).equal(&draw(3, &["y"])), "name");
    }

    #[test]
    fn distributions_have_the_stated_moments() {
        let n = 40_000i64;
        let check = |init: Init, std: f64, cut: f64| {
            let x = store(1).root().param("x", &[n], init).unwrap().detach().to_kind(Kind::Double);
            let (mean, dev) = (x.mean(None).double_value(&[]), x.std(true).double_value(&[]));
            // Five standard errors of a mean; the deviation's standard error is at most about the same here.
            let bound = 5.0 * std / (n as f64).sqrt();
            assert!(mean.abs() < bound && (dev - std).abs() < bound, "{init:?}: mean {mean}, std {dev}");
            assert!(x.abs().max().double_value(&[]) <= cut, "{init:?}: beyond {cut}");
        };
        check(Init::Normal { std: 0.02 }, 0.02, 1.0);
        // A normal cut at ±1 deviation keeps 0.5396 of its deviation.
        check(Init::TruncatedNormal { std: 0.02, cut: 0.02 }, 0.02 * 0.539_56, 0.020_000_1);
        check(Init::Uniform { low: -0.5, high: 0.5 }, 1.0 / 12f64.sqrt(), 0.5);
    }

    #[test]
    fn a_copy_that_does_not_fit_changes_nothing() {
        let make = |len| {
            let store = store(0);
            for (name, len) in [("a", 2), ("b", len)] {
                let _ = store.root().param(name, &[len], Init::Normal { std: 1.0 }).unwrap();
            }
            store.into_parameters()
        };
        let (two, three) = (make(2), make(3));
        let before = two.get("a").unwrap().copy();
        let got = two.copy_from(&three).unwrap_err().to_string();
        assert!(got.contains("`b`") && got.contains("[2]") && got.contains("[3]"), "{got}");
        assert!(two.get("a").unwrap().equal(&before), "changed");
        let extra = Parameters::from_iter([("a".to_owned(), before.shallow_clone())]);
        assert!(two.copy_from(&extra).is_err(), "missing");
    }
}
