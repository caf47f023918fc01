//! A question to the other chassis, or the answer to one, in pieces: what is beside sessions, such as configurations and files.
//!
//! What a content means is its ends' concern. Pieces of one content follow one another; only whole contents are handed on.

use super::octets::{Reader, WireError};

/// Octets of a content at most.
pub const EXCHANGE_MAX: usize = 4 << 20;
/// Octets of a piece at most.
pub const EXCHANGE_PIECE: usize = 16 << 10;

const FLAG_ANSWER: u8 = 1;

/// A content with what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// It answers the question of this number; otherwise it is one.
    pub is_answer: bool,
    /// Its number, the asker's.
    pub number: u32,
    /// What is asked or answered. At most [`EXCHANGE_MAX`] octets.
    pub content: Vec<u8>,
}

/// A piece of one, as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangePiece<'a> {
    /// See [`Exchange::is_answer`].
    pub is_answer: bool,
    /// See [`Exchange::number`].
    pub number: u32,
    /// Octets of the whole content.
    pub whole: usize,
    /// Where in it the piece begins.
    pub offset: usize,
    /// The piece.
    pub octets: &'a [u8],
}

/// Appends the piece of `exchange` that begins at `offset`; where the next one does.
pub fn exchange_to(exchange: &Exchange, offset: usize, out: &mut Vec<u8>) -> usize {
    let whole = exchange.content.len();
    let end = offset.saturating_add(EXCHANGE_PIECE).min(whole);
    out.push(if exchange.is_answer { FLAG_ANSWER } else { 0 });
    out.extend_from_slice(&exchange.number.to_be_bytes());
    out.extend_from_slice(&(whole as u32).to_be_bytes());
    out.extend_from_slice(&(offset as u32).to_be_bytes());
    out.extend_from_slice(exchange.content.get(offset..end).unwrap_or_default());
    end
}

/// Reads a piece.
///
/// # Errors
/// [`WireError`], also of a content longer than [`EXCHANGE_MAX`].
pub fn exchange_from(payload: &[u8]) -> Result<ExchangePiece<'_>, WireError> {
    let mut from = Reader(payload);
    let is_answer = from.u8("kind of exchange")? & FLAG_ANSWER != 0;
    let number = from.u32("number of an exchange")?;
    let whole = from.u32("length of an exchange")?;
    let offset = from.u32("offset in an exchange")?;
    if whole as usize > EXCHANGE_MAX {
        return Err(WireError::Value {
            field: "length of an exchange",
            value: whole.into(),
        });
    }
    Ok(ExchangePiece {
        is_answer,
        number,
        whole: whole as usize,
        offset: offset as usize,
        octets: from.0,
    })
}
