//! The operations of pickle protocols 2 to 4 that `torch.save` writes, and their arguments.

/// One operation. What it takes from the stack stands with [`Machine`](super::machine).
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Op {
    Mark,
    Pop,
    PopMark,
    Duplicate,
    None,
    Bool(bool),
    Integer(i64),
    BigInteger,
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    EmptyTuple,
    /// All since the mark.
    Tuple,
    /// The last one, two or three.
    ShortTuple(usize),
    EmptyList,
    EmptyDictionary,
    EmptySet,
    Append,
    Appends,
    SetItem,
    SetItems,
    AddItems,
    FrozenSet,
    Global {
        module: String,
        name: String,
    },
    StackGlobal,
    /// A call: function and arguments are on the stack.
    Reduce,
    NewObject,
    NewObjectWithKeywords,
    Build,
    PersistentId,
    Remember(u64),
    RememberNext,
    Recall(u64),
    Stop,
    /// Protocol number, frame length: nothing to do.
    Nothing,
}

/// Longest text or bytes within a pickle.
const TEXT_LIMIT: u64 = 1 << 24;
/// Longest line of a `GLOBAL` operation.
const LINE_LIMIT: usize = 1000;

/// Reads operations one after the other.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(pickle: &'a [u8]) -> Reader<'a> {
        Reader { rest: pickle }
    }

    /// The next operation.
    pub(super) fn next(&mut self) -> Result<Op, String> {
        let code = self.array::<1>()?[0];
        Ok(match code {
            b'(' => Op::Mark,
            b'0' => Op::Pop,
            b'1' => Op::PopMark,
            b'2' => Op::Duplicate,
            b'N' => Op::None,
            0x88 => Op::Bool(true),
            0x89 => Op::Bool(false),
            b'J' => Op::Integer(i32::from_le_bytes(self.array()?).into()),
            b'K' => Op::Integer(self.array::<1>()?[0].into()),
            b'M' => Op::Integer(u16::from_le_bytes(self.array()?).into()),
            0x8a => {
                let len = self.array::<1>()?[0].into();
                self.long(len)?
            }
            0x8b => {
                let len = u32::from_le_bytes(self.array()?).into();
                self.long(len)?
            }
            b'G' => Op::Float(f64::from_be_bytes(self.array()?)),
            b'X' => {
                let len = u32::from_le_bytes(self.array()?).into();
                self.text(len)?
            }
            0x8c => {
                let len = self.array::<1>()?[0].into();
                self.text(len)?
            }
            0x8d => {
                let len = u64::from_le_bytes(self.array()?);
                self.text(len)?
            }
            b'B' | b'T' => {
                let len = u32::from_le_bytes(self.array()?).into();
                Op::Bytes(self.limited(len)?.to_vec())
            }
            b'C' | b'U' => {
                let len = self.array::<1>()?[0].into();
                Op::Bytes(self.limited(len)?.to_vec())
            }
            0x8e => {
                let len = u64::from_le_bytes(self.array()?);
                Op::Bytes(self.limited(len)?.to_vec())
            }
            b')' => Op::EmptyTuple,
            b't' => Op::Tuple,
            0x85 => Op::ShortTuple(1),
            0x86 => Op::ShortTuple(2),
            0x87 => Op::ShortTuple(3),
            b']' => Op::EmptyList,
            b'}' => Op::EmptyDictionary,
            0x8f => Op::EmptySet,
            b'a' => Op::Append,
            b'e' => Op::Appends,
            b's' => Op::SetItem,
            b'u' => Op::SetItems,
            0x90 => Op::AddItems,
            0x91 => Op::FrozenSet,
            b'c' => Op::Global { module: self.line()?, name: self.line()? },
            0x93 => Op::StackGlobal,
            b'R' => Op::Reduce,
            0x81 => Op::NewObject,
            0x92 => Op::NewObjectWithKeywords,
            b'b' => Op::Build,
            b'Q' => Op::PersistentId,
            b'q' => Op::Remember(self.array::<1>()?[0].into()),
            b'r' => Op::Remember(u32::from_le_bytes(self.array()?).into()),
            0x94 => Op::RememberNext,
            b'h' => Op::Recall(self.array::<1>()?[0].into()),
            b'j' => Op::Recall(u32::from_le_bytes(self.array()?).into()),
            b'.' => Op::Stop,
            0x80 => match self.array::<1>()?[0] {
                2..=4 => Op::Nothing,
                other => return Err(format!("pickle protocol {other}; torch.save writes 2 to 4")),
            },
            0x95 => {
                self.array::<8>()?;
                Op::Nothing
            }
            other => return Err(format!("operation {other:#04x}, which torch.save does not write")),
        })
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or("it ends in the middle of an operation")?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const SIZE: usize>(&mut self) -> Result<[u8; SIZE], String> {
        let mut array = [0; SIZE];
        array.copy_from_slice(self.take(SIZE)?);
        Ok(array)
    }

    fn limited(&mut self, len: u64) -> Result<&'a [u8], String> {
        if len > TEXT_LIMIT {
            return Err(format!("a text of {len} bytes; the limit is {TEXT_LIMIT}"));
        }
        self.take(len as usize)
    }

    fn text(&mut self, len: u64) -> Result<Op, String> {
        let bytes = self.limited(len)?.to_vec();
        // Python can write half a character, which no name of a tensor has; elsewhere it does no harm.
        Ok(String::from_utf8(bytes).map_or_else(|error| Op::Bytes(error.into_bytes()), Op::Text))
    }

    /// A whole number of `len` bytes in two's complement.
    fn long(&mut self, len: u64) -> Result<Op, String> {
        let bytes = self.limited(len)?;
        if bytes.len() > 8 {
            return Ok(Op::BigInteger);
        }
        let sign = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
        let mut all = [sign; 8];
        all[..bytes.len()].copy_from_slice(bytes);
        Ok(Op::Integer(i64::from_le_bytes(all)))
    }

    fn line(&mut self) -> Result<String, String> {
        let searched = &self.rest[..self.rest.len().min(LINE_LIMIT)];
        let end = searched.iter().position(|&byte| byte == b'\n').ok_or("a name without an end")?;
        let line = std::str::from_utf8(self.take(end)?).map_err(|error| error.to_string())?.to_owned();
        self.take(1)?;
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expected: Result<Op, &str>) {
        assert_eq!(Reader::new(bytes).next(), expected.map_err(str::to_owned));
    }

    #[test]
    fn whole_numbers_of_any_length() {
        check(&[0x8a, 0], Ok(Op::Integer(0)));
        check(&[0x8a, 1, 0xff], Ok(Op::Integer(-1)));
        check(&[0x8a, 2, 0xff, 0x00], Ok(Op::Integer(255)));
        check(&[0x8a, 8, 0, 0, 0, 0, 0, 0, 0, 0x80], Ok(Op::Integer(i64::MIN)));
        check(&[0x8a, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1], Ok(Op::BigInteger));
        check(&[b'J', 0xfe, 0xff, 0xff, 0xff], Ok(Op::Integer(-2)));
    }

    #[test]
    fn forged_lengths_are_refused() {
        check(
            &[0x8d, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
            Err(&format!("a text of {} bytes; the limit is 16777216", i64::MAX)),
        );
        check(&[b'X', 5, 0, 0, 0, b'a'], Err("it ends in the middle of an operation"));
        check(&[], Err("it ends in the middle of an operation"));
    }

    #[test]
    fn other_operations_are_named() {
        check(b"I12\n", Err("operation 0x49, which torch.save does not write"));
        check(&[0x80, 5], Err("pickle protocol 5; torch.save writes 2 to 4"));
    }
}
