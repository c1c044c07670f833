//! From paths to splits, classes and labels: a pure function of the names.

use crate::dataset::Split;
use std::collections::BTreeSet;

/// What the paths of all files of a data set say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Class names in label order: sorted by bytes. The same for every split.
    pub(crate) classes: Vec<String>,
    /// For each path: its part, `None` if the paths have no such level, and its label.
    pub(crate) places: Vec<(Option<Part>, Option<u32>)>,
}

/// A split level that occurs in paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Train,
    Test,
    Validation,
}

impl Part {
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "train" | "training" => Some(Self::Train),
            "test" | "testing" => Some(Self::Test),
            "val" | "valid" | "validation" => Some(Self::Validation),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
            Self::Validation => "val",
        }
    }
}

/// Reads the layout from relative paths with `/` between their parts.
///
/// Levels that all paths share are stepped over. If the first other level, or a shared one on the way, has only split
/// names (train, test, val and their long forms), it is the split: a class that happens to be called "train" among
/// others is a class. The next level is the class, if every picture of a split lies in a folder there and there are
/// at least two of them; deeper levels mean nothing.
pub(crate) fn read(paths: &[&str]) -> Layout {
    let folders: Vec<Vec<&str>> = paths
        .iter()
        .map(|path| {
            let mut parts: Vec<&str> = path.split('/').collect();
            parts.pop();
            parts
        })
        .collect();
    let mut depth = 0;
    let mut has_split = false;
    while let Some(names) = names_at(&folders, depth) {
        if names.iter().all(|name| Part::of_name(name).is_some()) {
            has_split = true;
            break;
        }
        if names.len() > 1 {
            break;
        }
        depth += 1;
    }
    let part_of = |folders: &[&str]| if has_split { Part::of_name(folders[depth]) } else { None };
    let class_depth = depth + usize::from(has_split);

    let parts: BTreeSet<Option<Part>> = folders.iter().map(|folders| part_of(folders)).collect();
    let labelled: BTreeSet<Option<Part>> = parts
        .into_iter()
        .filter(|&part| {
            let of_part = folders.iter().filter(|folders| part_of(folders) == part);
            of_part.map(|folders| folders.get(class_depth)).all(|class| class.is_some())
        })
        .collect();
    let class_of = |folders: &Vec<&str>| -> Option<String> {
        if labelled.contains(&part_of(folders)) {
            folders.get(class_depth).map(|&name| name.to_owned())
        } else {
            None
        }
    };
    let mut classes: Vec<String> =
        folders.iter().filter_map(class_of).collect::<BTreeSet<String>>().into_iter().collect();
    if classes.len() < 2 {
        classes.clear();
    }
    let places = folders
        .iter()
        .map(|folders| {
            let class = class_of(folders).and_then(|class| classes.binary_search(&class).ok());
            (part_of(folders), class.and_then(|class| u32::try_from(class).ok()))
        })
        .collect();
    Layout { classes, places }
}

/// The folder names at a depth; `None` if there is no path at all or some path has no folder there.
fn names_at<'a>(folders: &[Vec<&'a str>], depth: usize) -> Option<BTreeSet<&'a str>> {
    let names: Option<BTreeSet<&str>> = folders.iter().map(|folders| folders.get(depth).copied()).collect();
    names.filter(|names| !names.is_empty())
}

impl Layout {
    /// For each path whether it belongs to a split; `Err` says what there is instead if none does.
    pub(crate) fn select(&self, split: Split) -> Result<Vec<bool>, String> {
        let present: BTreeSet<Option<Part>> = self.places.iter().map(|&(part, _)| part).collect();
        let wanted = match split {
            Split::All => return Ok(vec![true; self.places.len()]),
            Split::Train if present.contains(&None) => None,
            Split::Train => Some(Part::Train),
            Split::Test if present.contains(&Some(Part::Test)) => Some(Part::Test),
            Split::Test => Some(Part::Validation),
        };
        if present.contains(&wanted) {
            return Ok(self.places.iter().map(|&(part, _)| part == wanted).collect());
        }
        let names: Vec<&str> = present.into_iter().flatten().map(Part::name).collect();
        Err(if names.is_empty() {
            "its paths have no train/test level; use all of it, and hold some out".into()
        } else {
            format!("it has only {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One string per path: `part:label`, with `-` for none.
    fn check(paths: &[&str], classes: &[&str], places: &[&str]) {
        let layout = read(paths);
        assert_eq!(layout.classes, classes, "{paths:?}");
        let got: Vec<String> = layout
            .places
            .iter()
            .map(|(part, label)| {
                let label = label.map_or("-".into(), |label| label.to_string());
                format!("{}:{label}", part.map_or("-", Part::name))
            })
            .collect();
        assert_eq!(got, places, "{paths:?}");
    }

    #[test]
    fn split_and_classes_are_found_where_people_put_them() {
        check(&["c/train/cat/1.jpg", "c/test/dog/1.jpg"], &["cat", "dog"], &["train:0", "test:1"]);
        check(&["train/cat/1.jpg", "train/dog/1.jpg"], &["cat", "dog"], &["train:0", "train:1"]);
        check(&["Training/b/1.jpg", "valid/a/1.jpg"], &["a", "b"], &["train:1", "val:0"]);
        check(&["cat/1.jpg", "dog/x/2.jpg"], &["cat", "dog"], &["-:0", "-:1"]);
        check(&["pets/cat/1.jpg", "pets/dog/2.jpg"], &["cat", "dog"], &["-:0", "-:1"]);
    }

    #[test]
    fn flat_and_mixed_folders_have_no_labels() {
        check(&["1.jpg", "2.jpg"], &[], &["-:-", "-:-"]);
        check(&["photos/1.jpg", "photos/2.jpg"], &[], &["-:-", "-:-"]);
        check(&["1.jpg", "cat/2.jpg"], &[], &["-:-", "-:-"]);
        check(
            &["train/1.jpg", "test/cat/2.jpg", "test/dog/3.jpg"],
            &["cat", "dog"],
            &["train:-", "test:0", "test:1"],
        );
    }

    #[test]
    fn a_class_may_be_called_train() {
        check(&["bus/1.jpg", "train/1.jpg"], &["bus", "train"], &["-:0", "-:1"]);
    }

    #[test]
    fn a_split_without_pictures_is_named() {
        let layout = read(&["train/1.jpg", "val/2.jpg"]);
        assert_eq!(layout.select(Split::Train), Ok(vec![true, false]));
        assert_eq!(layout.select(Split::Test), Ok(vec![false, true]));
        assert_eq!(layout.select(Split::All), Ok(vec![true, true]));
        assert_eq!(read(&["test/1.jpg"]).select(Split::Train), Err("it has only test".into()));
        assert_eq!(read(&["1.jpg"]).select(Split::Train), Ok(vec![true]));
        assert!(read(&["1.jpg"]).select(Split::Test).is_err());
        assert_eq!(read(&[]), Layout { classes: vec![], places: vec![] });
    }
}
