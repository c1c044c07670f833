//! The pickle's stack machine, which builds nodes and calls nothing.
//!
//! Every bound that keeps it small: each operation adds at most one node, one thing on the stack and one memory, and
//! their number is limited; texts are copies of the pickle's own bytes, whose length is limited.

use super::builders;
use super::node::{Id, Node, Nodes};
use super::opcodes::{Op, Reader};
use std::collections::HashMap;

/// Most operations; a checkpoint of Large with the optimizer's state has about 100,000.
const OPERATIONS: usize = 4_000_000;
/// Most marks that are open at once: how deeply lists stand in lists.
const DEPTH: usize = 1000;

/// Runs a pickle; gives all nodes and the outermost. Errors are sentences that complete "its data.pkl: ".
pub(super) fn run(pickle: &[u8]) -> Result<(Nodes, Id), String> {
    let mut machine = Machine::default();
    let mut reader = Reader::new(pickle);
    for _ in 0..OPERATIONS {
        match reader.next()? {
            Op::Stop => {
                let root = machine.pop()?;
                return Ok((machine.nodes, root));
            }
            op => machine.step(op)?,
        }
    }
    Err(format!("more than {OPERATIONS} operations"))
}

#[derive(Default)]
struct Machine {
    nodes: Nodes,
    stack: Vec<Id>,
    /// Lengths of the stack at the open marks.
    marks: Vec<usize>,
    memory: HashMap<u64, Id>,
}

impl Machine {
    fn step(&mut self, op: Op) -> Result<(), String> {
        match op {
            Op::Mark if self.marks.len() < DEPTH => self.marks.push(self.stack.len()),
            Op::Mark => return Err(format!("values nested more than {DEPTH} deep")),
            Op::Pop => {
                // Python's own pickler pops a mark this way.
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            Op::PopMark => drop(self.since_mark()?),
            Op::Duplicate => self.stack.push(self.top()?),
            Op::None => self.push(Node::None),
            Op::Bool(value) => self.push(Node::Bool(value)),
            Op::Integer(value) => self.push(Node::Integer(value)),
            Op::BigInteger => self.push(Node::BigInteger),
            Op::Float(value) => self.push(Node::Float(value)),
            Op::Text(text) => self.push(Node::Text(text)),
            Op::Bytes(bytes) => self.push(Node::Bytes(bytes)),
            Op::EmptyTuple => self.push(Node::Tuple(Vec::new())),
            Op::Tuple => {
                let items = self.since_mark()?;
                self.push(Node::Tuple(items));
            }
            Op::ShortTuple(len) => {
                let items = self.pop_many(len)?;
                self.push(Node::Tuple(items));
            }
            Op::EmptyList => self.push(Node::List(Vec::new())),
            Op::EmptyDictionary => self.push(Node::Dictionary(Vec::new())),
            Op::EmptySet => self.push(Node::Set),
            Op::Append => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            Op::Appends => {
                let items = self.since_mark()?;
                self.append(items)?;
            }
            Op::SetItem => {
                let items = self.pop_many(2)?;
                self.set_items(&items)?;
            }
            Op::SetItems => {
                let items = self.since_mark()?;
                self.set_items(&items)?;
            }
            Op::AddItems => drop(self.since_mark()?),
            Op::FrozenSet => {
                self.since_mark()?;
                self.push(Node::Set);
            }
            Op::Global { module, name } => self.push(Node::Named { module, name }),
            Op::StackGlobal => {
                let names = self.pop_many(2)?;
                match (self.nodes.get(names[0]).clone(), self.nodes.get(names[1]).clone()) {
                    (Node::Text(module), Node::Text(name)) => self.push(Node::Named { module, name }),
                    _ => return Err("a Python name that is not text".into()),
                }
            }
            Op::Reduce | Op::NewObject => {
                let call = self.pop_many(2)?;
                self.call(call[0], call[1])?;
            }
            Op::NewObjectWithKeywords => {
                let call = self.pop_many(3)?;
                self.push(Node::Placeholder { called: call[0] });
            }
            // The state of an object. Dictionaries have one too (PyTorch notes versions there); nothing needs it.
            Op::Build => drop(self.pop()?),
            Op::PersistentId => {
                let id = self.pop()?;
                let storage = builders::storage(&self.nodes, id)?;
                self.push(Node::Storage(storage));
            }
            Op::Remember(key) => {
                self.memory.insert(key, self.top()?);
            }
            Op::RememberNext => {
                self.memory.insert(self.memory.len() as u64, self.top()?);
            }
            Op::Recall(key) => {
                let id = self
                    .memory
                    .get(&key)
                    .ok_or_else(|| format!("value {key} is recalled but was not given"))?;
                self.stack.push(*id);
            }
            Op::Stop | Op::Nothing => {}
        }
        Ok(())
    }

    fn push(&mut self, node: Node) {
        let id = self.nodes.add(node);
        self.stack.push(id);
    }

    fn top(&self) -> Result<Id, String> {
        self.stack.last().copied().ok_or_else(|| EMPTY.to_owned())
    }

    fn pop(&mut self) -> Result<Id, String> {
        Ok(self.pop_many(1)?[0])
    }

    /// The last `len`, none of which may lie below an open mark.
    fn pop_many(&mut self, len: usize) -> Result<Vec<Id>, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(len) {
            Some(start) if start >= floor => Ok(self.stack.split_off(start)),
            _ => Err(EMPTY.into()),
        }
    }

