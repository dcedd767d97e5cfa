//! What stands before a value that is sealed with a plugin's seed: Kubernetes' `EncryptedObject`.
//!
//! The sealed seed goes with every value, so a value needs nothing but the plugin to be opened.
//! The invariant: what [`Envelope::new`] accepts, [`read`] reads.

use std::collections::BTreeMap;

use crate::kms::digest;
use crate::kms::proto::{Field, fields, put_bytes, put_field, text};
use crate::limits::{KMS_ANNOTATIONS_BYTES, KMS_KEY_ID_BYTES, KMS_SOURCE_BYTES};

/// The numbers of `EncryptedObject`'s fields.
const DATA: u32 = 1;
const KEY_ID: u32 = 2;
const SOURCE: u32 = 3;
const ANNOTATIONS: u32 = 4;
const SOURCE_TYPE: u32 = 5;

/// A source that is a seed for HKDF; 0 is a plain AES-GCM key.
const DERIVED: u64 = 1;

/// A sealed seed, with what the plugin said when it sealed it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Source {
    /// Which of the plugin's keys sealed it.
    pub(crate) key_id: String,
    /// The sealed seed.
    pub(crate) ciphertext: Vec<u8>,
    /// Notes of the plugin to itself.
    pub(crate) annotations: BTreeMap<String, Vec<u8>>,
    /// Whether it is a seed, from which keys are derived, or a key.
    pub(crate) derived: bool,
}

impl Source {
    /// What a seed is remembered by.
    pub(crate) fn hash(&self) -> [u8; 32] {
        let kind: &[u8] = if self.derived { b"1" } else { b"0" };
        let fixed = [kind, &self.ciphertext, self.key_id.as_bytes()];
        let notes = self.annotations.iter();
        digest(
            fixed
                .into_iter()
                .chain(notes.flat_map(|(name, note)| [name.as_bytes(), &note[..]])),
        )
    }

    fn check(&self) -> Result<(), String> {
        let source = self.ciphertext.len();
        if source == 0 {
            return Err("failed to validate encrypted DEK source: it is empty".to_owned());
        }
        if source > KMS_SOURCE_BYTES {
            return Err(format!(
                "failed to validate encrypted DEK source: encrypted DEK source is {source} bytes, \
                 which exceeds the max size of {KMS_SOURCE_BYTES}"
            ));
        }
        check_key_id(&self.key_id).map_err(|why| format!("failed to validate key id: {why}"))?;
        let notes = self.annotations.iter();
        let notes: usize = notes.map(|(name, note)| name.len() + note.len()).sum();
        if notes > KMS_ANNOTATIONS_BYTES {
            return Err(format!(
                "failed to validate annotations: total size of annotations is {notes}, which \
                 exceeds the max size of {KMS_ANNOTATIONS_BYTES}"
            ));
        }
        Ok(())
    }

    /// Notes as entries of a protobuf map, which is how plugins get and give them.
    pub(crate) fn put_notes(&self, field: u32, out: &mut Vec<u8>) {
        for (name, note) in &self.annotations {
            let mut entry = Vec::new();
            put_bytes(1, name.as_bytes(), &mut entry);
            put_bytes(2, note, &mut entry);
            put_bytes(field, &entry, out);
        }
    }

    /// Takes one entry of a protobuf map.
    pub(crate) fn take_note(&mut self, entry: &[u8]) -> Option<()> {
        let (mut name, mut note) = (String::new(), Vec::new());
        for (field, content) in fields(entry)? {
            match (field, content) {
                (1, Field::Bytes(bytes)) => name = text(bytes)?,
                (2, Field::Bytes(bytes)) => note = bytes.to_vec(),
                _ => {}
            }
        }
        self.annotations.insert(name, note);
        Some(())
    }
}

/// What is wrong with the name of a plugin's key.
pub(crate) fn check_key_id(key_id: &str) -> Result<(), String> {
    let length = key_id.len();
    if length == 0 {
        return Err("keyID is empty".to_owned());
    }
    if length > KMS_KEY_ID_BYTES {
        return Err(format!(
            "keyID is {length} bytes, which exceeds the max size of {KMS_KEY_ID_BYTES}"
        ));
    }
    Ok(())
}

/// A source, ready to be put around values.
pub(crate) struct Envelope {
    pub(crate) source: Source,
    /// The fields behind the value, which are the same for all.
    behind: Vec<u8>,
}

impl Envelope {
    /// Checks a source and writes it once for all values.
    pub(crate) fn new(source: Source) -> Result<Self, String> {
        source.check()?;
        let mut behind = Vec::new();
        put_bytes(KEY_ID, source.key_id.as_bytes(), &mut behind);
        put_bytes(SOURCE, &source.ciphertext, &mut behind);
        source.put_notes(ANNOTATIONS, &mut behind);
        put_field(
            SOURCE_TYPE,
            u64::from(source.derived) * DERIVED,
            &mut behind,
        );
        Ok(Self { source, behind })
    }

    /// Appends a sealed value with the envelope around it.
    pub(crate) fn write(&self, data: &[u8], out: &mut Vec<u8>) {
        put_bytes(DATA, data, out);
        out.extend_from_slice(&self.behind);
    }
}

/// Takes an envelope from around a sealed value.
pub(crate) fn read(bytes: &[u8]) -> Result<(Source, &[u8]), String> {
    let parse = || {
        let (mut source, mut data) = (Source::default(), &b""[..]);
        let mut kind = 0;
        for (field, content) in fields(bytes)? {
            match (field, content) {
                (DATA, Field::Bytes(bytes)) => data = bytes,
                (KEY_ID, Field::Bytes(bytes)) => source.key_id = text(bytes)?,
                (SOURCE, Field::Bytes(bytes)) => source.ciphertext = bytes.to_vec(),
                (ANNOTATIONS, Field::Bytes(entry)) => source.take_note(entry)?,
                (SOURCE_TYPE, Field::Number(number)) => kind = number,
                _ => {}
            }
        }
        source.derived = kind == DERIVED;
        Some((source, data, kind))
    };
    let (source, data, kind) = parse().ok_or("the envelope is no message")?;
    if kind > DERIVED {
        return Err(format!("unknown encryptedDEKSourceType: {kind}"));
    }
    if data.is_empty() {
        return Err("encrypted data is empty".to_owned());
    }
    source.check()?;
    Ok((source, data))
}

#[cfg(test)]
mod tests {
    use super::{Envelope, Source, read};

    #[test]
    fn an_envelope_comes_off_as_it_was_put_on() {
        let source = Source {
            key_id: "key-1".to_owned(),
            ciphertext: vec![1; 40],
            annotations: [
                ("a.example".to_owned(), vec![2]),
                ("b.example".to_owned(), vec![]),
            ]
            .into(),
            derived: true,
        };
        let envelope = Envelope::new(source.clone()).unwrap();
        let mut out = Vec::new();
        envelope.write(b"sealed", &mut out);
        assert_eq!(read(&out).unwrap(), (source.clone(), &b"sealed"[..]));
        for (key_id, ciphertext) in [("", vec![1]), ("x", vec![]), ("x", vec![1; 1025])] {
            let bad = Source {
                key_id: key_id.to_owned(),
                ciphertext,
                ..source.clone()
            };
            assert!(Envelope::new(bad).is_err());
        }
        assert!(read(b"").is_err() && read(b"\xff\xff").is_err());
        let other = Source {
            key_id: "key-2".to_owned(),
            ..source.clone()
        };
        assert_ne!(source.hash(), other.hash());
    }
}
