//! A table of names applied: their tensors to ours, ours to theirs.

use super::Source;
use super::relation::{Counts, Names, Relation, Table, fitting};
use crate::{Error, Result, Tensor, Tensors};
use std::collections::BTreeSet;

/// Tensors under other names, and what did not go along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapped {
    /// The tensors, all f32.
    pub tensors: Tensors,
    /// What had no counterpart or was not there, one sentence each, for the user to read.
    pub notes: Vec<String>,
}

/// Their tensors under our names, as f32.
///
/// `counts` says how many layers there must be; without it the highest index found does.
///
/// # Errors
/// [`Error::Names`] listing all that is missing and all that is unexpected; others when a tensor is no weight, parts to
/// be joined do not fit, or layers' tables of position biases differ.
pub fn to_ours(source: Source, counts: Option<Counts>, theirs: &Tensors) -> Result<Mapped> {
    let table = source.table();
    let theirs = without_prefixes(&table, theirs)?;
    let counts = counts.unwrap_or_else(|| table.counts(theirs.keys()));
    let (mut tensors, mut notes) = (Tensors::new(), Vec::new());
    let (mut used, mut missing) = (BTreeSet::new(), Vec::new());
    for relation in table.relations(counts) {
        let names = relation.names_in(&theirs);
        let absent: Vec<_> = names.iter().filter(|name| !theirs.contains_key(**name)).collect();
        match relation.absent {
            _ if absent.is_empty() => {
                tensors.insert(relation.ours.clone(), relation.joined(&theirs)?);
                used.extend(names.into_iter().cloned());
            }
            Some(meaning) => notes.push(format!("{} is not there: {meaning}", relation.ours)),
            None => missing.extend(absent.into_iter().map(|name| (*name).clone())),
        }
    }
    let mut unexpected = Vec::new();
    for name in theirs.keys().filter(|name| !used.contains(*name)) {
        match fitting(table.ignored, name) {
            Some(ignored) => notes.push(format!("{name} is ignored: {}", ignored.why)),
            None => unexpected.push(name.clone()),
        }
    }
    complete(&table, missing, unexpected)?;
    Ok(Mapped { tensors, notes })
}

/// Our tensors under their names. The inverse of [`to_ours`].
///
/// # Errors
/// [`Error::Names`] listing all of ours that is missing or unexpected; others as for [`to_ours`].
pub fn from_ours(source: Source, counts: Counts, ours: &Tensors) -> Result<Mapped> {
    let table = source.table();
    let (mut tensors, mut notes) = (Tensors::new(), Vec::new());
    let (mut used, mut missing) = (BTreeSet::new(), Vec::new());
    for relation in table.relations(counts) {
        match ours.get(&relation.ours) {
            Some(tensor) => relation.split(&tensor.to_f32(&relation.ours)?, &mut tensors)?,
            None if relation.absent.is_some() => {}
            None => missing.push(relation.ours.clone()),
        }
        used.insert(relation.ours);
    }
    for filler in table.fillers {
        if let Some(width) = ours.get(filler.like).and_then(|like| like.shape().last()) {
            let shape = vec![*width; filler.axes];
            let bytes = vec![0; crate::tensors::byte_len(crate::DType::F32, &shape).unwrap_or(0)];
            tensors.insert(filler.theirs.to_owned(), Tensor::new(crate::DType::F32, shape, bytes)?);
            notes.push(format!("{} is written as zeros: it is not pretrained", filler.theirs));
        }
    }
    let mut unexpected = Vec::new();
    for name in ours.keys().filter(|name| !used.contains(*name)) {
        match fitting(table.left_behind, name) {
            Some(left) => notes.push(format!("{name} is left behind: {}", left.why)),
            None => unexpected.push(name.clone()),
        }
    }
    complete(&table, missing, unexpected)?;
    Ok(Mapped { tensors, notes })
}

fn complete(table: &Table, missing: Vec<String>, unexpected: Vec<String>) -> Result<()> {
    if missing.is_empty() && unexpected.is_empty() {
        Ok(())
    } else {
        Err(Error::Names { model: table.model, missing, unexpected })
    }
}

/// The same tensors by names without the table's prefixes. References only: nothing is copied.
fn without_prefixes<'a>(table: &Table, theirs: &'a Tensors) -> Result<Borrowed<'a>> {
    let mut borrowed = Borrowed::new();
    let mut twice = Vec::new();
    for (name, tensor) in theirs {
        let short = table.prefixes.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
        if borrowed.insert(short.to_owned(), tensor).is_some() {
            twice.push(format!("{short} (with and without a prefix)"));
        }
    }
    complete(table, Vec::new(), twice)?;
    Ok(borrowed)
}

type Borrowed<'a> = std::collections::BTreeMap<String, &'a Tensor>;

impl Relation {
    /// The names to be read: of alternatives the first that is there, or else the first.
    fn names_in(&self, theirs: &Borrowed<'_>) -> Vec<&String> {
        match &self.theirs {
            Names::Same(names) => {
                names.iter().find(|name| theirs.contains_key(*name)).or(names.first()).into_iter().collect()
            }
            Names::Rows(names) | Names::EveryLayer(names) => names.iter().collect(),
            Names::WithAddedRow { table, row } => vec![table, row],
        }
    }

