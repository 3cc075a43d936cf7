use super::error::LayoutError;
use super::tokens::StructureTokens;

/// One sequence and what stands where in it, extended token by token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub tokens: Vec<i64>,
    /// Of each position, the nearest bos at or before it; 0 where there is none.
    pub documents: Vec<usize>,
    /// False for padding.
    pub valid: Vec<bool>,
    /// Rotary positions: tokens counted from 0, padding not counted.
    pub rotary: Vec<i64>,
    /// Position of the last `<soi>` and the number of its placeholders so far, until another token follows.
    run: Option<(usize, usize)>,
}

/// How a batch is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub special: StructureTokens,
    /// Placeholders of an image.
    pub queries: usize,
}

impl Row {
    /// Whether a token may follow: none cuts an image, and no placeholder comes after its last.
    pub fn accepts(&self, token: i64, reading: &Reading) -> bool {
        match self.run {
            Some((_, found)) if token == reading.special.image => found < reading.queries,
            Some((_, found)) => found == reading.queries,
            None => true,
        }
    }

    /// Appends a token. The position of an image's `<soi>` is returned with its last placeholder.
    pub fn push(
        &mut self,
        token: i64,
        row: usize,
        reading: &Reading,
    ) -> Result<Option<usize>, LayoutError> {
        let Reading { special, queries } = *reading;
        let position = self.tokens.len();
        if !self.accepts(token, reading) {
            return Err(self.refused(token, row, reading));
        }
        let mut finished = None;
        if token != special.image {
            self.run = (token == special.soi).then_some((position, 0));
        } else if let Some((soi, found)) = &mut self.run {
            *found += 1;
            finished = (*found == queries).then_some(*soi);
        }
        let document = match self.documents.last() {
            _ if token == special.bos => position,
            Some(document) => *document,
            None => 0,
        };
        self.append(token, document, token != special.pad);
        Ok(finished)
    }

    /// Appends a token whose place is known.
    pub fn append(&mut self, token: i64, document: usize, valid: bool) {
        let next = match (self.rotary.last(), self.valid.last()) {
            (Some(last), Some(valid)) => last + i64::from(*valid),
            _ => 0,
        };
        self.tokens.push(token);
        self.documents.push(document);
        self.valid.push(valid);
        self.rotary.push(next);
    }

    /// Says where an image stands that ends with the last token; `None` where an `<soi>` does.
    pub fn ends_with(&mut self, soi: usize, placeholders: usize) {
        self.run = Some((soi, placeholders));
    }

    /// Checks that no image is cut at the end. A bare `<soi>` may stand there: an image to be generated.
    pub fn finish(&self, row: usize, queries: usize) -> Result<(), LayoutError> {
        match self.run {
            Some((position, found)) if found != 0 && found != queries => {
                Err(LayoutError::Placeholders {
                    row,
                    position,
                    expected: queries,
                    found,
                })
            }
            _ => Ok(()),
        }
    }

    fn refused(&self, token: i64, row: usize, reading: &Reading) -> LayoutError {
        let (position, found) = self.run.unwrap_or_default();
        LayoutError::Placeholders {
            row,
            position,
            expected: reading.queries,
            found: found + usize::from(token == reading.special.image),
        }
    }
}
