//! Reading and writing single values, with every length checked.

/// A message that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// It ended before its fields did.
    #[error("a message or record ends inside its {0}")]
    Short(&'static str),
    /// A field has a value that means nothing.
    #[error("{value} is no {field}")]
    Value {
        /// The field.
        field: &'static str,
        /// What it said; as much of it as fits.
        value: u64,
    },
    /// A record of a type that this version does not have.
    #[error("records of type {0} do not exist in this version")]
    RecordType(u8),
    /// A number that the dictionary does not have.
    #[error("there is no {kind} number {number}")]
    Unknown {
        /// Service set, pool, prefix or policy.
        kind: &'static str,
        /// The number.
        number: u16,
    },
    /// A message before the hello.
    #[error("a message of type {0} came before the hello")]
    NoHello(u16),
    /// Sessions on a stream that carries none, because the configurations differ.
    #[error("a stream without replication carries a record of type {0}")]
    NotReplicating(u8),
}

/// Reads from the front.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn take(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(WireError::Short(field))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], WireError> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(WireError::Short(field))?;
        self.0 = rest;
        Ok(*taken)
    }

    pub fn u8(&mut self, field: &'static str) -> Result<u8, WireError> {
        self.array::<1>(field).map(|[octet]| octet)
    }

    pub fn u16(&mut self, field: &'static str) -> Result<u16, WireError> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub fn u32(&mut self, field: &'static str) -> Result<u32, WireError> {
        self.array(field).map(u32::from_be_bytes)
    }

    pub fn u64(&mut self, field: &'static str) -> Result<u64, WireError> {
        self.array(field).map(u64::from_be_bytes)
    }

    pub fn u128(&mut self, field: &'static str) -> Result<u128, WireError> {
        self.array(field).map(u128::from_be_bytes)
    }

    pub fn octets32(&mut self, field: &'static str) -> Result<[u8; 32], WireError> {
        self.array(field)
    }

    /// A value of at most `max`.
    pub fn u8_to(&mut self, max: u8, field: &'static str) -> Result<u8, WireError> {
        let value = self.u8(field)?;
        if value > max {
            return Err(WireError::Value {
                field,
                value: value.into(),
            });
        }
        Ok(value)
    }

    /// A number in base 128.
    pub fn number(&mut self, field: &'static str) -> Result<u64, WireError> {
        let mut value = 0u64;
        loop {
            let octet = self.u8(field)?;
            if value >> 57 != 0 {
                return Err(WireError::Value { field, value });
            }
            value = value << 7 | u64::from(octet & 0x7f);
            if octet & 0x80 == 0 {
                return Ok(value);
            }
        }
    }

    /// A number in base 128 of at most 32 bits.
    pub fn number32(&mut self, field: &'static str) -> Result<u32, WireError> {
        let value = self.number(field)?;
        u32::try_from(value).map_err(|_| WireError::Value { field, value })
    }
}

/// Appends a number in base 128.
pub(crate) fn put_number(out: &mut Vec<u8>, value: u64) {
    let groups = (u64::BITS - value.leading_zeros()).div_ceil(7).max(1);
    for group in (0..groups).rev() {
        let more = if group == 0 { 0 } else { 0x80 };
        out.push((value >> (group * 7)) as u8 & 0x7f | more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_go_there_and_back(value: u64, shift in 0u32..64) {
            let value = value >> shift;
            let mut out = Vec::new();
            put_number(&mut out, value);
            let mut reader = Reader(&out);
            prop_assert_eq!(reader.number("value"), Ok(value));
            prop_assert!(reader.0.is_empty());
            prop_assert_eq!(Reader(&out[..out.len() - 1]).number("value"), Err(WireError::Short("value")));
        }
    }

    #[test]
    fn a_number_of_more_than_64_bits_is_an_error() {
        assert!(Reader(&[0xff; 20]).number("value").is_err());
        let mut out = Vec::new();
        put_number(&mut out, u64::from(u32::MAX) + 1);
        assert!(Reader(&out).number32("value").is_err());
    }
}