    /// Our tensor, out of theirs, which are all there.
    fn joined(&self, theirs: &Borrowed<'_>) -> Result<Tensor> {
        let names = self.names_in(theirs);
        if let (Names::Same(_), [name]) = (&self.theirs, &names[..]) {
            return theirs[*name].to_f32(name);
        }
        let tensors = names.iter().map(|name| theirs[*name].to_f32(name)).collect::<Result<Vec<_>>>()?;
        let first = &tensors[0];
        match &self.theirs {
            Names::Same(_) | Names::Rows(_) => {
                let rows = first.shape().first().copied().unwrap_or(0);
                if let Some(i) = tensors.iter().position(|part| part.shape() != first.shape() || rows == 0) {
                    let why = format!("must equal that of {}, with which it becomes {}", names[0], self.ours);
                    return Err(Error::Shape {
                        name: names[i].clone(),
                        found: tensors[i].shape().to_vec(),
                        why,
                    });
                }
                let mut shape = first.shape().to_vec();
                shape[0] = rows * tensors.len();
                Tensor::new(
                    first.dtype(),
                    shape,
                    tensors.iter().flat_map(|part| part.bytes()).copied().collect(),
                )
            }
            Names::EveryLayer(_) => match tensors.iter().position(|tensor| tensor != first) {
                None => Ok(first.clone()),
                Some(layer) => Err(Error::LayersDiffer { name: names[layer].clone() }),
            },
            Names::WithAddedRow { row, .. } => with_added_row(first, row, &tensors[1]),
        }
    }

    /// Their tensors, out of ours.
    fn split(&self, ours: &Tensor, into: &mut Tensors) -> Result<()> {
        match &self.theirs {
            Names::Same(names) => {
                into.extend(names.first().map(|name| (name.clone(), ours.clone())));
            }
            Names::Rows(names) => {
                let mut shape = ours.shape().to_vec();
                if shape.first().is_none_or(|rows| *rows == 0 || !rows.is_multiple_of(names.len())) {
                    let why = format!("its rows must divide into {} parts", names.len());
                    return Err(Error::Shape { name: self.ours.clone(), found: shape, why });
                }
                shape[0] /= names.len();
                let part_len = ours.bytes().len() / names.len();
                for (i, name) in names.iter().enumerate() {
                    let bytes = ours.bytes()[i * part_len..(i + 1) * part_len].to_vec();
                    into.insert(name.clone(), Tensor::new(ours.dtype(), shape.clone(), bytes)?);
                }
            }
            Names::EveryLayer(names) => into.extend(names.iter().map(|name| (name.clone(), ours.clone()))),
            Names::WithAddedRow { table, row } => {
                let width = ours.shape().last().copied().unwrap_or(0);
                into.insert(table.clone(), ours.clone());
                into.insert(row.clone(), Tensor::from_f32(vec![1, width], &vec![0.0; width])?);
            }
        }
        Ok(())
    }
}

/// `row` added to each row of `table`; a row of zeros changes no bit (-0 + 0 would).
fn with_added_row(table: &Tensor, row_name: &str, row: &Tensor) -> Result<Tensor> {
    let width = table.shape().last().copied().unwrap_or(0);
    if row.shape() != [1, width] {
        let why = format!("must be [1, {width}]: one token type, as wide as the embeddings");
        return Err(Error::Shape { name: row_name.to_owned(), found: row.shape().to_vec(), why });
    }
    let row = row.to_f32_values().unwrap_or_default();
    if row.iter().all(|&value| value == 0.0) {
        return Ok(table.clone());
    }
    let values = table.to_f32_values().unwrap_or_default();
    let sums: Vec<f32> = values.iter().zip(row.iter().cycle()).map(|(value, added)| value + added).collect();
    Tensor::from_f32(table.shape().to_vec(), &sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_added_row_is_folded_and_a_row_of_zeros_changes_no_bit() {
        let table = Tensor::from_f32(vec![2, 2], &[1.0, -0.0, 3.0, 4.0]).unwrap();
        let zeros = Tensor::from_f32(vec![1, 2], &[0.0, -0.0]).unwrap();
        assert_eq!(with_added_row(&table, "types", &zeros).unwrap(), table);
        let row = Tensor::from_f32(vec![1, 2], &[0.5, 2.0]).unwrap();
        let sums = with_added_row(&table, "types", &row).unwrap().to_f32_values().unwrap();
        assert_eq!(sums, [1.5, 2.0, 3.5, 6.0]);
        let two = Tensor::from_f32(vec![2, 2], &[0.0; 4]).unwrap();
        assert!(with_added_row(&table, "types", &two).unwrap_err().to_string().contains("one token type"));
    }

    #[test]
    fn missing_and_unexpected_names_are_listed_together() {
        let tensor = Tensor::from_f32(vec![2], &[1.0, 2.0]).unwrap();
        let theirs = Tensors::from([("encoder.pos_conv.weight_g".to_owned(), tensor)]);
        let error = to_ours(Source::FairseqAudio, None, &theirs).unwrap_err().to_string();
        for part in ["layer_norm.weight", "post_extract_proj.bias", "unexpected: encoder.pos_conv.weight_g"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
