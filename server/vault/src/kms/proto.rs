//! The little of protobuf that a plugin needs: fields of bytes and of numbers.
//!
//! Six small messages do not pay for a code generator. The invariant: reading never panics, and
//! fields that are not known are passed over, as protobuf has it.

/// A field's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field<'a> {
    /// A number.
    Number(u64),
    /// Bytes, a text or a message.
    Bytes(&'a [u8]),
    /// Of a sort that no message here has.
    Other,
}

/// Appends a field of bytes; empty ones are left out, as proto3 has it.
pub(crate) fn put_bytes(field: u32, bytes: &[u8], out: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    put_number(u64::from(field) << 3 | 2, out);
    put_number(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Appends a field of a number; zero is left out.
pub(crate) fn put_field(field: u32, number: u64, out: &mut Vec<u8>) {
    if number != 0 {
        put_number(u64::from(field) << 3, out);
        put_number(number, out);
    }
}

fn put_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// The fields of a message in their order; `None` stands for bytes that are no message.
pub(crate) fn fields(message: &[u8]) -> Option<Vec<(u32, Field<'_>)>> {
    let mut rest = message;
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let tag = take_number(&mut rest)?;
        let field = u32::try_from(tag >> 3).ok().filter(|field| *field > 0)?;
        let content = match tag & 7 {
            0 => Field::Number(take_number(&mut rest)?),
            1 => skip(&mut rest, 8)?,
            2 => {
                let length = usize::try_from(take_number(&mut rest)?).ok()?;
                let (bytes, behind) = rest.split_at_checked(length)?;
                rest = behind;
                Field::Bytes(bytes)
            }
            5 => skip(&mut rest, 4)?,
            _ => return None,
        };
        fields.push((field, content));
    }
    Some(fields)
}

fn skip<'a>(rest: &mut &[u8], bytes: usize) -> Option<Field<'a>> {
    *rest = rest.get(bytes..)?;
    Some(Field::Other)
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        let bits = u64::from(byte & 0x7f);
        // The tenth byte holds one bit.
        if shift == 63 && bits > 1 {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// A text of a message; bytes that are no UTF-8 are none.
pub(crate) fn text(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::{Field, fields, put_bytes, put_field};

    #[test]
    fn what_is_written_is_read_and_nonsense_is_nothing() {
        let long = vec![7; 300];
        let mut out = Vec::new();
        put_bytes(1, b"one", &mut out);
        put_bytes(2, b"", &mut out);
        put_bytes(16, &long, &mut out);
        put_field(5, u64::MAX, &mut out);
        put_field(6, 0, &mut out);
        let wanted = vec![
            (1, Field::Bytes(b"one")),
            (16, Field::Bytes(&long)),
            (5, Field::Number(u64::MAX)),
        ];
        assert_eq!(fields(&out), Some(wanted));
        for nonsense in [
            &b"\x0a\x05abc"[..],
            b"\x00\x01",
            b"\x0b",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
            b"\x09\x01",
        ] {
            assert_eq!(fields(nonsense), None, "{nonsense:?}");
        }
        for length in 0..out.len() {
            // Whatever is cut off is no panic.
            let _ = fields(&out[..length]);
        }
    }
}
