//! The rows of a name table, and their expansion for a network of given depth.
//!
//! Patterns hold at most one counter, `{layer}`, `{conv}` or `{pos}`, and at most one `{part}`, which stands for
//! `weight` and `bias`.

use std::collections::BTreeMap;

/// How often each counter of the patterns runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Transformer blocks, `{layer}`.
    pub layers: usize,
    /// Convolutions of the waveform stack, `{conv}`.
    pub convs: usize,
    /// Positional convolutions, `{pos}`.
    pub positional_convs: usize,
}

/// The count of one counter.
type CountOf = fn(&mut Counts) -> &mut usize;

/// The three counters, and where [`Counts`] has them.
const COUNTERS: [(&str, CountOf); 3] = [
    ("{layer}", |counts| &mut counts.layers),
    ("{conv}", |counts| &mut counts.convs),
    ("{pos}", |counts| &mut counts.positional_convs),
];

/// One relation between a tensor of ours and theirs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// Pattern of our names.
    pub(super) ours: &'static str,
    /// Where it is found there.
    pub(super) theirs: Theirs,
    /// What it means when it is not there; without a meaning, absence is an error.
    pub(super) absent: Option<&'static str>,
}

/// What stands on their side of a relation.
#[derive(Debug, Clone, Copy)]
pub(super) enum Theirs {
    /// The same tensor. Several names are alternatives: each is understood, the first is written.
    Same(&'static [&'static str]),
    /// Several tensors of equal shape whose rows, one after the other, are ours.
    Rows(&'static [&'static str]),
    /// The same tensor once per `{layer}`; ours has no counter.
    EveryLayer(&'static str),
    /// A table and a single row that is always added to what is looked up; ours is their sum. Written as our table
    /// and a row of zeros.
    WithAddedRow {
        /// The table.
        table: &'static str,
        /// The row, of shape `(1, width)`.
        row: &'static str,
    },
}

/// Our `ours`, there called `theirs`.
pub(super) const fn same(ours: &'static str, theirs: &'static [&'static str]) -> Row {
    Row { ours, theirs: Theirs::Same(theirs), absent: None }
}

/// Our `ours`, there the rows of several tensors.
pub(super) const fn rows(ours: &'static str, theirs: &'static [&'static str]) -> Row {
    Row { ours, theirs: Theirs::Rows(theirs), absent: None }
}

/// Like [`same`], but may be absent, which means `absent`.
pub(super) const fn optional(
    ours: &'static str,
    theirs: &'static [&'static str],
    absent: &'static str,
) -> Row {
    Row { ours, theirs: Theirs::Same(theirs), absent: Some(absent) }
}

/// Names of theirs without a counterpart here. A trailing `*` stands for anything.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ignored {
    /// Pattern of their names.
    pub(super) theirs: &'static str,
    /// Why nothing is lost.
    pub(super) why: &'static str,
}

/// A tensor that their class wants and we do not have; written as zeros.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filler {
    /// Its name there.
    pub(super) theirs: &'static str,
    /// Of our names, the tensor whose last axis is the width.
    pub(super) like: &'static str,
    /// How many axes of that width it has.
    pub(super) axes: usize,
}

/// A whole naming.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// For messages.
    pub(super) model: &'static str,
    /// Prefixes that their names may have throughout.
    pub(super) prefixes: &'static [&'static str],
    /// The relations.
    pub(super) rows: Vec<&'static [Row]>,
    /// What of theirs is passed over.
    pub(super) ignored: &'static [Ignored],
    /// What of ours stays behind when writing: patterns, `*` as above.
    pub(super) left_behind: &'static [Ignored],
    /// What they want beyond ours.
    pub(super) fillers: &'static [Filler],
}

/// A row with its counter and part filled in.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    pub(super) ours: String,
    pub(super) theirs: Names,
    pub(super) absent: Option<&'static str>,
}

/// [`Theirs`] with counters filled in.
#[derive(Debug, Clone)]
pub(super) enum Names {
    Same(Vec<String>),
    Rows(Vec<String>),
    EveryLayer(Vec<String>),
    WithAddedRow { table: String, row: String },
}