    fn since_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("the end of a list that did not begin")?;
        Ok(self.stack.split_off(mark))
    }

    fn append(&mut self, items: Vec<Id>) -> Result<(), String> {
        let list = self.top()?;
        match self.nodes.get_mut(list) {
            Node::List(list) => list.extend(items),
            // A list of some other class: it cannot be asked for, so its items are not kept.
            Node::Placeholder { .. } => {}
            _ => return Err("items for something that is not a list".into()),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[Id]) -> Result<(), String> {
        let (pairs, odd) = items.as_chunks::<2>();
        if !odd.is_empty() {
            return Err("a key without a value".into());
        }
        let dictionary = self.top()?;
        match self.nodes.get_mut(dictionary) {
            Node::Dictionary(entries) => entries.extend(pairs.iter().map(|[key, value]| (*key, *value))),
            Node::Placeholder { .. } => {}
            _ => return Err("entries for something that is not a dictionary".into()),
        }
        Ok(())
    }

    /// What a call stands for: a value that is known to mean no more than data, or a placeholder.
    fn call(&mut self, called: Id, arguments: Id) -> Result<(), String> {
        match builders::call(&self.nodes, called, arguments)? {
            builders::Made::New(node) => self.push(node),
            builders::Made::Same(id) => self.stack.push(id),
        }
        Ok(())
    }
}

const EMPTY: &str = "an operation on values that are not there";

#[cfg(test)]
mod tests {
    use super::*;

    fn root(pickle: &[u8]) -> Result<Node, String> {
        run(pickle).map(|(nodes, root)| nodes.get(root).clone())
    }

    #[test]
    fn a_list_may_hold_itself() {
        // l = []; l.append(l)
        let (nodes, root) = run(b"\x80\x02]q\x00h\x00a.").unwrap();
        assert_eq!(nodes.get(root), &Node::List(vec![root]));
    }

    #[test]
    fn calls_become_placeholders() {
        // os.system("true")
        let (nodes, root) = run(b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.").unwrap();
        let text = nodes.describe(nodes.get(root));
        assert_eq!(text, "a Python object made by os.system, which is not understood and was not called");
    }

    #[test]
    fn broken_programs_are_refused() {
        for (pickle, says) in [
            (&b"\x80\x02."[..], EMPTY),
            (b"\x80\x02N", "it ends in the middle"),
            (b"\x80\x02(N(0a.", EMPTY),
            (b"\x80\x02t.", "did not begin"),
            (b"\x80\x02h\x07.", "value 7 is recalled"),
            (b"\x80\x02NNa.", "not a list"),
            (b"\x80\x02}(Nu.", "a key without a value"),
            (b"\x80\x02}N\x86\x93.", EMPTY),
        ] {
            let error = root(pickle).unwrap_err();
            assert!(error.contains(says), "{pickle:?}: {error}");
        }
    }

    #[test]
    fn depth_and_length_are_bounded() {
        assert!(root(&[b'('; 2000]).unwrap_err().contains("nested"));
        assert!(root(&vec![b']'; OPERATIONS + 1]).unwrap_err().contains("operations"));
    }
}
