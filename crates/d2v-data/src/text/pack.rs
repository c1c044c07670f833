//! Pieces of tokens become blocks, as fairseq's `complete_doc` and `complete` do (specification 2.3).

use super::specials::Specials;

/// Collects tokens into blocks.
///
/// A block is `<s>` and whole pieces, each followed by `</s>`, as many as fit in `max_tokens`, of one document. A piece
/// that does not fit in a block of its own is cut: all parts but the last fill a block, and others may follow the last.
/// With `cross_documents` blocks go on across documents, with one more `</s>` between two of them.
pub(super) struct Packer {
    max_tokens: usize,
    cross_documents: bool,
    specials: Specials,
    block: Vec<u32>,
    /// A document has ended inside the block.
    at_boundary: bool,
}

impl Packer {
    pub(super) fn new(max_tokens: usize, cross_documents: bool, specials: Specials) -> Self {
        Self { max_tokens, cross_documents, specials, block: vec![specials.bos], at_boundary: false }
    }

    /// Adds a piece; full blocks go to `sink`.
    pub(super) fn piece<E>(
        &mut self,
        tokens: &[u32],
        sink: &mut impl FnMut(&[u32]) -> Result<(), E>,
    ) -> Result<(), E> {
        if tokens.is_empty() {
            return Ok(());
        }
        let separator = usize::from(self.at_boundary);
        if self.block.len() + separator + tokens.len() + 1 > self.max_tokens {
            self.flush(sink)?;
        } else if self.at_boundary {
            self.block.push(self.specials.eos);
        }
        self.at_boundary = false;
        for &token in tokens {
            if self.block.len() == self.max_tokens {
                self.flush(sink)?;
            }
            self.block.push(token);
        }
        // Where a cut leaves nothing but the `</s>`, it is left out: a block has text.
        if self.block.len() < self.max_tokens {
            self.block.push(self.specials.eos);
        }
        Ok(())
    }

    /// Ends a document.
    pub(super) fn end_document<E>(
        &mut self,
        sink: &mut impl FnMut(&[u32]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.cross_documents {
            self.at_boundary = self.block.len() > 1;
            Ok(())
        } else {
            self.flush(sink)
        }
    }

    /// Ends a file, and with it the block: ids count blocks within their file.
    pub(super) fn flush<E>(&mut self, sink: &mut impl FnMut(&[u32]) -> Result<(), E>) -> Result<(), E> {
        self.at_boundary = false;
        if self.block.len() > 1 {
            sink(&self.block)?;
            self.block.truncate(1);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::convert::Infallible;

    const SPECIALS: Specials = Specials { bos: 0, pad: 1, eos: 2, unk: 3, mask: 99 };

    fn pack(documents: &[Vec<Vec<u32>>], max_tokens: usize, cross: bool) -> Vec<Vec<u32>> {
        let mut blocks = Vec::new();
        let mut sink = |block: &[u32]| {
            blocks.push(block.to_vec());
            Ok::<(), Infallible>(())
        };
        let mut packer = Packer::new(max_tokens, cross, SPECIALS);
        for document in documents {
            for piece in document {
                packer.piece(piece, &mut sink).unwrap();
            }
            packer.end_document(&mut sink).unwrap();
        }
        packer.flush(&mut sink).unwrap();
        blocks
    }

    #[test]
    fn pieces_stay_whole_and_documents_apart() {
        let documents = [vec![vec![5, 6], vec![7], vec![8]], vec![vec![9]]];
        assert_eq!(pack(&documents, 6, false), [vec![0, 5, 6, 2, 7, 2], vec![0, 8, 2], vec![0, 9, 2]]);
        assert_eq!(pack(&documents, 6, true), [vec![0, 5, 6, 2, 7, 2], vec![0, 8, 2, 2, 9, 2]]);
        assert_eq!(pack(&documents, 5, true), [vec![0, 5, 6, 2], vec![0, 7, 2, 8, 2], vec![0, 9, 2]]);
    }

    #[test]
    fn a_long_piece_is_cut_and_its_rest_is_filled_up() {
        let documents = [vec![vec![4], vec![5, 6, 7, 8], vec![9]]];
        assert_eq!(
            pack(&documents, 4, false),
            [vec![0, 4, 2], vec![0, 5, 6, 7], vec![0, 8, 2], vec![0, 9, 2]]
        );
        assert_eq!(pack(&documents, 5, false), [vec![0, 4, 2], vec![0, 5, 6, 7, 8], vec![0, 9, 2]]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_block_is_too_long(
            documents in prop::collection::vec(prop::collection::vec(prop::collection::vec(4_u32..90, 0..12), 0..5), 0..5),
            max_tokens in 3_usize..20,
            cross: bool,
        ) {
            let blocks = pack(&documents, max_tokens, cross);
            prop_assert!(blocks.iter().all(|block| block[0] == 0 && block[1] > 3 && block.len() <= max_tokens));
            let text = |tokens: Vec<u32>| tokens.into_iter().filter(|&token| token > 3).collect::<Vec<_>>();
            prop_assert_eq!(text(blocks.concat()), text(documents.concat().concat()));
            let pieces = documents.concat().iter().filter(|piece| !piece.is_empty()).count();
            let ends = blocks.concat().iter().filter(|&&token| token == 2).count();
            let between = if cross { documents.len() } else { 0 };
            prop_assert!(ends <= pieces + between);
        }
    }
}