impl Table {
    /// All relations of a network of this size.
    pub(super) fn relations(&self, mut counts: Counts) -> Vec<Relation> {
        let mut relations = Vec::new();
        for row in self.rows.iter().copied().flatten() {
            let (counter, times) = COUNTERS
                .iter()
                .find(|(counter, _)| row.ours.contains(counter))
                .map_or(("", 1), |(counter, count)| (*counter, *count(&mut counts)));
            let parts: &[&str] = if row.ours.contains("{part}") { &["weight", "bias"] } else { &[""] };
            for index in 0..times {
                for part in parts {
                    let fill = |pattern: &str| {
                        let pattern = pattern.replace("{part}", part);
                        if counter.is_empty() {
                            pattern
                        } else {
                            pattern.replace(counter, &index.to_string())
                        }
                    };
                    relations.push(row.filled(&fill, counts.layers));
                }
            }
        }
        relations
    }

    /// How often each counter runs in `names`, by the highest index found.
    ///
    /// An index beyond the number of names cannot belong to a complete network and is passed over, so that a forged
    /// name takes no memory. Each counter runs at least once: a network without layers is an incomplete one.
    pub(super) fn counts<'a>(&self, names: impl Iterator<Item = &'a String> + Clone) -> Counts {
        let most = names.clone().count();
        let mut patterns: BTreeMap<&str, CountOf> = BTreeMap::new();
        for row in self.rows.iter().copied().flatten() {
            for pattern in row.theirs.patterns() {
                if let Some((counter, count)) = COUNTERS.iter().find(|(counter, _)| pattern.contains(counter))
                {
                    // Up to the counter is enough: "encoder.layers.".
                    patterns.insert(pattern.split(counter).next().unwrap_or_default(), *count);
                }
            }
        }
        let mut counts = Counts { layers: 1, convs: 1, positional_convs: 1 };
        for name in names {
            for (start, count) in &patterns {
                let index =
                    name.strip_prefix(start).and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
                if let Some(index) = index.filter(|&index| index < most) {
                    let count = count(&mut counts);
                    *count = (*count).max(index + 1);
                }
            }
        }
        counts
    }
}

impl Row {
    fn filled(&self, fill: &impl Fn(&str) -> String, layers: usize) -> Relation {
        let all = |patterns: &[&str]| patterns.iter().map(|pattern| fill(pattern)).collect();
        let theirs = match self.theirs {
            Theirs::Same(patterns) => Names::Same(all(patterns)),
            Theirs::Rows(patterns) => Names::Rows(all(patterns)),
            Theirs::EveryLayer(pattern) => Names::EveryLayer(
                (0..layers).map(|layer| pattern.replace("{layer}", &layer.to_string())).collect(),
            ),
            Theirs::WithAddedRow { table, row } => Names::WithAddedRow { table: fill(table), row: fill(row) },
        };
        Relation { ours: fill(self.ours), theirs, absent: self.absent }
    }
}

impl Theirs {
    fn patterns(&self) -> Vec<&'static str> {
        match *self {
            Theirs::Same(patterns) | Theirs::Rows(patterns) => patterns.to_vec(),
            Theirs::EveryLayer(pattern) => vec![pattern],
            Theirs::WithAddedRow { table, row } => vec![table, row],
        }
    }
}

/// The first of `patterns` that fits `name`.
pub(super) fn fitting(patterns: &'static [Ignored], name: &str) -> Option<&'static Ignored> {
    patterns.iter().find(|ignored| fits(ignored.theirs, name))
}

/// Whether a name fits a pattern in which each `*` stands for any text.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, "")) => name.starts_with(start),
        Some((start, rest)) => name
            .strip_prefix(start)
            .is_some_and(|name| name.char_indices().any(|(i, _)| fits(rest, &name[i..]))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, name, expected) in [
            ("pooler.*", "pooler.dense.weight", true),
            ("pooler.*", "encoder.pooler.dense", false),
            ("*.relative_position_index", "a.b.relative_position_index", true),
            ("*.relative_position_index", "a.relative_position_index.b", false),
            ("head", "head", true),
            ("head", "heads", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn forged_indices_do_not_count() {
        const ROWS: &[Row] = &[same("b.{layer}.w", &["blocks.{layer}.w"])];
        let table = Table {
            model: "a test",
            prefixes: &[],
            rows: vec![ROWS],
            ignored: &[],
            left_behind: &[],
            fillers: &[],
        };
        let names = ["blocks.0.w", "blocks.1.w", "blocks.99999999.w"].map(String::from);
        assert_eq!(table.counts(names.iter()).layers, 2);
    }
}
